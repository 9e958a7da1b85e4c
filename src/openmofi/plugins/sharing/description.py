"""`base.json`, `index.json`: what is published, and the digests of its files and parts."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Generic, TypeVar

from openmofi.config import NonNegativeInt
from openmofi.errors import OpenMofiError
from openmofi.knowledge import layout
from openmofi.schema import KIND_VERSIONS
from openmofi.storage import MANIFEST, as_type, parse_json

FORMAT = 1
PUBLISH_AGAIN = "Ask whoever published it to publish it again."
_DIGEST = re.compile("[0-9a-f]{32}")
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)?")


@dataclass(frozen=True)
class PublishedFile:
    """A file of what is published.

    Attributes:
        name: relative to its folder.
        offset: where its content begins in the stream, in bytes.
        size: bytes.
        digest: BLAKE2b, 32 hexadecimal digits.
    """

    name: str
    offset: NonNegativeInt
    size: NonNegativeInt
    digest: str


@dataclass(frozen=True)
class Part:
    """A part of the archive: Zstandard frames, which decompress to the next `content` bytes of the stream.

    Attributes:
        name: of its file, beside `base.json`.
        size: bytes of the file.
        digest: BLAKE2b of the file, 32 hexadecimal digits.
        content: bytes after decompression.
    """

    name: str
    size: NonNegativeInt
    digest: str
    content: NonNegativeInt


@dataclass(frozen=True)
class Published:
    """A description. The decompressed parts, one after the other, are a tar archive of the files.

    Attributes:
        format: version of this description.
        fingerprint: of what is published.
        counts: what it counts, such as entities and names of a base.
        made_with: version of OpenMOFI that made it.
        files: in the order of the stream.
        parts: in the order of the stream.
    """

    format: int
    fingerprint: str
    counts: dict[str, int]
    made_with: str
    files: list[PublishedFile]
    parts: list[Part]


@dataclass(frozen=True)
class PublishedBase(Published):
    """The content of a `base.json`.

    Attributes:
        kb_version: schema version of the knowledge base.
        licence: as its publisher gave it; may be empty.
        attribution: text of its `ATTRIBUTION.md`; may be empty.
        languages: of its names, where the base knows them.
        sources: names of what the base was built from.
    """

    kb_version: int
    licence: str
    attribution: str
    languages: list[str]
    sources: list[str]


def part_name(number: int, digest: str) -> str:
    """Return the file name of a part; it contains the digest, so that a part of this name never changes."""
    return f"part-{number:05}-{digest}.tar.zst"


Described = TypeVar("Described", bound=Published)


@dataclass(frozen=True)
class Kind(Generic[Described]):
    """A kind of what can be published.

    Attributes:
        name: for people.
        description: name of the file that says what is published, which is written last.
        described: type of its content.
        version: its field that has the version of what is published, and the version that this OpenMOFI reads.
        patterns: of the files that there may be.
    """

    name: str
    description: str
    described: type[Described]
    version: tuple[str, object]
    patterns: tuple[str, ...]

    def parse(self, text: bytes, where: str) -> Described:
        """Parse and check a description, which a stranger may have written.

        Args:
            text: content of the file.
            where: names the file in errors.

        Raises:
            OpenMofiError: it describes nothing of this kind, is of another version, or lists other files.
        """
        raw = parse_json(text, dict, where, f"That is no published {self.name}: check the address.")
        for name, version in (("format", FORMAT), self.version):
            if raw.get(name) != version:
                raise OpenMofiError(
                    f"{where} has {name} {json.dumps(raw.get(name))}; this OpenMOFI reads {version}.",
                    "Use the version of OpenMOFI that it was published with, or ask for it to be published anew.",
                )
        published = as_type(raw, self.described, where, PUBLISH_AGAIN)
        if problem := self._problem(published):
            raise OpenMofiError(f"{where} cannot be used: {problem}.", PUBLISH_AGAIN)
        return published

    def _problem(self, published: Published) -> str:
        end, names = 0, set[str]()
        for file in published.files:
            if not self._has(file.name) or file.name in names:
                return f"it lists {file.name!r}, which is no file of a published {self.name}, or twice"
            if file.offset < end:
                return f"{file.name!r} overlaps the file before it"
            end = file.offset + file.size
            names.add(file.name)
        for number, part in enumerate(published.parts):
            if part.name != part_name(number, part.digest) or not _DIGEST.fullmatch(part.digest):
                return f"{part.name!r} is no name of its part"
        return "its parts do not hold its files" if sum(part.content for part in published.parts) < end else ""

    def _has(self, name: str) -> bool:
        """Whether there may be a file of this name; never true of a path that leaves its folder."""
        return _PLAIN.fullmatch(name) is not None and any(
            fnmatchcase(name, pattern) and name.count("/") == pattern.count("/") for pattern in self.patterns
        )


BASE = Kind(
    "knowledge base",
    "base.json",
    PublishedBase,
    ("kb_version", KIND_VERSIONS[layout.KIND]),
    (*layout.OUTPUTS.decided, MANIFEST),
)
