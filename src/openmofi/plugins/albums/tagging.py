"""Writes labels back as tags. A journal says of each photo what it is about to get, so that all can be taken back."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from openmofi.engine import Progress
from openmofi.errors import OpenMofiError
from openmofi.plugins.albums.immich import Immich
from openmofi.plugins.albums.photoprism import PhotoPrism
from openmofi.plugins.albums.server import Id, Lost, Op, PhotoServer
from openmofi.storage import fingerprint, parse_json, write_error, write_text

Wanted = Mapping[str, Mapping[str, float]]
"""Photo → name of a label → its probability."""


class _Head(Struct):
    journal: Literal["openmofi albums 1"]
    server: str
    labels: str


class _Line(Struct, omit_defaults=True):
    photo: Id
    state: Literal["planned", "done", "undone"]
    ops: list[Op] = []


@dataclass(frozen=True)
class Journal:
    """What a run has changed, as lines of JSON.

    Attributes:
        path: a local file.
        labels: fingerprint of the labels.
        planned: photo → changes that were begun; `done` → changes that were made.
    """

    path: Path
    labels: str
    planned: dict[str, list[Op]]
    done: dict[str, list[Op]]

    @classmethod
    def create(cls, path: Path, server: PhotoServer, wanted: Wanted) -> Journal:
        """Open the journal of these labels, which is made where there is none.

        Raises:
            OpenMofiError: as `read`, or it is of other labels.
        """
        labels = fingerprint(wanted)
        journal = cls.read(path, server) if path.exists() else None
        if journal and journal.labels == labels:
            return journal
        if journal and (journal.planned or journal.done):
            hint = "Name another file with -o, or take the tags of this one back first: openmofi albums untag --help."
            raise OpenMofiError(f"{path} is the journal of other labels, or of another --min-probability.", hint)
        head = _Head("openmofi albums 1", server.address, labels)
        write_text(path, msgspec.json.encode(head).decode() + "\n")
        return cls(path, labels, {}, {})

    @classmethod
    def read(cls, path: Path, server: PhotoServer) -> Journal:
        """Read a journal. A last line that was cut off is removed: what it says was not begun, or is done again.

        Raises:
            OpenMofiError: it is missing, damaged, or of another server.
        """
        hint = "Name the file that 'openmofi albums tag' wrote."
        try:
            content = path.read_bytes()
            head, *lines = content[: content.rfind(b"\n") + 1].splitlines() or [b""]
            said = parse_json(head, _Head, str(path), hint)
            if said.server != server.address:
                raise OpenMofiError(f"{path} is the journal of {said.server}.", "Name that server.")
            journal = cls(path, said.labels, {}, {})
            for number, line in enumerate(lines, 2):
                journal._apply(parse_json(line, _Line, f"{path}, line {number}", hint))
            if not content.endswith(b"\n"):
                os.truncate(path, content.rfind(b"\n") + 1)
        except OSError as error:
            raise OpenMofiError(f"{path} cannot be read: {error.strerror or error}.", hint) from error
        return journal

    def write(self, photo: str, state: Literal["planned", "done", "undone"], ops: Sequence[Op] = ()) -> None:
        """Add a line, which is on the disk when this returns.

        Raises:
            OpenMofiError: the disk is full, or it cannot be written.
        """
        line = _Line(photo, state, list(ops))
        try:
            with open(self.path, "ab") as file:
                file.write(msgspec.json.encode(line) + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise write_error(error, self.path) from error
        self._apply(line)

    def _apply(self, line: _Line) -> None:
        if line.state == "planned":
            self.planned[line.photo] = line.ops
            return
        self.planned.pop(line.photo, None)
        if line.state == "done":
            self.done[line.photo] = line.ops
        else:
            self.done.pop(line.photo, None)


def write_tags(server: Immich | PhotoPrism, wanted: Wanted, journal: Journal, progress: Progress) -> dict[str, int]:
    """Give photos the tags of their labels; those that have a tag already keep it as it is.

    Returns:
        Labels that were `added`, `left_out`, and `failed`: of photos that are gone, or that the key may not change, or
        which the server refuses. The same command tries these again.

    Raises:
        OpenMofiError: the server does not answer as its API does, or refuses the key.
    """
    counts = Counter(added=0, left_out=0, failed=0)
    progress.begin("tag", len(wanted))
    for photo, labels in wanted.items():
        if photo in journal.planned:  # a run was stopped amid it
            take_back(server, journal, photo)
        done = journal.done.get(photo, [])
        if photo in journal.planned:  # it cannot be taken back, and stays in the journal
            counts["failed"] += len(labels) - len(done)
        elif len(done) < len(labels):
            try:
                counts.update(_add_rest(server, journal, photo, labels))
            except Lost:
                counts["failed"] += len(labels) - len(done)
        counts["added"] += len(journal.done.get(photo, ()))
        progress.advance({"photos": 1})
    return dict(counts)


def _add_rest(server: Immich | PhotoPrism, journal: Journal, photo: str, labels: Mapping[str, float]) -> dict[str, int]:
    """Give a photo those labels that it lacks, but none that a person removed; see `write_tags`."""
    done = journal.done.get(photo, [])
    names = {op.name for op in done}
    ops = [op for op in server.missing(photo, labels) if op.name not in names]
    made: list[Op] = []
    if ops:
        journal.write(photo, "planned", ops)
        made = server.add(photo, ops)
        journal.write(photo, "done" if done or made else "undone", done + made)
    return {"failed": len(ops) - len(made), "left_out": len(labels) - len(done) - len(ops)}


def remove_tags(server: Immich | PhotoPrism, journal: Journal, progress: Progress) -> dict[str, int]:
    """Take back all that a journal says, and nothing else.

    Returns:
        `removed` labels, and `gone`: those of photos that are no longer there or are somebody else's, and those that
        would cost a keyword.

    Raises:
        OpenMofiError: as `write_tags`.
    """
    photos = list(journal.done | journal.planned)
    counts = Counter(removed=0, gone=0)
    progress.begin("untag", len(photos))
    for photo in photos:
        counts.update(take_back(server, journal, photo))
        progress.advance({"photos": 1})
    return dict(counts)


def take_back(server: Immich | PhotoPrism, journal: Journal, photo: str) -> Counter[str]:
    """Take back what a photo got; returns how many labels were `removed` or `gone`: these stay in the journal."""
    counts: Counter[str] = Counter()
    for op in journal.done.get(photo, []) + journal.planned.get(photo, []):
        try:
            counts["removed"] += server.remove(photo, op)
        except Lost:
            counts["gone"] += 1
    if not counts["gone"]:  # the server says the same where the key is somebody else's
        journal.write(photo, "undone")
    return counts
