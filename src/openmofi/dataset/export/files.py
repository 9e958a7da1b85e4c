"""Formats of files and one list: COCO, FiftyOne, folders by class, XMP sidecars, QuickStatements.

A shard's images (or sidecars) are written first, then its part of the list, which says that the shard is done; the
parts are joined at the end, a record in memory at a time.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO
from xml.sax.saxutils import escape

from openmofi.dataset.export.classes import Classes
from openmofi.dataset.export.rows import Row
from openmofi.errors import OpenMofiError
from openmofi.storage import atomic_path
from openmofi.version import __version__

Record = dict[str, Any]
Records = Callable[[], Iterator[Record]]
"""Reads the joined list from its beginning, each time it is called."""
_M_ID = re.compile(r"M[1-9]\d*")
_Q_ID = re.compile(r"Q[1-9]\d*")
_LONGEST = 60
_BAD_NAME = re.compile(r"[\x00-\x1f/\\:*?\"<>|]+")


def write_images(out: Path, part: str, rows: Iterable[Row], classes: Classes, *, below: str = "images") -> int:
    """Write a shard's images `below` a folder, or link to them where they are files; then its list."""

    def record(row: Row) -> Record:
        width, height = row.size()
        return {**row.provenance(), "file": _place_image(out, row, below), "width": width, "height": height}

    return _write_list(part, map(record, rows))


def write_class_folders(out: Path, part: str, rows: Iterable[Row], classes: Classes) -> int:
    """The same, and a link in the folder of each label's class below `classes/`."""
    names = folder_names(classes)

    def record(row: Row) -> Record:
        file = _place_image(out, row)
        for label in row.labels:
            link = out / "classes" / names[label.class_id] / f"{row.shard}-{row.stem}.{row.extension}"
            _link(Path(os.path.relpath(out / file, link.parent)), link)
        return {**row.provenance(), "file": file}

    return _write_list(part, map(record, rows))


def write_sidecars(out: Path, part: str, rows: Iterable[Row], classes: Classes) -> int:
    """Write a sidecar an image, `sidecars/SHARD/NAME.EXTENSION.xmp`; then the list."""

    def record(row: Row) -> Record:
        file = f"sidecars/{row.shard}/{_beside(row)}.xmp"
        _put(out / file, sidecar(row, classes).encode())
        return {**row.provenance(), "file": file, "image": row.path or f"{row.source}#{row.key}"}

    return _write_list(part, map(record, rows))


def write_statements(out: Path, part: str, rows: Iterable[Row], classes: Classes) -> int:
    """Write the list of images whose key is an identifier of Commons (`M123`) and that have labels of Wikidata.

    A key that merely contains such a name (`BMW-M3-2019`) says nothing of Commons: M3 is some other file there.
    """

    def records() -> Iterator[Record]:
        for row in rows:
            labels = [[label.entity, label.probability] for label in row.labels if _Q_ID.fullmatch(label.entity)]
            if labels and _M_ID.fullmatch(row.key):
                yield {"subject": row.key, "labels": labels}

    return _write_list(part, records())


def _write_list(part: str, records: Iterable[Record]) -> int:
    count = 0
    with atomic_path(part) as temporary, open(temporary, "w", encoding="utf-8", errors="backslashreplace") as lines:
        for record in records:
            lines.write(json.dumps(record, ensure_ascii=False, sort_keys=True) + "\n")
            count += 1
    return count


def _place_image(out: Path, row: Row, below: str = "images") -> str:
    file = f"{below}/{row.shard}/{row.stem}.{row.extension}"
    if row.image is not None:
        _put(out / file, row.image)
    else:
        _link(Path(row.path).absolute(), out / file)
    return file


def _beside(row: Row) -> str:
    """An image's path below the folder of its shard, where it is a file there, or a name."""
    root = Path(row.source) if Path(row.source).is_dir() else Path(row.source).parent
    if row.path and Path(row.path).is_relative_to(root) and ".." not in Path(row.path).parts:
        return str(Path(row.path).relative_to(root))
    return f"{row.stem}.{row.extension}"


def _put(path: Path, data: bytes) -> None:
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


_XMP = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="OpenMOFI {version}">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/"
    xmlns:lr="http://ns.adobe.com/lightroom/1.0/" xmlns:digiKam="http://www.digikam.org/ns/1.0/"
    xmlns:openmofi="https://openmofi.org/ns/1.0/">
   <dc:subject><rdf:Bag>{subjects}</rdf:Bag></dc:subject>
   <lr:hierarchicalSubject><rdf:Bag>{hierarchical}</rdf:Bag></lr:hierarchicalSubject>
   <digiKam:TagsList><rdf:Seq>{tags}</rdf:Seq></digiKam:TagsList>
   <openmofi:labels><rdf:Seq>{labels}</rdf:Seq></openmofi:labels>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>
"""
_NOT_XML = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


def sidecar(row: Row, classes: Classes) -> str:
    """XMP with keywords, flat and below what is above them, and with entities and probabilities."""

    def items(values: Iterable[str]) -> str:
        return "".join(f"<rdf:li>{escape(_NOT_XML.sub('', value))}</rdf:li>" for value in dict.fromkeys(values))

    def joined(mark: str) -> Iterator[str]:
        for label in row.labels:
            yield mark.join(
                part.replace(mark, " ") for part in (*classes.chains[label.class_id], classes.names[label.class_id])
            )

    return _XMP.format(
        version=__version__,
        subjects=items(classes.names[label.class_id] for label in row.labels),
        hierarchical=items(joined("|")),
        tags=items(joined("/")),
        labels=items(f"{label.entity} {label.probability:.4f}" for label in row.labels),
    )


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

    with _writing(out / "annotations.json") as file:
        file.write('{"info": ' + _json(info) + ', "licenses": [],\n"categories": ' + _json(categories))
        for name, made in (("images", image), ("annotations", annotations)):
            file.write(f',\n"{name}": [')
            count = 0
            for number, record in enumerate(records(), 1):
                for entry in made(number, record):
                    count += 1
                    file.write(",\n" * (count > 1) + _json({"id": count, **entry}))
            file.write("]")
        file.write("}\n")


def join_fiftyone(out: Path, records: Records, classes: Classes) -> None:
    """`labels.json` and `data.json` of a `FiftyOneImageClassificationDataset`, several labels an image.

    FiftyOne 1.22 looks for the images in `data/` and reads no `data.json` unless it is named; other readers do.
    """
    with _writing(out / "labels.json") as file:
        file.write('{"classes": ' + _json(list(classes.unique)) + ',\n"labels": {')
        for number, record in enumerate(records()):
            labels = [
                {
                    "label": label["name"],
                    "confidence": label["probability"],
                    "attributes": {
                        "entity": label["entity"],
                        "shard": record["shard"],
                        "key": record["key"],
                        "text": record["text"],
                    },
                }
                for label in record["labels"]
            ]
            file.write(",\n" * (number > 0) + f"{_json(_uuid(record))}: {_json(labels)}")
        file.write("}}\n")
    with _writing(out / "data.json") as file:
        file.write("{")
        for number, record in enumerate(records()):
            file.write(",\n" * (number > 0) + f"{_json(_uuid(record))}: {_json(record['file'])}")
        file.write("}\n")


def _uuid(record: Record) -> str:
    return str(record["file"]).partition("/")[2].rpartition(".")[0]


def join_list(out: Path, records: Records, classes: Classes) -> None:
    """`labels.jsonl`: a record a line, with probabilities and where the image comes from."""
    with _writing(out / "labels.jsonl") as file:
        for record in records():
            file.write(_json(record) + "\n")


def join_statements(out: Path, records: Records, classes: Classes) -> None:
    """`statements.txt` of QuickStatements: `M… P180 Q…`, a tab between, the probability as a comment.

    Raises:
        OpenMofiError: no image has an identifier of Commons and a label of Wikidata.
    """
    count = 0
    with _writing(out / "statements.txt") as file:
        for record in records():
            for entity, probability in record["labels"]:
                count += 1
                file.write(
                    f"{record['subject']}\tP180\t{entity}\t/* OpenMOFI {__version__}, probability "
                    f"{probability:.3f} */\n"
                )
        if not count:
            raise OpenMofiError(
                "No image has an M-identifier of Wikimedia Commons (M123) as its key and a label that "
                "is an item of Wikidata (Q42).",
                "Label pairs whose keys are the files' M-identifiers, with a knowledge base of "
                "Wikidata, or lower --min-probability.",
            )


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


@contextmanager
def _writing(path: Path) -> Iterator[TextIO]:
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8", errors="backslashreplace") as file:
        yield file
