"""How the label job read the text of an image: mentions, candidates and their scores, from its table of labels."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow.compute as pc

from openmofi.dataset.tables import Folder
from openmofi.search.index import Index
from openmofi.search.records import EntityRecord
from openmofi.search.server.answers import Refused
from openmofi.search.store.reading import entity_records


@dataclass(frozen=True)
class Mention:
    """Where a text names something, see `openmofi.schema.MENTION`.

    Attributes:
        start, end: in the text, in code points.
        surface, detector, reason: what it says, who saw it, why it is boilerplate or "".
        kind: which column of texts it was found in, where the label job was told of several, or "".
    """

    start: int
    end: int
    surface: str
    detector: str
    reason: str
    kind: str


@dataclass(frozen=True)
class Candidate:
    """An entity that a mention may mean, judged by the image; see `openmofi.schema.JUDGEMENT`.

    Attributes:
        entity, name, description: see `openmofi.schema.Entity`.
        mention: position of its mention.
        prior, link_score, image_score: of the linker and the encoder; `None` where there is none.
        probability, accepted, reason: the verdict of the label job.
    """

    entity: str
    name: str
    description: str
    mention: int
    prior: float | None
    link_score: float | None
    image_score: float | None
    probability: float | None
    accepted: bool
    reason: str


@dataclass(frozen=True)
class TextReading:
    """How an image's text was read.

    Attributes:
        text, status: of the pair.
        mentions: in the order of the text.
        candidates: of all mentions, likeliest first.
    """

    text: str
    status: str
    mentions: tuple[Mention, ...]
    candidates: tuple[Candidate, ...]


def reading_of(index: Index, image: int, labels: str = "") -> TextReading:
    """How the text of an image was read.

    Args:
        index: that has the image.
        image: its id.
        labels: the folder of labels, where it is not the one that the index was built of.

    Raises:
        Refused: the image was not labelled (404).
        OpenMofiError: the labels cannot be read.
    """
    record = index.image(image)
    ((built,),) = index.connection.execute(
        "SELECT labels FROM sources JOIN images ON images.source = sources.id WHERE images.id = ?", (image,)
    )
    if not (labels or built):
        raise Refused(404, f"Image {image} is not of a folder of labels.", "Build the index of labels.")
    folder = Folder.open(labels or built, "labels")
    shard = next((each for each in folder.shards if each.name == record.shard), None)
    table = folder.read(shard) if shard else None
    row = next(iter(table.filter(pc.equal(table["key"], record.key)).to_pylist()), None) if table else None
    if row is None:
        raise Refused(404, f"{folder.path} has no row {record.shard}/{record.key}.", "Bring the index up to date.")
    candidates = sorted(row["entities"] or (), key=lambda each: -(each["probability"] or 0.0))
    known = entity_records(index.connection, [each["entity"] for each in candidates])
    return TextReading(
        row["text"] or "",
        row["status"],
        tuple(
            Mention(
                each["start"],
                each["end"],
                each["surface"],
                each["detector"],
                each["reason"] or "",
                each.get("kind") or "",
            )
            for each in row["mentions"] or ()
        ),
        tuple(
            Candidate(
                each["entity"],
                entity.name,
                entity.description,
                each["mention"],
                each["prior"],
                each["link_score"],
                each["image_score"],
                each["probability"],
                bool(each["accepted"]),
                each["reason"] or "",
            )
            for each in candidates
            for entity in [known.get(each["entity"], EntityRecord(each["entity"], each["entity"]))]
        ),
    )
