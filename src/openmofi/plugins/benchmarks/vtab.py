"""VTAB-1k with a linear probe: 19 tasks of 800 + 200 examples, listed in `vtab.toml`.

VTAB specifies no linear solver. Each task gets the probe of `plugins.protocols.linear_probe`: logistic regression
by L-BFGS on frozen features, λ chosen on the 200, then fitted on all 1,000. Metrics are means over tasks: `mean_19`
with all tasks, and always `mean_present`, which compares only between encoders on the same tasks.

Data: https://github.com/google-research/task_adaptation (19 datasets, each under its own licence). Layout:
DIR/TASK/train800.txt, val200.txt, test.txt with lines PATH CLASS, or DIR/TASK/train800/CLASS/IMAGE and so on; see
openmofi eval sources vtab.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from openmofi.config import NonNegativeInt, PositiveInt, Settings
from openmofi.errors import OpenMofiError, UsageError
from openmofi.evaluation.protocol import EvaluationProtocol, Measured, Subject, data_fingerprint
from openmofi.evaluation.result import items_table
from openmofi.features.images import EmbeddedImages
from openmofi.pairs.formats.files import inside
from openmofi.plugins.benchmarks.by_t import interval_by_t
from openmofi.plugins.protocols.class_names import ClassifiedFiles, class_folders, require_folder, same_classes
from openmofi.plugins.protocols.linear_probe import MAX_ITERATIONS, Split, tuned_probe
from openmofi.storage import fingerprint

# Two layouts of a task's folder DIR/TASK are supported:
#
# - lists, as in the VTAB-1k archive that most PyTorch code uses: `train800.txt`, `val200.txt`, `test.txt`, each line a
#   path relative to the folder and a class number (`images/train800val200/000001.jpg 3`);
# - class folders: `train800/CLASS/IMAGE`, `val200/CLASS/IMAGE`, `test/CLASS/IMAGE`; with `train800val200/…` in place
#   of the first two, the 200 validation images are drawn.

TRAIN, VALIDATION = 800, 200
GROUPS = NATURAL, SPECIALISED, STRUCTURED = "natural", "specialised", "structured"


@dataclass(frozen=True)
class Task:
    """A task of VTAB.

    Attributes:
        name: as in VTAB's code, shortened.
        group: one of `GROUPS`.
        classes: their number.
        test: number of images of the published test split.
        folders: common names of its folder.
    """

    name: str
    group: str
    classes: int
    test: int
    folders: tuple[str, ...]


TASKS = tuple(
    Task(name, **(facts | {"folders": tuple(facts["folders"])}))
    for name, facts in tomllib.loads(Path(__file__).with_name("vtab.toml").read_text("utf-8")).items()
)


class Splits(NamedTuple):
    """A task's three splits; `drawn`: validation images were drawn here and are not the published ones."""

    train: ClassifiedFiles
    validation: ClassifiedFiles
    test: ClassifiedFiles
    drawn: bool = False

    @property
    def parts(self) -> tuple[ClassifiedFiles, ...]:
        """Training, validation and test."""
        return self[:3]


def task_folders(data: Path) -> dict[Task, Path]:
    """Return the folder of each task on disk, in the published order."""
    folders = {task: next((data / name for name in task.folders if (data / name).is_dir()), None) for task in TASKS}
    return {task: folder for task, folder in folders.items() if folder}


def open_task(task: Task, folder: Path, seed: int) -> Splits:
    """The splits of a task.

    Args:
        task: the task.
        folder: in one of the layouts above.
        seed: of the 200 validation images where they are drawn.

    Raises:
        OpenMofiError: neither layout, other counts than 800 and 200, or classes beyond the task's.
    """
    if (folder / "train800.txt").is_file():
        train, validation, test = (_from_list(folder, name) for name in ("train800", "val200", "test"))
        splits = Splits(train, validation, test)
    elif (folder / "train800").is_dir():
        train = class_folders(folder / "train800")
        validation, test = (same_classes(train, class_folders(folder / name)) for name in ("val200", "test"))
        splits = Splits(train, validation, test)
    elif (folder / "train800val200").is_dir():
        splits = _drawn(folder, seed)
    else:
        raise OpenMofiError(
            f"{folder} has neither train800.txt, nor train800 or train800val200 with class folders.",
            "Use one of the layouts of openmofi eval sources vtab.",
        )
    _check(task, folder, splits)
    return splits


def _from_list(folder: Path, name: str) -> ClassifiedFiles:
    path = folder / f"{name}.txt"
    try:
        lines = [line.rsplit(maxsplit=1) for line in path.read_text("utf-8").splitlines() if line.strip()]
        files, labels = [file for file, _ in lines], np.array([int(label) for _, label in lines], np.int64)
    except (OSError, ValueError) as error:
        raise OpenMofiError(
            f"{path} cannot be read as lines of a path and a class number: {error}.", "Download VTAB-1k again."
        ) from error
    outside = next((file for file in files if not inside(file)), None)
    if outside is not None or len(set(files)) < len(files):
        raise OpenMofiError(
            f"{path} lists an image twice, or outside its folder{f': {outside}' if outside else ''}.",
            "Download VTAB-1k again.",
        )
    return ClassifiedFiles(folder, files, labels, [])


def _drawn(folder: Path, seed: int) -> Splits:
    both = class_folders(folder / "train800val200")
    order = np.random.default_rng(seed).permutation(len(both.files))
    return Splits(
        both.take(np.sort(order[VALIDATION:])),
        both.take(np.sort(order[:VALIDATION])),
        same_classes(both, class_folders(folder / "test")),
        drawn=True,
    )


def _check(task: Task, folder: Path, splits: Splits) -> None:
    counts = len(splits.train.files), len(splits.validation.files)
    if counts != (TRAIN, VALIDATION):
        raise OpenMofiError(
            f"{folder} has {counts[0]:,} training and {counts[1]:,} validation images; VTAB-1k has "
            f"{TRAIN} and {VALIDATION}.",
            "Give the published split.",
        )
    if not splits.test.files:
        raise OpenMofiError(f"{folder} has no test images.", "Complete the task, or remove its folder.")
    labels = np.concatenate([part.labels for part in splits.parts])
    if labels.max() >= task.classes or labels.min() < 0:
        raise OpenMofiError(
            f"{folder} has {labels.max() + 1} classes; {task.name} has {task.classes}, numbered from 0.",
            "Check that this is the right task.",
        )


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
        names = [task.name for task in TASKS]
        if unknown := set(self.tasks) - set(names):
            raise UsageError(f"unknown value {min(unknown)!r} for tasks; use {', '.join(names)}.")


def measure(subject: Subject) -> Measured:
    """Measure an encoder by the protocol of this module."""
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
        intervals={MEAN: interval_by_t(accuracies, names)} if len(tasks) > 1 else {},
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
    """Run a task; return its facts, images, and the fingerprint of its data."""
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
