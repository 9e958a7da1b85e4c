"""VTAB-1k with a linear probe: 19 tasks of 800 + 200 examples; for the tasks and their layouts see
`openmofi.plugins.benchmarks.vtab_tasks`.

VTAB specifies no linear solver. Each task gets the probe of `openmofi.evaluation.metrics.linear`: logistic regression
by L-BFGS on frozen features, λ chosen on the 200, then fitted on all 1,000. Metrics are means over tasks: `mean_19`
with all tasks, and always `mean_present`, which compares only between encoders on the same tasks.

Data: https://github.com/google-research/task_adaptation (19 datasets, each under its own licence). Layout:
DIR/TASK/train800.txt, val200.txt, test.txt with lines PATH CLASS, or DIR/TASK/train800/CLASS/IMAGE and so on; see
openmofi eval sources vtab.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from openmofi.bootstrap import bootstrap_interval
from openmofi.config import NonNegativeInt, PositiveInt, Settings
from openmofi.errors import OpenMofiError, UsageError
from openmofi.evaluation.data.folders import require_folder
from openmofi.evaluation.features import data_fingerprint
from openmofi.evaluation.metrics.linear import MAX_ITERATIONS, Split, tuned_probe
from openmofi.evaluation.protocol import EvaluationProtocol, Measured, Subject
from openmofi.evaluation.result import items_table
from openmofi.features.images import EmbeddedImages
from openmofi.plugins.benchmarks.vtab_tasks import GROUPS, TASKS, Splits, Task, open_task, task_folders
from openmofi.storage import fingerprint

MEAN, COMPLETE = "mean_present", "mean_19"


@dataclass(frozen=True)
class VtabSettings(Settings):
    """Settings of `vtab`.

    Attributes:
        tasks: use only these; all tasks on disk by default.
        max_iterations: of L-BFGS.
        seed: of the 200 validation images where a task's folder does not list them.
    """

    tasks: tuple[str, ...] = ()
    max_iterations: PositiveInt = MAX_ITERATIONS
    seed: NonNegativeInt = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        known = [task.name for task in TASKS]
        if unknown := set(self.tasks) - set(known):
            raise UsageError(f"unknown value {min(unknown)!r} for tasks; use {', '.join(known)}.")


def measure(subject: Subject) -> Measured:
    """See the module."""
    settings: VtabSettings = subject.settings
    folders = task_folders(require_folder(subject.data))
    tasks = [task for task in TASKS if task.name in settings.tasks] or list(folders)
    absent = next((task for task in tasks if task not in folders), None)
    if absent is not None or not tasks:
        raise OpenMofiError(
            f"{subject.data} has no folder of {f'the task {absent.name}' if absent else 'any task'}.",
            f"A task's folder is named e.g. {TASKS[0].folders[0]}; see openmofi eval sources vtab.",
        )
    results = {task: _run(subject, task, open_task(task, folders[task], settings.seed)) for task in tasks}
    facts = {task.name: of_task for task, (of_task, *_) in results.items()}
    accuracies = np.array([of_task["accuracy"] for of_task in facts.values()])
    names, groups = [task.name for task in tasks], np.array([task.group for task in tasks])
    metrics = {MEAN: float(accuracies.mean())}
    if len(tasks) == len(TASKS):
        metrics[COMPLETE] = metrics[MEAN]
    for group in GROUPS:
        if group in groups:
            metrics[f"{group}/{MEAN}"] = float(accuracies[groups == group].mean())
    metrics |= {f"{name}/accuracy": of_task["accuracy"] for name, of_task in facts.items()}
    return Measured(
        metrics=metrics,
        intervals={MEAN: bootstrap_interval(accuracies, names)},
        interval_over="tasks",
        counts={"tasks": len(tasks), "images": sum(of_task["test"] for of_task in facts.values())},
        data_fingerprint=fingerprint([[task.name, identity] for task, (_, _, identity) in results.items()]),
        images=[images for _, of_task, _ in results.values() for images in of_task],
        items=items_table(names, names, {MEAN: accuracies}, groups.tolist()),
        facts={
            "missing": [task.name for task in TASKS if task not in tasks],
            "solver": "logistic regression, L-BFGS; λ chosen on val200, then fitted on all 1,000",
            "tasks": facts,
            "as_published": len(tasks) == len(TASKS) and all(of_task["as_published"] for of_task in facts.values()),
        },
    )


def _run(subject: Subject, task: Task, splits: Splits) -> tuple[dict[str, Any], list[EmbeddedImages], str]:
    """A task's facts, images, and the fingerprint of its data."""
    # Names of sources must be unique in a run, and tasks share file names.
    images = [
        subject.features.embed(part.sources(f"{task.name}-{name}"))
        for name, part in zip(("train", "val", "test"), splits.parts, strict=True)
    ]
    train, validation, test = (
        Split(embedded.embeddings, part.labels_of(embedded))
        for embedded, part in zip(images, splits.parts, strict=True)
    )
    sweep, probe = tuned_probe(train, validation, task.classes, max_iterations=subject.settings.max_iterations)
    refused = sum(len(embedded.refused) for embedded in images)
    facts = {
        "accuracy": float((probe.predict(test.features) == test.labels).mean()),
        "l2": sweep.best,
        "test": len(test.labels),
        "validation_drawn_here": splits.drawn,
        "converged": probe.converged,
        "as_published": not splits.drawn and not refused and len(test.labels) == task.test,
    }
    labels = [split.labels.tolist() for split in (train, validation, test)]
    return facts, images, data_fingerprint(images, labels)


PROTOCOL = EvaluationProtocol(
    name="vtab",
    version=2,
    headline=MEAN,
    settings=VtabSettings,
    measure=measure,
    rule="Images that cannot be read are left out of all splits; accuracy is over those that could be read.",
)
