"""Contrastive losses between images and texts; pairs of one entity are not negatives of each other."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from openmofi.objectives.collectives import world_size
from openmofi.objectives.objective_settings import ContrastiveSettings
from openmofi.objectives.pairwise import (
    PAIRWISE,
    HardTexts,
    LogitScale,
    PairRows,
    Positives,
    at_least_float,
    mean_over_ranks,
    sum_over_chunks,
)
from openmofi.objectives.protocol import Batch, Embeddings, ObjectiveResult

MAX_SCALE = 100.0


def contrastive_loss(image: Tensor, text: Tensor, logit_scale: Tensor | float, groups: Tensor | None = None) -> Tensor:
    """The mean of image→text and text→image cross-entropy over a batch.

    Args:
        image, text: (B, D), L2-normalised; row i of one belongs to row i of the other.
        logit_scale: factor on the cosines.
        groups: (B,) int64: pairs with the same number (entity) are positives of each other and share the target's mass
            evenly. A pair with a negative number is a group of its own. None: every pair is.

    Returns:
        A scalar; 0 with a zero gradient for an empty batch. Computed in float32, or float64 if both inputs are.

    Raises:
        ValueError: the shapes do not match.
    """
    if image.shape != text.shape or image.ndim != 2:
        raise ValueError(f"image {tuple(image.shape)} and text {tuple(text.shape)} must both be (B, D)")
    if groups is not None and groups.shape != image.shape[:1]:
        raise ValueError(f"groups {tuple(groups.shape)} must be ({len(image)},)")
    if not len(image):
        return (image.sum() + text.sum()) * 0.0
    logits = at_least_float(logit_scale * (image @ text.T))
    target = torch.arange(len(image), device=image.device) if groups is None else _shared_targets(groups, logits.dtype)
    return (cross_entropy(logits, target) + cross_entropy(logits.T, target)) / 2


def _shared_targets(groups: Tensor, dtype: torch.dtype) -> Tensor:
    """(B, B) rows that sum to 1, even over the pairs of the row's group; symmetric."""
    same = (groups[:, None] == groups[None, :]) & (groups >= 0)[:, None]
    mass = (same | torch.eye(len(groups), dtype=torch.bool, device=groups.device)).to(dtype)
    return mass / mass.sum(dim=1, keepdim=True)


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
