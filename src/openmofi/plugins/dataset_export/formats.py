"""Formats: Parquet, tars, or files and one list (COCO, folders by class), and those that packages add.

Of files and one list, a shard's images (or sidecars) are written first, then its part of the list, which says that the
shard is done; the parts are joined at the end, a record in memory at a time.
"""

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa
import pyarrow.parquet as pq

from openmofi.errors import OpenMofiError
from openmofi.extensions import extension, extension_names
from openmofi.pairs import Record as PairRecord
from openmofi.pairs import write_tar
from openmofi.pairs.log import PROVENANCE
from openmofi.plugins.dataset_export import GROUP
from openmofi.plugins.dataset_export.rows import Classes, Row, require_files
from openmofi.storage import atomic_path
from openmofi.version import __version__

Record = dict[str, Any]
Records = Callable[[], Iterator[Record]]
"""Reads the joined list from its beginning, each time it is called."""
_LONGEST = 60
_BAD_NAME = re.compile(r"[\x00-\x1f/\\:*?\"<>|]+")


_GROUP = 256
_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_LABEL = pa.struct(
    [("class_id", pa.int32()), ("entity", pa.string()), ("name", pa.string()), ("probability", pa.float32())]
)
_NOTED = [(name, pa.string()) for name in PROVENANCE]
PARQUET = pa.schema(
    [
        ("image", pa.binary()),
        ("path", pa.string()),
        ("source", pa.string()),
        ("shard", pa.string()),
        ("key", pa.string()),
        ("text", pa.string()),
        ("labels", pa.list_(_LABEL)),
        *_NOTED,
    ]
)
"""A row an image: its encoded bytes, or where it is; its text; its labels, the most probable first."""
HUGGINGFACE = pa.schema(
    [
        ("image", _IMAGE),
        ("label", pa.int64()),
        ("labels", pa.list_(pa.int64())),
        ("entities", pa.list_(pa.string())),
        ("probabilities", pa.list_(pa.float32())),
        ("text", pa.string()),
        ("shard", pa.string()),
        ("key", pa.string()),
        ("source", pa.string()),
        *_NOTED,
    ]
)
"""A row an image, as `datasets` reads it: `label` is the most probable class, `labels` are all."""


def write_parquet(_out: Path, path: str, rows: Iterable[Row], _classes: Classes) -> int:
    """Write a shard in the schema `PARQUET` and return its number of rows."""
    return _write(
        path,
        PARQUET,
        (
            {
                **_where(row),
                "image": row.image,
                "path": row.path if row.path and row.image is None else None,
                "labels": [asdict(label) for label in row.labels],
            }
            for row in rows
        ),
    )


def write_huggingface(_out: Path, path: str, rows: Iterable[Row], classes: Classes) -> int:
    """Write a shard in the schema `HUGGINGFACE`, with `features` in its metadata; return its number of rows."""
    metadata = {"huggingface": json.dumps({"info": {"features": features(classes)}})}
    return _write(
        path,
        HUGGINGFACE.with_metadata(metadata),
        (
            {
                **_where(row),
                "image": _image(row),
                "label": row.labels[0].class_id,
                "labels": [label.class_id for label in row.labels],
                "entities": [label.entity for label in row.labels],
                "probabilities": [label.probability for label in row.labels],
            }
            for row in rows
        ),
    )


def features(classes: Classes) -> dict[str, Any]:
    """Return the features of `datasets` as that library writes them into Parquet's metadata."""
    label = {"names": list(classes.unique), "_type": "ClassLabel"}

    def value(kind: str) -> dict[str, Any]:
        return {"dtype": kind, "_type": "Value"}

    def several(kind: dict[str, Any]) -> dict[str, Any]:
        return {"feature": kind, "_type": "List"}

    return {
        "image": {"_type": "Image"},
        "label": label,
        "labels": several(label),
        "entities": several(value("string")),
        "probabilities": several(value("float32")),
        **{name: value("string") for name in ("text", "shard", "key", "source", *PROVENANCE)},
    }


def _where(row: Row) -> dict[str, Any]:
    return {"text": row.text, "shard": row.shard, "key": row.key, "source": row.source, **row.noted}


def _image(row: Row) -> dict[str, Any] | None:
    if row.image is None:
        return {"bytes": None, "path": row.path} if row.path else None
    return {"bytes": row.image, "path": f"{row.stem}.{row.extension}"}


def _write(path: str, schema: pa.Schema, rows: Iterator[dict[str, Any]]) -> int:
    count = 0
    with atomic_path(path) as temporary, pq.ParquetWriter(temporary, schema) as writer:
        while part := list(islice(rows, _GROUP)):
            writer.write_table(pa.Table.from_pylist(part, schema))
            count += len(part)
    return count


def write_webdataset(_out: Path, path: str, rows: Iterable[Row], _classes: Classes) -> int:
    """Write a tar of `.jpg` (or what the image is), `.txt`, `.cls` (the most probable class) and `.json`."""

    def record(row: Row) -> PairRecord:
        about = {**row.provenance(), "class": row.labels[0].class_id, "key_of_pair": row.key}
        return PairRecord(
            row.stem, require_files(row).image, row.text, about, {"cls": str(row.labels[0].class_id).encode()}
        )

    return write_tar(path, map(record, rows))


def write_images(out: Path, part: str, rows: Iterable[Row], classes: Classes, *, below: str = "images") -> int:
    """Write a shard's images `below` a folder, or link to them where they are files; then its list."""

    def record(row: Row) -> Record:
        width, height = row.size()
        return {**row.provenance(), "file": _place_image(out, row, below), "width": width, "height": height}

    return write_list(part, map(record, rows))


def write_class_folders(out: Path, part: str, rows: Iterable[Row], classes: Classes) -> int:
    """As `write_images`, with a link in the folder of each label's class below `classes/`."""
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
    """Name a folder for each class: its name without what file systems refuse, with the identifier where ambiguous."""
    plain = [_BAD_NAME.sub("_", name).strip(". ")[:_LONGEST] for name in classes.unique]
    folded: dict[str, int] = {}
    for name in plain:
        folded[name.casefold()] = folded.get(name.casefold(), 0) + 1
    return [
        name if name and folded[name.casefold()] == 1 else f"{name} ({_BAD_NAME.sub('_', entity)})".strip()
        for name, entity in zip(plain, classes.ids, strict=True)
    ]


def join_coco(out: Path, records: Records, classes: Classes) -> None:
    """Write `annotations.json`: whole images as boxes, `score` the probability; categories with those above them."""
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
                **{name: record[name] for name in ("shard", "key", "source", *PROVENANCE) if name in record},
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
    """Write `labels.jsonl`: a record a line, with probabilities and the image's origin."""
    with writing(out / "labels.jsonl") as file:
        for record in records():
            file.write(as_json(record) + "\n")


def as_json(value: Any) -> str:
    """Return a value as one line of JSON with sorted keys."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


@contextmanager
def writing(path: Path) -> Iterator[TextIO]:
    """Open a text file that appears whole or not at all."""
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8", errors="backslashreplace") as file:
        yield file


@dataclass(frozen=True)
class FileFormat:
    """A format: tables or tars in `data/`, or files and one list; a package adds one as an entry point of
    `openmofi.dataset_formats`.

    Attributes:
        write: writes a shard's file in `data/`, or its files and its part of the list, given the folder, the path of
            the file or part, rows and classes; returns the number of images.
        join: writes the list, given the folder, the parts' records and the classes.
        listing: name of the list's file.
        outputs: patterns of the files that it writes, beside those in `data/`.
        by_address: an image may be referred to by its shard and key in place of a file.
        images: whether it needs the images at all.
        nothing: the error where no image can be exported; "" for the usual one.
        left_out: the warning, with `%d` for the number of images, where some cannot be exported.
        ending: of its files in `data/`; "" for files and one list.
    """

    write: Callable[[Path, str, Iterable[Row], Classes], int]
    join: Callable[[Path, Records, Classes], None] | None = None
    listing: str = ""
    outputs: tuple[str, ...] = ()
    by_address: bool = False
    images: bool = True
    nothing: str = ""
    left_out: str = ""
    ending: str = ""


_FORMATS = {
    "huggingface": FileFormat(write_huggingface, by_address=True, ending="parquet"),
    "parquet": FileFormat(write_parquet, by_address=True, ending="parquet"),
    "webdataset": FileFormat(write_webdataset, ending="tar"),
    "coco": FileFormat(write_images, join_coco, "annotations.json", ("images/**/*", "annotations.json")),
    "imagefolder": FileFormat(
        write_class_folders, join_list, "labels.jsonl", ("images/**/*", "classes/**/*", "labels.jsonl")
    ),
}
SHARDED = tuple(name for name, style in _FORMATS.items() if style.ending)
"""Those that are written into stores a shard at a time; all others are written locally first."""


def file_format(name: str) -> FileFormat:
    """Return the format of this name."""
    return _FORMATS.get(name) or extension(GROUP, name)


def all_formats() -> list[FileFormat]:
    """Return the formats of the core and of packages."""
    return [*_FORMATS.values(), *(extension(GROUP, name) for name in extension_names(GROUP))]
