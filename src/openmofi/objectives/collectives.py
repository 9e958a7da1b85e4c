"""Collectives with gradients, over any backend; with no process group they change nothing.

Every function takes tensors of the same shape on every rank of the default process group.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

# PyTorch 2.13 renamed both; the old names still work there and warn.
_all_gather: Any = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor
_reduce_scatter: Any = getattr(dist, "reduce_scatter_single", None) or dist.reduce_scatter_tensor


def world_size() -> int:
    """Number of ranks; 1 without a process group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Rank of the calling process; 0 without a process group."""
    return dist.get_rank() if world_size() > 1 else 0


def gather(local: Tensor) -> Tensor:
    """(B, …) of each rank → (ranks · B, …) in the order of the ranks, without a gradient."""
    if world_size() == 1:
        return local
    out = local.new_empty(world_size() * local.shape[0], *local.shape[1:])
    _all_gather(out, local.detach().contiguous())
    return out


def gather_with_gradient(local: Tensor) -> Tensor:
    """`gather`, whose backward pass sums over the ranks what each has at this rank's rows.

    Where every rank computes the same loss from all rows, or each the mean over its own rows, that sum is `world
    size` times the gradient of the global mean: what `openmofi.objectives.protocol` asks for.
    """
    return local if world_size() == 1 else _Gather.apply(local)


def sum_over_ranks(values: Tensor) -> Tensor:
    """The sum of every rank's `values`, without a gradient."""
    return _reduced(values, dist.ReduceOp.SUM)


def max_over_ranks(values: Tensor) -> Tensor:
    """The elementwise greatest of every rank's `values`, without a gradient."""
    return _reduced(values, dist.ReduceOp.MAX)


def scatter_sum(gathered: Tensor) -> Tensor:
    """(ranks · B, …) on each rank → this rank's (B, …) of the sum over the ranks; the transpose of `gather`."""
    if world_size() == 1:
        return gathered
    out = gathered.new_empty(gathered.shape[0] // world_size(), *gathered.shape[1:])
    _reduce_scatter(out, gathered.contiguous())
    return out


def _reduced(values: Tensor, operation: Any) -> Tensor:
    out = values.detach()
    if world_size() > 1:
        out = out.clone()
        dist.all_reduce(out, operation)
    return out


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, local: Tensor) -> Tensor:
        return gather(local)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Tensor:
        return scatter_sum(gradients[0])
