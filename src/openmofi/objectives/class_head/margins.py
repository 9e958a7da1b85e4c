"""Margins on the cosine of an image and its own class, and their slopes."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_LEAST_SQUARED_SINE = 1e-6


def cosface(cosine: Tensor, margin: float) -> tuple[Tensor, Tensor]:
    """CosFace, cos θ − m (arXiv 1801.09414, equation 4), and its slope in cos θ, both of the cosine's shape."""
    return cosine - margin, torch.ones_like(cosine)


def arcface(cosine: Tensor, margin: float) -> tuple[Tensor, Tensor]:
    """ArcFace, cos(θ + m) (arXiv 1801.07698, equation 3), and its true slope in cos θ, both of the cosine's shape.

    Past θ + m = π, where cos(θ + m) would rise again, it is cos θ − m·sin m, as in the authors' code (insightface)
    and in pytorch-metric-learning. The slope, which has a pole at cos θ = 1, is bounded there.
    """
    squared_sine = 1 - cosine * cosine
    sine = squared_sine.clamp(min=_LEAST_SQUARED_SINE).sqrt()
    turned = cosine * math.cos(margin) - sine * math.sin(margin)
    slope = math.cos(margin) + torch.where(squared_sine > _LEAST_SQUARED_SINE, cosine / sine, 0) * math.sin(margin)
    before = cosine > math.cos(math.pi - margin)
    past = cosine - margin * math.sin(margin)
    return torch.where(before, turned, past), torch.where(before, slope, 1)


MARGINS = {"cosface": cosface, "arcface": arcface}
"""Margin type of the settings → function."""
