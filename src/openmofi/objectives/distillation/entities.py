"""Learning from what teachers think the image shows, by the classes of the large-margin softmax (MobileCLIP's
distillation, arXiv 2311.17049, §3.3, with entities in the place of the batch's texts).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, log_softmax, normalize

from openmofi.errors import UsageError
from openmofi.objectives.class_head.margin_softmax import MarginSoftmax
from openmofi.objectives.collectives import gather, gather_with_gradient, sum_over_ranks, world_size
from openmofi.objectives.distillation.reinforced import teacher_key
from openmofi.objectives.pairwise import at_least_float
from openmofi.objectives.protocol import Batch, Embeddings, ObjectiveResult

_LOW = -1e30  # of logits that do not count: their share is 0, and nothing overflows


class EntityDistillation(nn.Module):
    """Cross-entropy of the student's softmax over classes against the teachers', among the teachers' likeliest.

    A teacher's K likeliest entities of an image that are classes here are taken as all there is: its probabilities of
    them are divided by their sum, and the student's softmax runs over these classes alone; what a teacher gives to
    other entities is ignored, and which classes are wrong altogether is for the large-margin softmax to teach. The
    student's logits are the head's, scale · cosine with the best sub-centre, without margin. Several teachers: the mean
    of their losses. An image of which a teacher knows no class here does not count in that teacher's mean; one of
    which it knows a single class has no loss.

    Args:
        head: whose classes are learned too; they stay its parameters.
        teachers: their names.

    Raises:
        UsageError: there is no teacher.
    """

    def __init__(self, head: MarginSoftmax, teachers: Sequence[str]) -> None:
        super().__init__()
        if not teachers:
            raise UsageError("objectives.entity_distillation has no teacher.",
                             "Give a store that was made with --entity-scores.")
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
            # A rank's gradient is `world size` times the true one (see `ObjectiveResult`); classes have the true one.
            image = at_least_float(image)
            image = image + (world_size() - 1) * (image - image.detach())
            every = gather_with_gradient(image)
            found = [self._teacher(teacher, every, batch) for teacher in self.teachers]
        loss, known, agreement = (torch.stack(part).mean(0) for part in zip(*found, strict=True))
        return ObjectiveResult(loss, {"known": known, "agreement": agreement})

    def _teacher(self, teacher: str, images: Tensor, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Loss, share of known rows, and share of these where student and teacher agree."""
        ids, scores = (gather(batch[teacher_key(teacher, what)].to(images.device))
                       for what in ("entity_ids", "entity_scores"))
        there = (ids >= 0) & (ids < self._head[0].classes) & (scores > 0)
        target = torch.where(there, scores.to(images.dtype), 0)
        known = there.any(1)
        rows = known.sum().clamp(min=1)
        target = target / target.sum(1, keepdim=True).clamp(min=torch.finfo(target.dtype).tiny)
        student = log_softmax(self._logits(images, ids).masked_fill(~there, _LOW), dim=1)
        loss = -(target * torch.where(there, student, 0)).sum() / rows
        agreed = (student.argmax(1) == target.argmax(1)) & known
        return loss, known.to(images.dtype).mean(), agreed.sum() / rows

    def _logits(self, images: Tensor, ids: Tensor) -> Tensor:
        """(N, K) logits of the global batch's images, of classes on any rank; 0 where there is no such class."""
        head = self._head[0]
        here = (ids >= head.first) & (ids < head.first + len(head.weight))
        rows = (ids[here] - head.first).unique()
        if len(rows):
            sparse = head.settings.implementation == "sampled" and head.training
            centers = embedding(rows, head.weight, sparse=sparse).to(images.dtype)
            centers = normalize(centers.view(len(rows), head.settings.sub_centers, head.dim), dim=2)
            places = torch.searchsorted(rows, torch.where(here, ids - head.first, rows[0]))
            cosines = torch.einsum("nd,nksd->nks", images, centers[places]).amax(2)
        else:
            # The backward pass goes through a collective, which every rank has to join.
            cosines = images[:, :1].expand(ids.shape)
        own = torch.where(here, cosines * head.settings.scale, 0)
        # The sum over the ranks; each class has one rank, so that its gradient is that of what is here.
        return own + (sum_over_ranks(own) - own).detach()

    def sharded_parameters(self) -> dict[str, int]:
        """None: the classes are the head's."""
        return {}

    def after_step(self) -> None:
        """Nothing is clamped."""
