"""A recipe for a linker as frozen dataclasses; `link_recipes/*.yaml` are read into them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from openmofi.errors import UsageError
from openmofi.linking.fusion.settings import FusionSettings
from openmofi.training.recipe.load import load_settings
from openmofi.training.recipe.rules import CHOICES
from openmofi.training.recipe.settings import OptimizerSettings, RunSettings

FOLDER = "link_recipes"


@dataclass(frozen=True)
class LinkData:
    """What a linker is trained on.

    Attributes:
        examples: table of `linking.examples`; `openmofi link examples` writes one.
        train: splits that are trained on.
        share: only this share of their examples, for a curve over data.
        batch_size: mentions of a step.
        max_candidates: of a mention in training, gold included; others are drawn anew each epoch.
        candidate_dropout: share of the wrong candidates that is left out, each epoch anew; one always stays.
        hard_negatives: entities of the gold's type, from anywhere in the table, added to the candidates.
        nil: share of the mentions whose gold is taken out, so that NIL is the answer. With 0, and no NIL in the data,
            the model never answers NIL.
    """

    examples: str = ""
    train: tuple[str, ...] = ("train",)
    share: float = 1.0
    batch_size: int = 32
    max_candidates: int = 10
    candidate_dropout: float = 0.0
    hard_negatives: int = 0
    nil: float = 0.0


@dataclass(frozen=True)
class LinkStopping:
    """When training stops early.

    Attributes:
        split: its accuracy is evaluated with each checkpoint and chooses the best one; it fits the temperature.
        limit: most examples of it that are evaluated then; the temperature takes all.
        patience: checkpoints without a better accuracy before it stops; 0 is never.
    """

    split: str = "validation"
    limit: int = 1000
    patience: int = 0


@dataclass(frozen=True)
class LinkRecipe:
    """All that decides a linker's training.

    Attributes:
        name: of the recipe.
        data, stopping: see there.
        model: the fusion decoder.
        freeze: parameters whose name matches one of these patterns (fnmatch) are not trained.
        optimizer: as of an encoder's recipe; `text_lr_multiplier` is for what was pretrained.
        run: as of an encoder's recipe; `best` is a metric of the log or of the validation.
    """

    name: str = "recipe"
    data: LinkData = field(default_factory=LinkData)
    model: FusionSettings = field(default_factory=FusionSettings)
    freeze: tuple[str, ...] = ()
    optimizer: OptimizerSettings = field(default_factory=lambda: OptimizerSettings(weight_decay=0.01, warmup=100))
    stopping: LinkStopping = field(default_factory=LinkStopping)
    run: RunSettings = field(default_factory=lambda: RunSettings(steps=1000, best="validation_accuracy",
                                                                 channels_last=False))


def load_link_recipe(name_or_path: str | Path, overrides: Sequence[str] = ()) -> LinkRecipe:
    """Read a linker's recipe; see `training.recipe.load_recipe`.

    Raises:
        UsageError: as there.
    """
    recipe = load_settings(LinkRecipe(), name_or_path, overrides, FOLDER)
    if recipe.optimizer.warmup >= recipe.run.steps:
        recipe = replace(recipe, optimizer=replace(recipe.optimizer, warmup=max(recipe.run.steps - 1, 0)))
    _check(recipe)
    return recipe


def _check(recipe: LinkRecipe) -> None:
    data, run = recipe.data, recipe.run
    positive = {"data.batch_size": data.batch_size, "run.steps": run.steps, "run.accumulate": run.accumulate,
                "run.log_every": run.log_every, "run.checkpoint_every": run.checkpoint_every, "run.keep": run.keep,
                "stopping.limit": recipe.stopping.limit}
    for key, number in positive.items():
        if number < 1:
            raise UsageError(f"{key} is {number}, and must be at least 1.")
    if data.max_candidates < 2:
        raise UsageError(f"data.max_candidates is {data.max_candidates}, and must be at least 2.")
    for key, share in (("data.candidate_dropout", data.candidate_dropout), ("data.nil", data.nil)):
        if not 0 <= share < 1:
            raise UsageError(f"{key} is {share}, and must be at least 0 and below 1.")
    if not 0 < data.share <= 1:
        raise UsageError(f"data.share is {data.share}, and must be above 0 and at most 1.")
    if data.hard_negatives < 0 or recipe.stopping.patience < 0:
        raise UsageError("data.hard_negatives and stopping.patience must not be negative.")
    if data.batch_size % run.accumulate:
        raise UsageError(f"data.batch_size is {data.batch_size}, which cannot be cut into run.accumulate = "
                         f"{run.accumulate} equal parts.")
    if run.precision not in CHOICES["run.precision"]:
        raise UsageError(f"unknown value {run.precision!r} for run.precision; use "
                         f"{' or '.join(CHOICES['run.precision'])}.")
    if run.fsdp or run.compile or recipe.optimizer.ema or run.evaluate.every or run.patience:
        raise UsageError("Linkers take no run.fsdp, run.compile, run.evaluate, run.patience or optimizer.ema.",
                         "Leave them off; stopping evaluates and ends a linker's training.")
