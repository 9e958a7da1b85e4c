"""`manifest.json`: what a folder holds, what made it, of what, with which settings; how two settings differ."""

import json
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from openmofi.errors import OpenMofiError
from openmofi.schema import KIND_VERSIONS, SCHEMA_VERSION
from openmofi.storage.addresses import filesystem_of, is_remote, names_in, store_errors
from openmofi.storage.atomic import exists, remove_leftovers, write_json
from openmofi.storage.digests import fingerprint, plain
from openmofi.storage.foreign import opened_commits
from openmofi.storage.typed_json import as_type, read_json
from openmofi.version import __version__

_WHOLE = 120
_CONTEXT = 20
_ENTRIES = 3


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Describe each setting that differs as `name: old → new`, nested ones by dotted names, long values cut."""
    before, after = _flat(old), _flat(new)
    return "; ".join(
        f"{key}: {_change(before.get(key), after.get(key))}"
        for key in sorted({*before, *after})
        if before.get(key) != after.get(key)
    )


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) and value else {f"{prefix}{key}": value}
    return flat


def _change(old: Any, new: Any) -> str:
    if len(repr(old)) <= _WHOLE and len(repr(new)) <= _WHOLE:
        return f"{old!r} → {new!r}"
    if isinstance(old, list) and isinstance(new, list):
        return _changed_entries(old, new)
    before, after = (value if isinstance(value, str) else repr(value) for value in (old, new))
    start, end = _common(before, after)
    return f"{_part(before, start, end)!r} → {_part(after, start, end)!r}"


def _changed_entries(old: list[Any], new: list[Any]) -> str:
    start, end = _common(old, new)
    before, after = old[start : len(old) - end], new[start : len(new) - end]
    if len(before) == len(after) <= _ENTRIES:
        return ", ".join(
            f"[{start + position}] {_entry(earlier, later)}"
            for position, (earlier, later) in enumerate(zip(before, after, strict=True))
            if earlier != later
        )
    listed = " → ".join(_cut(repr(part[0])) if part else "nothing" for part in (before, after))
    return (
        f"{len(old):,} → {len(new):,} entries; from [{start}] on {len(before):,} → {len(after):,} differ, "
        f"first {listed}"
    )


def _entry(old: Any, new: Any) -> str:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return f"({differences(old, new)})"
    return _change(old, new)


def _common(old: Sequence[Any], new: Sequence[Any]) -> tuple[int, int]:
    """Return how many values both begin with, and how many of the others both end with."""
    least = min(len(old), len(new))
    start = next((position for position in range(least) if old[position] != new[position]), least)
    rest = least - start
    end = next((count for count in range(rest) if old[-1 - count] != new[-1 - count]), rest)
    return start, end


def _part(text: str, start: int, end: int) -> str:
    """Return the part of a long text that differs, with a little of what is around it."""
    low, high = max(0, start - _CONTEXT), min(len(text), len(text) - end + _CONTEXT)
    return f"{'…' if low else ''}{_cut(text[low:high])}{'…' if high < len(text) else ''}"


def _cut(text: str) -> str:
    return text if len(text) <= _WHOLE else f"{text[: _WHOLE - 1]}…"


MANIFEST = "manifest.json"
MADE_BY = {
    "knowledge_base": "openmofi kb build",
    "labels": "openmofi label",
    "dataset": "openmofi dataset build",
    "encoder": "openmofi export",
    "knowledge_store": "openmofi reinforce",
    "run": "openmofi train",
}
"""What makes a folder of a kind, for people who have none yet."""
_JSON = (str, int, float, bool, type(None))
_PACKAGES = (
    "numpy",
    "scipy",
    "pyarrow",
    "pillow",
    "torch",
    "timm",
    "open-clip-torch",
    "transformers",
    "marisa-trie",
    "spacy",
)


@dataclass(frozen=True)
class Manifest:
    """The content of a `manifest.json`.

    Attributes:
        kind: what the folder is: `knowledge_base`, `labels`, `dataset`, `world`, `encoder`, `pairs` …
        settings: everything that decides the content; equal settings and inputs make the same bytes.
        inputs: name → fingerprint of what was read.
        counts: what it holds; empty until the stage is finished.
        finished: whether the stage ran to its end.
        outputs: names and sizes of what it wrote, as a fingerprint; empty where the stage does not say.
        schema_version: of the tables of this kind; this OpenMOFI's where not given.
        versions: of the packages that made it, and the commit of each repository of the hub that was opened.
    """

    kind: str
    settings: dict[str, Any]
    inputs: dict[str, str] = field(default_factory=dict)
    counts: dict[str, Any] = field(default_factory=dict)
    finished: bool = False
    outputs: str = ""
    schema_version: int = 0
    versions: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "schema_version", self.schema_version or _schema_version(self.kind))

    @property
    def fingerprint(self) -> str:
        """Return a fingerprint of the folder's content: of kind, settings, inputs and schema version."""
        return fingerprint([self.kind, self.settings, self.inputs, self.schema_version])


def _schema_version(kind: str) -> int:
    return KIND_VERSIONS.get(kind, SCHEMA_VERSION)


def package_versions() -> dict[str, str]:
    """Return the versions of OpenMOFI, Python and the installed packages that decide what it makes."""
    return dict(_package_versions())


@cache
def _package_versions() -> dict[str, str]:
    versions = {"openmofi": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions


def read_manifest(
    folder: str | Path, kind: str | None = None, *, outdated: str = "Build it again with this version."
) -> Manifest:
    """Read a folder's manifest.

    Args:
        folder: it.
        kind: what it should be.
        outdated: says what to do with one of another schema version.

    Raises:
        OpenMofiError: it is missing, damaged, of another kind, or of another schema version.
    """
    path = f"{folder}/{MANIFEST}"
    maker = MADE_BY.get(kind or "")
    missing = OpenMofiError(
        f"{folder} is not {_named(kind) if kind else 'an OpenMOFI folder'}: it has no {MANIFEST}.",
        f"Check the path; `{maker}` makes one." if maker else "Check the path.",
    )
    raw = read_json(path, object, "Build the folder again.", missing=missing)
    # Kind and version come first: a manifest of another version may have other fields.
    if not isinstance(raw, dict) or "schema_version" not in raw or not isinstance(raw.get("kind"), str):
        raise OpenMofiError(f"{path} is not a manifest of OpenMOFI.", "Check the path.")
    if kind and raw["kind"] != kind:
        raise OpenMofiError(f"{folder} holds {raw['kind']!r}, not {kind!r}.", "Check the path.")
    if raw["schema_version"] != (expected := _schema_version(raw["kind"])):
        raise OpenMofiError(
            f"{folder} has schema version {raw['schema_version']}; this OpenMOFI ({__version__}) "
            f"reads version {expected}.",
            outdated,
        )
    return as_type(raw, Manifest, path, "Build the folder again.")


def _named(kind: str) -> str:
    name = kind.replace("_", " ") + (" folder" if kind.endswith("s") else "")
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def require_claimable(folder: str | Path, kind: str) -> Manifest | None:
    """Return the manifest, if any, of a folder that a stage may write to; refuse others before long work.

    Raises:
        OpenMofiError: the folder is of another kind, or is not empty and not ours.
    """
    try:
        if all(map(is_hidden, names_in(folder))):
            return None
    except (OSError, ValueError) as error:
        raise OpenMofiError(f"{folder} cannot be listed: {error}.", "Check the path.") from error
    # Asked after the listing: another process of the same job may claim the folder meanwhile, and what it writes then
    # stands beside its manifest.
    if exists(f"{folder}/{MANIFEST}"):
        return read_manifest(folder, kind)
    raise OpenMofiError(f"{folder} is not empty and has no {MANIFEST}.", "Choose another output with -o.")


def new_manifest(kind: str, settings: Mapping[str, Any], inputs: Mapping[str, str] | None = None) -> Manifest:
    """Make the manifest of a stage that begins; settings go through JSON to compare with stored ones."""
    plain_settings = _as_json({**settings})
    return Manifest(
        kind=kind,
        settings=plain_settings,
        inputs=dict(inputs or {}),
        versions=package_versions() | opened_commits(plain_settings),
    )


def _as_json(value: Any) -> Any:
    """Return a value as it comes back from JSON: a copy that shares its texts, which of 100,000 shards are large."""
    if type(value) in _JSON:
        return value
    if type(value) in (list, tuple):
        return [_as_json(each) for each in value]
    if type(value) is dict and all(type(key) is str for key in value):
        return {key: _as_json(each) for key, each in value.items()}
    return json.loads(json.dumps(value, default=plain))


def require_same(folder: str | Path, existing: Manifest, manifest: Manifest, writer: str = "") -> None:
    """Refuse to go on with other settings or inputs than `existing`.

    Args:
        folder: it, for the error.
        existing, manifest: of the folder, and of the stage that wants to go on.
        writer: who writes the folder now, if anybody does.

    Raises:
        OpenMofiError: they differ; every difference is named.
    """
    if existing.settings == manifest.settings and existing.inputs == manifest.inputs:
        return
    changes = differences({**existing.settings, **existing.inputs}, {**manifest.settings, **manifest.inputs})
    if writer:
        raise OpenMofiError(
            f"{folder} is being written with other settings ({changes}) by {writer}.", "Choose another output with -o."
        )
    raise OpenMofiError(
        f"{folder} was made with other settings ({changes}).",
        "Choose another output with -o, or add --restart to remove what was made and begin anew.",
    )


def claim_folder(
    folder: str | Path,
    kind: str,
    settings: Mapping[str, Any],
    inputs: Mapping[str, str] | None = None,
    *,
    anew: bool = False,
) -> Manifest:
    """Write a folder's manifest, or compare the one that it has. Stages do this in `storage.claimed`, under its lock.

    Returns the manifest; `finished` says whether the stage has already run to its end.

    Args:
        folder, kind, settings, inputs: what is stored.
        anew: the folder contains nothing yet that depends on the settings: new settings replace those that it was
            claimed with. A finished folder stays as it is.

    Raises:
        OpenMofiError: the folder was made with other settings or inputs, or is not empty and not ours.
    """
    return claim_as(folder, new_manifest(kind, settings, inputs), anew=anew)


def claim_as(folder: str | Path, manifest: Manifest, *, anew: bool) -> Manifest:
    """`claim_folder` for a manifest that `new_manifest` has made."""
    existing = require_claimable(folder, manifest.kind)
    # Also of a try that was killed before it had claimed the folder: caches are filled before. What is finished need
    # not be gone through, which takes long where it is large.
    if existing is None or not existing.finished:
        remove_leftovers(folder)
    if existing is not None and (existing.finished or not anew):
        require_same(folder, existing, manifest)
        # They are equal, and one copy is enough.
        return replace(existing, settings=manifest.settings, inputs=manifest.inputs)
    write_manifest(folder, manifest)
    return manifest


def write_manifest(folder: str | Path, manifest: Manifest) -> None:
    """Write a folder's manifest; its tables may name 100,000 shards, and are not copied."""
    write_json(f"{folder}/{MANIFEST}", {each.name: getattr(manifest, each.name) for each in fields(manifest)})


def is_hidden(name: str) -> bool:
    """Whether a file of this name or path counts for nothing in an output folder: its name begins with a dot."""
    return name.rstrip("/").rpartition("/")[2].startswith(".")


def finish_manifest(folder: str | Path, manifest: Manifest, counts: Mapping[str, Any], outputs: str = "") -> Manifest:
    """Mark the stage as finished and store its counts, and what it wrote (`output_stamp`)."""
    done = replace(manifest, counts=dict(counts), finished=True, outputs=outputs)
    write_manifest(folder, done)
    return done


def output_stamp(folder: str | Path, *parts: str) -> str:
    """Return a fingerprint of names and sizes of the files in `folder` and its sub-folders `parts`, by listings."""
    listed = [(part, name, size) for part in ("", *parts) for name, size in _files(f"{folder}/{part}".rstrip("/"))]
    return fingerprint(sorted(each for each in listed if each[1] != MANIFEST))


def _files(folder: str) -> Iterator[tuple[str, int]]:
    """Yield names and sizes of the files in a folder, which need not exist, without hidden ones."""
    filesystem, root = filesystem_of(folder)
    if is_remote(folder):
        with store_errors(folder):
            listed = filesystem.ls(root, detail=True) if filesystem.isdir(root) else []
        yield from (
            (str(file["name"]).rpartition("/")[2], int(file["size"]))
            for file in listed
            if file["type"] == "file" and not is_hidden(file["name"])
        )
    elif Path(root).is_dir():
        # As fsspec's listing says it, whose entries take a kilobyte each.
        with os.scandir(root) as entries:
            yield from (
                (entry.name, entry.stat().st_size)
                for entry in entries
                if not entry.name.startswith(".") and entry.is_file()
            )
