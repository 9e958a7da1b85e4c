"""The note beside labels and datasets: where the features of their label job lie, and how its pairs were read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from openmofi.pairs import ReadSettings
from openmofi.pairs.problems import PROBLEMS_FILE
from openmofi.storage import exists, read_json, write_bytes
from openmofi.storage.addresses import open_address

NOTE = "features.json"


def take_note_along(source: str | Path, folder: str | Path) -> None:
    """Copy the note of `source` (see `FeatureStore.note`) and its `problems.csv` into a folder that is built of it."""
    for name in (NOTE, PROBLEMS_FILE):
        if exists(f"{source}/{name}"):
            with open_address(f"{source}/{name}") as file:
                write_bytes(f"{folder}/{name}", file.read())


def noted_read(folder: str | Path) -> ReadSettings:
    """How the label job read the pairs that `folder`, labels or a dataset, came from; as usual where nothing is noted.

    Raises:
        OpenMofiError: the note is damaged.
    """
    note = read_note(folder)
    return note.read if note else ReadSettings()


def noted_cache(folder: str | Path) -> str:
    """The cache of the label job that `folder`, labels or a dataset, came from; `""` where none that can be is noted.

    Raises:
        OpenMofiError: the note is damaged.
    """
    note = read_note(folder)
    return note.cache if note and "\0" not in note.cache else ""


@dataclass(frozen=True)
class Note:
    """What a label job notes: where its features lie, by which key, and how pairs were read and embedded."""

    cache: str
    read: ReadSettings
    batch_size: int
    max_pixels: int
    key: str = ""


def read_note(folder: str | Path) -> Note | None:
    """Return the note of labels or a dataset; `None` where there is none.

    Raises:
        OpenMofiError: it is damaged.
    """
    path = f"{folder}/{NOTE}"
    return read_json(path, Note, "Remove it; features are computed again.") if exists(path) else None
