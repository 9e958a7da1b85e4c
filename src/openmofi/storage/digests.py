"""Fingerprints of values, digests of files, and checks that are made once per change of a file.

A check that passed is noted in the user's cache (`checked/`) under a stamp of the files: where they lie, their sizes,
times of change and inodes. So a file on a read-only disk can be checked too, all processes of a user share the outcome,
and the note is harmless to lose.
"""

import dataclasses
import hashlib
import json
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO, Any

from fsspec.implementations.local import LocalFileSystem

from openmofi.errors import OpenMofiError
from openmofi.storage.addresses import filesystem_of, is_folder, is_remote, local_path, open_address, store_errors
from openmofi.storage.atomic import locked
from openmofi.storage.copies import cache_folder

TABLES = (".csv", ".tsv", ".jsonl")
"""Endings of tables whose images are files beside them."""


def plain(value: Any) -> Any:
    """Convert a dataclass, path or set to a value that JSON knows. For `json.dumps(default=…)`."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, set | frozenset):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} has no fingerprint")


def fingerprint(value: Any) -> str:
    """Return 16 hexadecimal digits for any JSON-like value or dataclass, whatever the order of dictionary keys."""
    text = json.dumps(value, sort_keys=True, default=plain)
    return digits64(text.encode())


def digits64(content: bytes) -> str:
    """Return 16 hexadecimal digits for bytes: BLAKE2b of 64 bits."""
    return hashlib.blake2b(content, digest_size=8).hexdigest()


def hash64(content: bytes, *, signed: bool = False) -> int:
    """Return a 64-bit number for bytes: BLAKE2b, the lowest byte first."""
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little", signed=signed)


def content_fingerprint(path: str | Path) -> str:
    """Return 16 hexadecimal digits for a file or a folder, of every byte of it, wherever it lies.

    Of a folder: the names of all files below it, hidden ones left out, and their fingerprints.
    `openmofi.storage.file_fingerprint` remembers them.

    Raises:
        OpenMofiError: the file or folder cannot be read, or is neither.
    """
    try:
        filesystem, root = filesystem_of(path)
        with store_errors(path):
            if is_folder(filesystem, root):
                files = files_below(filesystem, root)
                return fingerprint(
                    [[inner, info.get("size"), _in_folder(filesystem, name)] for inner, name, info in files]
                )
            return _of_file(str(path))
    except (OSError, ValueError) as error:
        raise OpenMofiError(f"{path} cannot be read: {error}.", "Check the path.") from error


def files_below(filesystem: Any, root: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield the files below a folder, sorted: name below it, whole name, entry of the listing; no hidden ones."""
    prefix = len(root.rstrip("/")) + 1
    for name, info in sorted(filesystem.find(root, detail=True).items()):
        inner = name[prefix:]
        if not any(piece.startswith(".") for piece in inner.split("/")):
            yield inner, name, info


def _in_folder(filesystem: Any, name: str) -> str:
    """Return a file's fingerprint; empty for a pipe, a broken link or an unreadable file, whose row has a status."""
    if not isinstance(filesystem, LocalFileSystem):
        return _of_file(filesystem.unstrip_protocol(name))
    try:
        return _of_file(name)
    except OSError:
        return ""


def _of_file(path: str) -> str:
    # Opening a pipe would wait for ever.
    if not is_remote(path) and not stat.S_ISREG(local_path(path).stat().st_mode):
        raise OSError("it is not a regular file")
    with open_address(path) as handle:
        return digits_of(handle)


def digits_of(handle: IO[bytes]) -> str:
    """Return the fingerprint of what a file holds, of which nothing has been read yet."""
    # Processors have instructions for it: 2.6 times as fast as BLAKE2b.
    return hashlib.file_digest(handle, "sha256").hexdigest()[:16]  # type: ignore[arg-type]


BLOCK = 1 << 22
_KEPT_SECONDS = 90 * 86_400.0
_SWEEP_SECONDS = 86_400.0
_CLOCK_TICK = 0.05
"""Seconds; a file system may give two writes within its clock's tick the same time."""


def file_digest(path: str | Path, advance: Callable[[], None] = lambda: None) -> str:
    """Return BLAKE2b of a local file's whole content, 32 hexadecimal digits.

    Args:
        path: the file.
        advance: called after each block of `BLOCK` bytes, the last of which may be shorter.

    Raises:
        OpenMofiError: the file cannot be read.
    """
    digest = hashlib.blake2b(digest_size=16)
    try:
        with open(path, "rb") as handle:
            while block := handle.read(BLOCK):
                digest.update(block)
                advance()
    except OSError as error:
        raise OpenMofiError(f"{path} cannot be read: {error.strerror or error}.", "Check the disk.") from error
    return digest.hexdigest()


def file_stamp(folder: Path, names: Iterable[str], expected: Any = None) -> str:
    """Return a text that changes once one of the files is written, replaced or moved; it says nothing of content.

    Args:
        folder: of the files.
        names: relative to it; the files exist.
        expected: what they are checked against, a JSON-like value.
    """
    infos = {name: (folder / name).stat() for name in names}
    return fingerprint(
        [
            str(folder.resolve()),
            expected,
            [[name, info.st_size, info.st_mtime_ns, info.st_ctime_ns, info.st_ino] for name, info in infos.items()],
        ]
    )


def let_settle(folder: Path, names: Iterable[str]) -> None:
    """Wait until a later write to the files would show in their times; only files of this instant are waited for."""
    newest = max((folder / name).stat().st_mtime for name in names)
    time.sleep(min(max(newest + _CLOCK_TICK - time.time(), 0.0), _CLOCK_TICK))


def check_once(stamp: str, check: Callable[[], None], wait: Callable[[], None]) -> None:
    """Call `check`, unless it has passed for this stamp before; of several processes one checks, the others wait.

    Where the cache cannot be written, each call checks.

    Args:
        stamp: see `file_stamp`.
        check: raises where something is wrong.
        wait: called once where another process is checking, before waiting for it.
    """
    with ExitStack() as stack:
        note: Path | None = None
        with suppress(OpenMofiError, OSError, RuntimeError):  # a RuntimeError where there is no home
            note = _note(stamp)
            if note.exists():
                return
            stack.enter_context(locked(note, wait))
        if note is None or not note.exists():
            check()
            note_checked(stamp)


def note_checked(stamp: str, passed: bool = True) -> None:
    """Note that a check passed for a stamp, or take the note back; a cache that cannot be written stays as it is."""
    with suppress(OSError, RuntimeError):
        if passed:
            _forget_old(_note(stamp).parent)
            _note(stamp).parent.mkdir(parents=True, exist_ok=True)
            _note(stamp).touch()
        else:
            _note(stamp).unlink(missing_ok=True)


def _forget_old(folder: Path) -> None:
    """Remove old notes, once a day: what changes or goes leaves its note behind, and there may be tens of thousands."""
    swept = folder / ".swept"
    if swept.exists() and time.time() - swept.stat().st_mtime < _SWEEP_SECONDS:
        return
    folder.mkdir(parents=True, exist_ok=True)
    swept.touch()
    for note in folder.iterdir():
        with suppress(FileNotFoundError):  # another process has removed it
            if time.time() - note.stat().st_mtime > _KEPT_SECONDS:
                note.unlink()


def _note(stamp: str) -> Path:
    return cache_folder() / "checked" / stamp
