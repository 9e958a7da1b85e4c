"""Learning the teachers' embeddings of an image (feature distillation, CLIP-KD, arXiv 2307.12732, §3.2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, log_softmax, normalize

from openmofi.errors import UsageError
from openmofi.objectives.collectives import gather, gather_with_gradient, sum_over_ranks, world_size
from openmofi.objectives.margin_softmax import MarginSoftmax
from openmofi.objectives.pairwise import at_least_float
from openmofi.objectives.protocol import Batch, Embeddings, ObjectiveResult, Replicated
from openmofi.objectives.reinforced import KNOWN, LOWEST, teacher_key

# arXiv 2311.17049, §3.3, with entities in place of the batch's texts).


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
        """The loss of a batch.

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
        loss, known, agreement = (torch.stack(values).mean(0) for values in zip(*results, strict=True))
        return ObjectiveResult(loss, {"known": known, "agreement": agreement})

    def _teacher(self, teacher: str, images: Tensor, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Loss, share of known rows, and share of these where student and teacher agree."""
        ids, scores = (
            gather(batch[teacher_key(teacher, what)].to(images.device)) for what in ("entity_ids", "entity_scores")
        )
        valid = (ids >= 0) & (ids < self._head[0].classes) & (scores > 0)
        target = torch.where(valid, scores.to(images.dtype), 0)
        known = valid.any(1)
        rows = known.sum().clamp(min=1)
        target = target / target.sum(1, keepdim=True).clamp(min=torch.finfo(target.dtype).tiny)
        student = log_softmax(self._logits(images, ids).masked_fill(~valid, LOWEST), dim=1)
        loss = -(target * torch.where(valid, student, 0)).sum() / rows
        agreed = (student.argmax(1) == target.argmax(1)) & known
        return loss, known.to(images.dtype).mean(), agreed.sum() / rows

    def _logits(self, images: Tensor, ids: Tensor) -> Tensor:
        """(N, K) logits of the global batch's images, of classes on any rank; 0 where an id is no class."""
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
        own = torch.where(local, cosines * head.settings.scale, 0)
        # The sum over the ranks. A class lies on one rank, so that the gradient is that of the local part.
        return own + (sum_over_ranks(own) - own).detach()


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
        """The loss of a batch.

        Args:
            embeddings: `image` (B, D), L2-normalised.
            batch: `known` (B,) bool; of each teacher `teacher/NAME/image` (B, D_k) float32, L2-normalised.

        Returns:
            The loss, the mean over the global batch's known images.
        """
        image = embeddings["image"]
        known = batch[KNOWN].to(image.device)
        with torch.autocast(image.device.type, enabled=False):
            image = at_least_float(image)
            cosines = [
                (
                    normalize(linear(image), dim=1)
                    * at_least_float(batch[teacher_key(teacher, "image")].to(image.device))
                ).sum(1)
                for teacher, linear in zip(self.teachers, self.maps, strict=True)
            ]
            distances = (1 - torch.stack(cosines)).mean(0) * known
        totals = sum_over_ranks(torch.stack([distances.sum(), known.to(distances.dtype).sum()]).double())
        rows = totals[1].clamp_min(1).to(distances.dtype)
        # A rank's gradient is that of its mean over its share of the known rows: see `ObjectiveResult`.
        loss = distances.sum() * world_size() / rows
        return ObjectiveResult(loss + (totals[0].to(loss.dtype) / rows - loss).detach())
