"""Formats of people's photo tools: XMP sidecars, QuickStatements for Wikimedia Commons, FiftyOne."""

import re
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from xml.sax.saxutils import escape

from openmofi.errors import OpenMofiError
from openmofi.pairs.formats.photographs import XMP_NAMESPACE
from openmofi.plugins.dataset_export.formats import (
    FileFormat,
    Record,
    Records,
    as_json,
    join_list,
    write_image,
    write_images,
    write_list,
    writing,
)
from openmofi.plugins.dataset_export.rows import Classes, Row
from openmofi.version import __version__

_M_ID = re.compile(r"M[1-9]\d*")
_Q_ID = re.compile(r"Q[1-9]\d*")


def write_sidecars(out: Path, part: str, rows: Iterable[Row], classes: Classes) -> int:
    """Write a sidecar an image, `sidecars/SHARD/NAME.EXTENSION.xmp`; then the list."""

    def record(row: Row) -> Record:
        file = f"sidecars/{row.shard}/{row.below or f'{row.stem}.{row.extension}'}.xmp"
        write_image(out / file, sidecar(row, classes).encode())
        return {**row.provenance(), "file": file, "image": row.path or row.below or f"{row.source}#{row.key}"}

    return write_list(part, map(record, rows))


def write_statements(out: Path, part: str, rows: Iterable[Row], classes: Classes) -> int:
    """Write the list of images whose key is an identifier of Commons (`M123`) and that have labels of Wikidata.

    A key that merely contains such a name (`BMW-M3-2019`) says nothing of Commons: M3 is some other file there.
    """

    def records() -> Iterator[Record]:
        for row in rows:
            labels = [[label.entity, label.probability] for label in row.labels if _Q_ID.fullmatch(label.entity)]
            if labels and _M_ID.fullmatch(row.key):
                yield {"subject": row.key, "labels": labels}

    return write_list(part, records())


_XMP = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="OpenMOFI {version}">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/"
    xmlns:lr="http://ns.adobe.com/lightroom/1.0/" xmlns:digiKam="http://www.digikam.org/ns/1.0/"
    xmlns:openmofi="{namespace}">
   <dc:subject><rdf:Bag>{subjects}</rdf:Bag></dc:subject>
   <lr:hierarchicalSubject><rdf:Bag>{hierarchical}</rdf:Bag></lr:hierarchicalSubject>
   <digiKam:TagsList><rdf:Seq>{tags}</rdf:Seq></digiKam:TagsList>
   <openmofi:keywords><rdf:Bag>{subjects}</rdf:Bag></openmofi:keywords>
   <openmofi:labels><rdf:Seq>{labels}</rdf:Seq></openmofi:labels>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>
"""
_NOT_XML = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


def sidecar(row: Row, classes: Classes) -> str:
    """Return XMP with keywords, flat and hierarchical, and with entities and probabilities.

    The keywords stand in `openmofi:keywords` once more: so labels are told from what people said, also where a photo
    tool has joined both, and are no evidence of themselves when the photographs are labelled again.
    """

    def items(values: Iterable[str]) -> str:
        return "".join(f"<rdf:li>{escape(_NOT_XML.sub('', value))}</rdf:li>" for value in dict.fromkeys(values))

    def joined(mark: str) -> Iterator[str]:
        for label in row.labels:
            yield mark.join(
                part.replace(mark, " ") for part in (*classes.chains[label.class_id], classes.names[label.class_id])
            )

    return _XMP.format(
        version=__version__,
        namespace=XMP_NAMESPACE,
        subjects=items(classes.names[label.class_id] for label in row.labels),
        hierarchical=items(joined("|")),
        tags=items(joined("/")),
        labels=items(f"{label.entity} {label.probability:.4f}" for label in row.labels),
    )


def join_fiftyone(out: Path, records: Records, classes: Classes) -> None:
    """Write `labels.json` and `data.json` of a `FiftyOneImageClassificationDataset`, several labels an image.

    FiftyOne 1.22 looks for the images in `data/` and reads no `data.json` unless it is named; other readers do.
    """
    with writing(out / "labels.json") as file:
        file.write('{"classes": ' + as_json(list(classes.unique)) + ',\n"labels": {')
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
            file.write(",\n" * (number > 0) + f"{as_json(_uuid(record))}: {as_json(labels)}")
        file.write("}}\n")
    with writing(out / "data.json") as file:
        file.write("{")
        for number, record in enumerate(records()):
            file.write(",\n" * (number > 0) + f"{as_json(_uuid(record))}: {as_json(record['file'])}")
        file.write("}\n")


def _uuid(record: Record) -> str:
    return str(record["file"]).partition("/")[2].rpartition(".")[0]


def join_statements(out: Path, records: Records, classes: Classes) -> None:
    """Write `statements.txt` of QuickStatements: `M… P180 Q…`, tab-separated, the probability as a comment.

    Raises:
        OpenMofiError: no image has an identifier of Commons and a label of Wikidata.
    """
    count = 0
    with writing(out / "statements.txt") as file:
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


XMP = FileFormat(write_sidecars, join_list, "labels.jsonl", ("sidecars/**/*", "labels.jsonl"), by_address=True)
QUICKSTATEMENTS = FileFormat(
    write_statements,
    join_statements,
    "statements.txt",
    ("statements.txt",),
    by_address=True,
    images=False,
    nothing="has an M-identifier of Wikimedia Commons (M123) as its key and a label that is an item of Wikidata (Q42).",
    left_out="%d images are not in statements.txt: their key is no M-identifier of Wikimedia Commons, or none "
    "of their labels is an item of Wikidata.",
)
FIFTYONE = FileFormat(
    partial(write_images, below="data"), join_fiftyone, "labels.json", ("data/**/*", "labels.json", "data.json")
)
