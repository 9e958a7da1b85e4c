"""Openclipart's drawings with their titles, descriptions and keywords: real, noisy pairs, from two Debian packages."""

from __future__ import annotations

import html
import random
import re
from pathlib import Path

from openmofi.engine import Progress
from studies.debian import fetch_packages
from studies.outside_pairs import PAIRS_A_SHARD, OutsidePair, require_content

PACKAGES = ("openclipart-svg", "openclipart-png")
CONTENT = "408be105a8fd9cc5"
"""Of the drawings that the truth is about (version 0.18+dfsg-19): shards are numbered by a shuffle of all of them."""

_NO_KEYWORDS = ("", "unsorted", "hash(0x8a091c4)")


def openclipart_pairs(progress: Progress, home: Path | None = None) -> list[OutsidePair]:
    """Fetch the packages into the cache unless they are there, and read the drawings.

    Args:
        progress: receives the fetch.
        home: the cache.

    Raises:
        OpenMofiError: this is not Debian, a package cannot be had, or its drawings are not those that were judged.
    """
    progress.begin("fetch", 1)
    pairs = read_drawings(fetch_packages("openclipart", PACKAGES, home) / "usr/share/openclipart")
    progress.advance({})
    require_content(
        pairs, CONTENT, "drawings of Debian's Openclipart", "Take the version 0.18+dfsg-19 of the packages."
    )
    return pairs


def read_drawings(source: Path) -> list[OutsidePair]:
    """The drawings that have both files, shuffled; a key is shard and row, the source folder and stem (`animals/cat`).

    Args:
        source: holds the folders `svg` and `png`, of the same tree.
    """
    svgs = {_name(source / "svg", path): path for path in sorted((source / "svg").rglob("*.svg")) if path.is_file()}
    pngs = {_name(source / "png", path): path for path in sorted((source / "png").rglob("*.png"))}
    names = [name for name in pngs if name in svgs]
    random.Random(7).shuffle(names)
    return [
        _pair(number, name, pngs[name], _text(svgs[name].read_text("utf-8", errors="replace")))
        for number, name in enumerate(names)
    ]


def _pair(number: int, name: str, png: Path, text: str) -> OutsidePair:
    shard, row = divmod(number, PAIRS_A_SHARD)
    key = f"{shard:05d}{row:04d}"
    return OutsidePair(key, png.read_bytes, "png", text, {"key": key, "caption": text, "source": name})


def _name(root: Path, path: Path) -> str:
    return str(path.relative_to(root).with_suffix(""))


def _text(svg: str) -> str:
    title, about = (next(filter(None, _elements(svg, name)), "") for name in ("dc:title", "dc:description"))
    keywords = [word for word in _elements(svg, "rdf:li") if word not in _NO_KEYWORDS and "HASH" not in word]
    return re.sub(r"\s+", " ", ". ".join(filter(None, (title, about, ", ".join(keywords)))))


def _elements(svg: str, name: str) -> list[str]:
    """The texts of all elements `name`; the metadata of many of these files is no well-formed XML."""
    return [html.unescape(text).strip() for text in re.findall(f"<{name}[^>]*>([^<]*)</{name}>", svg)]
