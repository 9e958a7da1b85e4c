"""Published datasets: their origin, terms and layout, and checks of copies on disk.

Nothing is downloaded. The datasets are those of packages that add to the entry points `openmofi.data_sources`.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from openmofi.errors import OpenMofiError, UsageError, did_you_mean
from openmofi.evaluation.class_names import require_folder
from openmofi.extensions import extension, extension_names


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

    protocols: list[str]
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


def data_sources() -> dict[str, DataSource]:
    """Return name → dataset, of all packages."""
    return {
        name: source
        for package in extension_names("data_sources")
        for name, source in extension("data_sources", package).items()
    }


def source_named(name: str) -> DataSource:
    """The dataset of this name.

    Raises:
        UsageError: it is unknown.
    """
    sources = data_sources()
    if name not in sources:
        raise UsageError(f"Unknown dataset {name!r}.{did_you_mean(name, sources)}", f"Use {', '.join(sources)}.")
    return sources[name]


def check_source(name: str, folder: str | Path) -> list[Finding]:
    """Compare a folder with the published dataset: files, counts, and checksums of archives in it.

    Raises:
        UsageError: the dataset is unknown.
        OpenMofiError: the folder does not exist.
    """
    source, root = source_named(name), require_folder(folder)
    try:
        findings = source.check(root)
    except OpenMofiError as error:
        findings = [Finding("layout", False, str(error))]
    for file, digest in source.archives.items():
        if (root / file).is_file():
            with open(root / file, "rb") as handle:
                actual = hashlib.file_digest(handle, partial(hashlib.md5, usedforsecurity=False)).hexdigest()
            findings.append(Finding(f"MD5 of {file}", actual == digest, actual))
    return findings
