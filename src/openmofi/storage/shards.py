"""Shards: expands what a user names to a sorted list of inputs, and keeps fingerprints for the next command."""

import re
import sqlite3
import stat
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any

from openmofi.errors import OpenMofiError, UsageError
from openmofi.storage.addresses import (
    Version,
    filesystem_of,
    in_object_store,
    in_threads,
    is_folder,
    is_remote,
    is_utf8,
    local_path,
    store_errors,
    version_of,
    versions_in,
)
from openmofi.storage.copies import cache_folder
from openmofi.storage.digests import content_fingerprint, files_below, fingerprint
from openmofi.storage.layouts import ENDINGS, base, readable, shards_in, stem

# Every byte counts, which is one pass over a file. It is made once, and again when device, inode, size or times change;
# of an object in a store, when size or tag do.

_SMALL = 1 << 20
_SETTLED_SECONDS = 2.0


def known_fingerprints(versions: Mapping[str, Version]) -> dict[str, str]:
    """Return the stored fingerprints, by address, of files whose version has not changed since."""
    fingerprints: dict[str, str] = {}
    cached = [(address, version) for address, version in versions.items() if _is_kept(address, version)]
    if not cached:
        return fingerprints
    with suppress(sqlite3.Error, OSError), _opened() as table:
        for address, version in cached:
            if row := table.execute(
                "SELECT fingerprint FROM taken WHERE address = ? AND size = ? AND tag = ?",
                (_kept_as(address), version.size, version.tag),
            ).fetchone():
                fingerprints[address] = str(row[0])
    return fingerprints


def keep_fingerprints(versions: Mapping[str, Version], taken: Mapping[str, str]) -> None:
    """Keep fingerprints for `known_fingerprints`, but of files that have changed while they were read; where the cache
    cannot be written they are taken again.
    """
    rows = [
        (_kept_as(address), version.size, version.tag, taken[address])
        for address, version in versions.items()
        if address in taken
        and _is_kept(address, version)
        and (is_remote(address) or version_of_path(address) == version)
    ]
    if not rows:
        return
    with suppress(sqlite3.Error, OSError), _opened() as table, table:
        table.executemany("INSERT OR REPLACE INTO taken VALUES (?, ?, ?, ?)", rows)


def _is_kept(address: str, version: Version) -> bool:
    """Whether a fingerprint is worth storing: a small local file is read again as fast."""
    return bool(version.tag) and is_utf8(address) and (is_remote(address) or version.size > _SMALL)


def version_of_path(path: str | Path) -> Version | None:
    """Return the current version of a file or folder; `None` where it has none, or cannot be looked at.

    In a store it is what the store says of its objects. Here the tag is where it is and when it was changed. What was
    changed just now may be changed again within the same tick of the file system's clock, and so has none.
    """
    try:
        if not is_remote(path):
            return _local_version(str(path).removeprefix("file://"))
        filesystem, root = filesystem_of(path)
        with store_errors(path):
            return _stored_version(filesystem, root)
    except (OSError, ValueError, OpenMofiError):  # who reads it says what is wrong
        return None


def _stored_version(filesystem: Any, root: str) -> Version | None:
    if not is_folder(filesystem, root):
        return version_of(filesystem.info(root))
    versions = [(inner, version_of(info)) for inner, _, info in files_below(filesystem, root)]
    return (
        Version(sum(version.size for _, version in versions), fingerprint(versions))
        if versions and all(version.tag for _, version in versions)
        else None
    )


def _local_version(path: str) -> Version:
    entries = [("", Path(path).stat())]
    if stat.S_ISDIR(entries[0][1].st_mode):
        entries = [(inner, Path(name).stat()) for inner, name, _ in files_below(*filesystem_of(path))]
    newest = max((max(entry.st_ctime, entry.st_mtime) for _, entry in entries), default=0.0)
    return Version(
        sum(entry.st_size for _, entry in entries),
        fingerprint(
            [[inner, of.st_dev, of.st_ino, of.st_size, of.st_mtime_ns, of.st_ctime_ns] for inner, of in entries]
        )
        if time.time() - newest > _SETTLED_SECONDS
        else "",
    )


def file_fingerprint(path: str | Path) -> str:
    """Return 16 hexadecimal digits for the content of a file or folder. See `content_fingerprint`.

    It is read once, and again where its version has changed.

    Raises:
        OpenMofiError: it cannot be read.
    """
    version = version_of_path(path)
    versions = {str(path): version} if version else {}
    if fingerprints := known_fingerprints(versions):
        return fingerprints[str(path)]
    value = content_fingerprint(path)
    keep_fingerprints(versions, {str(path): value})
    return value


def _kept_as(address: str) -> str:
    return address if is_remote(address) or address.startswith("/") else str(local_path(address).absolute())


@contextmanager
def _opened() -> Generator[sqlite3.Connection]:
    path: Path = cache_folder() / "fingerprints.sqlite"
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path, timeout=30)) as table:
        table.execute(
            "CREATE TABLE IF NOT EXISTS taken (address TEXT PRIMARY KEY, size INT, tag TEXT, fingerprint TEXT)"
        )
        yield table


_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")
_MAX_SHARDS = 1_000_000


@dataclass(frozen=True)
class Shard:
    """One input of a stage.

    Attributes:
        path: local path or fsspec URL of a tar, a Parquet file, a table, or a folder of images with a table.
        name: unique in the job; names the outputs (`<name>.parquet`). `OpenMofiError` unless a file may be named so.
    """

    path: str
    name: str

    def __post_init__(self) -> None:
        # The version of what the fingerprint is taken of. Attributes that come later cost every shard 200 bytes.
        object.__setattr__(self, "version", None)
        if self.name in ("", ".", "..") or re.search(r"[/\\\0]", self.name):
            raise OpenMofiError(
                f"The shard {self.path} is named {self.name!r}, which is not the name of a file.",
                "Rename it, or make the folder that lists it again.",
            )

    def __str__(self) -> str:
        return self.path

    @cached_property
    def fingerprint(self) -> str:
        """`file_fingerprint` of the path, taken once in a run; travels with the shard to workers.

        Raises:
            OpenMofiError: the file cannot be read.
        """
        return file_fingerprint(self.path)

    def require_unchanged(self, content: str = "") -> None:
        """Check that the shard has still the content that its fingerprint was taken of, if it was taken in this run.

        Args:
            content: the fingerprint of what was fetched of it; else it is looked at where it lies.

        Raises:
            OpenMofiError: it has another.
        """
        if "fingerprint" not in vars(self):
            return
        version = vars(self).get("version")
        if not content and version and version.tag and version_of_path(self.path) == version:
            return
        if (content or file_fingerprint(self.path)) != self.fingerprint:
            raise OpenMofiError(
                f"{self.path} has changed since the job began: nothing of it is kept.",
                "Let its writer finish, and start the command again with --restart.",
            )


Tasks = Callable[[Any, Sequence[Any]], list[dict[str, Any]]]
"""Does tasks and returns their results in order: a `openmofi.engine.protocol.WorkFactory`, and the tasks."""
Watch = Callable[[Iterator[str], int], Iterator[str]]
"""Passes results on, and shows a person how many of the given number have come."""
_IN_TASKS, _OF_TASK = 1024, 256
_WATCHED_BYTES = 1 << 30


def take_fingerprints(shards: Sequence[Shard], run: Tasks | None = None, watch: Watch | None = None) -> None:
    """Take the fingerprints of all shards, many at a time.

    They are kept in the user's cache for the next job (`openmofi.storage.shards`).

    Args:
        shards: what has its fingerprint keeps it.
        run: does the work where 1,024 or more have to be read; else it is done here.
        watch: shows the work that is done here, where it is more than a GiB.

    Raises:
        OpenMofiError: a shard cannot be read.
    """
    untaken = [shard for shard in shards if "fingerprint" not in vars(shard)]
    versions = _versions([shard.path for shard in untaken])
    values = known_fingerprints(versions)
    unknown = [shard.path for shard in untaken if shard.path not in values]
    if run and len(unknown) >= _IN_TASKS:
        results = run(_taking, [unknown[start : start + _OF_TASK] for start in range(0, len(unknown), _OF_TASK)])
        taken: Iterator[str] = chain.from_iterable(result["fingerprints"] for result in results)
    else:
        taken = _taken(unknown)
        if watch and sum(versions[path].size for path in unknown if path in versions) >= _WATCHED_BYTES:
            taken = watch(taken, len(unknown))
    read = dict(zip(unknown, taken, strict=True))
    keep_fingerprints(versions, read)
    for shard in untaken:
        vars(shard)["fingerprint"] = values.get(shard.path) or read[shard.path]
        vars(shard)["version"] = versions.get(shard.path)


def _taking() -> Callable[[Sequence[str]], dict[str, Any]]:
    return lambda paths: {"fingerprints": list(_taken(paths))}


def _taken(paths: Sequence[str]) -> Iterator[str]:
    """Yield the fingerprints of paths, in their order.

    Not by the shards' property itself, which Python 3.11 computes in one thread at a time.
    """
    return in_threads(content_fingerprint, paths)


def _versions(paths: Sequence[str]) -> dict[str, Version]:
    """Return the versions of those paths that have one; those of objects of a store come from listings."""
    stored = [path for path in paths if in_object_store(path)]
    try:
        listed = {
            path: version
            for folder in {path.rpartition("/")[0] for path in stored}
            for path, version in versions_in(folder).items()
        }
    except (OSError, ValueError) as error:
        raise OpenMofiError(f"{stored[0]} cannot be listed: {error}.", "Check the path.") from error
    return {
        path: version
        for path in paths
        if (version := listed.get(path) if in_object_store(path) else version_of_path(path))
    }


def expand_braces(pattern: str) -> list[str]:
    """Expand braces as a shell does: `a{00..02}.tar` to three names, `{a,b}.tar` to two; nested too; each once.

    Raises:
        UsageError: a brace is not closed, a range is reversed, or it gives too many names.
    """
    match = _BRACES.search(pattern)
    if not match:
        if "{" in pattern or "}" in pattern:
            raise UsageError(f"The braces in {pattern!r} do not match.", "Write e.g. 'pairs-{00000..00099}.tar'.")
        return [pattern]
    names: dict[str, None] = {}
    for option in _options(match.group(1), pattern):
        names.update(dict.fromkeys(expand_braces(pattern[: match.start()] + option + pattern[match.end() :])))
        if len(names) > _MAX_SHARDS:
            raise UsageError(f"{pattern!r} names more than {_MAX_SHARDS} shards.")
    return list(names)


def _options(inner: str, pattern: str) -> list[str]:
    span = _RANGE.fullmatch(inner)
    if not span:
        return inner.split(",")
    first, last = span.groups()
    if int(first) > int(last):
        raise UsageError(f"The range in {pattern!r} is reversed.")
    if int(last) - int(first) >= _MAX_SHARDS:
        raise UsageError(f"{pattern!r} names more than {_MAX_SHARDS} shards.")
    # As in bash: a leading zero on either side pads all numbers to the wider of the two.
    padded = any(len(end) > 1 and end.startswith("0") for end in (first, last))
    width = max(len(first), len(last)) if padded else 0
    return [str(number).zfill(width) for number in range(int(first), int(last) + 1)]


def _glob(filesystem: Any, path: str) -> list[str]:
    names = [name for name in filesystem.glob(path) if not base(name).startswith(".")]
    if path.endswith(ENDINGS):
        return sorted(names)
    return readable(names) or [
        shard for name in sorted(names) if filesystem.isdir(name) for shard in shards_in(filesystem, name)
    ]


def _is_file(filesystem: Any, path: str) -> bool:
    """Whether a file exists; refusals and failures of a server raise an error, which `exists` would hide."""
    try:
        filesystem.info(path)
    except FileNotFoundError as error:
        if error.__cause__ is None or getattr(error.__cause__, "status", 0) in (404, 410):
            return False
        raise
    except NotADirectoryError:
        return False
    return True


def _listing(pattern: str) -> list[str]:
    filesystem, path = filesystem_of(pattern)
    with store_errors(pattern):
        if is_folder(filesystem, path):
            names = shards_in(filesystem, path)
        elif _is_file(filesystem, path):
            names = [path]
        else:
            names = _glob(filesystem, path) if any(mark in path for mark in "*?[") else []
    return [filesystem.unstrip_protocol(name) if "://" in pattern else name for name in names]


def _all_listed(pattern: str) -> list[str]:
    paths: list[str] = []
    try:
        # A file may have this very name.
        if ("{" in pattern or "}" in pattern) and (literal := _listing(pattern)):
            return literal
        for name in expand_braces(pattern):
            listed = _listing(name)
            if not listed:
                raise UsageError(f"{name} matches nothing.", "Give .tar or .parquet files, or a folder of them.")
            paths += listed
        return paths
    except (OSError, ValueError) as error:
        raise OpenMofiError(f"{pattern} cannot be listed: {error}.", "Check the path.") from error


def expand_shards(patterns: Sequence[str]) -> list[Shard]:
    """Expand paths, folders, globs, brace ranges and fsspec URLs to shards, sorted, each once.

    What a folder stands for: `openmofi.storage.layouts`. Two shards of the same file name get their
    parent folder's name in front.

    Raises:
        UsageError: a pattern matches nothing, or two shards have the same name.
        OpenMofiError: a path cannot be listed.
    """
    ordered = sorted(dict.fromkeys(chain.from_iterable(_all_listed(pattern) for pattern in patterns)))
    stems = [stem(path) for path in ordered]
    twins = Counter(stems)
    names = [
        stem if twins[stem] == 1 else f"{PurePosixPath(path).parent.name}-{stem}"
        for stem, path in zip(stems, ordered, strict=True)
    ]
    doubled = [name for name, count in Counter(names).items() if count > 1]
    if doubled:
        raise UsageError(f"Two shards are both named {doubled[0]!r}.", "Give them in two jobs.")
    return [Shard(path, name) for path, name in zip(ordered, names, strict=True)]
