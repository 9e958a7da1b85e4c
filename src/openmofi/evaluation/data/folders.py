"""Images in folders, as published datasets have them: a folder for each class, perhaps below one for each split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from openmofi.errors import OpenMofiError
from openmofi.features.images import EmbeddedImages
from openmofi.features.sources import ENDINGS, ImageSource, file_sources

Ints = NDArray[np.int64]
TRAIN, VALIDATION, TEST = ("train", "training"), ("val", "validation", "valid"), ("test", "testing")


@dataclass(frozen=True)
class ClassFolders:
    """Images by class folder.

    Attributes:
        root: the folder of the class folders.
        classes: names of the class folders, sorted.
        files: images, relative to `root`, sorted within each class.
        labels: (files,) place of each image's class in `classes`.
    """

    root: Path
    classes: list[str]
    files: list[str]
    labels: Ints

    def sources(self) -> list[ImageSource]:
        """The images, to be embedded."""
        return file_sources(self.root, self.files, self.root.name or "files")

    def labels_of(self, images: EmbeddedImages) -> Ints:
        """(n,) the classes of the images that could be embedded."""
        known = dict(zip(self.files, self.labels.tolist(), strict=True))
        return np.array([known[key] for key in images.keys], np.int64)

    def take(self, rows: Ints) -> ClassFolders:
        """Only these images, with all classes."""
        return ClassFolders(self.root, self.classes, [self.files[row] for row in rows.tolist()], self.labels[rows])


def pictures_in(folder: Path) -> list[str]:
    """Paths of the images below `folder`, relative and sorted; hidden files and other kinds of files are left out."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*")
                  if path.suffix.lower() in ENDINGS and path.is_file()
                  and not any(part.startswith(".") for part in path.relative_to(folder).parts))


def class_folders(root: str | Path) -> ClassFolders:
    """The class folders in `root`; a class may hold folders of its own.

    Raises:
        OpenMofiError: no such folder, no class folders in it, or one without images.
    """
    folder = require_folder(root)
    names = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not names:
        raise OpenMofiError(f"{root} has no class folders.", "Give a folder with a folder of images for each class.")
    found = [[f"{name}/{file}" for file in pictures_in(folder / name)] for name in names]
    empty = [name for name, files in zip(names, found, strict=True) if not files]
    if empty:
        raise OpenMofiError(f"{_named(empty, 'class folder')} of {root} {_have(empty)} no images.",
                            f"Images end in {', '.join(ENDINGS)}; remove folders that are no class.")
    labels = np.repeat(np.arange(len(names)), [len(files) for files in found])
    return ClassFolders(folder, names, [file for files in found for file in files], labels.astype(np.int64))


def split_folder(data: str | Path, names: Sequence[str]) -> Path | None:
    """The first of the folders `names` in `data` that is there."""
    folder = require_folder(data)
    return next((folder / name for name in names if (folder / name).is_dir()), None)


def require_folder(path: str | Path) -> Path:
    """`path`, if it is a folder.

    Raises:
        OpenMofiError: it is none.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise OpenMofiError(f"{path} is no folder.", "Check the path.")
    return folder


def required_split(data: str | Path, names: Sequence[str]) -> ClassFolders:
    """The class folders of a split.

    Raises:
        OpenMofiError: it is not there; see also `class_folders`.
    """
    found = split_folder(data, names)
    if found is None:
        raise OpenMofiError(f"{data} has no folder {' or '.join(repr(name) for name in names)}.",
                            "The layout is SPLIT/CLASS/PICTURE, with the splits train and val or test.")
    return class_folders(found)


def same_classes(train: ClassFolders, test: ClassFolders) -> ClassFolders:
    """`test` with its labels numbered as in `train`.

    Raises:
        OpenMofiError: it has classes that `train` has not.
    """
    missing = sorted(set(test.classes) - set(train.classes))
    if missing:
        raise OpenMofiError(f"{_named(missing, 'class')} of {test.root} {_are(missing)} missing in {train.root}.",
                            "Both splits need the same class folders.")
    place = {name: number for number, name in enumerate(train.classes)}
    return ClassFolders(test.root, train.classes, test.files,
                        np.array([place[test.classes[label]] for label in test.labels.tolist()], np.int64))


def lost_classes(classes: Sequence[str], labels: Ints, what: str) -> None:
    """Refuse to go on with classes of which no image could be read.

    Raises:
        OpenMofiError: there are some.
    """
    counts = Counter(labels.tolist())
    missing = [name for number, name in enumerate(classes) if not counts[number]]
    if missing:
        raise OpenMofiError(f"{_named(missing, 'class')} {_have(missing)} no readable image in {what}.",
                            "Put the images back, or remove the class from all splits.")


def _named(names: Sequence[str], what: str) -> str:
    if len(names) == 1:
        return f"The {what} {names[0]!r}"
    plural = "classes" if what == "class" else f"{what}s"
    shown = ", ".join(repr(name) for name in names[:3])
    return f"{len(names)} {plural} ({shown}{', …' if len(names) > 3 else ''})"


def _have(names: Sequence[str]) -> str:
    return "has" if len(names) == 1 else "have"


def _are(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"
