"""The 19 tasks of VTAB (Zhai et al. 2019, arXiv 1910.04867): names, groups, classes, and their layouts on disk.

Two layouts of a task's folder DIR/TASK are supported:

- lists, as in the VTAB-1k archive that most PyTorch code uses: `train800.txt`, `val200.txt`, `test.txt`, each line a
  path relative to the folder and a class number (`images/train800val200/000001.jpg 3`);
- class folders: `train800/CLASS/IMAGE`, `val200/CLASS/IMAGE`, `test/CLASS/IMAGE`; with `train800val200/…` in place of
  the first two, the 200 validation images are drawn.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from openmofi.errors import OpenMofiError
from openmofi.evaluation.data.folders import ClassifiedFiles, class_folders, same_classes
from openmofi.pairs.formats.files import inside

TRAIN, VALIDATION = 800, 200
GROUPS = NATURAL, SPECIALISED, STRUCTURED = "natural", "specialised", "structured"


@dataclass(frozen=True)
class Task:
    """A task.

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


TASKS = (
    Task("caltech101", NATURAL, 102, 6084, ("caltech101",)),
    Task("cifar100", NATURAL, 100, 10000, ("cifar100", "cifar")),
    Task("dtd", NATURAL, 47, 1880, ("dtd",)),
    Task("oxford_flowers102", NATURAL, 102, 6149, ("oxford_flowers102", "flowers102")),
    Task("oxford_iiit_pet", NATURAL, 37, 3669, ("oxford_iiit_pet", "pets")),
    Task("sun397", NATURAL, 397, 21750, ("sun397",)),
    Task("svhn", NATURAL, 10, 26032, ("svhn",)),
    Task("patch_camelyon", SPECIALISED, 2, 32768, ("patch_camelyon",)),
    Task("eurosat", SPECIALISED, 10, 5400, ("eurosat",)),
    Task("resisc45", SPECIALISED, 45, 6300, ("resisc45",)),
    Task("diabetic_retinopathy", SPECIALISED, 5, 42670, ("diabetic_retinopathy",)),
    Task("clevr_count", STRUCTURED, 8, 15000, ("clevr_count", "clevr_count_all")),
    Task("clevr_distance", STRUCTURED, 6, 15000, ("clevr_distance", "clevr_dist", "clevr_closest_object_distance")),
    Task("dmlab", STRUCTURED, 6, 22735, ("dmlab",)),
    Task("kitti_distance", STRUCTURED, 4, 711, ("kitti_distance", "kitti", "kitti_closest_vehicle_distance")),
    Task(
        "dsprites_location", STRUCTURED, 16, 73728, ("dsprites_location", "dsprites_loc", "dsprites_label_x_position")
    ),
    Task(
        "dsprites_orientation",
        STRUCTURED,
        16,
        73728,
        ("dsprites_orientation", "dsprites_ori", "dsprites_label_orientation"),
    ),
    Task("smallnorb_azimuth", STRUCTURED, 18, 12150, ("smallnorb_azimuth", "smallnorb_azi", "smallnorb_label_azimuth")),
    Task(
        "smallnorb_elevation",
        STRUCTURED,
        9,
        12150,
        ("smallnorb_elevation", "smallnorb_ele", "smallnorb_label_elevation"),
    ),
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
    """Tasks on disk → their folders, in the published order."""
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
