"""VTAB-1k with a linear probe: 19 tasks of 800 + 200 examples; see `openmofi.evaluation.data.vtab_tasks` for tasks and
layouts.

VTAB names no linear solver. Here each task has the probe of `openmofi.evaluation.metrics.linear`: logistic regression
by L-BFGS on frozen features, λ chosen on the 200, then fitted on all 1,000. Figures are means over tasks: `mean_19`
where all are there, and always `mean_present`, which compares only between encoders on the same tasks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from openmofi.config import NonNegativeInt, PositiveInt, Settings
from openmofi.errors import OpenMofiError, UsageError
from openmofi.evaluation.data.folders import require_folder
from openmofi.evaluation.data.vtab_tasks import (
    NATURAL,
    SPECIALISED,
    STRUCTURED,
    TASKS,
    Splits,
    Task,
    missing,
    open_task,
    task_folders,
)
from openmofi.evaluation.embed import EmbeddedImages
from openmofi.evaluation.features import data_fingerprint
from openmofi.evaluation.metrics.bootstrap import bootstrap_interval
from openmofi.evaluation.metrics.linear import MAX_ITERATIONS, choose_l2, fit_probe
from openmofi.evaluation.metrics.ranking import Ints
from openmofi.evaluation.protocol import EvaluationProtocol, Measured, Subject
from openmofi.evaluation.result import items_table
from openmofi.storage import fingerprint

MEAN, COMPLETE = "mean_present", "mean_19"


@dataclass(frozen=True)
class VtabSettings(Settings):
    """Settings of `vtab`.

    Attributes:
        tasks: only these; all that are there by default.
        max_iterations: of L-BFGS.
        seed: of the 200 where a task's folder does not tell them.
    """

    tasks: tuple[str, ...] = ()
    max_iterations: PositiveInt = MAX_ITERATIONS
    seed: NonNegativeInt = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        known = [task.name for task in TASKS]
        if unknown := set(self.tasks) - set(known):
            raise UsageError(f"unknown value {min(unknown)!r} for tasks; use {', '.join(known)}.")


@dataclass(frozen=True)
class _Judged:
    accuracy: float
    told: dict[str, Any]
    images: list[EmbeddedImages]
    fingerprint: str


def measure(subject: Subject) -> Measured:
    """See this module's head."""
    settings: VtabSettings = subject.settings
    folders = task_folders(require_folder(subject.data))
    wanted = [task for task in TASKS if task.name in settings.tasks] or list(folders)
    lost = next((task for task in wanted if task not in folders), None)
    if lost is not None or not wanted:
        raise OpenMofiError(f"{subject.data} has no folder of {f'the task {lost.name}' if lost else 'any task'}.",
                            f"A task's folder is called e.g. {TASKS[0].folders[0]}; openmofi eval sources vtab.")
    judged = {task: _judge(subject, task, open_task(task, folders[task], settings.seed)) for task in wanted}
    accuracies = np.array([one.accuracy for one in judged.values()])
    names, groups = [task.name for task in judged], [task.group for task in judged]
    metrics = {MEAN: float(accuracies.mean())}
    if len(judged) == len(TASKS):
        metrics[COMPLETE] = metrics[MEAN]
    for group in (NATURAL, SPECIALISED, STRUCTURED):
        rows = [row for row, of in enumerate(groups) if of == group]
        if rows:
            metrics[f"{group}/{MEAN}"] = float(accuracies[rows].mean())
    metrics |= {f"{task.name}/accuracy": one.accuracy for task, one in judged.items()}
    return Measured(
        metrics=metrics, intervals={MEAN: bootstrap_interval(accuracies, names)}, interval_over="tasks",
        counts={"tasks": len(judged), "images": sum(one.told["test"] for one in judged.values())},
        data_fingerprint=fingerprint([[task.name, one.fingerprint] for task, one in judged.items()]),
        images=[images for one in judged.values() for images in one.images],
        items=items_table(names, names, {MEAN: accuracies}, groups),
        facts={"missing": missing(wanted),
               "solver": "logistic regression, L-BFGS; λ chosen on val200, then fitted on all 1,000",
               "tasks": {task.name: one.told for task, one in judged.items()},
               "as_published": all(one.told["as_published"] for one in judged.values()) and len(judged) == len(TASKS)})


def _judge(subject: Subject, task: Task, splits: Splits) -> _Judged:
    # A source's name must be its own among all that a run shows, and tasks share file names.
    images = [subject.features.embed(part.sources(f"{task.name}-{name}"))
              for name, part in zip(("train", "val", "test"), splits.parts(), strict=True)]
    labels: list[Ints] = []
    for part, found in zip(splits.parts(), images, strict=True):
        of = dict(zip(part.files, part.labels.tolist(), strict=True))
        labels.append(np.array([of[key] for key in found.keys], np.int64))
    train, validation, test = ((found.embeddings, of) for found, of in zip(images, labels, strict=True))
    limit = subject.settings.max_iterations
    sweep = choose_l2(train, validation, task.classes, max_iterations=limit)
    probe = fit_probe(np.concatenate([train[0], validation[0]]), np.concatenate([train[1], validation[1]]),
                      task.classes, sweep.best, max_iterations=limit)
    refused = sum(len(found.refused) for found in images)
    told = {"accuracy": float((probe.predict(test[0]) == test[1]).mean()), "l2": sweep.best, "test": len(test[1]),
            "validation_drawn_here": splits.drawn, "converged": probe.converged,
            "as_published": not splits.drawn and not refused and len(test[1]) == task.test}
    return _Judged(told["accuracy"], told, images, data_fingerprint(images, [of.tolist() for of in labels]))


PROTOCOL = EvaluationProtocol(
    name="vtab", version=2, headline=MEAN, settings=VtabSettings, measure=measure,
    rule="Images that cannot be read are left out of all splits; accuracy is over those that could be read.",
    data="https://github.com/google-research/task_adaptation (19 datasets, each under its own licence). Layout: "
         "DIR/TASK/train800.txt, val200.txt, test.txt with lines PATH CLASS, or DIR/TASK/train800/CLASS/PICTURE and so "
         "on; openmofi eval sources vtab.")
