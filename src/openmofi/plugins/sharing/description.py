"""`base.json`: what a published knowledge base holds, and the digests of its parts."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase

from openmofi.config import NonNegativeInt
from openmofi.errors import OpenMofiError
from openmofi.knowledge import layout
from openmofi.schema import KIND_VERSIONS
from openmofi.storage import MANIFEST, as_type, parse_json

FORMAT = 1
DESCRIPTION = "base.json"
PUBLISH_AGAIN = "Ask whoever published it to publish it again."
_DIGEST = re.compile("[0-9a-f]{32}")
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)?")


@dataclass(frozen=True)
class PublishedFile:
    """A file of the base.

    Attributes:
        name: relative to the base's folder.
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
class PublishedBase:
    """The content of a `base.json`. The decompressed parts, one after the other, are a tar archive of the files.

    Attributes:
        format: version of this description.
        kb_version: schema version of the knowledge base.
        fingerprint: of the knowledge base.
        licence: as its publisher gave it; may be empty.
        attribution: text of its `ATTRIBUTION.md`; may be empty.
        counts: entities, names and what else the base counts.
        languages: of its names, where the base knows them.
        sources: names of what the base was built from.
        made_with: version of OpenMOFI that built the base.
        files: in the order of the stream.
        parts: in the order of the stream.
    """

    format: int
    kb_version: int
    fingerprint: str
    licence: str
    attribution: str
    counts: dict[str, int]
    languages: list[str]
    sources: list[str]
    made_with: str
    files: list[PublishedFile]
    parts: list[Part]


def part_name(number: int, digest: str) -> str:
    """Return the file name of a part; it contains the digest, so that a part of this name never changes."""
    return f"part-{number:05}-{digest}.tar.zst"


def parse_description(text: bytes, where: str) -> PublishedBase:
    """Parse and check a `base.json`, which a stranger may have written.

    Args:
        text: content of the file.
        where: names the file in errors.

    Raises:
        OpenMofiError: it is no description of a published base, is of another version, or lists files that a base does
            not have.
    """
    raw = parse_json(text, dict, where, "That is no published knowledge base: check the address.")
    for name, version in (("format", FORMAT), ("kb_version", KIND_VERSIONS[layout.KIND])):
        if raw.get(name) != version:
            raise OpenMofiError(
                f"{where} has {name} {json.dumps(raw.get(name))}; this OpenMOFI reads {version}.",
                "Use the version of OpenMOFI that the page of the base names, or ask for a newer base.",
            )
    base = as_type(raw, PublishedBase, where, PUBLISH_AGAIN)
    if problem := _problem(base):
        raise OpenMofiError(f"{where} cannot be used: {problem}.", PUBLISH_AGAIN)
    return base


def _problem(base: PublishedBase) -> str:
    end, names = 0, set[str]()
    for file in base.files:
        if not _is_of_base(file.name) or file.name in names:
            return f"it lists {file.name!r}, which is no file of a knowledge base, or twice"
        if file.offset < end:
            return f"{file.name!r} overlaps the file before it"
        end = file.offset + file.size
        names.add(file.name)
    for number, part in enumerate(base.parts):
        if part.name != part_name(number, part.digest) or not _DIGEST.fullmatch(part.digest):
            return f"{part.name!r} is no name of its part"
    return "its parts do not hold its files" if sum(part.content for part in base.parts) < end else ""


def _is_of_base(name: str) -> bool:
    """Whether a base may have a file of this name; never true of a path that leaves its folder."""
    return _PLAIN.fullmatch(name) is not None and any(
        fnmatchcase(name, pattern) and name.count("/") == pattern.count("/")
        for pattern in (*layout.OUTPUTS.decided, MANIFEST)
    )
