"""The training loop. What is trained, on what and by which losses is not its business."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor

from openmofi.errors import OpenMofiError
from openmofi.objectives.protocol import Batch
from openmofi.training.checkpoint import Checkpoints, Progressed
from openmofi.training.distributed import bare
from openmofi.training.grad_cache import Forward, Found, forward_backward
from openmofi.training.meter import Meter
from openmofi.training.optimization import clip_gradients, gradient_norm, learning_rate, set_learning_rate
from openmofi.training.process import stop_asked
from openmofi.training.recipe.schema import Recipe
from openmofi.training.state import RunState

_NAN_LIMIT = 3
_SHOWN = 8


class Reporter(Protocol):
    """Told of each interval of the log."""

    def __call__(self, step: int, scalars: Mapping[str, float]) -> None:
        """`step` steps are done; means over those since the last call."""


def run_loop(state: RunState, recipe: Recipe, batches: Callable[[int], Generator[Batch]], forward: Forward,
             checkpoints: Checkpoints, report: Reporter, start: Progressed) -> Progressed:
    """Train from `start` to the recipe's last step.

    Args:
        state: what is trained.
        recipe: its settings.
        batches: step → this rank's batches from that step on.
        forward: calls the towers.
        checkpoints: where the run is kept.
        report: the log.
        start: how far the run is.

    Raises:
        OpenMofiError: the loss or a gradient was not finite three times in a row; names the batch's rows. Until then
            such a step is skipped.
        KeyboardInterrupt: after SIGINT or SIGTERM, when a checkpoint is written.
    """
    run, progressed, bad = recipe.run, start, 0
    meter, since_saved = Meter(recipe.data.batch_size), Meter(recipe.data.batch_size)
    with stop_asked() as asked, closing(batches(start.step)) as stream:
        for step in range(start.step, run.steps):
            before = time.perf_counter()
            batch = {name: values.to(state.ranks.device, non_blocking=True) for name, values in next(stream).items()}
            meter.waited += time.perf_counter() - before
            found = _step(state, recipe, forward, batch, step)
            bad = 0 if found.finite else bad + 1
            if bad == _NAN_LIMIT:
                raise _not_finite(step, batch)
            # A skipped step counts as one without a loss; nothing else of it comes into the means.
            scalars = {"loss": torch.full_like(found.loss, torch.nan)} if bad else _scalars(found)
            meter.add(scalars)
            since_saved.add(scalars)
            # A skipped step is no place to stop: what it says of the batch statistics may be wrong.
            done, stop = step + 1, state.ranks.any(asked()) and not bad
            if done % run.log_every == 0 or done == run.steps or stop:
                report(done, meter.take() | {"lr": learning_rate(step, run.steps, recipe.optimizer)})
            if (done % run.checkpoint_every == 0 or done == run.steps or stop) and not bad:
                progressed = checkpoints.save(state, Progressed(done, since_saved.take(), progressed.best))
            if stop and done < run.steps:
                raise KeyboardInterrupt
    return replace(progressed, step=run.steps)


def _step(state: RunState, recipe: Recipe, forward: Forward, batch: Batch, step: int) -> Found:
    optimizers = state.optimizers.values()
    set_learning_rate(optimizers, learning_rate(step, recipe.run.steps, recipe.optimizer))
    for optimizer in optimizers:
        optimizer.inner.zero_grad(set_to_none=True)
    # A seed of the step, not a travelling generator: a resumed run draws the same dropout without stored state.
    seed = ((recipe.run.seed * 1_000_003 + step) * 1024 + state.ranks.rank) * recipe.run.accumulate
    found = forward_backward(state.model, forward, state.terms, batch, count=recipe.run.accumulate,
                             seed=seed % (1 << 62))
    if not found.finite:
        return found
    for term in state.terms.values():
        sharded = term.objective.sharded_parameters()
        state.ranks.average(parameter.grad for name, parameter in term.objective.named_parameters()
                            if name not in sharded and parameter.grad is not None)
    found.norms.update({name: gradient_norm(optimizer, state.ranks) for name, optimizer in state.optimizers.items()})
    if not found.finite:
        return found
    for name, optimizer in state.optimizers.items():
        clip_gradients(optimizer, found.norms[name])
        optimizer.inner.step()
    for term in state.terms.values():
        term.objective.after_step()
    if state.ema is not None:
        state.ema.update(bare(state.model))
    return found


def _scalars(found: Found) -> dict[str, Tensor]:
    scalars: dict[str, Tensor] = {"loss": found.loss}
    for name, result in found.results.items():
        scalars |= {f"loss/{name}": result.loss.detach(), f"embedding_grad_norm/{name}": found.gradients[name]}
        scalars |= {f"{name}/{metric}": value for metric, value in result.metrics.items()}
    return scalars | {f"grad_norm/{name}": norm for name, norm in found.norms.items()}


def _not_finite(step: int, batch: Batch) -> OpenMofiError:
    rows = batch["row"].tolist()
    return OpenMofiError(
        f"The loss or its gradient was not finite {_NAN_LIMIT} times in a row, the last time at step {step + 1}, on "
        f"the dataset's rows {', '.join(map(str, rows[:_SHOWN]))}{', …' if len(rows) > _SHOWN else ''}.",
        "Start again in another folder with a lower optimizer.lr, an optimizer.clip, or run.precision=fp32; "
        "checkpoints from before are kept.")
