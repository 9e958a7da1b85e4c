"""The settings of a fusion decoder and of its training; `recipes/*.yaml` are read into them."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta

from openmofi.config import FREE, Fraction, NonNegativeInt, PositiveFraction, PositiveInt, ProperFraction, Settings
from openmofi.config.recipes import read_recipe
from openmofi.errors import OpenMofiError, UsageError
from openmofi.linking.protocol import LinkSettings
from openmofi.training.recipe import OptimizerSettings, RunSettings
from openmofi.training.recipe.rules import check_micro_batches


@dataclass(frozen=True)
class FusionSettings(Settings):
    """The model (arXiv 2404.01626; what the paper leaves open is chosen here).

    Attributes:
        base: `hf:PATH`, a local folder of transformers: a T5-like model as it is, or an encoder alone (BERT-like), over
            which a small decoder is put; `minilm`, the encoder that the sample world's package ships; or `scratch`,
            a T5 of the sizes below with random weights.
        tokenizer: of `scratch`: `minilm`, or a folder of transformers with a tokenizer.
        head: `select` (one decoding step over the candidates, NIL among them) or `generate` (the title, as the paper).
        context_tokens: most tokens of the text around the mention, the mention among them.
        candidate_tokens: most tokens of title, description and type together.
        description, type: whether the candidate's text has them.
        fusion: the decoder attends to all candidates at once; without, to each alone (an ablation).
        similarity: `select` adds, scaled, the cosine of the means of the context's and the candidate's states: what an
            encoder of sentences knows already at the start.
        width, layers, heads, feed_forward: sizes of `scratch`; the latter two also of a decoder that is put over an
            encoder.
        decoder_layers: of both.
        dropout: in training; a T5 given by `hf:` keeps its own.
    """

    base: Annotated[str, Meta(pattern="^(minilm$|scratch$|hf:.)", description="minilm, scratch or hf:FOLDER")] = (
        "minilm"
    )
    tokenizer: str = "minilm"
    head: Literal["select", "generate"] = "select"
    context_tokens: PositiveInt = 128
    candidate_tokens: PositiveInt = 50
    description: bool = True
    type: bool = True
    fusion: bool = True
    similarity: bool = True
    width: PositiveInt = 128
    layers: PositiveInt = 2
    heads: PositiveInt = 6
    feed_forward: PositiveInt = 768
    decoder_layers: PositiveInt = 2
    dropout: ProperFraction = 0.1


@dataclass(frozen=True)
class FusionLinkSettings(LinkSettings):
    """The fusion decoder as a linker.

    Attributes:
        prior_margin: a name whose commonest meaning leads the second one by this much is answered by its prior.
        mentions_at_once: of a forward pass.
        cache: most mentions remembered by context and span.
    """

    prior_margin: Fraction = 0.95
    mentions_at_once: PositiveInt = 32
    cache: int = 100_000


LINK_RECIPES = resources.files("openmofi.plugins.fusion") / "recipes"
SPEC_FILE = "fusion.json"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class LinkData(Settings):
    """What a linker is trained on.

    Attributes:
        examples: table of `fusion.examples`; `openmofi link examples` writes one.
        labels: a folder of labels instead, whose surest senses are the examples (`training_data.labelled_examples`).
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
        begun = LinkRecipe(model=fusion_settings(recipe.start))
        recipe = read_recipe(begun, name_or_path, overrides, LINK_RECIPES)
    optimizer, run = recipe.optimizer, recipe.run
    check_micro_batches(recipe.data.batch_size, run)
    if run.epochs or not run.steps:
        raise UsageError("Linkers are trained by steps, not epochs.", "Set run.steps=1000, say, and run.epochs=0.")
    others = (run.fsdp, run.compile, run.profile, run.evaluate.every, run.patience, run.report, optimizer.ema)
    if any(others) or not run.accumulate:
        raise UsageError(
            "Linkers take no run.accumulate=0, run.profile, run.fsdp, run.compile, run.evaluate, run.patience, "
            "run.report or optimizer.ema.",
            "Leave them off; stopping evaluates and ends a linker's training.",
        )
    return replace(recipe, optimizer=replace(optimizer, warmup=min(optimizer.warmup, run.steps - 1)))


def fusion_settings(folder: str | Path) -> FusionSettings:
    """Read the settings of a saved fusion decoder.

    Raises:
        OpenMofiError: the folder is not a fusion decoder, or is damaged.
    """
    raw = read_spec(Path(folder))
    try:
        return FusionSettings(**raw["settings"])
    except (KeyError, TypeError) as error:
        raise damaged(folder, error) from error


def damaged(folder: str | Path, error: Exception) -> OpenMofiError:
    """Return the error of a folder whose files are damaged."""
    return OpenMofiError(f"The fusion decoder {folder} is damaged: {error}.", "Train or copy it again.")


def read_spec(folder: Path) -> dict[str, Any]:
    """Read `SPEC_FILE` of a saved fusion decoder.

    Raises:
        OpenMofiError: see `fusion_settings`.
    """
    from openmofi.storage import read_json
    from openmofi.storage.foreign import require_inside

    require_inside(folder)
    missing = OpenMofiError(
        f"{folder} is not a fusion decoder: it has no {SPEC_FILE}.",
        "Train one with `openmofi link train`; it is RUN/linker.",
    )
    raw = read_json(folder / SPEC_FILE, object, "Train or copy it again.", missing=missing)
    if not isinstance(raw, dict) or raw.get("format_version") != FORMAT_VERSION:
        raise OpenMofiError(
            f"{folder} has a format that this version does not read.", f"It reads format {FORMAT_VERSION}."
        )
    return raw
