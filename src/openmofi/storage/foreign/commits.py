"""Which commits of repositories of the Hugging Face hub a job has opened: they go into its manifest."""

import json
from pathlib import Path
from typing import Any

from openmofi.storage.foreign.guard import spec_in_opening

_opened: dict[str, tuple[str, str]] = {}


def opened_commits(settings: Any) -> dict[str, str]:
    """Return `hub:OWNER/NAME` → the commit, of the repositories behind what a job's settings name.

    Args:
        settings: JSON values. A repository is behind them if they hold its name, or the spec by which it was opened.
    """
    if not _opened:
        return {}
    text = json.dumps(settings, ensure_ascii=False, default=str)
    return {
        f"hub:{name}": commit
        for name, (commit, spec) in sorted(_opened.items())
        if name in text or (spec and spec in text)
    }


def pinned(owner_name: str, path: Path) -> Path:
    """Note the commit of what is opened of a repository; `path` is of the hub's cache, `…/snapshots/COMMIT/…`."""
    parts = path.parts
    if "snapshots" in parts[:-1]:
        _opened[owner_name] = parts[parts.index("snapshots") + 1], spec_in_opening()
    return path
