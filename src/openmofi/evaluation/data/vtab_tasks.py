"""The 19 tasks of VTAB (Zhai et al. 2019, arXiv 1910.04867): names, groups, classes, and where they lie on disk.

Two layouts of a task's folder DIR/TASK are known:

- lists, as the VTAB-1k archive that most PyTorch code uses: `train800.txt`, `val200.txt`, `test.txt`, each line a path
  relative to the folder and a class number (`images/train800val200/000001.jpg 3`);
- class folders: `train800/CLASS/PICTURE`, `val200/CLASS/PICTURE`, `test/CLASS/PICTURE`; with `train800val200/…` in
  place of the first two, the 200 are drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from openmofi.errors import OpenMofiError
from openmofi.evaluation.data.folders import ClassFolders, class_folders, same_classes
from openmofi.features.sources import ImageSource, file_sources
from openmofi.pairs.formats.files import inside

TRAIN, VALIDATION = 800, 200
NATURAL, SPECIALISED, STRUCTURED = "natural", "specialised", "structured"
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Task:
    """A task.

    Attributes:
        name: as in VTAB's code, shortened.
        group: one of the three.
        classes: how many.
        test: images of the published test split.
        folders: names of its folder, as people call it.
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
    Task("dsprites_location", STRUCTURED, 16, 73728,
         ("dsprites_location", "dsprites_loc", "dsprites_label_x_position")),
    Task("dsprites_orientation", STRUCTURED, 16, 73728,
         ("dsprites_orientation", "dsprites_ori", "dsprites_label_orientation")),
    Task("smallnorb_azimuth", STRUCTURED, 18, 12150,
         ("smallnorb_azimuth", "smallnorb_azi", "smallnorb_label_azimuth")),
    Task("smallnorb_elevation", STRUCTURED, 9, 12150,
         ("smallnorb_elevation", "smallnorb_ele", "smallnorb_label_elevation")),
)


@dataclass(frozen=True)
class Files:
    """Images of a split: paths relative to `root`, and class numbers."""

    root: Path
    files: list[str]
    labels: Ints

    def sources(self, name: str) -> list[ImageSource]:
        """The images, to be embedded."""
        return file_sources(self.root, self.files, name)

    def take(self, rows: Ints) -> Files:
        """Some of them."""
        return Files(self.root, [self.files[row] for row in rows.tolist()], self.labels[rows])


@dataclass(frozen=True)
class Splits:
    """A task's three splits; `drawn` says that the 200 were drawn here and are not the published ones."""

    train: Files
    validation: Files
    test: Files
    drawn: bool = False

    def parts(self) -> tuple[Files, Files, Files]:
        """All three."""
        return self.train, self.validation, self.test


def task_folders(data: Path) -> dict[Task, Path]:
    """The tasks that are on disk, in the published order, and their folders."""
    found = {}
    for task in TASKS:
        place = next((data / name for name in task.folders if (data / name).is_dir()), None)
        if place is not None:
            found[task] = place
    return found


def open_task(task: Task, folder: Path, seed: int) -> Splits:
    """The splits of a task.

    Args:
        task: which.
        folder: in one of the layouts above.
        seed: of the 200 where they are to be drawn.

    Raises:
        OpenMofiError: neither layout, other counts than 800 and 200, or classes that the task has not.
    """
    if (folder / "train800.txt").is_file():
        train, validation, test = (_listed(task, folder, name) for name in ("train800", "val200", "test"))
        splits = Splits(train, validation, test)
    elif (folder / "train800").is_dir():
        first = class_folders(folder / "train800")
        rest = (same_classes(first, class_folders(folder / name)) for name in ("val200", "test"))
        train, validation, test = (_files(one) for one in (first, *rest))
        splits = Splits(train, validation, test)
    elif (folder / "train800val200").is_dir():
        splits = _drawn(class_folders(folder / "train800val200"), folder, seed)
    else:
        raise OpenMofiError(f"{folder} has neither train800.txt, nor train800 or train800val200 with class folders.",
                            "Bring VTAB-1k into one of these layouts; openmofi eval sources vtab.")
    _check(task, folder, splits)
    return splits


def _listed(task: Task, folder: Path, name: str) -> Files:
    path = folder / f"{name}.txt"
    try:
        lines = [line.rsplit(maxsplit=1) for line in path.read_text("utf-8").splitlines() if line.strip()]
        files, labels = [file for file, _ in lines], np.array([int(label) for _, label in lines], np.int64)
    except (OSError, ValueError) as error:
        raise OpenMofiError(f"{path} cannot be read as lines of a path and a class number: {error}.",
                            "Fetch VTAB-1k again.") from error
    outside = next((file for file in files if not inside(file)), None)
    if outside is not None or len(set(files)) < len(files):
        raise OpenMofiError(f"{path} names an image twice, or outside its folder{f': {outside}' if outside else ''}.",
                            "Fetch VTAB-1k again.")
    return Files(folder, files, labels)


def _files(folders: ClassFolders) -> Files:
    return Files(folders.root, folders.files, folders.labels)


def _drawn(both: ClassFolders, folder: Path, seed: int) -> Splits:
    order = np.random.default_rng(seed).permutation(len(both.files))
    whole, test = _files(both), _files(same_classes(both, class_folders(folder / "test")))
    return Splits(whole.take(np.sort(order[VALIDATION:])), whole.take(np.sort(order[:VALIDATION])), test, drawn=True)


def _check(task: Task, folder: Path, splits: Splits) -> None:
    counts = len(splits.train.files), len(splits.validation.files)
    if counts != (TRAIN, VALIDATION):
        raise OpenMofiError(f"{folder} has {counts[0]:,} training and {counts[1]:,} validation images; VTAB-1k has "
                            f"{TRAIN} and {VALIDATION}.", "Give the published split.")
    if not splits.test.files:
        raise OpenMofiError(f"{folder} has no test images.", "Complete the task, or remove its folder.")
    classes = 1 + max(int(part.labels.max()) for part in splits.parts())
    if classes > task.classes or min(int(part.labels.min()) for part in splits.parts()) < 0:
        raise OpenMofiError(f"{folder} has {classes} classes; {task.name} has {task.classes}, numbered from 0.",
                            "Check that this is the right task.")


def missing(found: Sequence[Task]) -> list[str]:
    """Names of the tasks that are not there."""
    return [task.name for task in TASKS if task not in found]
