"""The losses of heads: plain contrastive, and over bags of labels of which some are right."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from openmofi.objectives.contrastive import at_least_float

MAX_SCALE = 100.0


def contrastive_loss(image: Tensor, text: Tensor, logit_scale: Tensor | float) -> Tensor:
    """The mean of image→text and text→image cross-entropy over a batch.

    Args:
        image, text: (B, D), L2-normalised; row i of one belongs to row i of the other.
        logit_scale: factor on the cosines.

    Returns:
        A scalar; 0 with a zero gradient for an empty batch. Computed in float32, or float64 if both inputs are.

    Raises:
        ValueError: the shapes do not match.
    """
    if image.shape != text.shape or image.ndim != 2:
        raise ValueError(f"image {tuple(image.shape)} and text {tuple(text.shape)} must both be (B, D)")
    if not len(image):
        return (image.sum() + text.sum()) * 0.0
    logits = at_least_float(logit_scale * (image @ text.T))
    target = torch.arange(len(image), device=image.device)
    return (cross_entropy(logits, target) + cross_entropy(logits.T, target)) / 2


EMPTY = -1


def partial_label_loss(logits: Tensor, bag: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean over rows of −log Σ_{e in bag} w_e · softmax(logits)_e (MIL-NCE, arXiv 1912.06430, equation 1).

    The entity that recurs with a kind of image wins the bag, since raising it lowers the loss most. A bag of one entity
    of weight 1 is cross-entropy.

    Args:
        logits: (B, V), any floating type; the loss is computed in float32, or in float64 if they are.
        bag: (B, K) int64 columns of `logits`, padded with −1 anywhere. An entity listed twice counts twice.
        weights: (B, K) non-negative, such as link scores; 1 by default. They are not normalised: a common factor
            shifts the loss and leaves the gradient unchanged. Weights of padding are ignored.

    Returns:
        A scalar. Rows with an empty bag (all −1, or only zero weights) are ignored and not counted in the mean; 0,
        with a zero gradient, if every row is ignored.

    Raises:
        ValueError: the shapes do not match.
    """
    if logits.ndim != 2 or bag.ndim != 2 or len(bag) != len(logits):
        raise ValueError(f"logits {tuple(logits.shape)} and bag {tuple(bag.shape)} must be (B, V) and (B, K)")
    weights = torch.ones_like(bag) if weights is None else weights
    if weights.shape != bag.shape:
        raise ValueError(f"weights {tuple(weights.shape)} and bag {tuple(bag.shape)} differ in shape")
    scores = at_least_float(logits)
    present = (bag != EMPTY) & (weights > 0)
    counted = present.any(dim=1)
    if not counted.any():
        return scores.sum() * 0.0
    # Only counted rows go on: their log-sums are finite, so no NaN can enter the gradient through a masked branch.
    scores, present = scores[counted], present[counted]
    logs = torch.where(present, weights[counted].to(scores.dtype), 1).log()
    inside = (scores.gather(1, bag[counted].clamp(min=0)) + logs).masked_fill(~present, -torch.inf)
    return (scores.logsumexp(dim=1) - inside.logsumexp(dim=1)).mean()
