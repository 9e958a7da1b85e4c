"""Contrastive losses of images and texts, InfoNCE and sigmoid; pairs of one entity are no negatives of each other.

And partial labels: a caption names a bag of entities, the image shows some of them (MIL-NCE, arXiv 1912.06430).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax, logsigmoid
from torch.utils.checkpoint import checkpoint

from openmofi.objectives.collectives import gather, gather_with_gradient, rank, sum_over_ranks, world_size
from openmofi.objectives.objective_settings import ContrastiveSettings
from openmofi.objectives.protocol import Batch, Embeddings, ObjectiveResult, Replicated

POSITIVES: dict[str, tuple[str, ...]] = {
    "none": (),
    "text": ("text_id",),
    "entity": ("labels",),
    "entity-or-text": ("labels", "text_id"),
}
"""Name of a rule → the entries of the batch that make two pairs positives where they are equal."""


@dataclass(frozen=True)
class _Keys:
    """One key of a batch: this rank's, and the whole batch's in sorted order.

    Attributes:
        local: (B, K) int64.
        used: (B, K) bool; padding is no key.
        values: (n,) int64, sorted: every key in use of the whole batch.
        columns: (n,) int64: the pair of the whole batch that each belongs to.
    """

    local: Tensor
    used: Tensor
    values: Tensor
    columns: Tensor


def _keys(local: Tensor, *, padded: bool) -> _Keys:
    local = local.reshape(len(local), -1)
    everyone = gather(local)
    values, order = everyone.flatten().sort(stable=True)
    columns = order // max(everyone.shape[1], 1)
    if padded:
        inside = values >= 0
        values, columns = values[inside], columns[inside]
    return _Keys(local, local >= 0 if padded else torch.ones_like(local, dtype=torch.bool), values, columns)


def _mark_shared(mask: Tensor, keys: _Keys, start: int) -> None:
    """Set `mask` (rows from `start` on, all pairs) where a row and a pair have a key in common.

    A join of sorted keys: the work is that of the matches, where comparing all keys with all would take
    rows · pairs · K² comparisons.
    """
    stop = start + len(mask)
    rows, slots = keys.used[start:stop].nonzero(as_tuple=True)
    values = keys.local[start:stop][rows, slots]
    first = torch.searchsorted(keys.values, values)
    counts = torch.searchsorted(keys.values, values, right=True) - first
    ends = counts.cumsum(0)
    positions = torch.arange(int(counts.sum()), device=mask.device)
    within = positions - torch.repeat_interleave(ends - counts, counts)
    mask[torch.repeat_interleave(rows, counts), keys.columns[torch.repeat_interleave(first, counts) + within]] = True


class Positives:
    """The positives of this rank's rows among the pairs of all ranks.

    Args:
        rule: a key of `POSITIVES`; a pair is always a positive of itself.
        batch: has the entries that the rule names; `labels` below 0 are padding, `text_id` is any number.
        rows: B, this rank's rows.
    """

    def __init__(self, rule: str, batch: Batch, rows: int, device: torch.device) -> None:
        self._first = rank() * rows
        self._device = device
        self._keys = [_keys(batch[name].to(device), padded=name == "labels") for name in POSITIVES[rule]]

    def mask(self, start: int, stop: int, pairs: int) -> Tensor:
        """(stop − start, pairs) bool for this rank's rows from `start` on; the relation is symmetric."""
        mask = torch.zeros(stop - start, pairs, dtype=torch.bool, device=self._device)
        rows = torch.arange(stop - start, device=self._device)
        mask[rows, rows + self._first + start] = True
        for keys in self._keys:
            _mark_shared(mask, keys, start)
        return mask


@dataclass(frozen=True)
class HardTexts:
    """Texts of entities that are easily taken for those of the batch: negatives of every image that lacks them.

    Attributes:
        texts: (B, D) of this rank, L2-normalised.
        classes: (B,) int64 class of each; −1 where the row has none, which is left out.
        labels: (B, K) int64 classes of this rank's images, padded with −1.
    """

    texts: Tensor
    classes: Tensor
    labels: Tensor

    def excluded(self, part: slice) -> Tensor:
        """(b, N) bool: which texts of all ranks are no negatives of some rows."""
        classes = gather(self.classes)
        return (self.labels[part][:, :, None] == classes).any(dim=1) | (classes < 0)


@dataclass(frozen=True)
class PairRows:
    """Some of this rank's rows beside the pairs of all ranks.

    Attributes:
        part: which of this rank's rows.
        image, text: (b, D) the rows.
        all_image, all_text: (N, D) all pairs.
        positive: (b, N) bool; at least one a row.
        hard: (M, D) further texts of all ranks, of no image of the batch; `None` without.
        excluded: (b, M) bool: a text of `hard` that is right for the row after all.
    """

    part: slice
    image: Tensor
    text: Tensor
    all_image: Tensor
    all_text: Tensor
    positive: Tensor
    hard: Tensor | None = None
    excluded: Tensor | None = None


def sum_over_chunks(
    loss_of: Callable[[PairRows], tuple[Tensor, Tensor]],
    image: Tensor,
    text: Tensor,
    positives: Positives,
    chunk: int,
    hard: HardTexts | None = None,
) -> tuple[Tensor, Tensor]:
    """Sum a loss over this rank's rows against the pairs of all ranks, which are gathered with a gradient.

    With chunks recomputed in the backward pass, what is kept is O(B · D), not O(B²).

    Args:
        loss_of: rows → the sum of their losses, and counts without a gradient.
        image, text: (B, D), L2-normalised.
        positives: of the rows.
        chunk: rows at a time; 0 takes all at once.
        hard: further negatives of the images.

    Returns:
        The mean loss over this rank's rows, and the sum of the counts.
    """
    rows, dim = image.shape
    every = gather_with_gradient(torch.cat([image, text] if hard is None else [image, text, hard.texts], dim=1))

    def loss_of_part(image: Tensor, text: Tensor, all_of_them: Tensor, part: slice) -> tuple[Tensor, Tensor]:
        all_image, all_text, *more = all_of_them.split(dim, dim=1)
        mask = positives.mask(part.start, part.stop, len(all_image))
        if hard is None:
            return loss_of(PairRows(part, image, text, all_image, all_text, mask))
        return loss_of(PairRows(part, image, text, all_image, all_text, mask, more[0], hard.excluded(part)))

    chunk = chunk or rows
    results = []
    for start in range(0, rows, chunk):
        part = slice(start, min(start + chunk, rows))
        arguments = image[part], text[part], every, part
        # A single chunk is as large in the backward pass as in the forward one: nothing to gain by recomputing it.
        results.append(
            loss_of_part(*arguments)
            if chunk >= rows
            else checkpoint(loss_of_part, *arguments, use_reentrant=False, preserve_rng_state=False)
        )
    losses, counts = zip(*results, strict=True)
    return sum(losses, start=image.new_zeros(())) / rows, torch.stack(counts).sum(0)


def mean_over_ranks(loss: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """The mean of every rank's loss, whose gradient is that of this rank's; and the sum of the counts, float64."""
    totals = sum_over_ranks(torch.cat([loss.detach().double()[None], counts.double()]))
    mean = (totals[0] / world_size()).to(loss.dtype)
    return loss + (mean - loss).detach(), totals[1:]


class LogitScale(Replicated, nn.Module):
    """An objective with a learned logit scale.

    Args:
        scale, max_scale: initial and greatest factor on the cosines.

    Attributes:
        log_scale: scalar parameter; the factor is its exponential.
    """

    def __init__(self, scale: float, max_scale: float) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))
        self._greatest = math.log(max_scale)
        self.after_step()

    @torch.no_grad()
    def after_step(self) -> None:
        """Keep the scale at most `max_scale` (CLIP, arXiv 2103.00020, section 2.5)."""
        self.log_scale.clamp_(max=self._greatest)


def infonce(rows: PairRows, scale: Tensor, _: Tensor | None) -> tuple[Tensor, Tensor]:
    """Symmetric InfoNCE (CLIP, arXiv 2103.00020, figure 3), the target's mass shared evenly by a row's positives.

    Returns:
        The sum over the rows of ½ (image→text + text→image cross-entropy); and, without a gradient, (2,) how many rows
        rank a positive first, image→text and text→image.
    """
    logits = scale * (rows.image @ rows.all_text.T)
    if rows.hard is not None and rows.excluded is not None:
        logits = torch.cat([logits, (scale * (rows.image @ rows.hard.T)).masked_fill(rows.excluded, -torch.inf)], dim=1)
    to_text = log_softmax(logits, dim=1)[:, : rows.positive.shape[1]]
    to_image = log_softmax(scale * (rows.text @ rows.all_image.T), dim=1)
    count = rows.positive.sum(dim=1)
    means = (torch.where(rows.positive, side, 0).sum(dim=1) / count for side in (to_text, to_image))
    loss = -sum(means, start=torch.zeros_like(rows.image[:, 0])).sum() / 2
    return loss, torch.stack([_hits(to_text, rows.positive), _hits(to_image, rows.positive)])


def sigmoid(rows: PairRows, scale: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """The sigmoid loss (SigLIP, arXiv 2303.15343, algorithm 1): every pair is a question of its own.

    Returns:
        The sum over the rows' images and all texts of −log σ(±logit), + for positives; and the hits as in `infonce`.
    """
    cosine = rows.image @ rows.all_text.T
    logit = scale * cosine if bias is None else scale * cosine + bias
    loss = -logsigmoid(torch.where(rows.positive, logit, -logit)).sum()
    if rows.hard is not None and rows.excluded is not None:
        further = scale * (rows.image @ rows.hard.T) + (0.0 if bias is None else bias)
        loss = loss - torch.where(rows.excluded, 0.0, logsigmoid(-further)).sum()
    with torch.no_grad():
        back = rows.text @ rows.all_image.T
    return loss, torch.stack([_hits(cosine, rows.positive), _hits(back, rows.positive)])


PAIRWISE: dict[str, Callable[[PairRows, Tensor, Tensor | None], tuple[Tensor, Tensor]]] = {
    "infonce": infonce,
    "sigmoid": sigmoid,
}
"""Name in a recipe → loss of (rows, scale, bias of the sigmoid loss): logit = scale · cosine + bias."""


def at_least_float(tensor: Tensor) -> Tensor:
    """The tensor as float32, or as float64 if it is float64."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def _hits(scores: Tensor, positive: Tensor) -> Tensor:
    best = scores.detach().argmax(dim=1, keepdim=True)
    return positive.gather(1, best).sum()


class Contrastive(LogitScale):
    """Contrastive learning of images and texts, as an `Objective`.

    Each rank computes the loss of its own rows against the pairs of all ranks, `settings.chunk` rows at a time.
    Computed in float32 (float64 if the embeddings are).

    Attributes:
        log_scale: scalar parameter; the factor on cosines is its exponential, at most `settings.max_scale`.
        bias: scalar parameter of the sigmoid loss; None for InfoNCE.
    """

    def __init__(self, settings: ContrastiveSettings) -> None:
        super().__init__(settings.scale, settings.max_scale)
        self.settings = settings
        self.bias = nn.Parameter(torch.tensor(settings.bias)) if settings.loss == "sigmoid" else None

    def forward(self, embeddings: Embeddings, batch: Batch) -> ObjectiveResult:
        """The loss and how often a positive is ranked first.

        Args:
            embeddings: `image` and `text`, (B, D), L2-normalised.
            batch: `text_id` and `labels`, where the rule of positives needs them. Where it has `hard_class`, the texts
                `embeddings["hard"]` are further negatives of all images that are not labelled with their class.

        Returns:
            The loss, and the metrics `accuracy/image_to_text`, `accuracy/text_to_image` (share of rows whose first
            is a positive), `logit_scale`, `logit_bias` (sigmoid), `positives` (mean number a row, itself included).

        Raises:
            ValueError: image and text are not both (B, D), or B is 0.
        """
        image, text = embeddings["image"], embeddings["text"]
        if image.shape != text.shape or image.ndim != 2 or not len(image):
            raise ValueError(f"image {tuple(image.shape)} and text {tuple(text.shape)} must both be (B, D), B > 0")
        with torch.autocast(image.device.type, enabled=False):
            positives = Positives(self.settings.positives, batch, len(image), image.device)
            hard = (
                HardTexts(at_least_float(embeddings["hard"]), batch["hard_class"], batch["labels"])
                if "hard" in embeddings
                else None
            )
            local, counts = sum_over_chunks(
                self._loss, at_least_float(image), at_least_float(text), positives, self.settings.chunk, hard
            )
        loss, totals = mean_over_ranks(local, counts)
        to_text, to_image, positive = (totals / (len(image) * world_size())).float()
        metrics = {
            "accuracy/image_to_text": to_text,
            "accuracy/text_to_image": to_image,
            "positives": positive,
            "logit_scale": self.log_scale.detach().exp(),
        }
        if self.bias is not None:
            metrics["logit_bias"] = self.bias.detach().clone()
        return ObjectiveResult(loss, metrics)

    def _loss(self, rows: PairRows) -> tuple[Tensor, Tensor]:
        loss, hits = PAIRWISE[self.settings.loss](rows, self.log_scale.exp(), self.bias)
        return loss, torch.cat([hits, rows.positive.sum()[None]])
