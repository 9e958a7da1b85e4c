"""What a run learns: loss terms, optimisers and all named tensors; a step's gradients, through micro-batches."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.tensor import DTensor
from torch.nn.functional import normalize

from openmofi.arrays import Ints
from openmofi.errors import OpenMofiError, UsageError
from openmofi.objectives.collectives import sum_over_ranks, world_size
from openmofi.objectives.contrastive import Contrastive
from openmofi.objectives.margin_softmax import MarginSoftmax
from openmofi.objectives.protocol import Batch, Embeddings, Objective, ObjectiveResult
from openmofi.training.data.loader import Teachers
from openmofi.training.distributed import Ranks, averaging, bare
from openmofi.training.model import Ema, parameter_groups
from openmofi.training.model.adaptation import FrozenFirst, frozen_names
from openmofi.training.model.towers import DualEncoder
from openmofi.training.optimization import Optimizer, Trained, dense_optimizer, grouped, sharded_optimizer
from openmofi.training.recipe import Recipe

# The losses see detached embeddings; their gradients are pushed through the towers afterwards. So the gradient of each
# objective at the shared embedding is known, and a batch may be cut into micro-batches whose activations are never
# held
# together while contrastive losses see all of it (GradCache, arXiv 2101.06983, algorithm 1;
# https://github.com/luyug/GradCache).

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
        with averaging(model, last=number == len(parts) - 1):
            _backward(forward(part), pieces)


def _backward(outputs: Mapping[str, Tensor], gradients: Mapping[str, Tensor]) -> None:
    names = [name for name in gradients if outputs[name].requires_grad]
    if names:
        arguments: Any = [outputs[name] for name in names]
        torch.autograd.backward(arguments, [gradients[name] for name in names])


_NO_DECAY = 0.0
_OBJECTIVES = ("margin_softmax", "entity_distillation", "contrastive", "reinforced", "feature_distillation")


def build_terms(
    recipe: Recipe, counts: Ints, device: torch.device, teachers: Teachers | None = None
) -> dict[str, Term]:
    """The objectives whose weight is not 0, by name.

    Args:
        recipe: see `Recipe`.
        counts: (classes,) images of each class.
        device: where they go.
        teachers: what some objectives learn from, or `None`.

    Raises:
        UsageError: an objective learns from teachers, and there are none.
    """
    objectives, nested = recipe.objectives, recipe.model.nested
    terms: dict[str, Term] = {}
    dims = (recipe.model.dim, *nested) if nested else ()
    head = None
    for name in _OBJECTIVES:
        if not (weight := getattr(objectives, name).weight):
            continue
        objective: Any
        if name == "margin_softmax":
            objective = head = MarginSoftmax(
                len(counts),
                recipe.model.dim,
                objectives.margin_softmax,
                seed=recipe.run.seed,
                counts=torch.from_numpy(counts),
            )
        elif name == "contrastive":
            objective = Contrastive(objectives.contrastive)
        elif teachers is None:
            raise UsageError(
                f"objectives.{name} learns from teachers, and there are none.", "Give data.reinforcement.store."
            )
        else:
            objective = teachers.objective(name, recipe, head)
        terms[name] = Term(objective.to(device), weight, dims)
    return terms


def build_optimizers(recipe: Recipe, model: DualEncoder, terms: Mapping[str, Term]) -> dict[str, Optimizer]:
    """`towers` (AdamW over towers, logit scales and maps to teachers) and `head` (the class head's own), as far as
    there is something.
    """
    settings, head = recipe.optimizer, recipe.objectives.margin_softmax
    named = [
        (f"objective.{name}.{key}", parameter, term.objective.sharded_parameters().get(key, 0))
        for name, term in terms.items()
        for key, parameter in term.objective.named_parameters()
    ]
    groups = parameter_groups(model, recipe.model, settings)
    groups += grouped((name, parameter, 1.0, _NO_DECAY) for name, parameter, rows in named if not rows)
    optimizers = {"towers": dense_optimizer(groups, settings, settings.clip)} if groups else {}
    if sharded := [Trained(name, parameter, rows) for name, parameter, rows in named if rows]:
        optimizers["head"] = sharded_optimizer(sharded, settings, weight_decay=head.weight_decay)
    return optimizers


def logit_scale(terms: Mapping[str, Term]) -> float:
    """The learned factor on cosines between image and text; 1 where none was learned."""
    for term in terms.values():
        for name, parameter in term.objective.named_parameters():
            if name == "log_scale":
                return math.exp(float(parameter.detach()))
    return 1.0


Tensors = dict[str, Any]


@dataclass(frozen=True)
class RunState:
    """What is trained.

    Attributes:
        model: the towers, spread over the ranks.
        terms: the objectives by name.
        optimizers: by name.
        ema: moving average of the towers, if the recipe has one.
        ranks: the processes.
        start: name → weights of the towers before training, and `start_share`, theirs in `weights()`.
        frozen_first: what is not trained in the first steps.
        frozen_print: see `adaptation.frozen_print`; tells whether a resumed run has the weights that it began with.
    """

    model: nn.Module
    terms: Mapping[str, Term]
    optimizers: Mapping[str, Optimizer]
    ema: Ema | None
    ranks: Ranks
    start: Mapping[str, Tensor] = field(default_factory=dict)
    start_share: float = 0.0
    frozen_first: tuple[FrozenFirst, ...] = ()
    frozen_print: Mapping[str, Tensor] = field(default_factory=dict)

    def tensors(self) -> Tensors:
        """Name → tensor of what training changes; sharded ones as DTensors. They share memory with the run."""
        model, left = bare(self.model), frozen_names(bare(self.model))
        tensors: Tensors = {f"model.{name}": value for name, value in model.state_dict().items() if name not in left}
        tensors |= {name: value.clone() for name, value in self.frozen_print.items()}
        for objective, term in self.terms.items():
            of_ranks = {
                name: self.ranks.sharded(_module(term).state_dict()[name], rows)
                for name, rows in term.objective.sharded_parameters().items()
            }
            tensors |= {
                f"objective.{objective}.{name}": of_ranks.get(name, value)
                for name, value in _module(term).state_dict().items()
            }
        for name, optimizer in self.optimizers.items():
            tensors |= {f"optimizer.{name}.{key}": value for key, value in self._moments(optimizer).items()}
        if self.ema is not None:
            tensors |= {f"ema.{name}": value for name, value in self.ema.state_dict().items()}
        return tensors | {f"start.{name}": value for name, value in self.start.items()}

    def weights(self) -> Tensors:
        """Name → whole tensor of the towers: averaged where there is a moving average, mixed with the start where that
        has a share. Every rank calls it.
        """
        averaged = {} if self.ema is None else self.ema.averaged()
        values = ((name, averaged.get(name, value)) for name, value in bare(self.model).state_dict().items())
        whole = {name: value.full_tensor() if isinstance(value, DTensor) else value for name, value in values}
        return whole | {name: whole[name].lerp(start, self.start_share) for name, start in self.start.items()}

    def settle(self) -> None:
        """Overwrite all ranks' buffers by the first one's: batch statistics, which each takes of its own images."""
        buffers = list(bare(self.model).buffers())
        if self.ema is not None:
            buffers += [value for name, value in self.ema.state_dict().items() if name.startswith("buffers.")]
        self.ranks.agree(buffers)

    def _moments(self, optimizer: Optimizer) -> Tensors:
        moments: Tensors = {}
        for item in optimizer.trained:
            for key, value in optimizer.inner.state.get(item.parameter, {}).items():
                if isinstance(value, Tensor):
                    moments[f"{item.name}.{key}"] = self._whole(item, value)
        return moments

    def _whole(self, item: Trained, value: Tensor) -> Tensor:
        rows = item.rows and value.ndim > 0 and value.shape[0] == item.parameter.shape[0]
        return self.ranks.sharded(value, item.rows) if rows else value

    def prepare(self, saved: Mapping[str, TensorStorageMetadata]) -> None:
        """Make room for the optimisers' moments that a checkpoint holds, which a new run does not have yet.

        All others are dropped: an early checkpoint has none of what was frozen first.

        Args:
            saved: name of a tensor in the checkpoint → its whole shape and its dtype.
        """
        for name, optimizer in self.optimizers.items():
            for item in optimizer.trained:
                optimizer.inner.state.pop(item.parameter, None)
                for key, entry in _part(saved, f"optimizer.{name}.{item.name}.").items():
                    if "." not in key:
                        optimizer.inner.state[item.parameter][key] = _room(item, entry.size, entry.properties.dtype)

    def load(self, tensors: Mapping[str, Any]) -> None:
        """Take over what `tensors()` named, after a checkpoint was read into it.

        Raises:
            OpenMofiError: weights that are not trained are not those that it was trained beside.
        """
        if not all(torch.equal(tensors[name], value) for name, value in self.frozen_print.items()):
            raise OpenMofiError("The frozen weights of the towers changed.", "Put the files back, or add --restart.")
        bare(self.model).load_state_dict(_part(tensors, "model."), strict=False)
        for name, term in self.terms.items():
            part = _part(tensors, f"objective.{name}.")
            _module(term).load_state_dict(
                {key: value.to_local() if isinstance(value, DTensor) else value for key, value in part.items()}
            )
        if self.ema is not None:
            self.ema.load_state_dict(_part(tensors, "ema."))
        for name, value in self.start.items():
            value.copy_(tensors[f"start.{name}"])


def _module(term: Term) -> nn.Module:
    assert isinstance(term.objective, nn.Module)
    return term.objective


def _part(tensors: Mapping[str, Any], prefix: str) -> Tensors:
    return {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}


def _room(item: Trained, shape: torch.Size, dtype: torch.dtype) -> Tensor:
    parameter = item.parameter
    if shape == parameter.shape:
        # A DTensor's moments are laid out as it is.
        return torch.zeros_like(parameter.detach(), dtype=dtype)
    if item.rows and len(shape) and shape[0] == item.rows:
        return torch.zeros(parameter.shape[0], *shape[1:], dtype=dtype, device=parameter.device)
    return torch.zeros(shape, dtype=dtype)
