"""The training loop and the meter of its scalars. What is trained, and by which losses, is not its business."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from openmofi.config import deciding
from openmofi.errors import OpenMofiError, did_you_mean
from openmofi.evaluation.bands import BANDS
from openmofi.objectives.protocol import Batch
from openmofi.training.checkpoint import Checkpoints, Progressed
from openmofi.training.distributed import bare, stop_requested
from openmofi.training.log import RunLog, Tracked, Watcher, read_log
from openmofi.training.optimization import clip_gradients, gradient_norm, learning_rate, set_learning_rate
from openmofi.training.recipe import OptimizerSettings, RunSettings
from openmofi.training.state import Forward, RunState, StepResult, forward_backward

_NAN_LIMIT = 3
_SHOWN = 8


class _BatchSettings(Protocol):
    @property
    def batch_size(self) -> int: ...


class LoopSettings(Protocol):
    """What the loop reads of a recipe."""

    @property
    def name(self) -> str:
        """Name of the recipe."""

    @property
    def data(self) -> _BatchSettings:
        """Settings of batches."""

    @property
    def optimizer(self) -> OptimizerSettings:
        """Settings of learning rates and clipping."""

    @property
    def run(self) -> RunSettings:
        """Settings of steps, log and checkpoints."""


Evaluator = Callable[[int], Mapping[str, float]]
"""Steps so far → metric → value of what is trained, as it is now; every rank calls it, and gets the same values."""


@dataclass(frozen=True)
class Evaluation:
    """When the loop evaluates.

    Attributes:
        evaluator: what measures, or `None`.
        every: steps between evaluations; the last step has one too.
        patience: evaluations without a better checkpoint before the run ends; 0 is never.
        restores_best: whether the run ends with the best checkpoint's weights.
    """

    evaluator: Evaluator | None = None
    every: int = 0
    patience: int = 0
    restores_best: bool = False

    def at(self, step: int, last: int) -> Mapping[str, float]:
        """Metric → value where `step` of `last` steps is evaluated; else nothing. torch's random state is restored."""
        if self.evaluator is None or (step % self.every and step != last):
            return {}
        with torch.random.fork_rng([torch.cuda.current_device()] if torch.cuda.is_available() else []):
            return self.evaluator(step)

    def ends(self, progressed: Progressed) -> bool:
        """Whether a run that is this far has not become better for long enough."""
        best = progressed.best
        return bool(self.patience) and best is not None and progressed.step - best[1] >= self.patience * self.every


class NotFiniteError(OpenMofiError):
    """The loss or a gradient was not finite three times in a row.

    Attributes:
        step: the last one.
        rows: of its batch, on this rank.
    """

    step: int
    rows: list[int]

    @classmethod
    def at(cls, step: int, rows: list[int], names: Sequence[str] = ()) -> NotFiniteError:
        """The error of a step, with the names of the first rows where they are known."""
        listed = names or [f"{row}" for row in rows[:_SHOWN]]
        error = cls(
            f"The loss or its gradient was not finite {_NAN_LIMIT} times in a row, the last time at step "
            f"{step + 1}, on {'the images' if names else 'the rows'} {', '.join(listed)}"
            f"{', …' if len(rows) > _SHOWN else ''}.",
            "Start again in another folder with a lower optimizer.lr, an optimizer.clip, or "
            "run.precision=fp32; checkpoints from before are kept.",
        )
        error.step, error.rows = step, rows
        return error

    def named(self, names: Callable[[list[int]], list[str]]) -> NotFiniteError:
        """Return the same error with the names of its rows.

        Args:
            names: rows → what messages call them.
        """
        return NotFiniteError.at(self.step, self.rows, names(self.rows[:_SHOWN]))


@dataclass
class Meter:
    """Collects the scalars of steps until they are taken.

    Attributes:
        batch_size: of the global batch.
        waited: seconds spent waiting for data; the loop adds to it.
        paused: seconds spent on evaluations, which do not count; the loop adds to it.
    """

    batch_size: int
    waited: float = 0.0
    paused: float = 0.0
    _started: float = field(default_factory=time.perf_counter)
    _steps: int = 0
    _sums: dict[str, Tensor] = field(default_factory=dict)
    _counts: dict[str, Tensor] = field(default_factory=dict)

    def add(self, scalars: Mapping[str, Tensor]) -> None:
        """Count one step. Tensors are summed where they are, without waiting for a GPU; values that are not
        finite are left out.
        """
        self._steps += 1
        for name, value in scalars.items():
            finite = torch.isfinite(value)
            self._sums[name] = self._sums.get(name, torch.zeros_like(value)) + value.nan_to_num(0.0, 0.0, 0.0)
            self._counts[name] = self._counts.get(name, torch.zeros_like(finite, dtype=torch.int64)) + finite

    def take(self) -> dict[str, float]:
        """Return the means of the finite values, `images_per_s`, `data_wait` (share of the time spent waiting for
        data), `memory_mib` (peak of this process, or of its GPU) and `skipped` (steps without a finite loss), and
        start a new interval.
        """
        counts = {name: int(count) for name, count in self._counts.items()}
        means = {name: float(value) / counts[name] for name, value in self._sums.items() if counts[name]}
        took = max(time.perf_counter() - self._started - self.paused, 1e-9)
        means |= {
            "images_per_s": self._steps * self.batch_size / took,
            "data_wait": min(self.waited / took, 1.0),
            "memory_mib": _memory(),
            "skipped": float(self._steps - counts.get("loss", self._steps)),
        }
        self._started, self.waited, self.paused = time.perf_counter(), 0.0, 0.0
        self._steps, self._sums, self._counts = 0, {}, {}
        return means


def _memory() -> float:
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def buffers_of(model: nn.Module) -> list[Tensor]:
    """Copies of the towers' buffers of floats: batch statistics."""
    buffers = [buffer for buffer in bare(model).buffers() if buffer.is_floating_point()]
    return [buffer.clone() for buffer in buffers]


def restore_buffers(model: nn.Module, copies: Sequence[Tensor]) -> None:
    """Undo what a batch did to the buffers of which `buffers_of` made copies: NaN in one image would stay for ever."""
    buffers = [buffer for buffer in bare(model).buffers() if buffer.is_floating_point()]
    for buffer, copy in zip(buffers, copies, strict=True):
        buffer.copy_(copy)


Batches = Callable[[int], Generator[Batch]]
Report = Callable[[int, Mapping[str, float]], None]


def train_loop(
    state: RunState,
    recipe: LoopSettings,
    out: Path,
    batches: Batches,
    forward: Forward,
    checkpoints: Checkpoints,
    watcher: Watcher,
    evaluation: Evaluation,
) -> tuple[Progressed, dict[str, float]]:
    """Train from the latest checkpoint, or the start, to the end, with a log in `out`.

    Args:
        state, recipe, batches, forward, checkpoints, evaluation: see `run_loop`.
        out: folder of the run.
        watcher: follows the first rank's log.

    Returns:
        How far the run is, and the last value of each scalar of the log.

    Raises:
        OpenMofiError, KeyboardInterrupt: see `run_loop`.
    """
    first, run, scalars = state.ranks.first, recipe.run, dict[str, float]()
    step = checkpoints.latest(resume=True)
    start = checkpoints.load(state, step) if step else Progressed(0)
    if first and step:
        checkpoints.tidy(start)
    state.model.train()
    tracked = Tracked(out, recipe.name, run.project, dict(deciding(recipe)), start.step)
    log = RunLog(tracked, run.trackers, watcher.say) if first else None
    # Where nothing is left to do, the outcome's last values are those of the log.
    for line in read_log(out) if log else ():
        scalars.update({name: value for name, value in line.items() if name != "step" and value is not None})

    def report(step: int, values: Mapping[str, float]) -> None:
        scalars.update(values)
        if log is None:
            return
        log.log(step, values)
        if "lr" in values:
            watcher.log(step, values)
        else:
            # Bands are for the log and its page.
            shown = (f"{name} {value:.4g}" for name, value in values.items() if not name.endswith(BANDS))
            watcher.say(f"step {step}: {', '.join(shown)}")

    if first:
        watcher.begin(run.length, start.step)
    finished = False
    try:
        end = run_loop(state, recipe, batches, forward, checkpoints, report, start, evaluation)
        finished = True
    finally:
        if log is not None:
            log.close(finished=finished)
    if first:
        _say_how_it_ended(end, recipe, evaluation, watcher)
    if evaluation.restores_best and end.best is not None and end.best[1] != end.step:
        checkpoints.load(state, end.best[1])
    return end, scalars


def _say_how_it_ended(end: Progressed, recipe: LoopSettings, evaluation: Evaluation, watcher: Watcher) -> None:
    run = recipe.run
    if end.step < run.length:
        watcher.say(f"{run.best} is not better for {evaluation.patience} evaluations: stopped after step {end.step}")
    if end.best is None and end.metrics:
        watcher.say(
            f"run.best is {run.best}: no best checkpoint was kept, for that is none of "
            f"{', '.join(sorted(end.metrics))}.{did_you_mean(run.best.removeprefix('-'), end.metrics)}"
        )


def run_loop(
    state: RunState,
    recipe: LoopSettings,
    batches: Batches,
    forward: Forward,
    checkpoints: Checkpoints,
    report: Report,
    start: Progressed,
    evaluation: Evaluation,
) -> Progressed:
    """Train from `start` to the recipe's last step, or to the end that the evaluation sets.

    A step that is evaluated has a checkpoint, so that the best one is kept.

    Args:
        state: what is trained.
        recipe: its settings.
        batches: step → this rank's batches from that step on.
        forward: calls the towers.
        checkpoints: where the run is kept.
        report: logs means over the steps since the last call, or what was evaluated.
        start: how far the run is.
        evaluation: what is evaluated, and when the run ends early.

    Raises:
        NotFiniteError: the loss or a gradient was not finite three times in a row. Until then such a step is skipped,
            and leaves no trace in the towers' batch statistics.
        KeyboardInterrupt: after SIGINT or SIGTERM, when a checkpoint is written.
    """
    run, progressed, bad = recipe.run, start, 0
    if evaluation.ends(start):
        return start
    meter, since_saved = Meter(recipe.data.batch_size), Meter(recipe.data.batch_size)
    with stop_requested() as requested, closing(batches(start.step)) as stream:
        for step in range(start.step, run.length):
            before = time.perf_counter()
            batch = {name: values.to(state.ranks.device, non_blocking=True) for name, values in next(stream).items()}
            meter.waited += time.perf_counter() - before
            statistics = buffers_of(state.model)
            result = _step(state, recipe, forward, batch, step)
            bad = 0 if result.finite else bad + 1
            if bad:
                restore_buffers(state.model, statistics)
            if bad == _NAN_LIMIT:
                raise NotFiniteError.at(step, batch["row"].tolist())
            scalars = _scalars(result, batch, skipped=bool(bad))
            meter.add(scalars)
            since_saved.add(scalars)
            # A skipped step is no place to stop: a checkpoint's metrics are of steps that count.
            done, stop = step + 1, state.ranks.any(requested()) and not bad
            if done % run.log_every == 0 or done == run.length or stop:
                report(done, meter.take() | {"lr": learning_rate(step, run.length, recipe.optimizer)})
            if bad:
                continue
            before = time.perf_counter()
            if evaluated := evaluation.at(done, run.length):
                report(done, evaluated)
                meter.paused += time.perf_counter() - before
            if done % run.checkpoint_every == 0 or done == run.length or stop or evaluated:
                metrics = {**since_saved.take(), **evaluated}
                progressed = checkpoints.save(state, Progressed(done, metrics, progressed.best))
            if stop and done < run.length:
                raise KeyboardInterrupt
            if evaluated and evaluation.ends(progressed):
                return progressed
    return replace(progressed, step=run.length)


def _step(state: RunState, recipe: LoopSettings, forward: Forward, batch: Batch, step: int) -> StepResult:
    optimizers = state.optimizers.values()
    set_learning_rate(optimizers, learning_rate(step, recipe.run.length, recipe.optimizer))
    for optimizer in optimizers:
        optimizer.inner.zero_grad(set_to_none=True)
    for part in state.frozen_first:
        part.before(step)
    # A seed of the step, not a travelling generator: a resumed run draws the same dropout without stored state.
    seed = ((recipe.run.seed * 1_000_003 + step) * 1024 + state.ranks.rank) * recipe.run.accumulate
    result = forward_backward(
        state.model, forward, state.terms, batch, count=recipe.run.accumulate, seed=seed % (1 << 62)
    )
    if not result.finite:
        return result
    for part in state.frozen_first:
        part.after(step)
    for term in state.terms.values():
        sharded = term.objective.sharded_parameters()
        state.ranks.average(
            parameter.grad
            for name, parameter in term.objective.named_parameters()
            if name not in sharded and parameter.grad is not None
        )
    result.norms.update({name: gradient_norm(optimizer, state.ranks) for name, optimizer in state.optimizers.items()})
    if not result.finite:
        return result
    for name, optimizer in state.optimizers.items():
        clip_gradients(optimizer, result.norms[name])
        optimizer.inner.step()
    for term in state.terms.values():
        term.objective.after_step()
    if state.ema is not None:
        state.ema.update(bare(state.model))
    return result


def _scalars(result: StepResult, batch: Batch, *, skipped: bool) -> dict[str, Tensor]:
    data = {"undecodable": batch["undecodable"].float().mean()} if "undecodable" in batch else {}
    if skipped:
        # It counts as a step without a loss; nothing else of it comes into the means.
        return {"loss": torch.full_like(result.loss, torch.nan), **data}
    scalars: dict[str, Tensor] = {"loss": result.loss, **data}
    for name, of_objective in result.results.items():
        scalars |= {f"loss/{name}": of_objective.loss.detach(), f"embedding_grad_norm/{name}": result.gradients[name]}
        scalars |= {f"{name}/{metric}": value for metric, value in of_objective.metrics.items()}
    return scalars | {f"grad_norm/{name}": norm for name, norm in result.norms.items()}
