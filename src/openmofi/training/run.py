"""A training run from a recipe to an encoder."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from openmofi.config.recipes import recipe_dict
from openmofi.engine import Progress
from openmofi.engine.protocol import Quiet
from openmofi.errors import OpenMofiError
from openmofi.objectives.protocol import Batch
from openmofi.reinforcement import KIND as REINFORCEMENT
from openmofi.storage import Manifest, claim_folder, finish_manifest, read_manifest, require_claimable
from openmofi.training.allocator import keep_freed_memory
from openmofi.training.checkpoint import Checkpoints, Progressed
from openmofi.training.data import TrainingData, open_data
from openmofi.training.data.taught import require_knowledge
from openmofi.training.distributed import Ranks, bare, joined_ranks, spread
from openmofi.training.grad_cache import Forward
from openmofi.training.inputs import ModelInputs
from openmofi.training.log import RunLog, Watcher
from openmofi.training.loop import run_loop
from openmofi.training.model import DualEncoder, Ema, build_model, inputs_of, save_encoder, standardise
from openmofi.training.recipe.schema import Recipe
from openmofi.training.state import RunState
from openmofi.training.terms import build_optimizers, build_terms, logit_scale

ENCODER = "encoder"
_KIND = "run"
_STANDARDISED_ON = 2048
# What may differ when a run goes on, on another machine say: none of it decides what is learned, but for rounding. Of
# dataset and knowledge base it is the content that counts.
_FREE = ("data.dataset", "data.kb", "data.examples", "data.workers", "data.cache", "data.reinforcement.store",
         "run.log_every", "run.checkpoint_every", "run.keep", "run.threads", "run.compile", "run.fsdp")


@dataclass(frozen=True)
class _Run:
    """A run that is set up."""

    recipe: Recipe
    out: Path
    inputs: ModelInputs
    data: TrainingData
    state: RunState
    ranks: Ranks


def train(recipe: Recipe, out: str | Path, *, resume: bool = False, watcher: Watcher,
          progress: Progress | None = None) -> dict[str, Any]:
    """Train as `recipe` says and write the encoder to `OUT/encoder`, which opens as `run:OUT/encoder`.

    Under `torchrun` every rank calls it. A finished run is not trained again.

    Args:
        recipe: see `Recipe`.
        out: folder of the run: `manifest.json`, `log.jsonl`, `tensorboard/`, `checkpoints/`, `encoder/`.
        resume: go on from the latest checkpoint; without one, start.
        watcher: told of each interval of the log.
        progress: told what is prepared before the first step (features, indices).

    Returns:
        Step → the last means of the log, and the best checkpoint.

    Raises:
        OpenMofiError: the folder holds a run that was stopped and `resume` is not set, or one of another recipe; the
            data are not there; the loss was not finite three times in a row.
        KeyboardInterrupt: SIGINT or SIGTERM came; a checkpoint is written.
    """
    out = Path(out)
    keep_freed_memory()
    with joined_ranks() as ranks:
        if recipe.run.threads:
            torch.set_num_threads(recipe.run.threads)
        inputs = inputs_of(recipe.model)
        data = _opened(recipe, inputs, out, ranks, progress or Quiet())
        checkpoints = Checkpoints(out / "checkpoints", keep=recipe.run.keep, best=recipe.run.best)
        manifest = _claimed(recipe, out, data, ranks, anew=not checkpoints.steps())
        if manifest.finished:
            return dict(manifest.counts)
        if checkpoints.steps() and not resume:
            raise OpenMofiError(f"{out} holds a run that was stopped at step {checkpoints.steps()[-1]}.",
                                "Add --resume to go on, or choose another output with -o.")
        run = _set_up(recipe, out, inputs, data, ranks, fresh=not checkpoints.steps())
        counts = _train(run, checkpoints, watcher)
        if ranks.first:
            finish_manifest(out, manifest, counts)
        ranks.barrier()
        return counts


def _opened(recipe: Recipe, inputs: ModelInputs, out: Path, ranks: Ranks, progress: Progress) -> TrainingData:
    """Rank 0 prepares what is cached; the others find it."""
    # Hidden, since a folder that holds anything else but a manifest is not claimed.
    cache = Path(recipe.data.cache) if recipe.data.cache else out / ".cache"
    with ranks.first_before_others():
        require_claimable(out, _KIND)
        data = open_data(recipe.data, inputs, seed=recipe.run.seed, cache=cache, progress=progress)
    require_knowledge(recipe, data.sources.taught)
    return data


def _claimed(recipe: Recipe, out: Path, data: TrainingData, ranks: Ranks, *, anew: bool) -> Manifest:
    settings = deciding_settings(recipe)
    inputs = {"/data": data.fingerprint}
    if recipe.data.kb:
        inputs["/kb"] = read_manifest(recipe.data.kb, "knowledge_base").fingerprint
    if recipe.data.reinforcement.store:
        inputs["/reinforcement"] = read_manifest(recipe.data.reinforcement.store, REINFORCEMENT).fingerprint
    with ranks.first_before_others():
        return claim_folder(out, _KIND, settings, inputs, anew=anew and ranks.first)


def deciding_settings(recipe: Any) -> dict[str, Any]:
    """The settings of a recipe (any dataclass of them) that decide what is learned.

    By their dotted names, so that an error tells the setting that differs.
    """
    return {key: value for key, value in _flat(recipe_dict(recipe)) if key not in _FREE}


def _flat(settings: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{path}{key}.")
        else:
            yield f"{path}{key}", value


def _set_up(recipe: Recipe, out: Path, inputs: ModelInputs, data: TrainingData, ranks: Ranks, *, fresh: bool) -> _Run:
    model = build_model(recipe.model, inputs, seed=recipe.run.seed)
    if fresh:
        count = max(1, math.ceil(_STANDARDISED_ON / recipe.data.batch_size))
        standardise(model, data.batches(0, count, workers=recipe.data.workers))
    model = model.to(ranks.device)
    # FSDP2 takes contiguous parameters only; there the images alone decide the format.
    if recipe.run.channels_last and not (recipe.run.fsdp and ranks.mesh is not None):
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if recipe.run.compile:
        model.compile()
    spreaded = spread(model, ranks, fsdp=recipe.run.fsdp)
    terms = build_terms(recipe, data.class_counts, ranks.device, data.teachers)
    ema = Ema(model, recipe.optimizer.ema) if recipe.optimizer.ema else None
    state = RunState(spreaded, terms, build_optimizers(recipe, model, terms), ema, ranks)
    return _Run(recipe, out, inputs, data, state, ranks)


def _train(run: _Run, checkpoints: Checkpoints, watcher: Watcher) -> dict[str, Any]:
    recipe, ranks, state = run.recipe, run.ranks, run.state
    steps = checkpoints.steps()
    start = checkpoints.load(state, steps[-1]) if steps else Progressed(0)
    state.model.train()
    log = RunLog(run.out, resume_step=start.step) if ranks.first else None
    last: dict[str, float] = {}

    def report(step: int, scalars: Mapping[str, float]) -> None:
        last.update(scalars)
        if log is not None:
            log.log(step, scalars)
            watcher.log(step, scalars)

    def batches(step: int) -> Generator[Batch]:
        yield from run.data.batches(step, recipe.run.steps, rank=ranks.rank, world=ranks.world,
                                    workers=recipe.data.workers)

    if ranks.first:
        watcher.begin(recipe.run.steps, start.step)
    try:
        done = run_loop(state, recipe, batches, _forward(run), checkpoints, report, start)
    finally:
        if log is not None:
            log.close()
    if done.best is None and ranks.first and done.metrics:
        watcher.say(f"run.best is {recipe.run.best}: no best checkpoint was kept, for that is none of "
                    f"{', '.join(sorted(done.metrics))}")
    _export(run)
    return {"steps": done.step, "metrics": last, "best": None if done.best is None
            else {"metric": recipe.run.best.removeprefix("-"), "value": done.best[0], "step": done.best[1]}}


def _forward(run: _Run) -> Forward:
    device, model = run.ranks.device, run.state.model
    bf16 = run.recipe.run.precision == "bf16"
    channels_last = run.recipe.run.channels_last

    def forward(batch: Batch) -> Mapping[str, Tensor]:
        if channels_last and "image" in batch:
            batch = {**batch, "image": batch["image"].contiguous(memory_format=torch.channels_last)}
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16):
            found: Mapping[str, Tensor] = model(batch)
        return found

    return forward


def _export(run: _Run) -> None:
    """Write the encoder, with the moving average where there is one; all ranks gather, the first writes."""
    state, recipe = run.state, run.recipe
    model = bare(state.model)
    if state.ema is not None:
        state.ema.copy_to(model)
    whole = {name: value.full_tensor() if isinstance(value, DTensor) else value
             for name, value in model.state_dict().items()}
    if run.ranks.first:
        final = _plain(recipe, run.inputs, whole)
        save_encoder(run.out / ENCODER, final, recipe.model, run.inputs, logit_scale=logit_scale(state.terms),
                     recipe=recipe_dict(recipe))
    run.ranks.barrier()


def _plain(recipe: Recipe, inputs: ModelInputs, weights: Mapping[str, Tensor]) -> DualEncoder:
    """The towers in one piece on the CPU, whatever they were wrapped in."""
    model: nn.Module = build_model(recipe.model, inputs, seed=recipe.run.seed)
    model.load_state_dict({name: value.detach().cpu() for name, value in weights.items()})
    assert isinstance(model, DualEncoder)
    return model.eval()
