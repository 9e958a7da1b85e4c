"""Optimisers of a run, their learning rates as a function of the step, and clipping that knows of shards."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.nn.utils import get_total_norm

from openmofi.objectives.collectives import sum_over_ranks
from openmofi.training.distributed import Ranks
from openmofi.training.recipe import OptimizerSettings

# A gradient in sparse COO form names the rows that are touched; a dense one touches all. Weight decay is decoupled
# (AdamW) and, like the moments' decay, happens to a row only in the steps that touch it: a class that is sampled in a
# tenth of the steps is decayed a tenth as often. A cosine classifier does not see the length of its rows, so that
# decay only keeps its effective learning rate up.

_CHUNK_ELEMENTS = 2**19


class _RowOptimizer(torch.optim.Optimizer):
    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update the touched rows of all parameters with a gradient; returns what `closure` returned."""
        with torch.enable_grad():
            loss = None if closure is None else closure()
        for group in self.param_groups:
            for parameter in (parameter for parameter in group["params"] if parameter.grad is not None):
                state = self.state[parameter] = self.state.get(parameter) or self._initial(parameter)
                for rows, gradient in _touched(parameter):
                    self._update(parameter, state, rows, gradient, group)
        return loss

    def _initial(self, parameter: Tensor) -> dict[str, Tensor]:
        raise NotImplementedError

    def _update(
        self, parameter: Tensor, state: dict[str, Tensor], rows: Tensor | slice, gradient: Tensor, group: dict[str, Any]
    ) -> None:
        raise NotImplementedError


class RowAdamW(_RowOptimizer):
    """AdamW (arXiv 1711.05101), each row with its own count of steps for the bias correction.

    State of a parameter (n, …): `steps` (n,) float32, `exp_avg` and `exp_avg_sq` of its shape. Where every step touches
    all rows, this is `torch.optim.AdamW`.

    Raises:
        ValueError: a setting is out of range.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        if not (lr >= 0 and eps >= 0 and weight_decay >= 0 and all(0 <= beta < 1 for beta in betas)):
            raise ValueError(f"out of range: lr {lr}, betas {betas}, eps {eps} or weight_decay {weight_decay}")
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    def _initial(self, parameter: Tensor) -> dict[str, Tensor]:
        return {
            "steps": _zero_per_row(parameter),
            "exp_avg": torch.zeros_like(parameter),
            "exp_avg_sq": torch.zeros_like(parameter),
        }

    def _update(
        self, parameter: Tensor, state: dict[str, Tensor], rows: Tensor | slice, gradient: Tensor, group: dict[str, Any]
    ) -> None:
        (beta1, beta2), along = group["betas"], (-1,) + (1,) * (parameter.ndim - 1)
        steps = state["steps"][rows] + 1
        first = state["exp_avg"][rows].lerp_(gradient, 1 - beta1)
        second = state["exp_avg_sq"][rows].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        size = group["lr"] / (1 - beta1**steps)
        root = second.sqrt().div_((1 - beta2**steps).sqrt_().view(along)).add_(group["eps"])
        moved = parameter[rows].mul_(1 - group["lr"] * group["weight_decay"])
        moved.sub_(root.reciprocal_().mul_(first).mul_(size.view(along)))
        for tensor, values in (
            (state["steps"], steps),
            (state["exp_avg"], first),
            (state["exp_avg_sq"], second),
            (parameter, moved),
        ):
            tensor[rows] = values


class RowAdagrad(_RowOptimizer):
    """Adagrad with one accumulator a row: the mean of its squared gradients (row-wise Adagrad, as in torchrec).

    State of a parameter (n, …): `sum` (n,) float32.

    Raises:
        ValueError: a setting is out of range.
    """

    def __init__(self, params: Any, lr: float = 1e-2, eps: float = 1e-10, weight_decay: float = 0.0) -> None:
        if not (lr >= 0 and eps >= 0 and weight_decay >= 0):
            raise ValueError(f"out of range: lr {lr}, eps {eps} or weight_decay {weight_decay}")
        super().__init__(params, {"lr": lr, "eps": eps, "weight_decay": weight_decay})

    def _initial(self, parameter: Tensor) -> dict[str, Tensor]:
        return {"sum": _zero_per_row(parameter)}

    def _update(
        self, parameter: Tensor, state: dict[str, Tensor], rows: Tensor | slice, gradient: Tensor, group: dict[str, Any]
    ) -> None:
        sums = state["sum"][rows] + gradient.flatten(1).square().mean(1)
        size = (group["lr"] / (sums.sqrt() + group["eps"])).view((-1,) + (1,) * (parameter.ndim - 1))
        moved = parameter[rows].mul_(1 - group["lr"] * group["weight_decay"]).sub_(gradient * size)
        state["sum"][rows], parameter[rows] = sums, moved


def _zero_per_row(parameter: Tensor) -> Tensor:
    dtype = torch.promote_types(parameter.dtype, torch.float32)
    return torch.zeros(parameter.shape[:1], dtype=dtype, device=parameter.device)


def _touched(parameter: Tensor) -> Iterator[tuple[Tensor | slice, Tensor]]:
    """Touched rows and their gradient, some at a time, so that temporaries stay in the cache."""
    gradient = parameter.grad
    assert gradient is not None
    rows = None
    if gradient.is_sparse:
        rows, gradient = _unique_rows(gradient)
    count = max(1, _CHUNK_ELEMENTS // max(1, parameter[:1].numel()))
    for start in range(0, len(gradient), count):
        stop = min(start + count, len(gradient))
        yield slice(start, stop) if rows is None else rows[start:stop], gradient[start:stop]


def _unique_rows(gradient: Tensor) -> tuple[Tensor, Tensor]:
    """Rows and values of a sparse gradient. Autograd forgets that rows are unique; sorting them again costs a copy."""
    rows = gradient._indices()[0]
    if not bool((rows[1:] > rows[:-1]).all()):
        gradient = gradient.coalesce()
    return gradient._indices()[0], gradient._values()


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
    """Rate at `step` (from 0): linear warm-up, then half a cosine down to `min_lr` of the peak at the last step."""
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

    Sharded parts are summed over the ranks; replicated ones, also those of each node, count once.
    """
    replicated: list[Tensor] = []
    sharded: dict[int, list[Tensor]] = {1: []}
    for item in optimizer.trained:
        if (gradient := item.parameter.grad) is None:
            continue
        if gradient.is_sparse and not gradient.is_coalesced():
            # Two losses over the same classes: a row that both touch stands there twice, and what counts is the sum.
            gradient = item.parameter.grad = gradient.coalesce()
        copies = math.prod(gradient.device_mesh.shape[:-1]) if isinstance(gradient, DTensor) else 1
        kind = sharded.setdefault(copies, []) if item.rows or isinstance(gradient, DTensor) else replicated
        kind.append(_local(gradient).float())
    once = get_total_norm(replicated).to(ranks.device).square()
    parts = [get_total_norm(kind).to(ranks.device).square() / copies for copies, kind in sharded.items()]
    return (once + sum_over_ranks(torch.stack(parts).sum())).sqrt()


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
