"""Openclipart's drawings with their titles, descriptions and keywords: real, noisy pairs, from two Debian packages."""

from __future__ import annotations

import html
import io
import json
import random
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from openmofi.engine import Progress
from openmofi.errors import OpenMofiError
from openmofi.storage import atomic_path, fingerprint
from openmofi.storage.copies import cache_folder

PACKAGES = ("openclipart-svg", "openclipart-png")
CONTENT = "408be105a8fd9cc5"
"""Of the drawings that the truth is about (version 0.18+dfsg-19): shards are numbered by a shuffle of all of them."""
PAIRS_A_SHARD = 500

_NO_KEYWORDS = ("", "unsorted", "hash(0x8a091c4)")


@dataclass(frozen=True)
class Drawing:
    """A drawing with its text.

    Attributes:
        name: folder and stem, as `animals/cat_01`.
        png: its image.
        text: title, description and keywords, as far as they are there.
    """

    name: str
    png: Path
    text: str


def fetch_openclipart(progress: Progress, home: Path | None = None) -> Path:
    """Fetch and unpack the packages into the cache unless they are there; nothing is installed, root is not needed.

    Returns:
        The folder that holds `svg` and `png`.

    Raises:
        OpenMofiError: this is not Debian, or a package cannot be had.
    """
    target = (home or cache_folder()) / "debian" / "openclipart"
    if not target.is_dir():
        missing = [name for name in ("apt-get", "dpkg") if shutil.which(name) is None]
        if missing:
            raise OpenMofiError(
                f"Openclipart comes as the Debian packages {' and '.join(PACKAGES)}, and not all that "
                f"they need is on the PATH: {', '.join(missing)}.",
                "Run this on Debian.",
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".fetching-") as folder:
            _unpack(Path(folder), progress)
            try:
                (Path(folder) / "unpacked").rename(target)
            except OSError:
                # Another process was faster: its copy is the same.
                if not target.is_dir():
                    raise
    return target / "usr/share/openclipart"


def _unpack(folder: Path, progress: Progress) -> None:
    progress.begin("fetch", len(PACKAGES))
    for package in PACKAGES:
        _run(folder, "apt-get", "download", package)
        for archive in folder.glob(f"{package}_*.deb"):
            _run(folder, "dpkg", "-x", archive.name, "unpacked")
        progress.advance({})


def _run(folder: Path, *command: str) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        why = next((line for line in done.stderr.splitlines() if line.startswith("E:")), f"exit code {done.returncode}")
        raise OpenMofiError(
            f"{' '.join(command)} failed: {why}.",
            "Check the network and the packages that apt knows (apt-get update), then try again.",
        )


def read_drawings(source: Path) -> list[Drawing]:
    """The drawings that have both files, shuffled.

    Args:
        source: holds the folders `svg` and `png`, of the same tree.
    """
    svgs = {_name(source / "svg", path): path for path in sorted((source / "svg").rglob("*.svg")) if path.is_file()}
    pngs = {_name(source / "png", path): path for path in sorted((source / "png").rglob("*.png"))}
    drawings = [
        Drawing(name, path, _text(svgs[name].read_text("utf-8", errors="replace")))
        for name, path in pngs.items()
        if name in svgs
    ]
    random.Random(7).shuffle(drawings)
    return drawings


def require_known(drawings: Sequence[Drawing]) -> None:
    """Check that these are the drawings that the truth is about.

    Raises:
        OpenMofiError: they are others.
    """
    content = fingerprint([[drawing.name, drawing.text] for drawing in drawings])
    if content != CONTENT:
        raise OpenMofiError(
            f"The {len(drawings):,} drawings of these packages are not those that were judged "
            f"({content}, not {CONTENT}).",
            "Take the version 0.18+dfsg-19 of the packages.",
        )


def write_pairs(drawings: Sequence[Drawing], out: Path, progress: Progress) -> None:
    """Write shards of 500 pairs, `00000.tar` and so on, those that are missing; equal drawings give equal bytes."""
    starts = range(0, len(drawings), PAIRS_A_SHARD)
    progress.begin("pairs", len(starts))
    for number, start in enumerate(starts):
        path, part = out / f"{number:05d}.tar", drawings[start : start + PAIRS_A_SHARD]
        if not path.exists():
            _write_shard(path, f"{number:05d}", part)
        progress.advance({"rows": len(part)})


def _write_shard(path: Path, shard: str, drawings: Sequence[Drawing]) -> None:
    # The bytes name features, links and labels: `openmofi.pairs.write_tar` would write the same pairs otherwise than
    # they were when they were judged.
    with atomic_path(path) as temporary, tarfile.open(temporary, "w") as archive:
        for row, drawing in enumerate(drawings):
            key = f"{shard}{row:04d}"
            about = json.dumps({"key": key, "caption": drawing.text, "source": drawing.name})
            for suffix, content in (
                ("png", drawing.png.read_bytes()),
                ("txt", drawing.text.encode()),
                ("json", about.encode()),
            ):
                member = tarfile.TarInfo(f"{key}.{suffix}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))


def _name(root: Path, path: Path) -> str:
    return str(path.relative_to(root).with_suffix(""))


def _text(svg: str) -> str:
    title, about = (next(filter(None, _elements(svg, name)), "") for name in ("dc:title", "dc:description"))
    keywords = [word for word in _elements(svg, "rdf:li") if word not in _NO_KEYWORDS and "HASH" not in word]
    return re.sub(r"\s+", " ", ". ".join(filter(None, (title, about, ", ".join(keywords)))))


def _elements(svg: str, name: str) -> list[str]:
    """The texts of all elements `name`; the metadata of many of these files is no well-formed XML."""
    return [html.unescape(text).strip() for text in re.findall(f"<{name}[^>]*>([^<]*)</{name}>", svg)]
