"""From a recipe's objectives to modules and the optimisers that move them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from openmofi.objectives.class_head.margin_softmax import MarginSoftmax
from openmofi.objectives.contrastive import Contrastive
from openmofi.objectives.distillation.entities import EntityDistillation
from openmofi.objectives.distillation.features import FeatureDistillation
from openmofi.objectives.distillation.reinforced import Reinforced
from openmofi.reinforcement import Teacher
from openmofi.training.grad_cache import Term
from openmofi.training.model import DualEncoder, parameter_groups
from openmofi.training.optimization import Optimizer, Trained, dense_optimizer, grouped, sharded_optimizer
from openmofi.training.recipe.schema import Recipe

_NO_DECAY = 0.0


def build_terms(
    recipe: Recipe, counts: NDArray[np.int64], device: torch.device, teachers: Mapping[str, Teacher] | None = None
) -> dict[str, Term]:
    """The objectives whose weight is not 0, by name.

    Args:
        recipe: see `Recipe`.
        counts: (classes,) images of each class.
        device: where they go.
        teachers: of the store, by name.
    """
    objectives, dim, seed, teachers = recipe.objectives, recipe.model.dim, recipe.run.seed, teachers or {}
    terms: dict[str, Term] = {}
    nested = recipe.model.nested
    dims = (dim, *nested) if nested else ()
    builders: dict[str, Callable[[], Any]] = {
        "margin_softmax": lambda: MarginSoftmax(
            len(counts), dim, objectives.margin_softmax, seed=seed, counts=torch.from_numpy(counts)
        ),
        "entity_distillation": lambda: EntityDistillation(
            cast("MarginSoftmax", terms["margin_softmax"].objective), list(teachers)
        ),
        "contrastive": lambda: Contrastive(objectives.contrastive),
        "reinforced": lambda: Reinforced(objectives.reinforced, {name: of.scale for name, of in teachers.items()}),
        "feature_distillation": lambda: FeatureDistillation(dim, {name: of.dim for name, of in teachers.items()}, seed),
    }
    for name, build in builders.items():
        if weight := getattr(objectives, name).weight:
            terms[name] = Term(build().to(device), weight, dims)
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
