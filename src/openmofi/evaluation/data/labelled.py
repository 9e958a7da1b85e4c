"""Images with class names, in the layouts that classification data come in: class folders, tar shards, a table.

- class folders: DIR/CLASS/PICTURE, or DIR/test or DIR/val with these;
- tar shards (WebDataset, as clip_benchmark writes them): DIR/*.tar or DIR/test/*.tar with `KEY.cls`, a class number,
  beside each image, and DIR/classnames.txt;
- a table: a CSV or TSV with a column of paths, relative to it, and a column of class names.
"""

from __future__ import annotations

import csv
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from openmofi.errors import OpenMofiError, UsageError
from openmofi.evaluation.data.class_names import NAME_FILES, class_names, names_file
from openmofi.evaluation.data.folders import TEST, VALIDATION, class_folders, require_folder, split_folder
from openmofi.features.images import EmbeddedImages
from openmofi.features.sources import FILES_AT_ONCE, ImageSource, file_sources, shard_source
from openmofi.pairs.formats.files import inside
from openmofi.pairs.formats.grouping import split_name
from openmofi.storage import expand_shards

PATH_COLUMNS = ("image", "path", "filepath", "file", "filename", "image_path")
CLASS_COLUMNS = ("class", "class_name", "label", "category", "name")
_TABLES = (".csv", ".tsv")
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class LabelledImages:
    """Images and their classes.

    Attributes:
        sources: the images.
        names: a name for each class.
        label: (source, key) → class.
        names_from: where the names are from, for people.
        beside: the folder of the data, in which templates may lie.
    """

    sources: list[ImageSource]
    names: list[str]
    label: dict[tuple[str, str], int]
    names_from: str
    beside: Path

    def labels_of(self, images: EmbeddedImages) -> Ints:
        """(n,) the classes of the images that could be embedded.

        Raises:
            OpenMofiError: an image has none.
        """
        places = list(zip(images.shards, images.keys, strict=True))
        missing = [place for place in places if place not in self.label]
        if missing:
            raise OpenMofiError(f"{len(missing)} images have no class, {missing[0][1]} of {missing[0][0]} for one.",
                                "Each image of a tar needs a KEY.cls with its class number.")
        return np.array([self.label[place] for place in places], np.int64)


def labelled_images(data: str | Path) -> LabelledImages:
    """Find out the layout, and read classes and names.

    Raises:
        UsageError: it is none of the layouts.
        OpenMofiError: it is one, with faults.
    """
    path = Path(data)
    if path.is_file() and path.suffix.lower() in _TABLES:
        return _table(path)
    folder = require_folder(path)
    split = split_folder(folder, (*TEST, *VALIDATION)) or folder
    tars = sorted(split.glob("*.tar"))
    return _tars(folder, tars) if tars else _folders(folder, split)


def _folders(data: Path, split: Path) -> LabelledImages:
    found = class_folders(split)
    names, names_from = class_names(found.classes, data)
    sources = found.sources()
    of = dict(zip(found.files, found.labels.tolist(), strict=True))
    return LabelledImages(sources, names, _by_place(sources, found.files, of), names_from, data)


def _by_place(sources: Sequence[ImageSource], files: Sequence[str], of: dict[str, int]) -> dict[tuple[str, str], int]:
    return {(sources[number // FILES_AT_ONCE].name, file): of[file] for number, file in enumerate(files)}


def _tars(data: Path, tars: Sequence[Path]) -> LabelledImages:
    names = names_file(data)
    if names is None:
        raise OpenMofiError(f"{data} has tar shards and no file of class names.",
                            f"Put {NAME_FILES[0]} there, with a line for each class number.")
    shards = expand_shards([str(tar) for tar in tars])
    labels: dict[tuple[str, str], int] = {}
    for shard in shards:
        for key, number in _numbers(Path(shard.path)).items():
            if not 0 <= number < len(names):
                raise OpenMofiError(f"{key} of {shard.path} has the class {number}, and there are {len(names)} names.",
                                    "Complete the file of class names.")
            labels[shard.name, key] = number
    return LabelledImages([shard_source(shard) for shard in shards], names, labels, "file of class names", data)


def _numbers(path: Path) -> dict[str, int]:
    """Key → what its `.cls` says."""
    found = {}
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                parts = split_name(member.name)
                if parts and parts[1] == "cls" and (content := archive.extractfile(member)):
                    found[parts[0]] = int(content.read(32))
    except (OSError, tarfile.TarError, ValueError) as error:
        raise OpenMofiError(f"The classes in {path} cannot be read: {error}.",
                            "Each KEY.cls holds one number.") from error
    return found


def _table(path: Path) -> LabelledImages:
    try:
        with open(path, encoding="utf-8-sig", newline="") as handle:
            reader = csv.DictReader(handle, delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
            columns = list(reader.fieldnames or ())
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise OpenMofiError(f"{path} cannot be read: {error}.", "Write it as CSV in UTF-8, with a header.") from error
    place, kind = _column(path, columns, PATH_COLUMNS), _column(path, columns, CLASS_COLUMNS)
    files = [str(row[place] or "") for row in rows]
    wrong = next((number for number, (file, row) in enumerate(zip(files, rows, strict=True), 2)
                  if not inside(file) or not (row[kind] or "").strip()), None)
    if wrong is not None:
        raise OpenMofiError(f"Line {wrong} of {path} has no class, or a path that leaves the table's folder.",
                            "Give paths relative to the table.")
    if not files or len(set(files)) < len(files):
        raise OpenMofiError(f"{path} has no rows, or names an image twice.", "Give one row for each image.")
    names = sorted({row[kind].strip() for row in rows})
    number = {name: at for at, name in enumerate(names)}
    of = {file: number[row[kind].strip()] for file, row in zip(files, rows, strict=True)}
    sources = file_sources(path.parent, files, path.stem)
    return LabelledImages(sources, names, _by_place(sources, files, of), f"column {kind!r}", path.parent)


def _column(path: Path, columns: Sequence[str], wanted: Sequence[str]) -> str:
    found = next((name for want in wanted for name in columns if name.lower() == want), None)
    if found is None:
        raise UsageError(f"{path} has no column {' or '.join(wanted[:3])}; it has {', '.join(columns) or 'none'}.",
                         "Name the columns image and class.")
    return found
