"""Local copies of objects that never change: what lies in a store is fetched once a machine, and can be mapped.

A file or folder that is named by a fingerprint (16 hexadecimal digits, `openmofi.storage.fingerprint`) is named by all
that decides its content, so a copy of it is never out of date. Copies lie in the user's cache; the oldest go when they
are larger than `$OPENMOFI_COPIES_GIB` (20) together, and all of them can be removed at any time.
"""

import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

_NAMED_BY_CONTENT = re.compile(r"/[0-9a-f]{16}(/[^/]+)?\.(parquet|arrow|npy)$")
_GIB = 20.0
_LOOKED_AT = 1 << 28
_written = _LOOKED_AT


def cache_folder() -> Path:
    """Return `$OPENMOFI_HOME`, or `openmofi` in `$XDG_CACHE_HOME` or `~/.cache`; it may be removed at any time."""
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("OPENMOFI_HOME") or Path(caches, "openmofi"))


def never_changes(address: str | Path) -> bool:
    """Whether a table or array is named by its content: `…/<16 digits>.parquet` or `…/<16 digits>/NAME.parquet`."""
    return _NAMED_BY_CONTENT.search(str(address)) is not None


def copy_path(address: str | Path) -> Path:
    """Return where the copy of an address is kept, whether it is there or not."""
    name = hashlib.blake2b(str(address).encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()
    return cache_folder() / "copies" / f"{name}{Path(str(address)).suffix}"


def most_bytes() -> float:
    """Return how large all copies may be together."""
    return float(os.environ.get("OPENMOFI_COPIES_GIB") or _GIB) * 2**30


def copy_of(address: str | Path, fetch: Callable[[str], object]) -> Path:
    """Return the local copy of an object that never changes; `fetch` writes it to a path where it is missing.

    Raises:
        OSError: there is no room for it; whatever `fetch` raises.
    """
    path = copy_path(address)
    try:
        os.utime(path)
    except OSError:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{secrets.token_hex(8)}")
        try:
            fetch(str(temporary))
            _make_room(temporary.stat().st_size)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    return path


def keep_copy(address: str | Path, written: Path) -> None:
    """Take a local file, which has been stored at `address`, as its copy; without room for it there is none."""
    path = copy_path(address)
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        _make_room(written.stat().st_size)
        temporary = path.with_name(f".{secrets.token_hex(8)}")
        try:
            shutil.move(written, temporary)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def _make_room(size: int) -> None:
    """Remove the least recently used copies; checks once for each 256 MiB that this process writes."""
    global _written
    _written += size
    if _written < _LOOKED_AT:
        return
    _written = 0
    limit, copies = most_bytes(), []
    with os.scandir(cache_folder() / "copies") as entries:
        for entry in entries:
            with suppress(OSError):  # another process has removed it
                copies.append((entry.stat().st_mtime, entry.stat().st_size, entry.path))
    total = size + sum(size for _, size, _ in copies)
    for _, freed, path in sorted(copies):
        if total <= limit:
            return
        with suppress(OSError):
            Path(path).unlink()
        total -= freed
