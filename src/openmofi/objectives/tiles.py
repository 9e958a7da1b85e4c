"""The large-margin softmax itself, over tiles of classes, with its gradient written by hand.

With P the classes of an image, w their weights (which sum to 1), z the logits and z' those with the margin, an
image's loss is Σ_{t∈P} w_t · −log(exp z'_t / (exp z'_t + Σ_{n∉P} exp z_n)) = Σ_t w_t · softplus(N − z'_t), where
N = log Σ_{n∉P} exp z_n. The margin never enters a log-sum-exp, from which it would have to be removed again.
"""

import math
from dataclasses import dataclass, fields
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import logsigmoid

from openmofi.objectives.collectives import gather, max_over_ranks, scatter_sum, sum_over_ranks, world_size
from openmofi.objectives.objective_settings import MarginSoftmaxSettings

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


_LOWEST = -1e30


@dataclass(frozen=True)
class Targets:
    """The labels of the global batch, as columns of this rank's logits.

    Attributes:
        columns: (B, L) int64: column of each label among the classes that this rank scores; −1 where it has none.
        weights: (B, L): of the labels, each row sums to 1, or to 0 if the row has no label.
        rows: (N,) int64 rows of the weight that are scored, unique and ascending; None for all.
        log_probability: (N,): that a class is scored, for the logQ correction; None for no correction.
    """

    columns: Tensor
    weights: Tensor
    rows: Tensor | None = None
    log_probability: Tensor | None = None


@dataclass(frozen=True)
class _Tile:
    """Some classes against all images.

    Attributes:
        unit: (n·K, D) their sub-centres, of length 1; length: (n·K, 1) before that.
        logits: (B, n) of the negatives, −inf where a class is not one.
        best: (B, n, 1) which sub-centre counts; None with one sub-centre.
        image, slot, column: (T,) images, labels and columns (of the tile) of the targets inside.
        target: (T,) logits of these, without margin; hardest: (B,) greatest logit that is no target's, unfiltered.
    """

    unit: Tensor
    length: Tensor
    logits: Tensor
    best: Tensor | None
    image: Tensor
    slot: Tensor
    column: Tensor
    target: Tensor
    hardest: Tensor


def margin_softmax(
    embeddings: Tensor, weight: Tensor, targets: Targets, settings: MarginSoftmaxSettings, keep: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """The loss of the global batch against the classes of every rank.

    Args:
        embeddings: (b, d) of this rank, L2-normalised, float32 (or float64, then all is).
        weight: (rows, K·D) of this rank; a row holds a class's K sub-centres, of any length. Where d < D, the first d
            dimensions of each count alone (Matryoshka, arXiv 2205.13147, with tied weights).
        targets, settings: see there; B is the global batch.
        keep: hold the logits for the backward pass instead of computing them again.

    Returns:
        The mean over the global batch's rows with a label (scalar); and, without a gradient, (B, L) cosines of the
        targets and (B,) the greatest cosine with any other class. The gradient of `weight` is dense, or sparse COO
        over `targets.rows`. Gradients are those that `openmofi.objectives.protocol` asks for.
    """
    return _MarginSoftmax.apply(embeddings, weight, targets, settings, keep)


class _MarginSoftmax(torch.autograd.Function):
    @staticmethod
    def forward(
        context: Any, embeddings: Tensor, weight: Tensor, targets: Targets, settings: MarginSoftmaxSettings, keep: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        images = gather(embeddings) * settings.scale
        target = images.new_zeros(targets.columns.shape)
        hardest, top, total = (images.new_full(images.shape[:1], value) for value in (_LOWEST, _LOWEST, 0.0))
        saved: list[Tensor | None] = []
        for start, stop in _steps(weight, targets, settings):
            tile = _tile(images, weight, targets, settings, start, stop)
            target[tile.image, tile.slot] = tile.target
            hardest = torch.maximum(hardest, tile.hardest)
            peak = tile.hardest if settings.negative_filter >= 1 else tile.logits.amax(1)
            above = torch.maximum(top, peak)
            total = total * (top - above).exp() + (tile.logits - above[:, None]).exp_().sum(1)
            top = above
            if keep:
                saved += vars(tile).values()
        greatest = max_over_ranks(top)
        total = sum_over_ranks(total * (top - greatest).exp())
        cosine = sum_over_ranks(target) / settings.scale
        hardest = max_over_ranks(hardest) / settings.scale
        loss, context.target, context.row = _joined(cosine, greatest + total.log(), targets.weights, settings)
        context.save_for_backward(images, weight, *saved)
        context.rest = targets, settings
        context.mark_non_differentiable(cosine, hardest)
        return loss, cosine, hardest

    @staticmethod
    @once_differentiable
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        images, weight, *saved = context.saved_tensors
        targets, settings = context.rest
        # The factor from outside rides on the images, of which there are few.
        factor = gradients[0] * settings.scale
        weighted = images * gradients[0]
        rows = len(weight) if targets.rows is None else len(targets.rows)
        whole = weight.shape[1] == images.shape[1] * settings.sub_centers
        of_rows = (images.new_empty if whole else images.new_zeros)(rows, weight.shape[1])
        of_whole = of_rows.view(rows * settings.sub_centers, weight.shape[1] // settings.sub_centers)
        of_centers = of_whole[:, : images.shape[1]]
        of_images = torch.zeros_like(images)
        tensors = iter(saved)
        for start, stop in _steps(weight, targets, settings):
            tile = (
                _Tile(*islice(tensors, len(fields(_Tile))))
                if saved
                else _tile(images, weight, targets, settings, start, stop)
            )
            of_logits = _logit_gradient(tile, context.row, context.target)
            of_images.addmm_(of_logits, tile.unit)
            # The gradient at the tile's rows, through the division by their length.
            of_tile = of_centers[start * settings.sub_centers : stop * settings.sub_centers]
            torch.mm(of_logits.T, weighted, out=of_tile)
            along = torch.bmm(of_tile[:, None], tile.unit[:, :, None])[:, 0]
            of_tile.addcmul_(tile.unit, along, value=-1).div_(tile.length)
        of_rows = of_rows.to(weight.dtype)
        if targets.rows is not None:
            of_rows = torch.sparse_coo_tensor(
                targets.rows[None], of_rows, weight.shape, is_coalesced=True, check_invariants=False
            )
        return scatter_sum(of_images * factor) * world_size(), of_rows, None, None, None


def _steps(weight: Tensor, targets: Targets, settings: MarginSoftmaxSettings) -> list[tuple[int, int]]:
    """First column of each tile and the column after its last."""
    columns = len(weight) if targets.rows is None else len(targets.rows)
    return [(start, min(start + settings.chunk, columns)) for start in range(0, columns, settings.chunk)]


def _tile(
    images: Tensor, weight: Tensor, targets: Targets, settings: MarginSoftmaxSettings, start: int, stop: int
) -> _Tile:
    """The logits of columns `start` to `stop`; `images` already carry the scale."""
    rows = weight[start:stop] if targets.rows is None else weight.index_select(0, targets.rows[start:stop])
    whole = rows.reshape(len(rows) * settings.sub_centers, rows.shape[1] // settings.sub_centers)
    centers = whole[:, : images.shape[1]].to(images.dtype)
    length = centers.norm(dim=1, keepdim=True).clamp_(min=torch.finfo(images.dtype).tiny ** 0.5)
    unit = centers / length
    logits, best = images @ unit.T, None
    if settings.sub_centers > 1:
        logits, best = logits.view(len(images), -1, settings.sub_centers).max(dim=2, keepdim=True)
        logits = logits.squeeze(2)
    image, slot = ((targets.columns >= start) & (targets.columns < stop)).nonzero(as_tuple=True)
    column = targets.columns[image, slot] - start
    target = logits[image, column]
    logits[image, column] = -torch.inf
    hardest = logits.amax(1)
    if settings.negative_filter < 1:
        logits.masked_fill_(logits > settings.negative_filter * settings.scale, -torch.inf)
    if targets.log_probability is not None:
        logits -= targets.log_probability[start:stop].to(logits.dtype)
    return _Tile(unit, length, logits, best, image, slot, column, target, hardest)


def _joined(
    cosine: Tensor, negatives: Tensor, weights: Tensor, settings: MarginSoftmaxSettings
) -> tuple[Tensor, Tensor, Tensor]:
    """The loss, from the targets' cosines (B, L) and the negatives' log-sum-exp (B,).

    Returns:
        The loss; its gradient at the targets' cosines times scale (B, L); and, for the negatives, (B,) what is
        subtracted from a logit so that its exponential is the gradient there.
    """
    with_margin, slope = MARGINS[settings.margin_type](cosine, settings.margin)
    gap = negatives[:, None] - settings.scale * with_margin
    share = weights / (weights.sum(1) > 0).sum().clamp(min=1)
    missed = share * gap.sigmoid()
    return -(share * logsigmoid(-gap)).sum(), -missed * slope, negatives.clamp(min=_LOWEST) - missed.sum(1).log()


def _logit_gradient(tile: _Tile, row: Tensor, target: Tensor) -> Tensor:
    """(B, n·K) gradient at the tile's logits, or at those of all its sub-centres."""
    gradient = (tile.logits - row[:, None]).exp_()
    gradient.index_put_((tile.image, tile.column), target[tile.image, tile.slot], accumulate=True)
    if tile.best is None:
        return gradient
    sub_centers = len(tile.unit) // gradient.shape[1]
    spread = gradient.new_zeros(*gradient.shape, sub_centers)
    return spread.scatter_(2, tile.best, gradient[:, :, None]).flatten(1)
