"""Losses that learn what teachers know: of pairs, of the entities that an image shows, of images.

`Reinforced` and `EntityDistillation` follow MobileCLIP (arXiv 2311.17049, §3.3), the latter with entities in place of
the batch's texts; `FeatureDistillation` follows CLIP-KD (arXiv 2307.12732, §3.2).
"""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, log_softmax, normalize, softmax

from openmofi.errors import UsageError
from openmofi.objectives.collectives import gather, gather_with_gradient, sum_over_ranks, world_size
from openmofi.objectives.contrastive import (
    LogitScale,
    PairRows,
    Positives,
    at_least_float,
    mean_over_ranks,
    sum_over_chunks,
)
from openmofi.objectives.margin_softmax import MarginSoftmax
from openmofi.objectives.objective_settings import ReinforcedSettings
from openmofi.objectives.protocol import Batch, Embeddings, ObjectiveResult, Replicated


class EntityDistillation(Replicated, nn.Module):
    """Cross-entropy of the student's softmax over classes against the teachers', among the teachers' top entities.

    Of a teacher's K likeliest entities of an image those that are classes count: its probabilities of them are divided
    by their sum, and the student's softmax runs over these classes alone. The teacher's probability of other entities
    is ignored; the large-margin softmax teaches which classes are wrong. The student's logits are the head's,
    scale · cosine with the best sub-centre, without margin. Several teachers: the mean of their losses. An image of
    which a teacher knows no class does not count in that teacher's mean; one of which it knows a single class has no
    loss.

    Args:
        head: its classes are learned too; they stay its parameters.
        teachers: their names.

    Raises:
        UsageError: there is no teacher.
    """

    def __init__(self, head: MarginSoftmax, teachers: Sequence[str]) -> None:
        super().__init__()
        if not teachers:
            raise UsageError(
                "objectives.entity_distillation has no teacher.", "Give a store that was made with --entity-scores."
            )
        # In a tuple: as a submodule its parameters would be this objective's as well.
        self._head = (head,)
        self.teachers = tuple(teachers)

    def forward(self, embeddings: Embeddings, batch: Batch) -> ObjectiveResult:
        """Compute the loss of a batch.

        Args:
            embeddings: `image` (B, D), L2-normalised.
            batch: of each teacher `teacher/NAME/entity_ids` (B, K) int64 classes, −1 where an entity is none or nothing
                is known, and `teacher/NAME/entity_scores` (B, K) float32 probabilities. A class comes once a row.

        Returns:
            The loss, and the metrics `known` (share of the global batch's rows that a teacher knows a class of, mean
            over teachers) and `agreement` (share of these whose likeliest class is the teacher's).
        """
        image = embeddings["image"]
        with torch.autocast(image.device.type, enabled=False):
            # A rank's gradient is `world size` times the true one (see `ObjectiveResult`), a class's is the true one.
            image = at_least_float(image)
            image = image + (world_size() - 1) * (image - image.detach())
            every = gather_with_gradient(image)
            results = [self._teacher(teacher, every, batch) for teacher in self.teachers]
        loss, known_share, agreement = (torch.stack(values).mean(0) for values in zip(*results, strict=True))
        return ObjectiveResult(loss, {"known": known_share, "agreement": agreement})

    def _teacher(self, teacher: str, images: Tensor, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Return loss, share of known rows, and share of these where student and teacher agree."""
        ids, scores = (
            gather(batch[teacher_key(teacher, what)].to(images.device)) for what in ("entity_ids", "entity_scores")
        )
        valid = (ids >= 0) & (ids < self._head[0].classes) & (scores > 0)
        target = torch.where(valid, scores.to(images.dtype), 0)
        known_rows = valid.any(1)
        rows = known_rows.sum().clamp(min=1)
        target = target / target.sum(1, keepdim=True).clamp(min=torch.finfo(target.dtype).tiny)
        student = log_softmax(self._logits(images, ids).masked_fill(~valid, LOWEST), dim=1)
        loss = -(target * torch.where(valid, student, 0)).sum() / rows
        agreed = (student.argmax(1) == target.argmax(1)) & known_rows
        return loss, known_rows.to(images.dtype).mean(), agreed.sum() / rows

    def _logits(self, images: Tensor, ids: Tensor) -> Tensor:
        """Return (N, K) logits of the global batch's images, of classes on any rank; 0 where an id is no class."""
        head = self._head[0]
        local = (ids >= head.first) & (ids < head.first + len(head.weight))
        rows = (ids[local] - head.first).unique()
        if len(rows):
            sparse = head.settings.implementation == "sampled" and head.training
            centers = embedding(rows, head.weight, sparse=sparse).to(images.dtype)
            centers = normalize(centers.view(len(rows), head.settings.sub_centers, head.dim), dim=2)
            index = torch.searchsorted(rows, torch.where(local, ids - head.first, rows[0]))
            cosines = torch.einsum("nd,nksd->nks", images, centers[index]).amax(2)
        else:
            # The backward pass goes through a collective, which every rank must join.
            cosines = images[:, :1].expand(ids.shape)
        local_logits = torch.where(local, cosines * head.settings.scale, 0)
        # The sum over the ranks. A class lies on one rank, so that the gradient is that of the local part.
        return local_logits + (sum_over_ranks(local_logits) - local_logits).detach()


class FeatureDistillation(Replicated, nn.Module):
    """1 − cosine between a teacher's embedding of an image and a linear map of the student's.

    Each teacher has its own map, learned beside the towers and left out of the encoder, so that dimensions and spaces
    may differ. Several teachers: the mean of their losses. An image that no teacher knows has no loss.

    Args:
        dim: of the student's embeddings.
        dims: teacher → dimension of its embeddings.
        seed: of the maps.

    Raises:
        UsageError: there is no teacher.
    """

    def __init__(self, dim: int, dims: Mapping[str, int], seed: int = 0) -> None:
        super().__init__()
        if not dims:
            raise UsageError("objectives.feature_distillation has no teacher.", "Give data.reinforcement.store.")
        self.teachers = tuple(dims)
        # Their own initialisation would draw from torch's global random numbers.
        maps = [nn.utils.skip_init(nn.Linear, dim, out) for out in dims.values()]
        generator = torch.Generator().manual_seed(seed)
        for linear in maps:
            nn.init.normal_(linear.weight, std=dim**-0.5, generator=generator)
            nn.init.zeros_(linear.bias)
        # A list: names of teachers may contain characters that names of modules may not.
        self.maps = nn.ModuleList(maps)

    def forward(self, embeddings: Embeddings, batch: Batch) -> ObjectiveResult:
        """Compute the loss of a batch.

        Args:
            embeddings: `image` (B, D), L2-normalised.
            batch: `known` (B,) bool; of each teacher `teacher/NAME/image` (B, D_k) float32, L2-normalised.

        Returns:
            The loss, the mean over the global batch's known images.
        """
        image = embeddings["image"]
        known_rows = batch[KNOWN].to(image.device)
        with torch.autocast(image.device.type, enabled=False):
            image = at_least_float(image)
            cosines = [
                (
                    normalize(linear(image), dim=1)
                    * at_least_float(batch[teacher_key(teacher, "image")].to(image.device))
                ).sum(1)
                for teacher, linear in zip(self.teachers, self.maps, strict=True)
            ]
            distances = (1 - torch.stack(cosines)).mean(0) * known_rows
        totals = sum_over_ranks(torch.stack([distances.sum(), known_rows.to(distances.dtype).sum()]).double())
        rows = totals[1].clamp_min(1).to(distances.dtype)
        # A rank's gradient is that of its mean over its share of the known rows: see `ObjectiveResult`.
        loss = distances.sum() * world_size() / rows
        return ObjectiveResult(loss + (totals[0].to(loss.dtype) / rows - loss).detach())


KNOWN = "known"
LOWEST = -1e30  # of logits that do not count: their share is 0, and nothing overflows
_IDS = {"text": "text_id", "caption": "caption_id"}


def teacher_key(teacher: str, what: str) -> str:
    """Name the entry of a batch that holds a teacher's (B, D_k) embeddings of `what` (`image`, `text`, `caption`)."""
    return f"teacher/{teacher}/{what}"


_Rows = list[tuple[Tensor, Tensor, float]]
"""Of each teacher: (B, D_k) embeddings of this rank's images or texts, (N, D_k) of all of the other kind, its scale."""


class Reinforced(LogitScale):
    """(1 − λ) · InfoNCE + λ · distillation, on real and on synthetic texts with one pass of the images.

    Distillation is the cross-entropy of the student's softmax over the batch against the mean of the teachers' (§3.3,
    equation 3), from images to texts and back; each teacher has its own scale. Each rank computes its rows against
    the pairs of all ranks, in both directions: a row's target sums to one on any number of ranks. A sample that no
    teacher knows has InfoNCE alone, and is no candidate in the distillation of others.

    Args:
        settings: see `ReinforcedSettings`.
        scales: teacher → factor on its cosines.

    Attributes:
        log_scale: scalar parameter; the student's factor on cosines is its exponential.

    Raises:
        UsageError: there is no teacher, or a scale is not a positive number.
    """

    def __init__(self, settings: ReinforcedSettings, scales: Mapping[str, float]) -> None:
        if not scales or not all(math.isfinite(scale) and scale > 0 for scale in scales.values()):
            raise UsageError(
                f"The scales of objectives.reinforced's teachers are {dict(scales)}.",
                "Give at least one teacher, each with a positive scale.",
            )
        super().__init__(settings.scale, settings.max_scale)
        self.settings, self.scales = settings, dict(scales)

    def forward(self, embeddings: Embeddings, batch: Batch) -> ObjectiveResult:
        """Compute the loss of a batch.

        Args:
            embeddings: `image`, `text` and, where `settings.captions` is above 0, `caption`: (B, D), L2-normalised.
            batch: `known` (B,) bool; of each teacher `teacher/NAME/image`, `…/text`, `…/caption` (B, D_k) float32,
                L2-normalised; and the entries that the rule of positives needs (`caption_id` stands for the captions'
                `text_id`).

        Returns:
            The loss, and the metrics `contrastive` and `distillation` (means over rows and kinds of text, the second
            over known rows), `known` (share of rows) and `logit_scale`.
        """
        weights = {"text": 1.0} | ({"caption": self.settings.captions} if self.settings.captions else {})
        image = embeddings["image"]
        with torch.autocast(image.device.type, enabled=False):
            parts = [(weight, *self._with_texts(kind, embeddings, batch)) for kind, weight in weights.items()]
        local = sum((weight * loss for weight, loss, _ in parts), start=image.new_zeros(()))
        loss, totals = mean_over_ranks(local, torch.stack([sums for _, _, sums in parts]).sum(0))
        plain, taught, known_count, rows = totals
        return ObjectiveResult(
            loss,
            {
                "contrastive": (plain / rows).float(),
                "distillation": (taught / known_count.clamp_min(1)).float(),
                "known": (known_count / rows).float(),
                "logit_scale": self.log_scale.detach().exp(),
            },
        )

    def _with_texts(self, kind: str, embeddings: Embeddings, batch: Batch) -> tuple[Tensor, Tensor]:
        """The mean loss of this rank's rows with one kind of text; sums of contrastive, distillation, known, rows."""
        image, text = at_least_float(embeddings["image"]), at_least_float(embeddings[kind])
        known_rows = batch[KNOWN].to(image.device)
        all_known = gather(known_rows.to(torch.uint8)).bool()
        images: _Rows = []
        texts: _Rows = []
        for name, scale in self.scales.items():
            of_images, of_texts = (
                at_least_float(batch[teacher_key(name, what)].to(image.device)) for what in ("image", kind)
            )
            texts.append((of_texts, gather(of_images), scale))
            images.append((of_images, gather(of_texts), scale))
        ids = {**batch, "text_id": batch[_IDS[kind]]} if _IDS[kind] in batch else batch
        positives = Positives(self.settings.positives, ids, len(image), image.device)
        return sum_over_chunks(
            lambda rows: self._loss(rows, images, texts, known_rows[rows.part], all_known),
            image,
            text,
            positives,
            self.settings.chunk,
        )

    def _loss(
        self, rows: PairRows, images: _Rows, texts: _Rows, known_rows: Tensor, all_known: Tensor
    ) -> tuple[Tensor, Tensor]:
        scale = self.log_scale.exp()
        contrastive, distilled = [], []
        for vectors, every, teachers in ((rows.image, rows.all_text, images), (rows.text, rows.all_image, texts)):
            logits = scale * (vectors @ every.T)
            target = teacher_targets(
                [(of_own[rows.part], of_every, factor) for of_own, of_every, factor in teachers], all_known
            )
            student = log_softmax(logits.masked_fill(~all_known, LOWEST), dim=1)
            contrastive.append(-torch.where(rows.positive, log_softmax(logits, dim=1), 0).sum(1) / rows.positive.sum(1))
            distilled.append(-(target * student).sum(1))
        plain, taught = (contrastive[0] + contrastive[1]) / 2, (distilled[0] + distilled[1]) / 2
        share = self.settings.share * known_rows.to(plain.dtype)
        loss = ((1 - share) * plain + share * taught).sum()
        sums = torch.stack(
            [plain.sum(), (taught * known_rows).sum(), known_rows.to(plain.dtype).sum(), plain.new_tensor(len(plain))]
        )
        return loss, sums.detach().double()


def teacher_targets(teachers: list[tuple[Tensor, Tensor, float]], known: Tensor) -> Tensor:
    """(b, N) float32 rows that sum to one: the mean over teachers of softmax(s_k · rows · allᵀ) over what is known.

    Args:
        teachers: (b, D_k) rows, (N, D_k) all of the other kind, and the scale of each.
        known: (N,) bool.
    """
    shares = [softmax((scale * (rows @ every.T)).masked_fill(~known, LOWEST), dim=1) for rows, every, scale in teachers]
    return torch.stack(shares).mean(0)
