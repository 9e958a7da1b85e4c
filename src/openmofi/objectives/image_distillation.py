"""Learning which pictures teachers find alike: the batch's pictures in the place of its texts (MobileCLIP's distillation,
arXiv 2311.17049, §3.3; similarity-preserving distillation, arXiv 1907.09682, with a softmax).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax, softmax

from openmofi.errors import UsageError
from openmofi.objectives.collectives import gather, gather_with_gradient, rank, sum_over_ranks, world_size
from openmofi.objectives.pairwise import at_least_float
from openmofi.objectives.protocol import Batch, Embeddings, ObjectiveResult
from openmofi.objectives.reinforced import KNOWN, teacher_key

_LOW = -1e30  # of logits that do not count: their share is 0, and nothing overflows


class ImageDistillation(nn.Module):
    """Cross-entropy of the student's softmax over the other pictures of the batch against a teacher's.

    Both softmaxes are of cosines between pictures times the teacher's own factor, so that a student whose cosines are
    the teacher's has the least loss, and nothing is learned but the embeddings. Several teachers: the mean of their
    losses. Each rank computes its rows against the pictures of all ranks. A picture that no teacher knows has no loss,
    and is no candidate; nor is a picture its own.

    Args:
        scales: teacher → factor on its cosines.

    Raises:
        UsageError: there is no teacher, or a scale is no positive number.
    """

    def __init__(self, scales: Mapping[str, float]) -> None:
        super().__init__()
        if not scales or not all(math.isfinite(scale) and scale > 0 for scale in scales.values()):
            raise UsageError(f"objectives.image_distillation has the teachers' scales {dict(scales)}.",
                             "Each teacher needs one, a positive number.")
        self.scales = dict(scales)

    def forward(self, embeddings: Embeddings, batch: Batch) -> ObjectiveResult:
        """The loss of a batch.

        Args:
            embeddings: `image` (B, D), L2-normalised.
            batch: `known` (B,) bool; of each teacher `teacher/NAME/image` (B, D_k) float32, L2-normalised.

        Returns:
            The loss, the mean over the global batch's known pictures, and the metric `divergence` (nats: the same less
            the targets' entropy, which no student can go below).
        """
        image = embeddings["image"]
        with torch.autocast(image.device.type, enabled=False):
            image = at_least_float(image)
            every = gather_with_gradient(image)
            known = batch[KNOWN].to(image.device)
            candidates = self._candidates(known)
            found = [self._teacher(batch[teacher_key(name, "image")].to(image.device), scale, image @ every.T, candidates)
                     for name, scale in self.scales.items()]
        taught, entropy = (torch.stack(part).mean(0) * known for part in zip(*found, strict=True))
        totals = sum_over_ranks(torch.stack([taught.sum(), entropy.sum(), known.to(taught.dtype).sum()]).double())
        rows = totals[2].clamp_min(1)
        # A rank's gradient is that of its mean over its share of the known rows: see `ObjectiveResult`.
        loss = taught.sum() * world_size() / rows.to(taught.dtype)
        mean = (totals[0] / rows).to(loss.dtype)
        return ObjectiveResult(loss + (mean - loss).detach(), {"divergence": ((totals[0] - totals[1]) / rows).float()})

    @staticmethod
    def _candidates(known: Tensor) -> Tensor:
        """(b, N) bool: the other known pictures of all ranks."""
        rows = len(known)
        everyone = gather(known.to(torch.uint8)).bool()
        found = everyone.repeat(rows, 1)
        own = torch.arange(rows, device=known.device)
        found[own, rank() * rows + own] = False
        return found

    @staticmethod
    def _teacher(own: Tensor, scale: float, cosines: Tensor, candidates: Tensor) -> tuple[Tensor, Tensor]:
        """(b,) cross-entropies and (b,) entropies of a teacher's targets; 0 where there is no candidate."""
        own = at_least_float(own)
        target = softmax((scale * (own @ gather(own).T)).masked_fill(~candidates, _LOW), dim=1) * candidates
        student = log_softmax((scale * cosines).masked_fill(~candidates, _LOW), dim=1)
        return (-(target * torch.where(candidates, student, 0)).sum(1),
                -(target * target.clamp_min(torch.finfo(target.dtype).tiny).log()).sum(1))

    def sharded_parameters(self) -> dict[str, int]:
        """None: there are no parameters."""
        return {}

    def after_step(self) -> None:
        """Nothing is clamped."""
