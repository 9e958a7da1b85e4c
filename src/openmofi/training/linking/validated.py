"""The loop of encoders for a linker, with the accuracy on a split in each checkpoint, and an early end."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from openmofi.errors import OpenMofiError
from openmofi.linking.corpora.examples import Example
from openmofi.objectives.protocol import Batch
from openmofi.training.checkpoint import Checkpoints, Progressed
from openmofi.training.grad_cache import Forward
from openmofi.training.linking.recipe import LinkRecipe
from openmofi.training.log import RunLog, Watcher
from openmofi.training.loop import run_loop
from openmofi.training.recipe.schema import DataSettings, Recipe
from openmofi.training.state import RunState

ACCURACY = "validation_accuracy"


class _Enough(Exception):
    """The validation has not become better for long."""


class ValidatedCheckpoints(Checkpoints):
    """Checkpoints that know the accuracy on a split, and end a run that does not become better.

    Args:
        folder, keep, best: see `Checkpoints`.
        measure: the accuracy at present; must leave the model and torch's generator as they are.
        last: the run's last step.
        patience: checkpoints after the best one before it is enough; 0 is never.
        every: steps between checkpoints.
        report: told of the accuracy.
    """

    def __init__(self, folder: Path, *, keep: int, best: str, measure: Callable[[], float] | None, patience: int,
                 every: int, last: int, report: Callable[[int, Mapping[str, float]], None]) -> None:
        super().__init__(folder, keep=keep, best=best)
        self._measure, self._patience, self._every, self._last = measure, patience, every, last
        self._report = report

    def save(self, state: RunState, progressed: Progressed) -> Progressed:
        """See `Checkpoints.save`; then raises `_Enough` where it is."""
        # Where somebody interrupts must not decide which checkpoint is the best.
        planned = progressed.step % self._every == 0 or progressed.step == self._last
        found = {ACCURACY: self._measure()} if self._measure and planned else {}
        told = super().save(state, replace(progressed, metrics={**progressed.metrics, **found}))
        if found:
            self._report(told.step, found)
        if self.enough(told):
            raise _Enough
        return told

    def enough(self, progressed: Progressed) -> bool:
        """Whether a run that is this far should stop."""
        best = progressed.best
        return bool(self._patience) and best is not None and \
            progressed.step - best[1] >= self._patience * self._every


def run_validated(state: RunState, recipe: LinkRecipe, out: Path, batches: Callable[[int, int], Generator[Batch]],
                  forward: Forward, *, measure: Callable[[], float] | None, resume: bool,
                  watcher: Watcher) -> tuple[Progressed, dict[str, float]]:
    """Train to the recipe's last step or to an early end; the state then is the best checkpoint's.

    Args:
        state: what is trained.
        recipe: its settings.
        out: folder of the run.
        batches: first and last step → batches.
        forward: see `training.loop`.
        measure: see `ValidatedCheckpoints`.
        resume: go on from the latest checkpoint.
        watcher: told of the log.

    Returns:
        How far it came, and the last values of the log.

    Raises:
        OpenMofiError: as of `training.run.train`.
    """
    settings, last = recipe.run, dict[str, float]()

    def report(step: int, scalars: Mapping[str, float]) -> None:
        last.update(scalars)
        log.log(step, scalars)
        if "loss" in scalars:
            watcher.log(step, scalars)

    checkpoints = ValidatedCheckpoints(out / "checkpoints", keep=settings.keep, best=settings.best, measure=measure,
                                       patience=recipe.stopping.patience, every=settings.checkpoint_every,
                                       last=settings.steps, report=report)
    steps = checkpoints.steps()
    if steps and not resume:
        raise OpenMofiError(f"{out} holds a run that was stopped at step {steps[-1]}.",
                            "Add --resume to go on, or choose another output with -o.")
    start = checkpoints.load(state, steps[-1]) if steps else Progressed(0)
    state.model.train()
    log = RunLog(out, resume_step=start.step)

    def stream(step: int) -> Generator[Batch]:
        yield from batches(step, settings.steps)

    watcher.begin(settings.steps, start.step)
    try:
        if not checkpoints.enough(start):
            run_loop(state, _of_the_loop(recipe), stream, forward, checkpoints, report, start)
    except _Enough:
        watcher.say(f"no better for {recipe.stopping.patience} checkpoints")
    finally:
        log.close()
    done = checkpoints.load(state, checkpoints.steps()[-1])
    if done.best is not None and done.best[1] != done.step:
        checkpoints.load(state, done.best[1])
    return done, last


def _of_the_loop(recipe: LinkRecipe) -> Recipe:
    """What the loop looks at."""
    return Recipe(recipe.name, data=DataSettings(batch_size=recipe.data.batch_size), optimizer=recipe.optimizer,
                  run=recipe.run)


def spread_evenly(examples: Sequence[Example], limit: int) -> list[Example]:
    """At most `limit` examples, evenly spread."""
    return list(examples[::max(1, -(-len(examples) // limit))])
