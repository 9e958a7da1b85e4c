"""Symmetric InfoNCE between images and texts, which knows that two pairs of one entity are no negatives."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

INITIAL_LOG_SCALE = math.log(1 / 0.07)
MAX_SCALE = 100.0


def capped_scale(log_scale: Tensor) -> Tensor:
    """The factor on cosines: exp(log_scale), at most 100. Start the parameter at `INITIAL_LOG_SCALE` (CLIP §2.3).

    Above the cap the gradient is zero, so clamp the parameter after each step if weight decay does not bring it back.
    """
    return log_scale.exp().clamp(max=MAX_SCALE)


def contrastive_loss(image: Tensor, text: Tensor, logit_scale: Tensor | float, groups: Tensor | None = None) -> Tensor:
    """The mean of image→text and text→image cross-entropy over a batch.

    Args:
        image, text: (B, D), L2-normalised; row i of one belongs to row i of the other.
        logit_scale: factor on the cosines, see `capped_scale`.
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
