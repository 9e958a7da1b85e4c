"""What a run learns: its loss terms and optimisers, and everything as named tensors, which a checkpoint holds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.tensor import DTensor

from openmofi.errors import UsageError
from openmofi.objectives.contrastive import Contrastive
from openmofi.objectives.margin_softmax import MarginSoftmax
from openmofi.training.data.loader import Teachers
from openmofi.training.distributed import Ranks, bare
from openmofi.training.grad_cache import Term
from openmofi.training.model import DualEncoder, Ema, parameter_groups
from openmofi.training.optimization import Optimizer, Trained, dense_optimizer, grouped, sharded_optimizer
from openmofi.training.recipe.schema import Recipe

_NO_DECAY = 0.0
_OBJECTIVES = ("margin_softmax", "entity_distillation", "contrastive", "reinforced", "feature_distillation")


def build_terms(
    recipe: Recipe, counts: NDArray[np.int64], device: torch.device, teachers: Teachers | None = None
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
    """

    model: nn.Module
    terms: Mapping[str, Term]
    optimizers: Mapping[str, Optimizer]
    ema: Ema | None
    ranks: Ranks
    start: Mapping[str, Tensor] = field(default_factory=dict)
    start_share: float = 0.0

    def tensors(self) -> Tensors:
        """Name → tensor; sharded ones as DTensors. They share memory with the run."""
        tensors: Tensors = {f"model.{name}": value for name, value in bare(self.model).state_dict().items()}
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

        Args:
            saved: name of a tensor in the checkpoint → its whole shape and its dtype.
        """
        for name, optimizer in self.optimizers.items():
            for item in optimizer.trained:
                for key, entry in _part(saved, f"optimizer.{name}.{item.name}.").items():
                    if "." not in key:
                        optimizer.inner.state[item.parameter][key] = _room(item, entry.size, entry.properties.dtype)

    def load(self, tensors: Mapping[str, Any]) -> None:
        """Take over what `tensors()` named, after a checkpoint was read into it."""
        bare(self.model).load_state_dict(_part(tensors, "model."))
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
