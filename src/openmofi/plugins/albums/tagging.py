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
        if not path.exists():
            head = _Head("openmofi albums 1", server.address, labels)
            write_text(path, msgspec.json.encode(head).decode() + "\n")
        journal = cls.read(path, server)
        if journal.labels != labels and (journal.planned or journal.done):
            hint = "Name another file with -o, or take the tags of this one back first: openmofi albums untag --help."
            raise OpenMofiError(f"{path} is the journal of other labels, or of another --min-probability.", hint)
        return journal

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
        Labels that were `added`, `left_out`, and `failed`: of photos that are gone, or that the key may not change.

    Raises:
        OpenMofiError: the server does not answer as its API does, or refuses the key.
    """
    counts = Counter(added=0, left_out=0, failed=0)
    progress.begin("tag", len(wanted))
    for photo, labels in wanted.items():
        if photo in journal.planned:  # a run was stopped amid it
            take_back(server, journal, photo)
        if photo not in journal.done:
            try:
                ops = server.missing(photo, labels)
                if ops:
                    journal.write(photo, "planned", ops)
                    journal.write(photo, "done", server.add(photo, ops))
                    counts["failed"] += len(ops) - len(journal.done[photo])
                counts["left_out"] += len(labels) - len(ops)
            except Lost:
                counts["failed"] += len(labels)
        counts["added"] += len(journal.done.get(photo, ()))
        progress.advance({"photos": 1})
    return dict(counts)


def remove_tags(server: Immich | PhotoPrism, journal: Journal, progress: Progress) -> dict[str, int]:
    """Take back all that a journal says, and nothing else.

    Returns:
        `removed` labels, and `gone`: those of photos or tags that are no longer there.

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
            server.remove(photo, op)
            counts["removed"] += 1
        except Lost:
            counts["gone"] += 1
    if not counts["gone"]:  # the server says the same where the key is somebody else's
        journal.write(photo, "undone")
    return counts
