"""A training run from a recipe to an encoder, and a finished run as an object."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from openmofi.config import changed, deciding
from openmofi.config.recipes import recipe_dict
from openmofi.dataset import build_dataset
from openmofi.encoders import Encoder, open_encoder
from openmofi.engine import Progress, Quiet
from openmofi.errors import OpenMofiError, UsageError
from openmofi.extensions import own_part
from openmofi.knowledge import KnowledgeBase
from openmofi.objectives.margin_softmax import MarginSoftmax
from openmofi.objectives.protocol import Batch
from openmofi.storage import (
    Manifest,
    Outputs,
    claim_folder,
    claimed,
    finish_manifest,
    read_manifest,
    require_claimable,
    write_json,
)
from openmofi.training import log as tracking
from openmofi.training.checkpoint import Checkpoints
from openmofi.training.data import open_data
from openmofi.training.data.loader import TrainingData
from openmofi.training.data.plan import UNDECODABLE
from openmofi.training.distributed import Ranks, spread, training_process
from openmofi.training.evaluators import HeldOutEvaluator, class_report, stuck_head
from openmofi.training.log import LOG, Watcher, read_log
from openmofi.training.loop import Batches, Evaluation, NotFiniteError, train_loop
from openmofi.training.model import Ema, build_model, inputs_of, save_encoder
from openmofi.training.model.adaptation import frozen_first, frozen_print, start_weights
from openmofi.training.model.towers import DualEncoder, ModelInputs, standardise
from openmofi.training.recipe import EVALUATION_METRICS, Recipe
from openmofi.training.recipe.rules import check_micro_batches, require_length
from openmofi.training.report import CLASSES, CURVES, FIGURES, PAGE, write_curves, write_results
from openmofi.training.state import Forward, RunState, build_optimizers, build_terms, logit_scale

ENCODER = "encoder"
_BUILT = ".dataset"
PROFILES = ("trace.json", "profile.txt")
KIND = "run"
OUTPUTS = Outputs(
    (
        "checkpoints/step-*/**/*",
        *(
            f"{model}/{pattern}"
            for model in (ENCODER, "linker")
            for pattern in ("*.json", "*.safetensors", "tokenizer/*")
        ),
    ),
    other=(
        "checkpoints/*.json",
        "checkpoints/.writing/**/*",
        FIGURES,
        PAGE,
        LOG,
        CURVES,
        *PROFILES,
        CLASSES,
        "undecodable*.jsonl",
        *tracking.OUTPUTS,
    ),
)
"""Of any run; its hidden cache of features stays when it is restarted."""
_STANDARDISED_ON = 2048
_STARTED_ON = 32_768
# Decide nothing where nothing is evaluated.
_EVALUATION = ("run.evaluate.", "run.patience")


def train(
    recipe: Recipe,
    out: str | Path,
    *,
    resume: bool = False,
    watcher: Watcher,
    progress: Progress | None = None,
    restart: bool = False,
    labels: bool = False,
) -> dict[str, Any]:
    """Train as `recipe` says and write the encoder to `OUT/encoder`, which opens as `run:OUT/encoder`.

    Under `torchrun` every rank calls it. A finished run is not trained again. The encoder has the best checkpoint's
    weights where an evaluator decides which is the best, else the last weights.

    Args:
        recipe: see `Recipe`.
        out: folder of the run: `manifest.json`, `log.jsonl`, `tensorboard/`, `checkpoints/`, `encoder/`.
        resume: resume from the latest checkpoint; without one, start.
        watcher: follows the log.
        progress: follows what is prepared before the first step (features, indices).
        restart: remove what an earlier run left in `out`, and begin anew.
        labels: `data.dataset` may be a label job's folder too, of which a dataset is built in `out` first.

    Returns:
        `steps`, the last value of each of the log's `metrics`, and the `best` checkpoint.

    Raises:
        UsageError: settings that do not work, on these data; or that cannot fit into the GPU.
        OpenMofiError: the folder holds a run that was stopped and `resume` is not set, or one of another recipe; the
            data are missing; the loss was not finite three times in a row; a step does not fit into the GPU's memory.
        KeyboardInterrupt: SIGINT or SIGTERM came; a checkpoint is written.
    """
    out = Path(out)
    require_length(recipe.run)
    with training_process(recipe.run.threads, tf32=recipe.run.precision == "bf16") as ranks:
        if labels:
            recipe = _built(recipe, out, ranks, restart=restart)
        old = None if restart else require_claimable(out, KIND)
        finished = old is not None and bool(old.finished)
        inputs = inputs_of(recipe.model)
        if ranks.device.type == "cuda" and not finished:
            own_part("planners", "fit")(recipe, inputs, ranks.device, ranks.world)
        data = _opened(recipe, inputs, out, ranks, progress or Quiet())
        recipe = begun = recipe.over(data.trained)
        if not recipe.run.accumulate:
            of_run = recipe, inputs, ranks.device, ranks.world, data.classes
            cut = 1 if finished else own_part("planners", "cut")(*of_run)
            before = old.settings.get("run.accumulate", 0) if old else 0
            rows = max(1, recipe.data.batch_size // ranks.world)
            now = next(count for count in range(min(max(before, cut), rows), rows + 1) if rows % count == 0)
            found = ranks.from_first({"before": before or now, "now": now})
            begun, recipe = (changed(recipe, {"run.accumulate": number}) for number in found.values())
            if ranks.first and recipe.run.accumulate != before:
                watcher.say(f"run.accumulate = {recipe.run.accumulate}, by the memory of {ranks.device}")
        check_micro_batches(recipe.data.batch_size, recipe.run, ranks.world)
        checkpoints = Checkpoints(out / "checkpoints", keep=recipe.run.keep, best=recipe.run.best)
        with _claimed(begun, out, data, ranks, restart=restart) as manifest:
            if manifest.finished:
                return dict(manifest.counts)
            started_on = None if checkpoints.latest(resume=resume) else data
            build = partial(build_model, recipe.model, inputs, seed=recipe.run.seed)
            if started_on and recipe.model.start == "labels" and data.trained > _STARTED_ON:
                by_class = replace(recipe, data=replace(recipe.data, sampler="sqrt"))
                started_on = _opened(by_class, inputs, out, ranks, progress or Quiet())
            state = _set_up(recipe, build(), data, started_on, ranks)
            del started_on
            if ranks.first and (warning := stuck_head(recipe, data.class_counts)):
                watcher.say(warning)
            counts = _train(recipe, out, data, state, build, checkpoints, watcher)
            weights = state.weights()
            if ranks.first:
                model = build()
                model.load_state_dict(weights)
                save_encoder(
                    out / ENCODER,
                    model.eval(),
                    recipe.model,
                    inputs,
                    logit_scale=logit_scale(state.terms),
                    recipe=recipe_dict(recipe),
                )
                if recipe.run.report:
                    counts["results"] = _results(recipe, out, data, inputs)
                finish_manifest(out, manifest, counts)
            ranks.barrier()
            return counts


def _built(recipe: Recipe, out: Path, ranks: Ranks, *, restart: bool) -> Recipe:
    """Rank 0 builds the dataset before the others find it."""
    with ranks.first_before_others():
        built = dataset_of(recipe.data.dataset, recipe.data.kb, out, restart=restart and ranks.first)
    return replace(recipe, data=replace(recipe.data, dataset=str(built)))


def dataset_of(labels: str | Path, kb: str | Path | None, out: str | Path, *, restart: bool = False) -> Path:
    """A dataset: `labels` itself, or one that is built of a label job in the run's folder.

    Args:
        labels: folder of `openmofi label`, or of `openmofi dataset build`.
        kb: knowledge base, for the names of entities.
        out: folder of the run.
        restart: build it anew.

    Raises:
        UsageError: the folder holds neither.
        OpenMofiError: it is missing or not finished, or no label passes the filters.
    """
    kind = read_manifest(labels).kind
    if kind == "dataset":
        return Path(labels)
    if kind != "labels":
        raise UsageError(
            f"{labels} holds {kind!r}, neither labels nor a dataset.",
            "Give what `openmofi label` or `openmofi dataset build` wrote.",
        )
    folder = Path(out) / _BUILT
    build_dataset(labels, folder, kb=KnowledgeBase.open(kb) if kb else None, report=False, restart=restart)
    return folder


def _opened(recipe: Recipe, inputs: ModelInputs, out: Path, ranks: Ranks, progress: Progress) -> TrainingData:
    """Rank 0 fills the cache before the others read it."""
    # A hidden folder: one that holds any other file than a manifest is not claimed.
    cache = Path(recipe.data.cache) if recipe.data.cache else out / ".cache"
    with ranks.first_before_others():
        require_claimable(out, KIND)
        data = open_data(
            recipe.data, inputs, seed=recipe.run.seed, cache=cache, progress=progress, evaluate=recipe.run.evaluate
        )
    if data.sources.teachers:
        data.sources.teachers.check(recipe)
    return data


@contextmanager
def _claimed(recipe: Recipe, out: Path, data: TrainingData, ranks: Ranks, *, restart: bool) -> Generator[Manifest]:
    """The first rank claims the folder of the run, for all."""
    settings = deciding_settings(recipe)
    inputs = {"/data": data.fingerprint}
    if recipe.data.kb:
        inputs["/kb"] = read_manifest(recipe.data.kb, "knowledge_base").fingerprint
    if data.sources.teachers:
        inputs["/reinforcement"] = data.sources.teachers.fingerprint
    with ExitStack() as stack:
        with ranks.first_before_others():
            manifest = (
                stack.enter_context(claimed(out, KIND, settings, inputs, outputs=OUTPUTS, restart=restart))
                if ranks.first
                else claim_folder(out, KIND, settings, inputs)
            )
        yield manifest


def deciding_settings(recipe: Any) -> dict[str, Any]:
    """The settings of a recipe (any dataclass of them) that decide what is learned.

    By their dotted names, so that an error names the setting that differs. What may differ when a run is resumed, on
    another machine say, is marked `FREE` at its field; datasets and knowledge bases are compared by content.
    """
    off = () if recipe.run.evaluate.every else _EVALUATION
    return {key: value for key, value in deciding(recipe) if not key.startswith(off)}


def _set_up(recipe: Recipe, model: DualEncoder, data: TrainingData, new: TrainingData | None, ranks: Ranks) -> RunState:
    vectors = None
    if new:
        size, batches = recipe.data.batch_size, partial(new.batches, workers=recipe.data.workers)
        standardise(model, batches(0, max(1, math.ceil(_STANDARDISED_ON / size))))
        if recipe.model.start == "labels":
            rows = min(data.trained, _STARTED_ON)
            vectors = own_part("adapters", "start")(model, batches(0, max(1, math.ceil(rows / size))), data.classes)
    model = model.to(ranks.device)
    # FSDP2 takes contiguous parameters only; there the images alone decide the format.
    if recipe.run.channels_last and not (recipe.run.fsdp and ranks.mesh is not None):
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if recipe.run.compile:
        model.compile()
    share = recipe.model.start_share
    start = start_weights(model) if share else {}
    frozen = frozen_print(model)
    towers = spread(model, ranks, recipe.run)
    terms = build_terms(recipe, data.class_counts, ranks.device, data.sources.teachers)
    if vectors is not None and "margin_softmax" in terms:
        cast("MarginSoftmax", terms["margin_softmax"].objective).start_at(vectors)
    ema = Ema(model, recipe.optimizer.ema) if recipe.optimizer.ema else None
    optimizers, first = build_optimizers(recipe, model, terms), frozen_first(model, recipe.model)
    return RunState(towers, terms, optimizers, ema, ranks, start, share, first, frozen)


def _train(
    recipe: Recipe,
    out: Path,
    data: TrainingData,
    state: RunState,
    build: Callable[[], DualEncoder],
    checkpoints: Checkpoints,
    watcher: Watcher,
) -> dict[str, Any]:
    ranks, run = state.ranks, recipe.run
    forward = partial(_forward, recipe, ranks.device)
    batches: Batches = partial(
        data.batches, stop=run.length, rank=ranks.rank, world=ranks.world, workers=recipe.data.workers
    )
    if run.profile and ranks.first:
        batches = own_part("planners", "profile")(batches, run.profile, *(out / name for name in PROFILES))
    evaluation = Evaluation()
    if run.evaluate.every:
        evaluator = HeldOutEvaluator(run.evaluate, data, state, build(), forward, run.accumulate, recipe.data.workers)
        evaluation = Evaluation(
            evaluator.evaluate,
            run.evaluate.every,
            run.patience,
            restores_best=run.best.removeprefix("-") in EVALUATION_METRICS,
        )
    counts: dict[str, Any] = {}
    try:
        end, scalars = train_loop(state, recipe, out, batches, forward(state.model), checkpoints, watcher, evaluation)
        report = class_report(state, data.class_counts, data.class_names)
        if ranks.first and report:
            write_json(out / CLASSES, report)
    except NotFiniteError as error:
        raise error.named(data.sources.names) from None
    except torch.OutOfMemoryError as error:
        raise own_part("planners", "full")(recipe, ranks.device, ranks.world, checkpoints.steps()) from error
    finally:
        if ranks.first and run.curves:
            write_curves(out, recipe.name)
        if undecodable := data.faults.write(out, ranks.rank):
            counts["undecodable"] = undecodable
            watcher.say(
                f"{undecodable:,} images can no longer be decoded, and others were trained on in their place: "
                f"{out / UNDECODABLE}"
            )
    return counts | {"steps": end.step, "metrics": scalars, "best": checkpoints.best(end)}


def _results(recipe: Recipe, out: Path, data: TrainingData, inputs: ModelInputs) -> dict[str, Any]:
    base = inputs.image_encoder
    assert base is not None
    encoder = open_encoder(f"run:{out / ENCODER}", bases=[base])
    return write_results(out, data, base, encoder, (recipe.model.dim, *recipe.model.nested), recipe.name)


def _forward(recipe: Recipe, device: torch.device, model: nn.Module) -> Forward:
    bf16, channels_last = recipe.run.precision == "bf16", recipe.run.channels_last

    def forward(batch: Batch) -> Mapping[str, Tensor]:
        if channels_last and "image" in batch:
            batch = {**batch, "image": batch["image"].contiguous(memory_format=torch.channels_last)}
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16):
            embeddings: Mapping[str, Tensor] = model(batch)
        return embeddings

    return forward


@dataclass(frozen=True)
class Run:
    """What `openmofi train` left in a folder.

    Attributes:
        path: the folder: `manifest.json`, `log.jsonl`, `checkpoints/`, `encoder/`.
        summary: `steps`, the last means of the log (`metrics`), and the best checkpoint where there is one.
    """

    path: Path
    summary: Mapping[str, Any]

    @classmethod
    def open(cls, path: str | Path) -> Run:
        """Open a run of an earlier session.

        Raises:
            OpenMofiError: there is none, it is damaged, or it is not finished.
        """
        manifest = read_manifest(path, KIND)
        if not manifest.finished:
            raise OpenMofiError(f"The run {path} is not finished.", "Go on with it: train with resume.")
        return cls(Path(path), manifest.counts)

    @cached_property
    def encoder(self) -> Encoder:
        """The trained encoder, opened once, on the CPU; `run.encoder.to("cuda")` is it elsewhere.

        Raises:
            OpenMofiError: it is missing or damaged.
        """
        return open_encoder(f"run:{self.path / ENCODER}")

    def log(self) -> list[dict[str, Any]]:
        """The lines of `log.jsonl`: `step` and the means of an interval."""
        return read_log(self.path)
