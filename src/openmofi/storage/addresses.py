"""Addresses: `protocol://…` is a store's, which fsspec opens; any other text is a local path, whatever is in it.

So `[`, `{`, `::`, `#` or `?` in the name of a local folder mean nothing. `file://` may stand before a local path.

Files of others hold addresses, and some of fsspec's protocols run what they fetch (`reference://` renders templates).
So only those of stores are opened, and none that are chained by `::`.

Stores of objects (S3, Google Cloud Storage, Azure, the Hugging Face hub) are told from other remote file systems: an
object appears whole or not at all, there are no folders to make, and every question is a request that takes its time.
So an object is fetched by one request and then read locally; credentials, regions and endpoints are found by the
store's own library in its own ways.
"""

import io
import re
import tempfile
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO, Any, TypeVar, cast

import fsspec
from fsspec.implementations.local import LocalFileSystem

from openmofi.errors import MissingExtraError, OpenMofiError, UsageError
from openmofi.storage.copies import copy_of, copy_path, never_changes

_THREADS, _TOGETHER, _AHEAD = 16, 16, 24
Item = TypeVar("Item")
Result = TypeVar("Result")


def in_threads(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Map a function over items in threads, some 400 at once; results keep the items' order.

    Args:
        function: thread-safe; an exception of it is raised in its item's turn.
        items: what it is called with.
    """

    def several(some: list[Item]) -> list[Result]:
        return [function(item) for item in some]

    remaining, ahead = iter(items), deque[Future[list[Result]]]()
    with ThreadPoolExecutor(_THREADS) as pool:
        try:
            while some := list(islice(remaining, _TOGETHER)):
                ahead.append(pool.submit(several, some))
                if len(ahead) > _AHEAD:
                    yield from ahead.popleft().result()
            while ahead:
                yield from ahead.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


HTTP_TIMEOUT_SECONDS = 60.0
"""How long a web server may send nothing."""

_BUFFER = 1 << 20
_ENDING = re.compile(r"\.[A-Za-z][A-Za-z0-9]*$")
_STORE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*(::|://)")
_EXTRAS = {
    "http": "http",
    "https": "http",
    "s3": "s3",
    "s3a": "s3",
    "gs": "gcs",
    "gcs": "gcs",
    "az": "azure",
    "abfs": "azure",
    "abfss": "azure",
    "hf": "hf",
    "memory": "",
}
"""Protocols that are opened, and the extra that each needs."""
_OBJECT_STORES = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "hf"}
_CLIENTS = ("aiohttp", "botocore", "aiobotocore", "gcsfs", "google", "adlfs", "azure", "huggingface_hub")
TAIL = 1 << 16
_TAGS = ("ETag", "etag", "md5Hash", "xet_hash", "blob_id", "Content-MD5", "Digest", "Last-Modified")
_REASONS = {
    "TooManyRedirects": "the server redirects without an end",
    "ClientPayloadError": "the server broke off in the middle of the file",
    "ServerDisconnectedError": "the server broke off",
}
_PACKAGES = {"http": "aiohttp", "s3": "s3fs", "gcs": "gcsfs", "azure": "adlfs", "hf": "huggingface-hub"}


def is_remote(path: str | Path) -> bool:
    """Whether `path` is no local path but an address, also one that `filesystem_of` refuses."""
    text = str(path)
    return "://" in text and not text.startswith("file://") and _STORE.match(text) is not None


def in_object_store(path: str | Path) -> bool:
    """Whether `path` is the address of an object in a store of such; a chained address is not."""
    return is_remote(path) and str(path).partition("://")[0] in _OBJECT_STORES


def local_path(path: str | Path) -> Path:
    """Return a local path, or a `file://` address, as a `Path`."""
    return Path(str(path).removeprefix("file://"))


def require_local(path: str | Path) -> None:
    """Refuse an output that cannot be written, before any work.

    Raises:
        UsageError: it is the address of a store, or its name is not UTF-8.
    """
    if is_remote(path):
        raise UsageError(
            f"{path} cannot be written: outputs are local.",
            "Choose a local output, and copy it there when it is finished.",
        )
    require_writable(path)


def require_writable(path: str | Path) -> bool:
    """Refuse an output that cannot be written, where it may lie in a store of objects; returns whether it does.

    Raises:
        UsageError: it is on a web server or another remote file system, or its name is not UTF-8.
    """
    if is_remote(path) and not in_object_store(path):
        raise UsageError(
            f"{path} cannot be written: outputs are local, or in a store of objects (s3://…, gs://…, az://…).",
            "Choose another output with -o.",
        )
    if not is_utf8(path):
        raise UsageError(f"{str(path)!a} cannot be written: the name is not UTF-8.", "Choose another output with -o.")
    return in_object_store(path)


def is_utf8(path: str | Path) -> bool:
    """Whether a name is UTF-8, so that tables and libraries that open only such names take it."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def filesystem_of(path: str | Path) -> tuple[Any, str]:
    """Return the file system of a path or address, and its name there.

    Raises:
        MissingExtraError: the package that opens such addresses is not installed.
        OpenMofiError: it is not an address of a store that OpenMOFI reads.
    """
    if not is_remote(path):
        return LocalFileSystem(), str(local_path(path).absolute())
    protocol = str(path).partition("://")[0]
    if protocol not in _EXTRAS or "::" in str(path):
        raise OpenMofiError(
            f"{path} is not an address that OpenMOFI reads.",
            "Use a local path, or an address of s3://, gs://, az://, abfs://, hf://, https:// or http:// without '::'.",
        )
    extra = _EXTRAS[protocol]
    try:
        options = _http_options() if extra == "http" else {"use_listings_cache": False} if extra else {}
        return cast("tuple[Any, str]", fsspec.core.url_to_fs(str(path), **options))
    except ImportError as error:
        raise MissingExtraError.of(_PACKAGES[extra], extra) from error


def _http_options() -> dict[str, Any]:
    import aiohttp

    return {
        "client_kwargs": {
            "timeout": aiohttp.ClientTimeout(
                total=None, sock_connect=HTTP_TIMEOUT_SECONDS, sock_read=HTTP_TIMEOUT_SECONDS
            )
        }
    }


def is_folder(filesystem: Any, name: str) -> bool:
    """Whether `name` is a folder of `filesystem`. On web servers what has an ending is a file: to see whether it is a
    folder, all of it would be fetched and searched for links.
    """
    return not (name.startswith(("http://", "https://")) and _ENDING.search(name)) and bool(filesystem.isdir(name))


@contextmanager
def store_errors(path: str | Path) -> Generator[None]:
    """Turn errors of web clients in the block into `OSError`, whose text says what the server or client did.

    Raises:
        FileNotFoundError: there is nothing at `path`.
        OSError: the server refused, failed, broke off, or sent nothing for too long; trying again may help.
    """
    try:
        yield
    except Exception as error:
        cause = error.__cause__ if isinstance(error, FileNotFoundError) and error.__cause__ else error
        if isinstance(cause, TimeoutError):
            raise OSError(f"the server sent nothing for {HTTP_TIMEOUT_SECONDS:g} seconds") from error
        if not type(cause).__module__.startswith(_CLIENTS):
            raise
        if not type(cause).__module__.startswith("aiohttp"):
            raise _client_error(cause, path) from error
        if (status := getattr(cause, "status", 0)) in (404, 410):
            raise FileNotFoundError(f"{path} does not exist") from error
        reason = (
            f"the server answered {status} ({getattr(cause, 'message', '')})"
            if status
            else _REASONS.get(type(cause).__name__, f"the connection failed ({cause})")
        )
        raise OSError(reason) from error


def _client_error(error: BaseException, path: str | Path) -> OSError:
    """Turn an error of a store's client into `OSError`: what the store said, or what the client lacks."""
    response = getattr(error, "response", None)  # of botocore a dictionary
    said = response.get("Error", {}) if isinstance(response, dict) else {}
    if said.get("Code") in ("NoSuchBucket", "NoSuchKey", "404"):
        return FileNotFoundError(f"{path} does not exist")
    return OSError(str(said.get("Message") or error).rstrip("."))


class _Stored(io.RawIOBase):
    """A file of a store, whose errors are those of the system."""

    def __init__(self, file: Any, path: str) -> None:
        self._file, self._path = file, path

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return bool(self._file.seekable())

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        return int(self._file.tell())

    def readinto(self, buffer: Any) -> int:
        with store_errors(self._path):
            data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()


def open_address(path: str | Path) -> IO[bytes]:
    """Open a path or address for reading bytes.

    Raises:
        OSError, ValueError, OpenMofiError: see `filesystem_of` and `store_errors`.
    """
    if not is_remote(path):
        return open(str(path).removeprefix("file://"), "rb")  # without a `Path`, which takes as long as the opening
    filesystem, name = filesystem_of(path)
    with store_errors(path):
        if in_object_store(path):
            return _fetched(str(path), partial(filesystem.get_file, name))
        return io.BufferedReader(_Stored(filesystem.open(name, "rb"), str(path)), _BUFFER)


def open_ranges(path: str | Path) -> IO[bytes]:
    """Open a file of which little is wanted: of an object that is not here, what is read is fetched, and not all.

    Raises:
        OSError, ValueError, OpenMofiError: see `open_address`.
    """
    if not in_object_store(path) or copy_path(path).exists():
        return open_address(path)
    filesystem, name = filesystem_of(path)
    with store_errors(path):
        return io.BufferedReader(_Stored(filesystem.open(name, "rb", block_size=TAIL), str(path)), TAIL)


def _fetched(address: str, fetch: partial[object]) -> IO[bytes]:
    """Fetch a whole object: as a local copy where it never changes, else a file that is deleted on closing."""
    if never_changes(address):
        return open(copy_of(address, fetch), "rb")
    with tempfile.NamedTemporaryFile() as file:
        fetch(file.name)
        return open(file.name, "rb")


def end_of(path: str | Path) -> bytes:
    """Read the last 64 KiB of a file (`TAIL`); of an object that is not here no more is fetched.

    Raises:
        OSError, ValueError, OpenMofiError: see `open_address`.
    """
    if in_object_store(path) and not copy_path(path).exists():
        filesystem, name = filesystem_of(path)
        with store_errors(path):
            return cast("bytes", filesystem.cat_file(name, start=-TAIL))
    with open_address(path) as handle:
        handle.seek(max(handle.seek(0, io.SEEK_END) - TAIL, 0))
        return handle.read()


def present(paths: Iterable[str]) -> set[str]:
    """Return which of some objects of a store exist, by one listing a folder.

    Raises:
        OSError, ValueError, OpenMofiError: see `open_address`.
    """
    wanted = set(paths)
    return wanted & {
        f"{folder}/{name}" for folder in {path.rpartition("/")[0] for path in wanted} for name in names_in(folder)
    }


def names_in(folder: str | Path) -> list[str]:
    """Return the sorted names of all that lies directly in a folder; none where there is no folder.

    Raises:
        OSError, ValueError, OpenMofiError: see `open_address`.
    """
    filesystem, root = filesystem_of(folder)
    with store_errors(folder):
        try:
            if not is_remote(folder):
                return sorted(path.name for path in Path(root).iterdir())
            listed = filesystem.ls(root, detail=False)
        except (FileNotFoundError, NotADirectoryError):
            return []
    return sorted({str(name).rstrip("/").rpartition("/")[2] for name in listed} - {""})


@dataclass(frozen=True, slots=True)
class Version:
    """What a store's listing says of an object.

    Attributes:
        size: bytes.
        tag: changes with its content; empty where the store has none.
    """

    size: int
    tag: str


def versions_in(folder: str) -> dict[str, Version]:
    """Return the versions of the objects directly in a folder of a store, by address.

    Raises:
        OSError, ValueError, OpenMofiError: see `open_address`.
    """
    filesystem, root = filesystem_of(folder)
    with store_errors(folder):
        return {
            f"{folder}/{str(item['name']).rpartition('/')[2]}": version_of(item)
            for item in filesystem.ls(root, detail=True)
            if item["type"] == "file"
        }


def version_of(item: Mapping[str, Any]) -> Version:
    """Return the version of an entry of a listing, or of a file by what a web server says of it."""
    return Version(int(item.get("size") or 0), next((str(item[name]) for name in _TAGS if item.get(name)), ""))


def read_text(path: str | Path) -> str:
    """Read the UTF-8 text at a path or address.

    Raises:
        OSError, ValueError, OpenMofiError: see `open_address`; it is no UTF-8.
    """
    with open_address(path) as file:
        return file.read().decode()
