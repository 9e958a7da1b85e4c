"""File systems that are really full or really read-only (root passes by permission bits)."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def _mount(*arguments: str) -> None:
    try:
        done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount command here")
    if done.returncode:
        pytest.skip(f"mounting is not permitted here: {done.stderr.strip()}")


@contextmanager
def small_disk(folder: Path, size: str = "1m") -> Iterator[Path]:
    """A disk of `size` at `folder`."""
    folder.mkdir()
    _mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder))
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@contextmanager
def read_only(folder: Path, at: Path | None = None) -> Iterator[Path]:
    """`folder` with what is in it, read-only; `at` another folder, where it stays writable itself."""
    seen = str(at or folder)
    _mount("--bind", str(folder), seen)
    try:
        _mount("-o", "remount,bind,ro", seen)
        yield Path(seen)
    finally:
        subprocess.run(["umount", "-l", seen], check=True)
