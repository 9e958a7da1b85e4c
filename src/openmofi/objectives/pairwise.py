"""What some rows of a batch add to a contrastive loss, given their positives: InfoNCE and the sigmoid loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import log_softmax, logsigmoid


@dataclass(frozen=True)
class Rows:
    """Some of this rank's rows beside the pairs of all ranks.

    Attributes:
        image, text: (b, D) the rows.
        all_image, all_text: (N, D) all pairs.
        positive: (b, N) bool; at least one a row.
        scale, bias: scalars: logit = scale · cosine + bias (the bias of the sigmoid loss only).
    """

    image: Tensor
    text: Tensor
    all_image: Tensor
    all_text: Tensor
    positive: Tensor
    scale: Tensor
    bias: Tensor | None


def infonce(rows: Rows) -> tuple[Tensor, Tensor]:
    """Symmetric InfoNCE (CLIP §2.3), the mass of a row's target shared evenly by its positives.

    Returns:
        The sum over the rows of ½ (image→text + text→image cross-entropy); and, without a gradient, (2,) how many rows
        rank a positive first, image→text and text→image.
    """
    to_text = log_softmax(rows.scale * (rows.image @ rows.all_text.T), dim=1)
    to_image = log_softmax(rows.scale * (rows.text @ rows.all_image.T), dim=1)
    count = rows.positive.sum(dim=1)
    found = (torch.where(rows.positive, side, 0).sum(dim=1) / count for side in (to_text, to_image))
    loss = -sum(found, start=torch.zeros_like(rows.image[:, 0])).sum() / 2
    return loss, torch.stack([_hits(to_text, rows.positive), _hits(to_image, rows.positive)])


def sigmoid(rows: Rows) -> tuple[Tensor, Tensor]:
    """The sigmoid loss (SigLIP, arXiv 2303.15343, algorithm 1): every pair is a question of its own.

    Returns:
        The sum over the rows' images and all texts of −log σ(±logit), + for positives; and the hits as in `infonce`.
    """
    cosine = rows.image @ rows.all_text.T
    logit = rows.scale * cosine if rows.bias is None else rows.scale * cosine + rows.bias
    loss = -logsigmoid(torch.where(rows.positive, logit, -logit)).sum()
    with torch.no_grad():
        back = rows.text @ rows.all_image.T
    return loss, torch.stack([_hits(cosine, rows.positive), _hits(back, rows.positive)])


PAIRWISE: dict[str, Callable[[Rows], tuple[Tensor, Tensor]]] = {"infonce": infonce, "sigmoid": sigmoid}
"""The losses by the name that a recipe gives them."""


def at_least_float(tensor: Tensor) -> Tensor:
    """In float32, or float64 where it is."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def _hits(scores: Tensor, positive: Tensor) -> Tensor:
    best = scores.detach().argmax(dim=1, keepdim=True)
    return positive.gather(1, best).sum()
