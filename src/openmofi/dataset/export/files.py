"""Formats of files and one list: COCO, folders by class, and those that packages add.

A shard's images (or sidecars) are written first, then its part of the list, which says that the shard is done; the
parts are joined at the end, a record in memory at a time.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from openmofi.dataset.export.export_settings import GROUP, TABLES
from openmofi.dataset.export.rows import Classes, Row
from openmofi.errors import OpenMofiError
from openmofi.extensions import extension, extension_names
from openmofi.storage import atomic_path
from openmofi.version import __version__

Record = dict[str, Any]
Records = Callable[[], Iterator[Record]]
"""Reads the joined list from its beginning, each time it is called."""
_LONGEST = 60
_BAD_NAME = re.compile(r"[\x00-\x1f/\\:*?\"<>|]+")


def write_images(out: Path, part: str, rows: Iterable[Row], classes: Classes, *, below: str = "images") -> int:
    """Write a shard's images `below` a folder, or link to them where they are files; then its list."""

    def record(row: Row) -> Record:
        width, height = row.size()
        return {**row.provenance(), "file": _place_image(out, row, below), "width": width, "height": height}

    return write_list(part, map(record, rows))


def write_class_folders(out: Path, part: str, rows: Iterable[Row], classes: Classes) -> int:
    """The same, and a link in the folder of each label's class below `classes/`."""
    names = folder_names(classes)

    def record(row: Row) -> Record:
        file = _place_image(out, row)
        for label in row.labels:
            link = out / "classes" / names[label.class_id] / f"{row.shard}-{row.stem}.{row.extension}"
            _link(Path(os.path.relpath(out / file, link.parent)), link)
        return {**row.provenance(), "file": file}

    return write_list(part, map(record, rows))


def write_list(part: str, records: Iterable[Record]) -> int:
    """Write the records of a shard's part of the list; returns their number."""
    count = 0
    with atomic_path(part) as temporary, open(temporary, "w", encoding="utf-8", errors="backslashreplace") as lines:
        for record in records:
            lines.write(json.dumps(record, ensure_ascii=False, sort_keys=True) + "\n")
            count += 1
    return count


def _place_image(out: Path, row: Row, below: str = "images") -> str:
    file = f"{below}/{row.shard}/{row.stem}.{row.extension}"
    if row.image is not None:
        write_image(out / file, row.image)
    else:
        _link(Path(row.path).absolute(), out / file)
    return file


def write_image(path: Path, data: bytes) -> None:
    """Write a file that appears whole; unlike other outputs it is not synced, since the list that names it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".openmofi-tmp-{os.getpid()}-{path.name[-100:]}")
    temporary.write_bytes(data)
    temporary.replace(path)


def _link(target: Path, link: Path) -> None:
    link.parent.mkdir(parents=True, exist_ok=True)
    try:
        link.symlink_to(target)
    except FileExistsError:
        if link.readlink() != target:
            raise OpenMofiError(
                f"{link} links to another image than {target}.", "Remove it, and start the same command again."
            ) from None


def folder_names(classes: Classes) -> list[str]:
    """A folder's name for each class: its name without what file systems do not take, and its identifier in doubt."""
    plain = [_BAD_NAME.sub("_", name).strip(". ")[:_LONGEST] for name in classes.unique]
    folded: dict[str, int] = {}
    for name in plain:
        folded[name.casefold()] = folded.get(name.casefold(), 0) + 1
    return [
        name if name and folded[name.casefold()] == 1 else f"{name} ({_BAD_NAME.sub('_', entity)})".strip()
        for name, entity in zip(plain, classes.ids, strict=True)
    ]


def join_coco(out: Path, records: Records, classes: Classes) -> None:
    """`annotations.json`: whole images as boxes, `score` their probability; categories with what is above them."""
    info = {"description": "Entity labels by OpenMOFI", "version": __version__}
    categories = [
        {
            "id": number,
            "name": name,
            "supercategory": chain[-1] if chain else "entity",
            "ancestors": list(chain),
            "entity": entity,
        }
        for number, (name, chain, entity) in enumerate(zip(classes.unique, classes.chains, classes.ids, strict=True), 1)
    ]

    def image(number: int, record: Record) -> list[Record]:
        return [
            {
                "id": number,
                "file_name": record["file"],
                "width": record["width"],
                "height": record["height"],
                "caption": record["text"],
                **{name: record[name] for name in ("shard", "key", "source")},
            }
        ]

    def annotations(number: int, record: Record) -> list[Record]:
        box = [0, 0, record["width"], record["height"]]
        return [
            {
                "image_id": number,
                "category_id": label["class_id"] + 1,
                "bbox": box,
                "area": box[2] * box[3],
                "iscrowd": 0,
                "score": label["probability"],
            }
            for label in record["labels"]
        ]

    with writing(out / "annotations.json") as file:
        file.write('{"info": ' + as_json(info) + ', "licenses": [],\n"categories": ' + as_json(categories))
        for name, made in (("images", image), ("annotations", annotations)):
            file.write(f',\n"{name}": [')
            count = 0
            for number, record in enumerate(records(), 1):
                for entry in made(number, record):
                    count += 1
                    file.write(",\n" * (count > 1) + as_json({"id": count, **entry}))
            file.write("]")
        file.write("}\n")


def join_list(out: Path, records: Records, classes: Classes) -> None:
    """`labels.jsonl`: a record a line, with probabilities and where the image comes from."""
    with writing(out / "labels.jsonl") as file:
        for record in records():
            file.write(as_json(record) + "\n")


def as_json(value: Any) -> str:
    """One line of JSON with sorted keys."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


@contextmanager
def writing(path: Path) -> Iterator[TextIO]:
    """Open a text file that appears whole or not at all."""
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8", errors="backslashreplace") as file:
        yield file


@dataclass(frozen=True)
class FileFormat:
    """A format of files and one list; a package adds one as an entry point of `openmofi.dataset_formats`.

    Attributes:
        write: writes a shard's files and its part of the list, given the folder, the part, rows and classes; returns
            the number of images.
        join: writes the list, given the folder, the parts' records and the classes.
        listing: name of the list's file.
        outputs: patterns of the files that it writes.
        by_address: an image may be referred to by its shard and key in place of a file.
        images: whether it needs the images at all.
        nothing: the error where no image can be exported; "" for the usual one.
        left_out: the warning, with `%d` for the number of images, where some cannot be exported.
    """

    write: Callable[[Path, str, Iterable[Row], Classes], int]
    join: Callable[[Path, Records, Classes], None]
    listing: str
    outputs: tuple[str, ...]
    by_address: bool = False
    images: bool = True
    nothing: str = ""
    left_out: str = ""


_FORMATS = {
    "coco": FileFormat(write_images, join_coco, "annotations.json", ("images/**/*", "annotations.json")),
    "imagefolder": FileFormat(
        write_class_folders, join_list, "labels.jsonl", ("images/**/*", "classes/**/*", "labels.jsonl")
    ),
}


def file_format(name: str) -> FileFormat | None:
    """Return the format of this name; `None` for the formats of tables."""
    kind: FileFormat | None = None if name in TABLES else _FORMATS.get(name) or extension(GROUP, name)
    return kind


def file_formats() -> list[FileFormat]:
    """Return the formats of the core and of packages."""
    return [*_FORMATS.values(), *(extension(GROUP, name) for name in extension_names(GROUP))]
