"""Folders of a few files that belong together, from a store to this machine and back."""

import logging
import secrets
import shutil
import tempfile
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from openmofi.errors import OpenMofiError
from openmofi.storage.addresses import filesystem_of, in_threads, is_remote, local_path, store_errors
from openmofi.storage.atomic import atomic_path, locked, write_error
from openmofi.storage.copies import cache_folder
from openmofi.storage.digests import fingerprint
from openmofi.storage.foreign import network_allowed
from openmofi.storage.manifest import is_hidden

_log = logging.getLogger(__name__)
_KEPT = 10


def local_folder(address: str | Path) -> Path:
    """Return a local folder as it is, or a copy of one in a store, which all processes of this machine share.

    The copy is named by the address and by the names, sizes, tags and times that the store lists, so that a folder
    whose content changes is fetched anew. The ten folders that were fetched last are kept.

    Raises:
        OpenMofiError: there is nothing at the address, or it cannot be read.
    """
    if not is_remote(address):
        return local_path(address)
    with network_allowed():
        return _fetched(address)


def _fetched(address: str | Path) -> Path:
    try:
        filesystem, root = filesystem_of(address)
        with store_errors(address):
            fetched = {
                str(name)[len(root.rstrip("/")) + 1 :]: info
                for name, info in filesystem.find(root, detail=True).items()
            }
    except (OSError, ValueError) as error:
        raise OpenMofiError(f"{address} cannot be listed: {error}.", "Check the path.") from error
    names = sorted(name for name in fetched if name and not any(map(is_hidden, name.split("/"))))
    if not names:
        raise OpenMofiError(f"{address} is missing: nothing is stored there.", "Check the path.")
    stamp = fingerprint(
        [
            str(address),
            [
                [
                    name,
                    *(
                        str(fetched[name].get(key, ""))
                        for key in ("size", "ETag", "etag", "LastModified", "mtime", "last_modified")
                    ),
                ]
                for name in names
            ],
        ]
    )
    folder = cache_folder() / "folders" / stamp
    if not folder.exists():
        with locked(folder, lambda: _log.warning("%s is being fetched by another process. Waiting for it.", address)):
            if not folder.exists():
                _fetch(str(address), names, folder)
    return folder


def _fetch(address: str, names: list[str], folder: Path) -> None:
    temporary = folder.with_name(f".{secrets.token_hex(8)}")
    filesystem, root = filesystem_of(address)
    try:
        for name in names:
            (temporary / name).parent.mkdir(parents=True, exist_ok=True)
            with store_errors(address):
                filesystem.get_file(f"{root}/{name}", str(temporary / name))
        temporary.rename(folder)
    except OSError as error:
        raise write_error(error, folder) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    others = sorted(
        (each for each in folder.parent.iterdir() if each.is_dir() and not is_hidden(each.name)),
        key=lambda each: each.stat().st_mtime,
    )
    for old in others[:-_KEPT]:
        shutil.rmtree(old, ignore_errors=True)


@contextmanager
def written_folder(address: str, last: str) -> Generator[Path]:
    """Yield a local folder to write into: that at `address`, or one stored there at the end of the block.

    Args:
        address: local path, or address in a store.
        last: the file that is stored last, and so says that all are there.

    Raises:
        OpenMofiError: the address cannot be written, or a file to be stored there is a link that leads elsewhere.
    """
    if not is_remote(address):
        yield local_path(address)
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)
        _store(Path(folder), address, last)


def _store(folder: Path, address: str, last: str) -> None:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    if away := [path for path in map(Path.resolve, files) if not path.is_relative_to(folder.resolve())]:
        raise OpenMofiError(f"{away[0]} is a file that {address} cannot link to.", "Take it along: --images embed.")
    names = [path.relative_to(folder).as_posix() for path in files]

    def put(name: str) -> None:
        with atomic_path(f"{address}/{name}") as temporary:
            shutil.copyfile(folder / name, temporary)

    deque(in_threads(put, (name for name in names if name != last)), maxlen=0)
    put(last)
