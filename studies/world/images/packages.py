"""Fetches npm packages with the ordinary client, as pinned by a lock file: the sample world's lies beside this."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from pathlib import Path

from openmofi.errors import OpenMofiError
from openmofi.storage import file_fingerprint
from openmofi.storage.copies import cache_folder

_HERE = Path(__file__).parent
LOCK = _HERE / "package-lock.json"
_NPM_CI = ("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")


def sources_folder(home: Path | None = None, lock: Path = LOCK) -> Path:
    """Where the packages of a lock file lie, fetched or not: a `node_modules` folder."""
    return (home or cache_folder()) / "npm" / file_fingerprint(lock) / "node_modules"


def fetch(home: Path | None = None, lock: Path = LOCK) -> Path:
    """Fetch the packages of a lock file into the cache unless they are there; returns the `node_modules` folder.

    They are fetched beside their place and renamed, so a stopped fetch leaves nothing that looks finished.

    Args:
        home: the cache.
        lock: a `package-lock.json`, with its `package.json` beside it.

    Raises:
        OpenMofiError: npm is missing, or failed.
    """
    target = sources_folder(home, lock)
    if target.is_dir():
        return target
    if shutil.which("npm") is None:
        raise OpenMofiError(
            "Fetching these sources needs npm, which is not on the PATH.",
            "Install Node.js 18 or newer; nothing else of OpenMOFI needs it.",
        )
    shelf = target.parent.parent
    shelf.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=shelf, prefix=".fetching-") as name:
        folder = Path(name) / "packages"
        folder.mkdir()
        shutil.copy(lock, folder)
        shutil.copy(lock.with_name("package.json"), folder)
        done = subprocess.run(_NPM_CI, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            why = next((line for line in done.stderr.splitlines() if line.strip()), f"exit code {done.returncode}")
            raise OpenMofiError(
                f"npm ci failed: {why}.", "Check the network and `npm config get registry`, then try again."
            )
        try:
            folder.rename(target.parent)
        except OSError:
            # Another process was faster: its copy is the same.
            if not target.is_dir():
                raise
    return target


def package_versions() -> dict[str, str]:
    """Package → version, as pinned."""
    locked = json.loads(LOCK.read_text())["packages"]
    return {name.removeprefix("node_modules/"): entry["version"] for name, entry in sorted(locked.items()) if name}
