"""What is said of a published dataset, and the outcome of a check of a copy on disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Finding:
    """The outcome of one check: what was checked, whether it is as published, and its state."""

    what: str
    ok: bool
    measured: str


@dataclass(frozen=True)
class DataSource:
    """A dataset.

    Attributes:
        protocols: that use it.
        home: its origin.
        licence: its terms, as far as its authors state them.
        layout: of its folder.
        counts: as published.
        check: checks a folder.
        archives: name of a downloaded file → its published MD5, checked if the file is in the folder.
    """

    protocols: tuple[str, ...]
    home: str
    licence: str
    layout: str
    counts: str
    check: Callable[[Path], list[Finding]]
    archives: Mapping[str, str] = field(default_factory=dict)


def counted(what: str, measured: int, published: int) -> Finding:
    """A number beside the published one."""
    return Finding(what, measured == published, f"{measured:,} of {published:,}")


def present(what: str, folder: Path, files: list[str]) -> Finding:
    """How many of the listed files are on disk."""
    return counted(what, sum((folder / file).is_file() for file in files), len(files))
