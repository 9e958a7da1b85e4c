"""From a recipe's objectives to modules and the optimisers that move them."""

from __future__ import annotations

import math
from collections.abc import Mapping

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


def build_terms(recipe: Recipe, counts: NDArray[np.int64], device: torch.device,
                teachers: Mapping[str, Teacher] | None = None) -> dict[str, Term]:
    """The objectives whose weight is not 0, by name.

    Args:
        recipe: see `Recipe`.
        counts: (classes,) images of each class.
        device: where they go.
        teachers: of the store, by name.
    """
    objectives, terms, teachers = recipe.objectives, {}, teachers or {}
    scales = {name: teacher.scale for name, teacher in teachers.items()}
    if objectives.margin_softmax.weight:
        head = MarginSoftmax(len(counts), recipe.model.dim, objectives.margin_softmax, seed=recipe.run.seed,
                             counts=torch.from_numpy(counts))
        terms["margin_softmax"] = Term(head.to(device), objectives.margin_softmax.weight)
        if objectives.entity_distillation.weight:
            terms["entity_distillation"] = Term(EntityDistillation(head, list(teachers)),
                                                objectives.entity_distillation.weight)
    if objectives.contrastive.weight:
        terms["contrastive"] = Term(Contrastive(objectives.contrastive).to(device), objectives.contrastive.weight)
    if objectives.reinforced.weight:
        terms["reinforced"] = Term(Reinforced(objectives.reinforced, scales).to(device), objectives.reinforced.weight)
    if objectives.feature_distillation.weight:
        features = FeatureDistillation(recipe.model.dim, {name: teacher.dim for name, teacher in teachers.items()},
                                       recipe.run.seed)
        terms["feature_distillation"] = Term(features.to(device), objectives.feature_distillation.weight)
    return terms


def build_optimizers(recipe: Recipe, model: DualEncoder, terms: Mapping[str, Term]) -> dict[str, Optimizer]:
    """`towers` (AdamW over towers, logit scales and maps to teachers) and `head` (the class head's own), as far as
    there is something.
    """
    settings, head = recipe.optimizer, recipe.objectives.margin_softmax
    named = [(f"objective.{name}.{key}", parameter, term.objective.sharded_parameters().get(key, 0))
             for name, term in terms.items() for key, parameter in term.objective.named_parameters()]
    groups = parameter_groups(model, recipe.model, settings)
    groups += grouped((name, parameter, 1.0, _NO_DECAY) for name, parameter, rows in named if not rows)
    optimizers = {"towers": dense_optimizer(groups, settings, settings.clip)} if groups else {}
    if sharded := [Trained(name, parameter, rows) for name, parameter, rows in named if rows]:
        optimizers["head"] = sharded_optimizer(sharded, settings, lr_scale=head.lr_multiplier,
                                               weight_decay=head.weight_decay)
    return optimizers


def logit_scale(terms: Mapping[str, Term]) -> float:
    """The learned factor on cosines between image and text; 1 where none was learned."""
    for term in terms.values():
        for name, parameter in term.objective.named_parameters():
            if name == "log_scale":
                return math.exp(float(parameter.detach()))
    return 1.0
