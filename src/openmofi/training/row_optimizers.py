"""Optimisers of a matrix of which a step touches some rows: only those are read and written.

A gradient in sparse COO form names the rows that are touched; a dense one touches all. Weight decay is decoupled
(AdamW) and, like the moments' decay, happens to a row only in the steps that touch it: a class that is sampled in a
tenth of the steps is decayed a tenth as often. A cosine classifier does not see the length of its rows, so that
decay only keeps its effective learning rate up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

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
