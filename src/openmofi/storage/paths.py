"""Folders that belong to no job."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """`$OPENMOFI_HOME`, else `~/.cache/openmofi`; it can be removed at any time."""
    return Path(os.environ.get("OPENMOFI_HOME") or Path.home() / ".cache" / "openmofi")
