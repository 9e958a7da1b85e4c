"""`manifest.json`: what a folder holds, what made it, from what, with which settings."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import fsspec

from openmofi.errors import OpenMofiError
from openmofi.schema import SCHEMA_VERSION
from openmofi.storage.atomic import remove_leftovers, write_json
from openmofi.storage.fingerprint import fingerprint, plain
from openmofi.version import __version__

MANIFEST = "manifest.json"
_PACKAGES = (
    "numpy", "scipy", "pyarrow", "pillow", "torch", "timm", "open-clip-torch", "transformers", "marisa-trie", "spacy",
)


@dataclass(frozen=True)
class Manifest:
    """What `manifest.json` says.

    Attributes:
        kind: what the folder is: `knowledge_base`, `labels`, `dataset`, `world`, `encoder`, `pairs` …
        settings: everything that decides the content; equal settings and inputs make the same bytes.
        inputs: name → fingerprint of what was read.
        counts: what it holds; empty until the stage is finished.
        finished: whether the stage ran to its end.
    """

    kind: str
    settings: dict[str, Any]
    inputs: dict[str, str] = field(default_factory=dict)
    counts: dict[str, Any] = field(default_factory=dict)
    finished: bool = False
    schema_version: int = SCHEMA_VERSION
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """Identifies the folder's content: kind, settings, inputs and schema version."""
        return fingerprint([self.kind, self.settings, self.inputs, self.schema_version])


def package_versions() -> dict[str, str]:
    """Versions of OpenMOFI, Python and the installed packages that decide what it makes."""
    versions = {"openmofi": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions


def read_manifest(folder: str | Path, kind: str | None = None) -> Manifest:
    """Read a folder's manifest.

    Raises:
        OpenMofiError: it is missing, damaged, of another kind, or of another schema version.
    """
    path = f"{folder}/{MANIFEST}"
    try:
        with fsspec.open(path, "rt", encoding="utf-8") as handle:
            raw = json.load(handle)
    except (FileNotFoundError, NotADirectoryError) as error:
        what = _named(kind) if kind else "an OpenMOFI folder"
        raise OpenMofiError(f"{folder} is not {what}: it has no {MANIFEST}.", "Check the path.") from error
    except (ValueError, OSError, RecursionError) as error:
        raise OpenMofiError(f"{path} cannot be read: {error}.", "Build the folder again.") from error
    return _checked(str(folder), raw, kind)


def _named(kind: str) -> str:
    name = kind.replace("_", " ") + (" folder" if kind.endswith("s") else "")
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def _checked(folder: str, raw: Any, kind: str | None) -> Manifest:
    # The version comes first: a manifest of another version may have other fields.
    if not isinstance(raw, dict) or "schema_version" not in raw or "kind" not in raw:
        raise OpenMofiError(f"{folder}/{MANIFEST} is not a manifest of OpenMOFI.", "Check the path.")
    if raw["schema_version"] != SCHEMA_VERSION:
        raise OpenMofiError(
            f"{folder} has schema version {raw['schema_version']}; this OpenMOFI ({__version__}) "
            f"reads version {SCHEMA_VERSION}.", "Build it again with this version.")
    try:
        manifest = Manifest(**raw)
    except TypeError as error:
        raise OpenMofiError(f"{folder}/{MANIFEST} is damaged: {error}.", "Build the folder again.") from error
    tables = (manifest.settings, manifest.inputs, manifest.counts, manifest.versions)
    if not all(isinstance(table, dict) for table in tables):
        raise OpenMofiError(f"{folder}/{MANIFEST} is damaged.", "Build the folder again.")
    if kind and manifest.kind != kind:
        raise OpenMofiError(f"{folder} holds {manifest.kind!r}, not {kind!r}.", "Check the path.")
    return manifest


def _difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    changed = [f"{key}: {_short(old.get(key))} → {_short(new.get(key))}"
               for key in sorted({*old, *new}) if old.get(key) != new.get(key)]
    return "; ".join(changed[:3]) + ("; …" if len(changed) > 3 else "")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"


def require_claimable(folder: str | Path, kind: str) -> Manifest | None:
    """The manifest of a folder that a stage may write to, if it has one; to refuse early, before long work.

    Raises:
        OpenMofiError: the folder is of another kind, or is not empty and not ours.
    """
    filesystem, path = fsspec.core.url_to_fs(str(folder))
    names = filesystem.ls(path, detail=False) if filesystem.isdir(path) else []
    if all(map(_is_hidden, names)):
        return None
    # Asked after the listing: another process of the same job may claim the folder meanwhile, and what it writes then
    # stands beside its manifest.
    if filesystem.exists(f"{path}/{MANIFEST}"):
        return read_manifest(folder, kind)
    raise OpenMofiError(f"{folder} is not empty and has no {MANIFEST}.", "Choose another output with -o.")


def claim_folder(folder: str | Path, kind: str, settings: Mapping[str, Any],
                 inputs: Mapping[str, str] | None = None, *, anew: bool = False) -> Manifest:
    """Open `folder` for a stage: write a new manifest, or go on where one of the same settings stopped.

    Returns the manifest; `finished` says whether the stage has already run to its end.

    Args:
        folder, kind, settings, inputs: what is stored.
        anew: the folder contains nothing yet that depends on the settings: new settings replace those that it was
            claimed with. A finished folder stays as it is.

    Raises:
        OpenMofiError: the folder was made with other settings or inputs, or is not empty and not ours.
    """
    # Settings go through JSON so that what is compared is what was stored (tuples become lists).
    stored = json.loads(json.dumps(dict(settings), default=plain))
    manifest = Manifest(kind=kind, settings=stored, inputs=dict(inputs or {}), versions=package_versions())
    existing = require_claimable(folder, kind)
    if existing is not None and (existing.finished or not anew):
        if existing.settings != manifest.settings or existing.inputs != manifest.inputs:
            changes = _difference({**existing.settings, **existing.inputs}, {**manifest.settings, **manifest.inputs})
            raise OpenMofiError(f"{folder} was made with other settings ({changes}).",
                                "Choose another output with -o, or remove the folder.")
        remove_leftovers(folder)
        return existing
    write_json(f"{folder}/{MANIFEST}", asdict(manifest))
    return manifest


def _is_hidden(name: str) -> bool:
    return name.rstrip("/").rpartition("/")[2].startswith(".")


def finish_manifest(folder: str | Path, manifest: Manifest, counts: Mapping[str, Any]) -> Manifest:
    """Mark the stage as finished and store its counts."""
    done = Manifest(**{**asdict(manifest), "counts": dict(counts), "finished": True})
    write_json(f"{folder}/{MANIFEST}", asdict(done))
    return done
