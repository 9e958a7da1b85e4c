"""A text as detectors read it: HTML entities decoded, `snake_case` and CamelCase split; spans lead back to the text."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from html.entities import html5
from typing import Protocol

from openmofi.knowledge.names import fold_token

# The prefix catches what was escaped twice (`&amp;quot;`).
_ENTITY = re.compile(r"&(?:amp;){0,3}(?P<name>#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]{1,31});")
_EDITED = re.compile(r"_|&[#a-zA-Z]|[a-z]{2}[A-Z][a-z]|[a-zA-Z]{3}[0-9]")
_JOINED = re.compile(r"(?<![^\W_])[a-zA-Z][a-zA-Z0-9]*(?![^\W_])")
# Two letters before the capital keep McDonald and iPhone; three before the digit keep MP3 and F16.
_SEAM = re.compile(r"(?<=[a-z]{2})(?=[A-Z][a-z])|(?<=[a-zA-Z]{3})(?=[0-9])")


class Names(Protocol):
    """Names with their rows."""

    def get(self, name: str, default: int, /) -> int:
        """Return the row of a name, or the default."""


@dataclass(frozen=True, slots=True)
class Readable:
    """A text for detectors.

    Attributes:
        text: what they read.
        starts, ends: for each of its characters the span of the original text that it comes from (an empty one for a
            space that parts CamelCase); no numbers at all where both texts are the same.
    """

    text: str
    starts: tuple[int, ...] = ()
    ends: tuple[int, ...] = ()

    def original(self, start: int, end: int) -> tuple[int, int]:
        """The span of the original text that a span of `text` comes from, which holds something but such spaces."""
        return (self.starts[start], self.ends[end - 1]) if self.starts else (start, end)


def readable(text: str, names: Names) -> Readable:
    """What detectors read of `text`.

    Args:
        text: as it stands in the pair.
        names: of the knowledge base, see `openmofi.knowledge.KnowledgeBase.names`; a word that is one is never split.
    """
    if not _EDITED.search(text):
        return Readable(text)
    edits = [
        (match.start(), match.end(), _decoded(match.group()))
        for match in _ENTITY.finditer(text)
        if match["name"].startswith("#") or f"{match['name']};" in html5
    ]
    taken = {place for start, end, _ in edits for place in range(start, end)}
    edits += [(place, place + 1, " ") for place, letter in enumerate(text) if letter == "_"]
    for word in _JOINED.finditer(text):
        seams = [seam.start() + word.start() for seam in _SEAM.finditer(word.group())]
        if seams and word.start() not in taken and names.get(fold_token(word.group()), -1) < 0:
            edits += [(seam, seam, " ") for seam in seams]
    return _edited(text, sorted(edits)) if edits else Readable(text)


def _decoded(entity: str) -> str:
    for _ in range(3):
        entity = html.unescape(entity)
    return entity


def _edited(text: str, edits: list[tuple[int, int, str]]) -> Readable:
    pieces: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    done = 0
    for start, end, piece in [*edits, (len(text), len(text), "")]:
        pieces += [text[done:start], piece]
        starts += [*range(done, start), *[start] * len(piece)]
        ends += [*range(done + 1, start + 1), *[end] * len(piece)]
        done = end
    return Readable("".join(pieces), tuple(starts), tuple(ends))
