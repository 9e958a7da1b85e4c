"""Images in class folders, as published datasets have them: DIR/CLASS/IMAGE or DIR/SPLIT/CLASS/IMAGE."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from openmofi.arrays import Ints
from openmofi.errors import OpenMofiError
from openmofi.features.images import SUFFIXES, EmbeddedImages, ImageSource, file_sources, images_in

TRAIN, VALIDATION, TEST = ("train", "training"), ("val", "validation", "valid"), ("test", "testing")


@dataclass(frozen=True)
class ClassifiedFiles:
    """Image files and their classes.

    Attributes:
        root: folder of the files.
        files: (n,) paths relative to `root`.
        labels: (n,) class numbers, which index `classes`.
        classes: names; empty where only numbers are known.
    """

    root: Path
    files: list[str]
    labels: Ints
    classes: list[str]

    def sources(self, name: str = "") -> list[ImageSource]:
        """Sources to embed, by default named by the folder."""
        return file_sources(self.root, self.files, name or self.root.name or "files")

    def labels_of(self, images: EmbeddedImages) -> Ints:
        """(n,) the classes of embedded images."""
        labels = dict(zip(self.files, self.labels.tolist(), strict=True))
        return np.array([labels[key] for key in images.keys], np.int64)

    def take(self, rows: Ints) -> ClassifiedFiles:
        """Some rows, with all classes."""
        return replace(self, files=[self.files[row] for row in rows.tolist()], labels=self.labels[rows])


def class_folders(root: str | Path) -> ClassifiedFiles:
    """The class folders in `root`, both sorted; a class may have subfolders.

    Raises:
        OpenMofiError: `root` is not a folder, has no class folders, or one has no images.
    """
    folder = require_folder(root)
    names = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not names:
        raise OpenMofiError(f"{root} has no class folders.", "Give a folder with a folder of images for each class.")
    files = [[f"{name}/{file}" for file in images_in(folder / name)] for name in names]
    empty = [name for name, of_class in zip(names, files, strict=True) if not of_class]
    if empty:
        raise OpenMofiError(
            f"Class folders of {root} without images: {listed(empty)}.",
            f"Images end in {', '.join(SUFFIXES)}; remove folders that are not classes.",
        )
    labels = np.repeat(np.arange(len(names), dtype=np.int64), [len(of_class) for of_class in files])
    return ClassifiedFiles(folder, [file for of_class in files for file in of_class], labels, names)


def split_folder(data: str | Path, names: Sequence[str]) -> Path | None:
    """The first existing folder in `data` of these names."""
    folder = require_folder(data)
    return next((folder / name for name in names if (folder / name).is_dir()), None)


def require_folder(path: str | Path) -> Path:
    """`path`, which must be a folder.

    Raises:
        OpenMofiError: it is not a folder.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise OpenMofiError(f"{path} is not a folder.", "Check the path.")
    return folder


def required_split(data: str | Path, names: Sequence[str]) -> ClassifiedFiles:
    """The class folders of a split.

    Raises:
        OpenMofiError: the split does not exist; see also `class_folders`.
    """
    folder = split_folder(data, names)
    if folder is None:
        raise OpenMofiError(
            f"{data} has no folder {' or '.join(repr(name) for name in names)}.",
            "The layout is SPLIT/CLASS/IMAGE, with the splits train and val or test.",
        )
    return class_folders(folder)


def same_classes(train: ClassifiedFiles, test: ClassifiedFiles) -> ClassifiedFiles:
    """`test` with its labels numbered as in `train`.

    Raises:
        OpenMofiError: `train` lacks classes of `test`.
    """
    missing = sorted(set(test.classes) - set(train.classes))
    if missing:
        raise OpenMofiError(
            f"Classes of {test.root} that {train.root} lacks: {listed(missing)}.",
            "Both splits need the same class folders.",
        )
    number = np.array([train.classes.index(name) for name in test.classes], np.int64)
    return replace(test, labels=number[test.labels], classes=train.classes)


def check_all_classes(classes: Sequence[str], labels: Ints, where: Path) -> None:
    """Check that each class has a readable image.

    Raises:
        OpenMofiError: classes without one.
    """
    present = set(labels.tolist())
    missing = [name for number, name in enumerate(classes) if number not in present]
    if missing:
        raise OpenMofiError(
            f"Classes of {where} without a readable image: {listed(missing)}.",
            "Restore the images, or remove the class from all splits.",
        )


def listed(names: Iterable[str]) -> str:
    """At most three quoted names, and how many there are in all."""
    names = list(names)
    return ", ".join(repr(name) for name in names[:3]) + (f" … ({len(names)} in all)" if len(names) > 3 else "")
