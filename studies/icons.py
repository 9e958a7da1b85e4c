"""Icons of Debian's applications with name, summary and keywords, by AppStream: names are mostly not what is drawn."""

from __future__ import annotations

import gzip
import re
import tarfile
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from openmofi.engine import Progress
from openmofi.errors import OpenMofiError
from studies.debian import COMPONENTS, ICONS, fetch_appstream
from studies.outside_pairs import OutsidePair, content_of, shuffled

CONTENT = "ffdd03817db6ce09"
"""Of the pairs that were judged: Debian 13 in November 2026."""

_APPLICATIONS = ("desktop-application", "desktop-app")
_PIXELS = 128
_DAMAGED = (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, tarfile.TarError, yaml.YAMLError)
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def icon_pairs(progress: Progress, home: Path | None = None) -> list[OutsidePair]:
    """Fetch AppStream's files (20 MB) into the cache unless they are there, and read the pairs.

    Debian changes these files and keeps no versions, so other pairs than those that were judged are taken, too.

    Args:
        progress: receives the fetch, and a sentence where the pairs are others.
        home: the cache.

    Raises:
        OpenMofiError: this is not Debian, or the files cannot be had or read.
    """
    progress.begin("fetch", 1)
    folder = fetch_appstream(home)
    progress.advance({})
    pairs = read_icons(folder)
    if content_of(pairs) != CONTENT:
        progress.say(f"The {len(pairs):,} icons of {folder} are not quite those of which some were judged.")
    return pairs


def read_icons(folder: Path) -> list[OutsidePair]:
    """The pairs of applications that have an icon of 128 pixels, each icon once; shuffled.

    Args:
        folder: see `fetch_appstream`.

    Raises:
        OpenMofiError: a file is damaged.
    """
    try:
        images = _images(folder / ICONS)
        with gzip.open(folder / COMPONENTS, "rt", encoding="utf-8") as file:
            return shuffled(_pairs(yaml.load_all(file, Loader=_LOADER), images))
    except _DAMAGED as error:
        raise OpenMofiError(f"{folder} cannot be read: {error}.", "Remove it; it is fetched again.") from error


def _images(archive: Path) -> dict[str, bytes]:
    """File name → content; nothing is unpacked to where an archive says."""
    with tarfile.open(archive) as tar:
        files = ((member, tar.extractfile(member)) for member in tar if member.isfile())
        return {PurePosixPath(member.name).name: file.read() for member, file in files if file}


def _pairs(components: Iterator[Any], images: Mapping[str, bytes]) -> Iterator[OutsidePair]:
    taken = set()
    for component in components:
        if not isinstance(component, dict) or component.get("Type") not in _APPLICATIONS:
            continue
        icon = _icon(component, images)
        name, summary = (_untranslated(component, field) for field in ("Name", "Summary"))
        if icon and name and summary and icon not in taken:
            taken.add(icon)
            keywords = ", ".join(_untranslated(component, "Keywords") or ())
            text = f"{name}. {summary}" + (f". {keywords}" if keywords else "")
            yield OutsidePair.of_source(component["ID"], partial(bytes, icon), "png", re.sub(r"\s+", " ", text))


def _untranslated(component: Mapping[str, Any], field: str) -> Any:
    return (component.get(field) or {}).get("C")


def _icon(component: Mapping[str, Any], images: Mapping[str, bytes]) -> bytes | None:
    cached = (component.get("Icon") or {}).get("cached") or []
    names = [icon["name"] for icon in cached if icon.get("width") == _PIXELS]
    return images.get(names[0]) if names else None
