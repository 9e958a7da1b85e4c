"""What Debian's archive holds, fetched by apt into the cache; nothing is installed, root is not needed."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from openmofi.errors import OpenMofiError
from openmofi.storage.copies import cache_folder

COMPONENTS, ICONS = "components.yml.gz", "icons-128x128.tar.gz"
"""The files of AppStream that `fetch_appstream` leaves."""

_APPSTREAM = """Acquire::IndexTargets {
 deb::DEP-11 { MetaKey "$(COMPONENT)/dep11/Components-$(NATIVE_ARCHITECTURE).yml"; ShortDescription "Components";
  Description "DEP-11"; KeepCompressed "true"; KeepCompressedAs "gz"; };
 deb::DEP-11-icons-large { MetaKey "$(COMPONENT)/dep11/icons-128x128.tar"; ShortDescription "icons-128x128";
  Description "DEP-11 icons"; KeepCompressed "true"; KeepCompressedAs "gz"; DefaultEnabled "true"; };
};
Dir::State::lists "%(folder)s/lists";
Dir::Cache "%(folder)s/cache";
APT::Sandbox::User "root";
"""
"""What apt is to fetch, and where to keep it: its own lists and cache stay as they are."""


def fetch_packages(name: str, packages: Sequence[str], home: Path | None = None) -> Path:
    """Fetch packages and unpack them into one folder of the cache, unless it is there.

    Args:
        name: of the folder.
        packages: their names; apt chooses the versions.
        home: the cache.

    Raises:
        OpenMofiError: this is not Debian, or a package cannot be had.
    """

    def unpack(folder: Path) -> None:
        for package in packages:
            _run(folder, "apt-get", "download", package)
            for archive in folder.glob(f"{package}_*.deb"):
                _run(folder, "dpkg", "-x", archive.name, "made")
                archive.unlink()

    return _made_once(name, f"The Debian packages {' and '.join(packages)} need", ("apt-get", "dpkg"), unpack, home)


def fetch_appstream(home: Path | None = None) -> Path:
    """Fetch what AppStream says of the applications of Debian's section main, unless it is there.

    apt checks the files by the archive's signature. Debian changes them: what was fetched at another time, or for
    another release, may be different.

    Args:
        home: the cache.

    Returns:
        The folder that holds `COMPONENTS` and `ICONS`.

    Raises:
        OpenMofiError: this is not Debian, or the files cannot be had.
    """

    def update(folder: Path) -> None:
        (folder / "apt.conf").write_text(_APPSTREAM % {"folder": folder})
        for name in ("lists/partial", "cache/archives/partial", "made"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        _run(folder, "apt-get", "-c", "apt.conf", "update", "-qq")
        for pattern, name in (("Components-*.yml.gz", COMPONENTS), ("icons-128x128.tar.gz", ICONS)):
            files = list((folder / "lists").glob(f"*_main_dep11_{pattern}"))
            if not files:
                raise OpenMofiError(
                    f"The archive that apt knows has no AppStream file {name}.", "Give apt an archive of Debian."
                )
            # Of a release and of what was added to it later, the release has the most.
            max(files, key=lambda path: path.stat().st_size).rename(folder / "made" / name)

    return _made_once("appstream", "AppStream's lists of Debian's applications need", ("apt-get",), update, home)


def _made_once(name: str, need: str, tools: Sequence[str], make: Callable[[Path], None], home: Path | None) -> Path:
    """The folder `name` of the cache; `make` is given an empty folder and leaves its content there, in `made`."""
    target = (home or cache_folder()) / "debian" / name
    if not target.is_dir():
        missing = [tool for tool in tools if shutil.which(tool) is None]
        if missing:
            raise OpenMofiError(
                f"{need} {' and '.join(tools)}, and not all of these are on the PATH: {', '.join(missing)}.",
                "Run this on Debian.",
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".fetching-") as folder:
            make(Path(folder))
            try:
                (Path(folder) / "made").rename(target)
            except OSError:
                # Another process was faster: its copy is the same.
                if not target.is_dir():
                    raise
    return target


def _run(folder: Path, *command: str) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        why = next((line for line in done.stderr.splitlines() if line.startswith("E:")), f"exit code {done.returncode}")
        raise OpenMofiError(
            f"{' '.join(command)} failed: {why}.",
            "Check the network and the packages that apt knows (apt-get update), then try again.",
        )
