"""Reading a recipe: which settings need each other, and what an encoder under it says of them (`--encoder`)."""

import difflib
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from openmofi.config import changed, settings_from
from openmofi.config.recipes import read_recipe
from openmofi.errors import UsageError, did_you_mean
from openmofi.training.log import check_trackers
from openmofi.training.recipe import EVALUATION_METRICS, ModelSettings, Recipe, RunSettings

_DIM = 512
RECIPES = resources.files("openmofi.training") / "recipes"
"""The packaged recipes."""


def load_recipe(
    recipe: str | Path | Recipe, overrides: Sequence[str] = (), changes: Mapping[str, Any] | None = None
) -> Recipe:
    """Read a recipe, change settings of it, and check that they fit each other.

    Paths stay as they are written: they are relative to where the command is run.

    Args:
        recipe: its name or path, see `openmofi.config.recipes.read_recipe`; or a recipe.
        overrides: changes as `KEY=VALUE`.
        changes: changes by name, made after those; see `openmofi.config.changed`.

    Raises:
        UsageError: see `read_recipe`, `changed` and `validate`.
    """
    if isinstance(recipe, Recipe):
        loaded = settings_from(recipe, overrides)
    else:
        loaded = read_recipe(Recipe(), recipe, overrides, RECIPES)
    loaded = changed(loaded, changes or {})
    validate(loaded)
    return loaded


def over_encoder(recipe: Recipe, spec: str) -> list[str]:
    """The settings, as KEY=VALUE, of a recipe whose heads stand over a frozen encoder.

    Where the encoder has a joint space a head is residual, so that it begins as a change of nothing; otherwise it maps
    the features to a space of 512 dimensions. Without a text side there are no texts, nor losses of them.

    Args:
        recipe: what is trained; its `model.nested` is cut below the dimension.
        spec: of the encoder, see `openmofi.encoders.open_encoder`.

    Raises:
        UsageError, OpenMofiError: the encoder cannot be opened.
    """
    from openmofi.encoders import open_encoder

    encoder = open_encoder(spec)
    residual, texts = encoder.has_joint_space, bool(encoder.text_feature_dim)
    dim = encoder.dim if residual else _DIM
    locked = f"encoder:{spec}"
    both = {
        "model.image.spec": locked,
        "model.image.residual": residual,
        "model.dim": dim,
        "model.nested": [length for length in recipe.model.nested if length < dim],
        "model.start": "random" if residual else recipe.model.start,
        "model.start_share": 0.0 if residual else recipe.model.start_share,
        "model.text.spec": locked if texts else "none",
        "model.text.residual": residual and texts,
    }
    if residual:
        # An embedding has no outliers to standardise, and a small change of it needs all of it.
        both |= {"model.image.standardise": False, "model.image.feature_dropout": 0.0}
    if not texts:
        both |= {
            "objectives.contrastive.weight": 0.0,
            "objectives.margin_softmax.texts": 0.0,
            "run.evaluate.zero_shot": False,
        }
    return [f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in both.items()]


def validate(recipe: Recipe) -> None:
    """Check that the settings fit each other; the folders of `data` are not looked at: see `require_data`.

    Raises:
        UsageError: they do not; names the setting.
    """
    _check_objectives(recipe)
    _check_teachers(recipe)
    _check_texts(recipe)
    _check_heads(recipe)
    _check_sides(recipe.model)
    check_micro_batches(recipe.data.batch_size, recipe.run)
    check_trackers(recipe.run.trackers)
    check_evaluation(recipe.run, texts=recipe.model.text.spec != "none")
    if recipe.run.shard_over == "node" and not recipe.run.fsdp:
        raise UsageError(
            "run.shard_over: node says over what run.fsdp shards the towers, and that is off.",
            "Set run.fsdp: true, or leave out run.shard_over.",
        )
    if recipe.run.steps and recipe.run.epochs:
        raise UsageError("run.steps and run.epochs: a run has one length.", "Set run.steps=null, or run.epochs=0.")


def require_data(recipe: Recipe) -> None:
    """Check that the recipe says where its data are.

    Raises:
        UsageError: it has no dataset; or its texts are entities' names, and it has no knowledge base.
    """
    if not recipe.data.dataset:
        raise UsageError(
            "The recipe does not say what to train on: data.dataset is empty.",
            "Add --dataset DIR, a folder that `openmofi dataset build` wrote, or --labels LABELS.",
        )
    if _from_teachers(recipe) and not recipe.data.reinforcement.store:
        raise UsageError(
            "The recipe learns from teachers, and data.reinforcement.store is empty.",
            "Add --set data.reinforcement.store=DIR, what `openmofi reinforce` wrote of the dataset.",
        )
    text = recipe.data.text
    if recipe.model.text.spec != "none" and text.name + text.name_description > 0 and not recipe.data.kb:
        raise UsageError(
            "The recipe trains on the names of entities, and data.kb is empty.",
            "Add --kb DIR, the knowledge base that the dataset was labelled with.",
        )


def require_length(run: RunSettings) -> None:
    """Check that the recipe says how long to train.

    Raises:
        UsageError: it does not.
    """
    if not (run.steps or run.epochs):
        raise UsageError("The recipe does not say how long to train.", "Add --set run.epochs=5, or run.steps=10000.")


def check_micro_batches(batch_size: int, run: RunSettings, ranks: int = 1) -> None:
    """Check that each rank's share of a batch can be cut.

    Raises:
        UsageError: `run.accumulate` does not divide it.
    """
    if run.accumulate and batch_size % (ranks * run.accumulate):
        batch = f"data.batch_size is {batch_size}" + (f" over {ranks} ranks" if ranks > 1 else "")
        raise UsageError(f"{batch}, which cannot be cut into run.accumulate = {run.accumulate} equal parts.")


def _check_objectives(recipe: Recipe) -> None:
    objectives, text_tower = recipe.objectives, recipe.model.text.spec
    with_texts = [name for name in ("contrastive", "reinforced") if getattr(objectives, name).weight]
    classed = objectives.margin_softmax.weight and objectives.margin_softmax.texts
    if not objectives.margin_softmax.weight and not with_texts:
        raise UsageError(
            "The recipe trains nothing: the weight of every objective is 0.",
            "Set objectives.margin_softmax.weight or objectives.contrastive.weight.",
        )
    if with_texts and text_tower == "none":
        raise UsageError(
            f"objectives.{with_texts[0]} needs texts, and model.text.spec is none.",
            f"Set model.text.spec, to open_clip:ViT-B-16 say, or objectives.{with_texts[0]}.weight to 0.",
        )
    if not with_texts and not classed and text_tower != "none":
        raise UsageError(
            f"model.text.spec is {text_tower!r}, and no objective looks at texts.",
            "Set model.text.spec to none, or give objectives.contrastive a weight.",
        )


def _check_teachers(recipe: Recipe) -> None:
    if recipe.objectives.entity_distillation.weight and not recipe.objectives.margin_softmax.weight:
        raise UsageError(
            "objectives.entity_distillation teaches the classes of objectives.margin_softmax, whose weight is 0.",
            "Give objectives.margin_softmax a weight.",
        )
    if not (_from_teachers(recipe) or recipe.data.reinforcement.store):
        return
    if recipe.model.image.spec.startswith("encoder:"):
        raise UsageError(
            f"data.reinforcement replays images, and model.image.spec is {recipe.model.image.spec!r}, "
            "whose features are computed once.",
            "Train an image tower: timm:NAME, say.",
        )
    if recipe.objectives.reinforced.weight and recipe.data.text.name + recipe.data.text.name_description > 0:
        raise UsageError(
            "objectives.reinforced: teachers know the pairs' own texts and the store's synthetic ones, "
            "and data.text asks for others.",
            "Set data.text.alt_text to 1, and the others to 0.",
        )


def _from_teachers(recipe: Recipe) -> bool:
    names = ("reinforced", "entity_distillation", "feature_distillation")
    return any(getattr(recipe.objectives, name).weight for name in names)


def _check_heads(recipe: Recipe) -> None:
    objectives, locked = recipe.objectives, recipe.model.image.spec.startswith("encoder:")
    if recipe.model.nested and _from_teachers(recipe):
        raise UsageError(
            "model.nested trains prefixes of embeddings, and teachers' knowledge is of whole ones.",
            "Set model.nested: [], or leave out the objectives that learn from teachers.",
        )
    if recipe.run.report and not (locked and recipe.run.evaluate.every):
        raise UsageError(
            "run.report measures a head on held-out rows beside its locked encoder.",
            "Set model.image.spec: encoder:SPEC and run.evaluate.every, or run.report: false.",
        )
    if recipe.model.image.residual and not locked:
        raise UsageError(
            f"model.image.residual adds a head to a locked encoder's embedding, and model.image.spec is "
            f"{recipe.model.image.spec!r}.",
            "Set model.image.spec: encoder:SPEC, or residual: false.",
        )
    if objectives.margin_softmax.texts and recipe.model.text.spec == "none":
        raise UsageError(
            "objectives.margin_softmax.texts needs texts, and model.text.spec is none.",
            "Set model.text.spec, or objectives.margin_softmax.texts: 0.",
        )


def _check_sides(model: ModelSettings) -> None:
    """A start in closed form is of heads over features that are there; a share of it is one of known weights.

    A locked tower has no trunk here that adapters or a frozen start could be of.
    """
    for name, side in (("model.image", model.image), ("model.text", model.text)):
        locked, texts = side.spec.startswith("encoder:"), side.spec != "none"
        if model.start == "labels" and texts and (not locked or side.residual or side.head == "none"):
            raise UsageError(
                f"model.start: labels is of a head over a locked encoder that is not residual, and {name} is not one.",
                f"Set model.start: random, or {name}'s spec: encoder:SPEC, residual: false and head: linear.",
            )
        pretrained = side.head == "none" and (side.pretrained or side.spec.startswith(("hf:", "backbone:")))
        if model.start_share and model.start == "random" and texts and not (side.residual or pretrained):
            raise UsageError(
                f"model.start_share mixes the weights before training into the encoder, and they are random in {name}.",
                f"Set model.start_share: 0, {name} pretrained and head: none, or model.start: labels.",
            )
        setting = "lora" if side.lora.rank else "freeze_steps" if side.freeze_steps and not side.freeze else ""
        if setting and locked:
            raise UsageError(
                f"{name}.{setting} is of a tower that is trained, and {side.spec!r} is locked.",
                f"Leave out {name}.{setting}, or set {name}.spec to open_clip:ARCH, say.",
            )


def _check_texts(recipe: Recipe) -> None:
    text = recipe.data.text
    if recipe.model.text.spec != "none" and text.alt_text + text.name + text.name_description <= 0:
        raise UsageError(
            "A text tower is trained, and every probability of data.text is 0.",
            "Set data.text.alt_text, data.text.name or data.text.name_description.",
        )


def check_evaluation(run: RunSettings, *, texts: bool) -> None:
    """Check `run.evaluate`, and `run.best` and `run.patience` as far as evaluators decide them.

    Args:
        run: the settings.
        texts: whether there is a text tower.

    Raises:
        UsageError: no evaluator, or a metric that no evaluator measures.
    """
    settings, best = run.evaluate, run.best.removeprefix("-")
    prefix = "run.evaluate"
    if settings.every and not settings.names:
        raise UsageError(
            f"{prefix}.every is {settings.every}, and every evaluator is off.", f"Set {prefix}.retrieval: true, say."
        )
    if settings.every and settings.zero_shot and not texts:
        raise UsageError(
            f"{prefix}.zero_shot needs texts, and model.text.spec is none.",
            f"Set model.text.spec, or {prefix}.zero_shot: false.",
        )
    if best in EVALUATION_METRICS and best not in settings.names:
        raise UsageError(
            f"run.best is {best}, which nothing measures.",
            f"Set {prefix}.every, and {prefix}.{EVALUATION_METRICS[best][0]}: true.",
        )
    if best in EVALUATION_METRICS and EVALUATION_METRICS[best][1] and run.best.startswith("-"):
        raise UsageError(f"run.best is {run.best}, and of {best} more is better.", f"Set run.best: {best}.")
    families = {name.partition("/")[0] for name in EVALUATION_METRICS}
    close = difflib.get_close_matches(best, EVALUATION_METRICS, n=1, cutoff=0.8)
    if best not in EVALUATION_METRICS and (close or best.partition("/")[0] in families):
        raise UsageError(
            f"unknown value {run.best!r} for run.best.{did_you_mean(best, EVALUATION_METRICS)}",
            f"Evaluators measure {', '.join(EVALUATION_METRICS)}.",
        )
    if run.patience and best not in settings.names:
        raise UsageError(
            f"run.patience counts evaluations, and run.best is {run.best}, which none measures"
            f".{did_you_mean(best, EVALUATION_METRICS)}",
            "Set run.best: retrieval/map, say.",
        )
