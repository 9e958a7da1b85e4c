"""Pairs that nobody made for OpenMOFI, and their shards."""

from __future__ import annotations

import io
import json
import random
import re
import tarfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from openmofi.engine import Progress
from openmofi.errors import OpenMofiError
from openmofi.storage import atomic_path, fingerprint

PAIRS_A_SHARD = 500


@dataclass(frozen=True)
class OutsidePair:
    """An image with its text.

    Attributes:
        key: of the pair; no other has it.
        image: reads or makes the image file.
        suffix: of the image file.
        text: what is written beside it.
        about: the pair's JSON.
    """

    key: str
    image: Callable[[], bytes]
    suffix: str
    text: str
    about: Mapping[str, str]

    @classmethod
    def of_source(cls, source: str, image: Callable[[], bytes], suffix: str, text: str) -> OutsidePair:
        """A pair whose key is its source, with dashes for what a key may not hold."""
        key = re.sub(r"[^A-Za-z0-9_-]+", "-", source)
        return cls(key, image, suffix, text, {"key": key, "source": source})


def shuffled(pairs: Iterable[OutsidePair]) -> list[OutsidePair]:
    """The pairs in a random order that their sources alone decide."""
    ordered = sorted(pairs, key=lambda pair: pair.about["source"])
    random.Random(11).shuffle(ordered)
    return ordered


def content_of(pairs: Sequence[OutsidePair]) -> str:
    """Fingerprint of sources and texts; an image that is made here is as the library makes it."""
    return fingerprint([[pair.about["source"], pair.text] for pair in pairs])


def require_content(pairs: Sequence[OutsidePair], content: str, what: str, hint: str) -> None:
    """Check that these are the pairs that the truth is about.

    Args:
        pairs: what was read.
        content: see `content_of`.
        what: they are, for the error.
        hint: how to get the others.

    Raises:
        OpenMofiError: they are others.
    """
    if (read := content_of(pairs)) != content:
        raise OpenMofiError(f"The {len(pairs):,} {what} are not those that were judged ({read}, not {content}).", hint)


def write_pairs(pairs: Sequence[OutsidePair], out: Path, progress: Progress) -> None:
    """Write shards of 500 pairs, `00000.tar` and so on, those that are missing; equal pairs give equal bytes."""
    starts = range(0, len(pairs), PAIRS_A_SHARD)
    progress.begin("pairs", len(starts))
    for number, start in enumerate(starts):
        path, part = out / f"{number:05d}.tar", pairs[start : start + PAIRS_A_SHARD]
        if not path.exists():
            _write_shard(path, part)
        progress.advance({"rows": len(part)})


def _write_shard(path: Path, pairs: Sequence[OutsidePair]) -> None:
    # The bytes name features, links and labels: `openmofi.pairs.write_tar` would write the same pairs otherwise than
    # they were when they were judged.
    with atomic_path(path) as temporary, tarfile.open(temporary, "w") as archive:
        for pair in pairs:
            about = json.dumps(pair.about).encode()
            for suffix, content in ((pair.suffix, pair.image()), ("txt", pair.text.encode()), ("json", about)):
                member = tarfile.TarInfo(f"{pair.key}.{suffix}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
