"""The schema of a linker's recipe, with constraints and defaults; `link_recipes/*.yaml` are read into it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from openmofi.config import FREE, NonNegativeInt, PositiveFraction, PositiveInt, ProperFraction, Settings
from openmofi.config.recipes import read_recipe
from openmofi.errors import UsageError
from openmofi.plugins.fusion.fusion_settings import FusionSettings
from openmofi.training.recipe import OptimizerSettings, RunSettings
from openmofi.training.recipe.rules import check_micro_batches

LINK_RECIPES = resources.files("openmofi.plugins.fusion") / "recipes"


@dataclass(frozen=True)
class LinkData(Settings):
    """What a linker is trained on.

    Attributes:
        examples: table of `linking.examples`; `openmofi link examples` writes one.
        labels: a folder of labels instead, whose surest senses are the examples (`training.linking.labelled`).
        kb: the labels' knowledge base, where it is no longer where they were made.
        sure: probability from which on a label's sense is an example.
        per_name: most examples of one name, so that a few names do not decide.
        train: splits that are trained on.
        share: only this share of their examples, for a curve over data.
        batch_size: mentions of a step.
        max_candidates: of a mention in training, gold included; others are drawn anew each epoch.
        candidate_dropout: share of the wrong candidates that is left out, each epoch anew; one always stays.
        hard_negatives: entities of the gold's type, from anywhere in the table, added to the candidates.
        nil: share of the mentions whose gold is taken out, so that NIL is the answer. With 0, and no NIL in the data,
            the model never answers NIL.
    """

    examples: Annotated[str, FREE] = ""
    labels: Annotated[str, FREE] = ""
    kb: Annotated[str, FREE] = ""
    sure: PositiveFraction = 0.95
    per_name: PositiveInt = 20
    train: tuple[str, ...] = ("train",)
    share: PositiveFraction = 1.0
    batch_size: PositiveInt = 32
    max_candidates: Annotated[int, Meta(ge=2)] = 10
    candidate_dropout: ProperFraction = 0.0
    hard_negatives: NonNegativeInt = 0
    nil: ProperFraction = 0.0


@dataclass(frozen=True)
class LinkStopping(Settings):
    """When training stops early.

    Attributes:
        split: whose accuracy is measured at each checkpoint; it chooses the best one and fits temperature and weight
            of the prior.
        limit: most examples of it that are used then; all for the fit.
        patience: checkpoints without a better accuracy before it stops; 0 is never.
    """

    split: str = "validation"
    limit: PositiveInt = 1000
    patience: NonNegativeInt = 0


@dataclass(frozen=True)
class LinkRecipe(Settings):
    """All that decides a linker's training.

    Attributes:
        name: of the recipe.
        data, stopping: see there.
        model: the fusion decoder.
        freeze: parameters whose name matches one of these patterns (fnmatch) are not trained.
        optimizer: as of an encoder's recipe; `text_lr_multiplier` is for what was pretrained.
        run: as of an encoder's recipe; `best` is a metric of the log or of the validation.
        start: folder of a fusion decoder whose weights training begins with; `model` is its own where the recipe does
            not say otherwise, its sizes always.
    """

    name: str = "recipe"
    data: LinkData = field(default_factory=LinkData)
    model: FusionSettings = field(default_factory=FusionSettings)
    freeze: tuple[str, ...] = ()
    optimizer: OptimizerSettings = field(default_factory=lambda: OptimizerSettings(weight_decay=0.01, warmup=100))
    stopping: LinkStopping = field(default_factory=LinkStopping)
    run: RunSettings = field(
        default_factory=lambda: RunSettings(steps=1000, best="validation_accuracy", channels_last=False)
    )
    start: Annotated[str, FREE] = ""


def load_link_recipe(name_or_path: str | Path, overrides: Sequence[str] = ()) -> LinkRecipe:
    """Read a linker's recipe; see `openmofi.config.recipes.read_recipe`.

    Raises:
        UsageError: as there; or the settings contradict each other.
        OpenMofiError: `start` is no fusion decoder.
    """
    recipe = read_recipe(LinkRecipe(), name_or_path, overrides, LINK_RECIPES)
    if recipe.start:
        from openmofi.plugins.fusion.store import fusion_settings

        begun = LinkRecipe(model=fusion_settings(recipe.start))
        recipe = read_recipe(begun, name_or_path, overrides, LINK_RECIPES)
    optimizer, run = recipe.optimizer, recipe.run
    check_micro_batches(recipe.data.batch_size, run)
    if run.fsdp or run.compile or optimizer.ema or run.evaluate.every or run.patience or run.report:
        raise UsageError(
            "Linkers take no run.fsdp, run.compile, run.evaluate, run.patience, run.report or optimizer.ema.",
            "Leave them off; stopping evaluates and ends a linker's training.",
        )
    return replace(recipe, optimizer=replace(optimizer, warmup=min(optimizer.warmup, run.steps - 1)))
