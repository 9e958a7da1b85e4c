"""One training step of the towers by way of their embeddings.

The losses see detached embeddings; their gradients are pushed through the towers afterwards. So the gradient of each
objective at the shared embedding is known, and a batch may be cut into micro-batches whose activations are never held
together while contrastive losses see all of it (GradCache, arXiv 2101.06983, algorithm 1;
https://github.com/luyug/GradCache).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from openmofi.objectives.collectives import sum_over_ranks, world_size
from openmofi.objectives.protocol import Batch, Embeddings, Objective, ObjectiveResult
from openmofi.training.distributed import without_sync

Forward = Callable[[Batch], Mapping[str, Tensor]]


@dataclass(frozen=True)
class Term:
    """An objective of the recipe's sum.

    Attributes:
        objective: the module.
        weight: factor of its loss.
        dims: lengths of the embeddings' prefixes of which its loss is the mean (Matryoshka, arXiv 2205.13147, equation
            1, all with one weight), the whole first; none for the whole alone.
    """

    objective: Objective
    weight: float
    dims: tuple[int, ...] = ()

    def __call__(self, embeddings: Embeddings, batch: Batch) -> ObjectiveResult:
        """The loss of a batch; with `dims`, the metrics of the whole, and `loss/DIM` of each length."""
        if not self.dims:
            return self.objective(embeddings, batch)
        results = [self.objective(prefixes(embeddings, dim), batch) for dim in self.dims]
        loss = torch.stack([result.loss for result in results]).mean()
        each = {f"loss/{dim}": result.loss.detach() for dim, result in zip(self.dims, results, strict=True)}
        return ObjectiveResult(loss, {**results[0].metrics, **each})


@dataclass(frozen=True)
class StepResult:
    """Losses and gradient norms of a step.

    Attributes:
        loss: the weighted sum.
        results: of each objective.
        gradients: objective → norm of its weighted gradient at the image embeddings of the global batch.
        norms: optimiser → norm of its gradients before clipping; filled in by the loop.
    """

    loss: Tensor
    results: Mapping[str, ObjectiveResult]
    gradients: Mapping[str, Tensor]
    norms: dict[str, Tensor] = field(default_factory=dict)

    @property
    def finite(self) -> bool:
        """Whether the loss and all gradients are; if not, the step must not be taken."""
        return all(bool(torch.isfinite(value)) for value in (self.loss, *self.norms.values()))


def prefixes(embeddings: Embeddings, dim: int) -> Embeddings:
    """The first `dim` dimensions of all embeddings, L2-normalised again; the whole stays as it is."""
    return {
        name: values if values.shape[1] == dim else normalize(values[:, :dim], dim=1)
        for name, values in embeddings.items()
    }


def micro_batches(batch: Batch, count: int) -> list[Batch]:
    """The batch cut into `count` equal parts."""
    size = len(next(iter(batch.values()))) // count
    return [
        {name: values[start * size : (start + 1) * size] for name, values in batch.items()} for start in range(count)
    ]


def forward_backward(
    model: nn.Module, forward: Forward, terms: Mapping[str, Term], batch: Batch, *, count: int, seed: int
) -> StepResult:
    """Losses of a batch and the gradients of towers and objectives.

    Args:
        model: the towers as they are spread over the ranks.
        forward: calls them, under the run's precision.
        terms: the objectives.
        batch: this rank's share.
        count: micro-batches. With more than one every image passes the towers twice, and batch normalisation sees
            micro-batches, twice.
        seed: of dropout and stochastic depth; the second pass draws what the first drew.
    """
    parts = micro_batches(batch, count)
    outputs: list[Mapping[str, Tensor]] = []
    for number, part in enumerate(parts):
        torch.manual_seed(seed + number)
        with torch.set_grad_enabled(count == 1):
            outputs.append(forward(part))
    leaves = {name: torch.cat([output[name].detach() for output in outputs]).requires_grad_() for name in outputs[0]}
    result = _losses(terms, leaves, batch)
    if torch.isfinite(result.loss):
        _push_back(model, forward, parts, outputs, leaves, seed)
    return result


def _losses(terms: Mapping[str, Term], leaves: Mapping[str, Tensor], batch: Batch) -> StepResult:
    results: dict[str, ObjectiveResult] = {}
    gradients: dict[str, Tensor] = {}
    # The image embeddings come first; all objectives take them.
    shared = next(iter(leaves.values()))
    total = torch.zeros((), device=shared.device)
    before: Tensor = torch.zeros_like(shared)
    for name, term in terms.items():
        result = term(leaves, batch)
        (term.weight * result.loss).backward()
        now = shared.grad if shared.grad is not None else before
        # A rank's gradient is `world size` times the true one (see `ObjectiveResult`).
        gradients[name] = sum_over_ranks((now - before).square().sum()).sqrt() / world_size()
        before = now.clone()
        results[name] = result
        total = total + term.weight * result.loss.detach()
    return StepResult(total, results, gradients)


def _push_back(
    model: nn.Module,
    forward: Forward,
    parts: Sequence[Batch],
    outputs: Sequence[Mapping[str, Tensor]],
    leaves: Mapping[str, Tensor],
    seed: int,
) -> None:
    gradients = {name: leaf.grad for name, leaf in leaves.items() if leaf.grad is not None}
    size = len(next(iter(leaves.values()))) // len(parts)
    if len(parts) == 1:
        _backward(outputs[0], gradients)
        return
    for number, part in enumerate(parts):
        pieces = {name: gradient[number * size : (number + 1) * size] for name, gradient in gradients.items()}
        torch.manual_seed(seed + number)
        with nullcontext() if number == len(parts) - 1 else without_sync(model):
            _backward(forward(part), pieces)


def _backward(outputs: Mapping[str, Tensor], gradients: Mapping[str, Tensor]) -> None:
    names = [name for name in gradients if outputs[name].requires_grad]
    if names:
        arguments: Any = [outputs[name] for name in names]
        torch.autograd.backward(arguments, [gradients[name] for name in names])
