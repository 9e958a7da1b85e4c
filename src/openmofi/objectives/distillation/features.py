"""Learning the teachers' embeddings of an image (feature distillation, CLIP-KD, arXiv 2307.12732, §3.2)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn
from torch.nn.functional import normalize

from openmofi.errors import UsageError
from openmofi.objectives.collectives import sum_over_ranks, world_size
from openmofi.objectives.distillation.reinforced import KNOWN, teacher_key
from openmofi.objectives.pairwise import at_least_float
from openmofi.objectives.protocol import Batch, Embeddings, ObjectiveResult, Replicated


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
