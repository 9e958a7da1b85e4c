"""What a recipe may say: the names and ranges of its settings, and which of them need each other."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from string import Formatter
from typing import Any

from openmofi.errors import UsageError
from openmofi.objectives.settings import ContrastiveSettings, ReinforcedSettings
from openmofi.training.recipe.settings import Recipe, check_evaluation

CHOICES: dict[str, tuple[str, ...]] = {
    "data.sampler": ("instance", "class-balanced", "sqrt"),
    "model.image.head": ("linear", "mlp", "none"),
    "model.text.head": ("linear", "mlp", "none"),
    "objectives.margin_softmax.implementation": ("exact", "sampled"),
    "objectives.margin_softmax.margin_type": ("cosface", "arcface"),
    "objectives.margin_softmax.label_weights": ("uniform", "score"),
    "objectives.contrastive.loss": ("infonce", "sigmoid"),
    "objectives.contrastive.positives": ("none", "text", "entity", "entity-or-text"),
    "objectives.reinforced.positives": ("none", "text", "entity", "entity-or-text"),
    "data.reinforcement.mismatch": ("plain", "stop"),
    "optimizer.head": ("row-adamw", "row-adagrad"),
    "run.precision": ("fp32", "bf16"),
}
"""Settings that are one of a few names."""

IMAGE_SPECS = ("timm", "open_clip", "hf", "encoder", "backbone")
TEXT_SPECS = ("open_clip", "hf", "mobile", "encoder")
PLACEHOLDERS = ("name", "description")

_AT_LEAST_ONE = ("data.batch_size", "data.shuffle_shards", "data.max_labels", "model.dim", "run.steps",
                 "run.accumulate", "run.log_every", "run.checkpoint_every", "run.keep",
                 "objectives.margin_softmax.chunk", "objectives.margin_softmax.sub_centers")
_POSITIVE = ("optimizer.lr", "optimizer.eps", "objectives.margin_softmax.scale", "objectives.contrastive.scale",
             "objectives.contrastive.max_scale", "model.image.layer_decay", "objectives.margin_softmax.lr_multiplier",
             "objectives.reinforced.scale", "objectives.reinforced.max_scale", "optimizer.text_lr_multiplier",
             "data.augment.scale", "data.augment.ratio")
_SHARES = ("data.augment.scale", "data.augment.flip", "data.augment.grayscale", "model.image.layer_decay",
           "objectives.margin_softmax.sample_rate", "objectives.reinforced.share", "optimizer.min_lr")
_BELOW_ONE = ("model.image.feature_dropout", "model.image.drop_path", "optimizer.betas", "optimizer.ema")
_ANY_SIGN = ("objectives.contrastive.bias", "objectives.margin_softmax.negative_filter")


def validate(recipe: Recipe) -> None:
    """Check that the settings are ones that there are, and fit each other.

    The folders of `data` are not looked at: see `require_data`.

    Raises:
        UsageError: they do not; names the setting.
    """
    for key, value in _settings(recipe):
        _check_range(key, value)
        if key in CHOICES and value not in CHOICES[key]:
            raise UsageError(f"{key} is {value!r}, which there is not.", f"It can be: {', '.join(CHOICES[key])}.")
    _check_objectives(recipe)
    _check_towers(recipe)
    _check_texts(recipe)
    _check_run(recipe)


def require_data(recipe: Recipe) -> None:
    """Check that the recipe says where its data are.

    Raises:
        UsageError: it has no dataset; or its texts are entities' names, and it has no knowledge base.
    """
    if not recipe.data.dataset:
        raise UsageError("The recipe does not say what to train on: data.dataset is empty.",
                         "Add --dataset DIR, a folder that `openmofi dataset build` wrote.")
    if _from_teachers(recipe) and not recipe.data.reinforcement.store:
        raise UsageError("The recipe learns from teachers, and data.reinforcement.store is empty.",
                         "Add --set data.reinforcement.store=DIR, what `openmofi reinforce` wrote of the dataset.")
    text = recipe.data.text
    if recipe.model.text.spec != "none" and text.name + text.name_description > 0 and not recipe.data.kb:
        raise UsageError("The recipe trains on the names of entities, and data.kb is empty.",
                         "Add --kb DIR, the knowledge base that the dataset was labelled with.")


def _settings(settings: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    for field in fields(settings):
        value, key = getattr(settings, field.name), f"{path}{field.name}"
        if is_dataclass(value):
            yield from _settings(value, f"{key}.")
        else:
            yield key, value


def _check_range(key: str, value: Any) -> None:
    for number in value if isinstance(value, tuple) else (value,):
        if isinstance(number, bool) or not isinstance(number, int | float):
            continue
        if not math.isfinite(number):
            raise UsageError(f"{key} is {number}, and must be finite.")
        if key in _AT_LEAST_ONE and number < 1:
            raise UsageError(f"{key} is {number}, and must be at least 1.")
        if key in _POSITIVE and number <= 0:
            raise UsageError(f"{key} is {number}, and must be above 0.")
        if number < 0 and key not in _ANY_SIGN:
            raise UsageError(f"{key} is {number}, and must not be negative.")
        if key in _SHARES and number > 1:
            raise UsageError(f"{key} is {number}, and must be at most 1.")
        if key in _BELOW_ONE and number >= 1:
            raise UsageError(f"{key} is {number}, and must be below 1.")


def _check_objectives(recipe: Recipe) -> None:
    softmax = recipe.objectives.margin_softmax
    with_texts: dict[str, ContrastiveSettings | ReinforcedSettings] = {
        "contrastive": recipe.objectives.contrastive, "reinforced": recipe.objectives.reinforced}
    wanted = [name for name, settings in with_texts.items() if settings.weight]
    if not softmax.weight and not wanted:
        raise UsageError("The recipe trains nothing: the weight of every objective is 0.",
                         "Set objectives.margin_softmax.weight or objectives.contrastive.weight.")
    if wanted and recipe.model.text.spec == "none":
        raise UsageError(f"objectives.{wanted[0]} needs texts, and model.text.spec is none.",
                         f"Set model.text.spec, to open_clip:ViT-B-16 say, or objectives.{wanted[0]}.weight to 0.")
    if not wanted and recipe.model.text.spec != "none":
        raise UsageError(f"model.text.spec is {recipe.model.text.spec!r}, and no objective looks at texts.",
                         "Set model.text.spec to none, or give objectives.contrastive a weight.")
    for name, settings in with_texts.items():
        if settings.scale > settings.max_scale:
            raise UsageError(f"objectives.{name}.scale is {settings.scale:g}, above its max_scale of "
                             f"{settings.max_scale:g}.")
    _check_reinforced(recipe)
    if softmax.weight and softmax.implementation == "sampled" and not softmax.sample_rate and not softmax.min_sampled:
        raise UsageError("objectives.margin_softmax samples no class: sample_rate and min_sampled are 0.")


def _check_reinforced(recipe: Recipe) -> None:
    if recipe.objectives.entity_distillation.weight and not recipe.objectives.margin_softmax.weight:
        raise UsageError("objectives.entity_distillation teaches the classes of objectives.margin_softmax, whose "
                         "weight is 0.", "Give objectives.margin_softmax a weight.")
    if not (_from_teachers(recipe) or recipe.data.reinforcement.store):
        return
    if recipe.model.image.spec.startswith("encoder:"):
        raise UsageError(f"data.reinforcement replays images, and model.image.spec is {recipe.model.image.spec!r}, "
                         "whose features are computed once.", "Train an image tower: timm:NAME, say.")
    if recipe.objectives.reinforced.weight and recipe.data.text.name + recipe.data.text.name_description > 0:
        raise UsageError("objectives.reinforced: teachers know the pairs' own texts and the store's synthetic ones, "
                         "and data.text asks for others.", "Set data.text.alt_text to 1, and the others to 0.")


def _from_teachers(recipe: Recipe) -> bool:
    wanted = recipe.objectives
    return max(wanted.reinforced.weight, wanted.entity_distillation.weight, wanted.feature_distillation.weight) > 0


def _check_towers(recipe: Recipe) -> None:
    for key, spec, kinds in (("model.image.spec", recipe.model.image.spec, IMAGE_SPECS),
                             ("model.text.spec", recipe.model.text.spec, TEXT_SPECS)):
        kind, colon, rest = spec.partition(":")
        if (kind in kinds and colon and rest) or (key == "model.text.spec" and spec == "none"):
            continue
        known = ", ".join(f"{one}:…" for one in kinds) + (", none" if key == "model.text.spec" else "")
        raise UsageError(f"{key} is {spec!r}, which names no tower.", f"It can be: {known}.")


def _check_texts(recipe: Recipe) -> None:
    text = recipe.data.text
    if recipe.model.text.spec != "none" and text.alt_text + text.name + text.name_description <= 0:
        raise UsageError("A text tower is trained, and every probability of data.text is 0.",
                         "Set data.text.alt_text, data.text.name or data.text.name_description.")
    _check_templates("data.text.templates", text.templates, text.name)
    _check_templates("data.text.description_templates", text.description_templates, text.name_description)


def _check_templates(key: str, templates: tuple[str, ...], probability: float) -> None:
    if probability and not templates:
        raise UsageError(f"{key} is empty, and texts are to be made of it.", "Give at least one, such as '{name}'.")
    for template in templates:
        try:
            names = {name for _, name, _, _ in Formatter().parse(template) if name is not None}
        except ValueError as error:
            raise UsageError(f"{key}: {template!r} is no template: {error}.") from error
        if strange := sorted(names - set(PLACEHOLDERS)):
            raise UsageError(f"{key}: {template!r} has the placeholder {{{strange[0]}}}.",
                             "Placeholders are {name} and {description}.")
        if not names:
            raise UsageError(f"{key}: {template!r} has no placeholder: all entities would have the same text.",
                             "Placeholders are {name} and {description}.")


def _check_run(recipe: Recipe) -> None:
    data, run = recipe.data, recipe.run
    if data.batch_size % run.accumulate:
        raise UsageError(f"data.batch_size is {data.batch_size}, which cannot be cut into run.accumulate = "
                         f"{run.accumulate} equal parts.")
    if recipe.optimizer.warmup > run.steps:
        raise UsageError(f"optimizer.warmup is {recipe.optimizer.warmup}, more than run.steps = {run.steps}.",
                         "Set optimizer.warmup too where steps are few.")
    for key, (low, high) in (("data.augment.scale", data.augment.scale), ("data.augment.ratio", data.augment.ratio)):
        if low > high:
            raise UsageError(f"{key} is [{low:g}, {high:g}]; the smaller number comes first.")
    if not run.best.removeprefix("-"):
        raise UsageError("run.best names no metric.", "Set it to -loss, say: the lowest loss is the best.")
    check_evaluation(run, texts=recipe.model.text.spec != "none")
