"""Contrastive losses between images and texts, which know that two pairs of one entity are no negatives."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint

from openmofi.objectives.collectives import gather_with_gradient, sum_over_ranks, world_size
from openmofi.objectives.pairwise import PAIRWISE, Rows, at_least_float
from openmofi.objectives.positives import Positives
from openmofi.objectives.protocol import Batch, Embeddings, ObjectiveResult
from openmofi.objectives.settings import ContrastiveSettings

MAX_SCALE = 100.0


def contrastive_loss(image: Tensor, text: Tensor, logit_scale: Tensor | float, groups: Tensor | None = None) -> Tensor:
    """The mean of image→text and text→image cross-entropy over a batch.

    Args:
        image, text: (B, D), L2-normalised; row i of one belongs to row i of the other.
        logit_scale: factor on the cosines.
        groups: (B,) int64: pairs of one number (one entity) are all positives of each other and share the target's
            mass evenly. A negative number means that a pair is a group of its own. None: every pair is.

    Returns:
        A scalar; 0 with a zero gradient for an empty batch. Computed in float32, or float64 if both inputs are.

    Raises:
        ValueError: the shapes do not fit.
    """
    if image.shape != text.shape or image.ndim != 2:
        raise ValueError(f"image {tuple(image.shape)} and text {tuple(text.shape)} must both be (B, D)")
    if groups is not None and groups.shape != image.shape[:1]:
        raise ValueError(f"groups {tuple(groups.shape)} must be ({len(image)},)")
    if not len(image):
        return (image.sum() + text.sum()) * 0.0
    logits = logit_scale * (image @ text.T)
    logits = logits if logits.dtype == torch.float64 else logits.float()
    if groups is None:
        target = torch.arange(len(image), device=image.device)
        return (cross_entropy(logits, target) + cross_entropy(logits.T, target)) / 2
    shared = _shared_targets(groups, logits.dtype)
    return (cross_entropy(logits, shared) + cross_entropy(logits.T, shared)) / 2


def _shared_targets(groups: Tensor, dtype: torch.dtype) -> Tensor:
    """(B, B) rows that sum to 1, even over the pairs of the row's group; symmetric."""
    same = (groups[:, None] == groups[None, :]) & (groups >= 0)[:, None]
    mass = (same | torch.eye(len(groups), dtype=torch.bool, device=groups.device)).to(dtype)
    return mass / mass.sum(dim=1, keepdim=True)


class Contrastive(nn.Module):
    """Contrastive learning of images and texts, as an `Objective`.

    Each rank computes the loss of its own rows against the pairs of all ranks, which are gathered with a gradient.
    With `settings.chunk` rows at a time and recomputation in the backward pass, what is kept is O(B · D), not O(B²).
    Computed in float32 (float64 if the embeddings are).

    Attributes:
        log_scale: scalar parameter; the factor on cosines is its exponential, at most `settings.max_scale`.
        bias: scalar parameter of the sigmoid loss; None for InfoNCE.
    """

    def __init__(self, settings: ContrastiveSettings) -> None:
        super().__init__()
        self.settings = settings
        self.log_scale = nn.Parameter(torch.tensor(math.log(settings.scale)))
        self.bias = nn.Parameter(torch.tensor(settings.bias)) if settings.loss == "sigmoid" else None
        self.after_step()

    def forward(self, embeddings: Embeddings, batch: Batch) -> ObjectiveResult:
        """The loss and how often a positive is ranked first.

        Args:
            embeddings: `image` and `text`, (B, D), L2-normalised.
            batch: `text_id` and `labels`, where the rule of positives asks for them.

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
            return self._result(at_least_float(image), at_least_float(text), batch)

    def _result(self, image: Tensor, text: Tensor, batch: Batch) -> ObjectiveResult:
        rows, dim = image.shape
        every = gather_with_gradient(torch.cat([image, text], dim=1))
        positives = Positives(self.settings.positives, batch, rows, image.device)
        chunk = self.settings.chunk or rows
        parts = []
        for start in range(0, rows, chunk):
            part = slice(start, min(start + chunk, rows))
            arguments = (image[part], text[part], every[:, :dim], every[:, dim:], positives, part)
            # A single chunk is as large in the backward pass as in the forward one: nothing to gain by recomputing it.
            parts.append(self._part(*arguments) if chunk >= rows else checkpoint(
                self._part, *arguments, use_reentrant=False, preserve_rng_state=False))
        loss = sum((part[0] for part in parts), start=image.new_zeros(())) / rows
        counts = torch.stack([part[1] for part in parts]).sum(dim=0)
        return self._over_ranks(loss, counts, len(every))

    def _part(self, image: Tensor, text: Tensor, all_image: Tensor, all_text: Tensor, positives: Positives,
              part: slice) -> tuple[Tensor, Tensor]:
        mask = positives.mask(part.start, part.stop, len(all_image))
        rows = Rows(image, text, all_image, all_text, mask, self.log_scale.exp(), self.bias)
        loss, hits = PAIRWISE[self.settings.loss](rows)
        return loss, torch.cat([hits, mask.sum()[None]])

    def _over_ranks(self, loss: Tensor, counts: Tensor, pairs: int) -> ObjectiveResult:
        totals = sum_over_ranks(torch.cat([loss.detach().double()[None], counts.double()]))
        mean = (totals[0] / world_size()).to(loss.dtype)
        to_text, to_image, positive = (totals[1:] / pairs).float()
        metrics = {"accuracy/image_to_text": to_text, "accuracy/text_to_image": to_image, "positives": positive,
                   "logit_scale": self.log_scale.detach().exp()}
        if self.bias is not None:
            metrics["logit_bias"] = self.bias.detach().clone()
        # The value is the global mean, the gradient that of this rank's rows.
        return ObjectiveResult(loss + (mean - loss).detach(), metrics)

    def sharded_parameters(self) -> dict[str, int]:
        """None: the scale and the bias are replicated."""
        return {}

    @torch.no_grad()
    def after_step(self) -> None:
        """Keep the scale at most `settings.max_scale` (CLIP §2.3)."""
        self.log_scale.clamp_(max=math.log(self.settings.max_scale))
