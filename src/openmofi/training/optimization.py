"""Optimisers of a run, their learning rates as a function of the step, and clipping that knows of shards."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.nn.utils import get_total_norm

from openmofi.objectives.collectives import sum_over_ranks
from openmofi.training.distributed import Ranks
from openmofi.training.recipe.schema import OptimizerSettings
from openmofi.training.row_optimizers import RowAdagrad, RowAdamW


@dataclass(frozen=True)
class Trained:
    """A parameter that an optimiser moves.

    Attributes:
        name: unique in the run; names it in checkpoints.
        parameter: of this rank.
        rows: of the whole matrix where it is sharded by rows over the ranks and no DTensor itself; 0 elsewhere.
    """

    name: str
    parameter: nn.Parameter
    rows: int = 0


@dataclass(frozen=True)
class Optimizer:
    """An optimiser with the names of what it moves.

    Attributes:
        inner: whose groups carry `lr_scale`, the factor of the run's learning rate.
        trained: its parameters.
        clip: greatest gradient norm over all of them, on all ranks; 0 is off.
    """

    inner: torch.optim.Optimizer
    trained: tuple[Trained, ...]
    clip: float


def learning_rate(step: int, steps: int, settings: OptimizerSettings) -> float:
    """Of step `step` (from 0): linear warm-up, then half a cosine down to `min_lr` of the peak at the last step."""
    warm = min(settings.warmup, max(steps - 1, 0))
    if step < warm:
        return settings.lr * (step + 1) / warm
    done = (step - warm) / max(steps - 1 - warm, 1)
    low = settings.min_lr
    return settings.lr * (low + (1 - low) * 0.5 * (1 + math.cos(math.pi * min(done, 1.0))))


def set_learning_rate(optimizers: Iterable[Optimizer], rate: float) -> None:
    """Give every group its share of the run's learning rate."""
    for optimizer in optimizers:
        for group in optimizer.inner.param_groups:
            group["lr"] = rate * group["lr_scale"]


def grouped(parameters: Iterable[tuple[str, nn.Parameter, float, float]]) -> list[dict[str, Any]]:
    """Parameters in groups of one learning rate and one decay; those without a gradient are left out.

    Args:
        parameters: name, parameter, `lr_scale` (factor of the run's learning rate) and `weight_decay` of each.

    Returns:
        Groups of `params`, `names`, `lr_scale` and `weight_decay`, in the order in which they occur.
    """
    groups: dict[tuple[float, float], dict[str, Any]] = {}
    for name, parameter, lr_scale, weight_decay in parameters:
        if parameter.requires_grad:
            group = groups.setdefault(
                (lr_scale, weight_decay),
                {"params": [], "names": [], "lr_scale": lr_scale, "weight_decay": weight_decay},
            )
            group["params"].append(parameter)
            group["names"].append(name)
    return list(groups.values())


def dense_optimizer(groups: Sequence[Mapping[str, Any]], settings: OptimizerSettings, clip: float) -> Optimizer:
    """AdamW over groups of `params`, `names`, `lr_scale`, `weight_decay`."""
    inner = torch.optim.AdamW([dict(group) for group in groups], lr=settings.lr, betas=settings.betas, eps=settings.eps)
    trained = tuple(
        Trained(name, parameter)
        for group in groups
        for name, parameter in zip(group["names"], group["params"], strict=True)
    )
    return Optimizer(inner, trained, clip)


def sharded_optimizer(trained: Sequence[Trained], settings: OptimizerSettings, *, weight_decay: float) -> Optimizer:
    """The optimiser of a class head, with a learning rate of its own: `row-adamw` or `row-adagrad`."""
    group = {
        "params": [item.parameter for item in trained],
        "lr_scale": settings.class_head_lr / settings.lr,
        "weight_decay": weight_decay,
    }
    inner = (
        RowAdagrad([group], lr=settings.lr)
        if settings.head == "row-adagrad"
        else RowAdamW([group], lr=settings.lr, betas=settings.betas, eps=settings.eps)
    )
    return Optimizer(inner, tuple(trained), settings.head_clip)


def gradient_norm(optimizer: Optimizer, ranks: Ranks) -> Tensor:
    """Norm of all gradients of an optimiser's parameters together, the same on every rank.

    Sharded parts are summed over the ranks; replicated ones count once.
    """
    replicated: list[Tensor] = []
    sharded: list[Tensor] = []
    for item in optimizer.trained:
        if (gradient := item.parameter.grad) is None:
            continue
        if gradient.is_sparse and not gradient.is_coalesced():
            # Two losses over the same classes: a row that both touch stands there twice, and what counts is the sum.
            gradient = item.parameter.grad = gradient.coalesce()
        kind = sharded if item.rows or isinstance(gradient, DTensor) else replicated
        kind.append(_local(gradient).float())
    squares = [get_total_norm(kind).to(ranks.device).square() for kind in (replicated, sharded)]
    return (squares[0] + sum_over_ranks(squares[1])).sqrt()


def clip_gradients(optimizer: Optimizer, norm: Tensor) -> None:
    """Scale the gradients, whose norm is `norm`, down to the optimiser's `clip`, as `clip_grad_norm_` does."""
    # Multiplied by 1, gradients stay what they are.
    if not optimizer.clip or norm + 1e-6 <= optimizer.clip:
        return
    factor = optimizer.clip / (norm + 1e-6)
    for item in optimizer.trained:
        if item.parameter.grad is not None:
            piece = _local(item.parameter.grad)
            piece.mul_(factor.to(piece.dtype))


def _local(gradient: Tensor) -> Tensor:
    """The numbers of a gradient that this rank holds, sharing its memory."""
    if isinstance(gradient, DTensor):
        return gradient.to_local()
    return gradient._values() if gradient.is_sparse else gradient
