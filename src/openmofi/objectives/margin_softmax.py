"""Large-margin softmax over entities, on any number of ranks (MOFI, arXiv 2306.07952, section 3).

Each rank holds the rows of some classes. Embeddings and labels go to the classes; three small all-reduces (greatest
logit, sum of exponentials, targets' logits) and one reduce-scatter of the embeddings' gradient come back.
"""

import math

import numpy as np
import torch
from torch import Tensor, nn

from openmofi.errors import UsageError
from openmofi.objectives.collectives import gather, rank, world_size
from openmofi.objectives.objective_settings import MarginSoftmaxSettings
from openmofi.objectives.protocol import Batch, Embeddings, ObjectiveResult
from openmofi.objectives.tiles import Targets, margin_softmax

_BLOCK = 1024


def shard_bounds(rows: int) -> tuple[int, int]:
    """First row and the row after the last that this rank holds; equal where none is left for it."""
    block = math.ceil(rows / world_size())
    return min(rank() * block, rows), min((rank() + 1) * block, rows)


def random_rows(start: int, stop: int, width: int, deviation: float, seed: int) -> Tensor:
    """(stop − start, width) float32 normal values; row i depends on `seed` and i alone, not on the bounds."""
    rows = torch.empty(stop - start, width)
    for block in range(start // _BLOCK, math.ceil(stop / _BLOCK)):
        drawn = torch.empty(_BLOCK, width).normal_(std=deviation, generator=seeded(seed, block))
        first, last = max(start, block * _BLOCK), min(stop, (block + 1) * _BLOCK)
        rows[first - start : last - start] = drawn[first - block * _BLOCK : last - block * _BLOCK]
    return rows


def seeded(*numbers: int) -> torch.Generator:
    """A CPU generator whose state depends on all numbers (non-negative), in their order."""
    state = np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state) >> 1)


def draw_classes(classes: int, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw `count` of `classes`, each with a known probability, in time and memory O(count).

    The ring of classes, starting at a random one, is cut into `count` arcs whose lengths differ by at most one, and one
    class is drawn from each. So all classes are equally likely; given the cut, a class's probability is one over its
    arc's length, and a sum over the draws, each divided by its probability, is unbiased.

    Returns:
        (count,) int64 classes, ascending and unique; (count,) float32 log of the probabilities.
    """
    start = int(torch.randint(classes, (), generator=generator))
    edges = torch.arange(count + 1) * classes // count
    length = edges[1:] - edges[:-1]
    # float64: 53 bits hold 31 bits of class and a fair remainder.
    within = (torch.rand(count, generator=generator, dtype=torch.float64) * length).long()
    drawn = edges[:-1] + torch.minimum(within, length - 1) + start
    log_probability = -length.float().log()
    wrapped = int((drawn >= classes).sum())
    return (
        torch.roll(torch.where(drawn >= classes, drawn - classes, drawn), wrapped),
        torch.roll(log_probability, wrapped),
    )


def join_classes(drawn: Tensor, log_probability: Tensor, certain: Tensor) -> tuple[Tensor, Tensor]:
    """Drawn classes together with some that are scored in any case (the batch's own).

    Args:
        drawn: (S,) int64, unique; log_probability: (S,) float32.
        certain: (P,) int64, unique, ascending.

    Returns:
        (N,) int64 classes, unique and ascending; (N,) float32 log of the probability with which each is scored
        given the batch: 0 for `certain`.
    """
    if len(certain):
        index = torch.searchsorted(certain, drawn).clamp(max=len(certain) - 1)
        new = certain[index] != drawn
        drawn, log_probability = drawn[new], log_probability[new]
    joined, order = torch.cat([drawn, certain]).sort()
    return joined, torch.cat([log_probability, log_probability.new_zeros(len(certain))])[order]


def sample_size(classes: int, rate: float, least: int) -> int:
    """Number of classes drawn: the share `rate`, at least `least`, at most all."""
    return max(1, min(classes, max(least, math.ceil(classes * rate))))


_KEPT_LOGITS = 2**26
_RECENT = 0.1  # weight of an image in the moving mean of its class's accuracy


class MarginSoftmax(nn.Module):
    """Cosine softmax with a margin; an `openmofi.objectives.protocol.Objective`.

    All mathematics is float32 (float64 if the embeddings are), under autocast too. On a GPU,
    `torch.set_float32_matmul_precision` sets the precision of the products; their sums are float32 in any case.

    Attributes:
        weight: (n, sub_centers · dim), the classes `first` to `first + n` of all `classes`; a row holds a class's
            sub-centres. Rows may have any length. Their initial values depend on the seed alone.
        recent: (classes,) float32, if counts were given: for each class a moving mean of how often its images were
            right in training, by their first label; NaN before its first one.
        step: () int64, number of training forward passes; with the seed, it decides which classes are sampled.

    `exact` scores all classes, `chunk` at a time, computes each tile again in the backward pass, and gives a dense
    gradient. `sampled` scores the batch's own classes and a share of the others, and gives a sparse COO gradient over
    the rows that it scored: see `openmofi.training.optimization`. In evaluation mode all classes are scored.

    Args:
        classes, dim: rows of the whole matrix, dimension of the embeddings.
        settings: see there.
        seed: of the initial rows and of the sampled classes.
        counts: (classes,) images of each class, to log the accuracy of frequent and rare classes separately.

    Raises:
        UsageError: there is no class.
    """

    weight: nn.Parameter
    step: Tensor
    thirds: Tensor | None
    recent: Tensor | None

    def __init__(
        self, classes: int, dim: int, settings: MarginSoftmaxSettings, *, seed: int, counts: Tensor | None = None
    ) -> None:
        super().__init__()
        if classes < 1:
            raise UsageError("There is no class to train on.", "Check the dataset's vocabulary.")
        self.classes, self.dim, self.settings, self.seed = classes, dim, settings, seed
        self.first, stop = shard_bounds(classes)
        rows = random_rows(self.first, stop, settings.sub_centers * dim, dim**-0.5, seed)
        self.weight = nn.Parameter(rows)
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))
        self.register_buffer("thirds", None if counts is None else thirds_by_count(counts), persistent=False)
        self.register_buffer("recent", None if counts is None else torch.full((classes,), torch.nan))

    def sharded_parameters(self) -> dict[str, int]:
        """`weight` → number of classes."""
        return {"weight": self.classes}

    @torch.no_grad()
    def start_at(self, vectors: Tensor) -> None:
        """Set the class vectors to begin with, in place of random ones; of several sub-centres the first.

        Args:
            vectors: (classes, dim); classes whose vector is zero keep their random one.
        """
        local = vectors[self.first : self.first + len(self.weight)].to(self.weight)
        first = self.weight[:, : self.dim]
        first.copy_(torch.where(local.any(1, keepdim=True), local, first))

    def after_step(self) -> None:
        """Do nothing: no parameter is clamped."""

    def forward(self, embeddings: Embeddings, batch: Batch) -> ObjectiveResult:
        """The loss of `embeddings["image"]` against `batch["labels"]`, and of the texts where the setting has them.

        Embeddings may be prefixes, (B, d) with d ≤ dim: then as many dimensions of the class vectors count.
        Classes of `batch["hard_class"]` (B,), where it is there, are scored in any case; −1 is none.

        A label outside 0 … classes − 1 is ignored; a row without a label does not count in the mean. Weights of the
        labels (`batch["label_weights"]`, if the setting is `score`) are divided by their sum over the row; a label of
        weight 0 is no target, and no negative either. No class of an image is its negative.

        Returns:
            The loss, and as metrics `accuracy` (share of the global batch's labelled rows whose closest class is one
            of theirs; `accuracy_sampled` where only some classes were scored), `target_cosine` (weighted mean),
            with texts `text_cosine`, of `sampled`, `sampled` and `sample_rate` (drawn classes and their share), and, if
            `counts` were given, the accuracy in `/head`, `/middle` and `/tail`, where the batch has images of those
            (by their first label).

        Raises:
            ValueError: the shapes do not match.
        """
        images, labels = embeddings["image"], batch["labels"]
        if images.ndim != 2 or not 0 < images.shape[1] <= self.dim or labels.ndim != 2 or len(labels) != len(images):
            raise ValueError(
                f"image {tuple(images.shape)} and labels {tuple(labels.shape)} must be (B, {self.dim}) and (B, K)"
            )
        given = batch["label_weights"] if self.settings.label_weights == "score" else None
        with torch.autocast(images.device.type, enabled=False):
            images = images if images.dtype == torch.float64 else images.float()
            labels, weights = self._labels(labels, given, images.dtype)
            count = self._drawn()
            targets = self._targets(labels, weights, count, batch.get("hard_class"))
            columns = len(self.weight) if targets.rows is None else len(targets.rows)
            keep = columns <= self.settings.chunk or (count > 0 and len(labels) * columns <= _KEPT_LOGITS)
            loss, cosine, hardest = margin_softmax(images, self.weight, targets, self.settings, keep)
            metrics = self._metrics(
                cosine.detach(), hardest.detach(), labels, weights, count, whole=images.shape[1] == self.dim
            )
            if self.settings.texts:
                of_texts, metrics["text_cosine"] = self._texts(embeddings["text"].to(images.dtype), targets, keep)
                loss = loss + self.settings.texts * of_texts
        self.step += self.training
        return ObjectiveResult(loss, metrics)

    def _texts(self, texts: Tensor, targets: Targets, keep: bool) -> tuple[Tensor, Tensor]:
        """The texts' loss and mean target cosine: a text is one of the first label's class, and of no other."""
        labelled = (targets.weights[:, :1] > 0).to(texts.dtype)
        first = Targets(targets.columns[:, :1], labelled, targets.rows, targets.log_probability)
        loss, cosine, _ = margin_softmax(texts, self.weight, first, self.settings, keep)
        return loss, (cosine * labelled).sum().detach() / labelled.sum().clamp(min=1)

    def _labels(self, labels: Tensor, given: Tensor | None, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """The global batch's labels, −1 where ignored, and their weights, which sum to 1 or, without any, to 0."""
        labels = gather(labels.long())
        labels = torch.where((labels >= 0) & (labels < self.classes), labels, -1)
        weights = torch.ones(labels.shape, dtype=dtype, device=labels.device)
        if given is not None:
            weights = gather(given.to(dtype)).clamp(min=0)
        weights = weights * (labels >= 0)
        sums = weights.sum(1, keepdim=True)
        return labels, weights / torch.where(sums > 0, sums, 1)

    def _drawn(self) -> int:
        """How many classes are drawn; 0 if all are scored."""
        if self.settings.implementation == "exact" or not self.training:
            return 0
        return sample_size(self.classes, self.settings.sample_rate, self.settings.min_sampled)

    def _targets(self, labels: Tensor, weights: Tensor, count: int, hard: Tensor | None) -> Targets:
        stop = self.first + len(self.weight)
        local = torch.where((labels >= self.first) & (labels < stop), labels - self.first, -1)
        if not count:
            return Targets(local, weights)
        drawn, log_probability = draw_classes(self.classes, count, seeded(self.seed, int(self.step), 1))
        low, high = torch.searchsorted(drawn, torch.tensor([self.first, stop])).tolist()
        in_batch = local[local >= 0]
        if hard is not None:
            hard = gather(hard.long())
            in_batch = torch.cat([in_batch, hard[(hard >= self.first) & (hard < stop)] - self.first])
        in_batch = in_batch.unique()
        rows, log_probability = join_classes(
            drawn[low:high].to(in_batch.device) - self.first, log_probability[low:high].to(in_batch.device), in_batch
        )
        columns = torch.where(local >= 0, torch.searchsorted(rows, local.clamp(min=0)), -1)
        return Targets(columns, weights, rows, log_probability if self.settings.logq else None)

    @torch.no_grad()
    def _metrics(
        self, cosine: Tensor, hardest: Tensor, labels: Tensor, weights: Tensor, count: int, *, whole: bool
    ) -> dict[str, Tensor]:
        labelled = weights.sum(1) > 0
        rows = labelled.sum().clamp(min=1)
        best = cosine.masked_fill(labels < 0, -torch.inf).amax(1)
        name = "accuracy_sampled" if 0 < count < self.classes else "accuracy"
        right = (best > hardest) & labelled
        metrics = {name: right.sum() / rows, "target_cosine": (cosine * weights).sum() / rows}
        if count:
            metrics |= {"sampled": cosine.new_tensor(count), "sample_rate": cosine.new_tensor(count / self.classes)}
        if self.thirds is not None:
            first = labels.gather(1, (weights > 0).int().argmax(1, keepdim=True))[:, 0]
            third = torch.where(labelled, self.thirds[first.clamp(min=0)], -1)
            if self.training and whole:
                self._remember(first[labelled], right[labelled].float())
            for number, part in enumerate(("head", "middle", "tail")):
                if bool((third == number).any()):
                    metrics[f"{name}/{part}"] = right[third == number].float().mean()
        return metrics

    def _remember(self, classes: Tensor, right: Tensor) -> None:
        """Take a batch's answers into `recent`."""
        assert self.recent is not None
        seen, inverse = classes.unique(return_inverse=True)
        images = torch.zeros(len(seen), device=right.device).index_add_(0, inverse, torch.ones_like(right))
        mean = torch.zeros(len(seen), device=right.device).index_add_(0, inverse, right) / images
        before = self.recent[seen]
        share = 1 - (1 - _RECENT) ** images
        self.recent[seen] = torch.where(before.isnan(), mean, before + share * (mean - before))


def thirds_by_count(counts: Tensor) -> Tensor:
    """Split classes into thirds by their number of images.

    Args:
        counts: (C,) of images.

    Returns:
        (C,) int64: 0 for the third of the classes with the most images, 2 for that with the fewest; among equals, the
        class that comes first counts as the more frequent.
    """
    order = torch.argsort(counts, descending=True, stable=True)
    thirds = torch.empty_like(order)
    thirds[order] = torch.arange(len(order), device=order.device) * 3 // max(1, len(order))
    return thirds
