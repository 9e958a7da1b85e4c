"""Fetches a published knowledge base: part by part, each checked before it is unpacked."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pyarrow as pa

from openmofi.engine import Progress, Quiet
from openmofi.errors import OpenMofiError
from openmofi.knowledge import KnowledgeBase, layout
from openmofi.plugins.sharing.description import DESCRIPTION, MOST_BYTES, Part, PublishedBase, parse_description
from openmofi.plugins.sharing.sources import read_blocks
from openmofi.storage import (
    file_digest,
    require_claimable,
    require_local,
    write_bytes,
    write_error,
    write_text,
    written_together,
)
from openmofi.storage.addresses import local_path
from openmofi.storage.digests import BLOCK, file_stamp, note_checked

_TRIES = 5
_WAIT = 1.0
"""Seconds before the second try in a row that brings nothing, twice as many before each further one."""
_DONE, _BASE = "done", "base"
_PUBLISH_AGAIN = "Ask whoever published it to publish it again."


def fetch_kb(address: str | Path, out: str | Path, *, progress: Progress | None = None) -> KnowledgeBase:
    """Download a knowledge base that `publish_kb` wrote, check it, and open it.

    What is downloaded is kept in `.NAME.fetch` beside `out` until it is whole: a download that was stopped continues
    there. Where `out` is this base already, nothing is downloaded.

    Args:
        address: a local folder, an address in a store, or `https://…`; what `base.json` lies in.
        out: the folder of the knowledge base.
        progress: receives the blocks of the download.

    Raises:
        MissingExtraError: the package that reads such addresses is not installed.
        OpenMofiError: there is no published base that this OpenMOFI reads; a part is missing or damaged; the server
            fails; the disk is full; `out` contains something else.
    """
    require_local(out)
    progress, place, target = progress or Quiet(), str(address).rstrip("/"), local_path(out).absolute()
    if target.is_file():
        raise OpenMofiError(f"{out} is a file.", "Choose another output with -o.")
    text = _description(place)
    base = parse_description(text, place)
    work = target.with_name(f".{target.name}.fetch")
    with written_together(work):
        if require_claimable(target, layout.KIND) is None:
            _begin(work, text, base)
            _require_room(work, base, target)
            _download_parts(place, base, work, progress)
            _move(work, base, place, target, progress)
        shutil.rmtree(work, ignore_errors=True)
    kb = KnowledgeBase.open(target, progress=progress)
    if kb.fingerprint != base.fingerprint:
        raise OpenMofiError(f"{out} is another knowledge base than {place}.", "Choose another output with -o.")
    return kb


def _description(place: str) -> bytes:
    missing = OpenMofiError(
        f"{place} is no published knowledge base, or is not finished: it has no {DESCRIPTION}.", "Check the address."
    )
    text = bytearray()

    def read() -> None:
        text.clear()
        for block in read_blocks(f"{place}/{DESCRIPTION}", 0, MOST_BYTES):
            text.extend(block)

    _tried(read, lambda: 0, f"{place}/{DESCRIPTION}", missing)
    return bytes(text)


def _tried(read: Callable[[], None], done: Callable[[], int], what: str, missing: OpenMofiError) -> None:
    """Call `read`, and again after an error for as long as `done` grows, and for some tries after that.

    Raises:
        OpenMofiError: it failed in every try, or is refused; `missing` where there is nothing.
    """
    failed = 0
    while True:
        before = done()
        try:
            return read()
        except FileNotFoundError as error:
            raise missing from error
        except (PermissionError, ValueError) as error:
            raise OpenMofiError(f"{what} cannot be read: {error}.", "Check the address and who may read it.") from error
        except OSError as error:
            failed = 1 if done() > before else failed + 1
            if failed == _TRIES:
                raise OpenMofiError(
                    f"{what} cannot be read: {error}.", "Start the same command again: it continues where it stopped."
                ) from error
            time.sleep(_WAIT * 2 ** (failed - 1))


def _begin(work: Path, text: bytes, base: PublishedBase) -> None:
    """Make the folder of a download, or keep one of the same base."""
    described = work / DESCRIPTION
    if described.is_file() and described.read_bytes() == text:
        return
    _clear(work)
    for file in base.files:
        write_bytes(work / _BASE / file.name, b"")
    write_bytes(described, text)


def _clear(work: Path) -> None:
    """Forget a download; the lock of the folder stays."""
    for path in (work / DESCRIPTION, work / _DONE, *work.glob("part-*")):
        path.unlink(missing_ok=True)
    shutil.rmtree(work / _BASE, ignore_errors=True)


def _require_room(work: Path, base: PublishedBase, out: Path) -> None:
    there = sum((work / _BASE / file.name).stat().st_size for file in base.files)
    needed = sum(file.size for file in base.files) - there + max((part.size for part in base.parts), default=0)
    if needed > (free := shutil.disk_usage(work).free):
        raise OpenMofiError(
            f"The disk is full: {out} needs {needed / 2**20:,.0f} MiB, and {free / 2**20:,.0f} MiB are free.",
            "Free some space and start the same command again: it continues where it stopped.",
        )


def _download_parts(place: str, base: PublishedBase, work: Path, progress: Progress) -> None:
    position = 0
    done = int((work / _DONE).read_text()) if (work / _DONE).is_file() else 0
    progress.begin("fetch", sum(-(-part.size // BLOCK) for part in base.parts[done:]))
    for number, part in enumerate(base.parts):
        if number >= done:
            path = work / part.name
            _download(f"{place}/{part.name}", part, path, progress)
            _unpack(path, position, part, base, work / _BASE, place)
            write_text(work / _DONE, str(number + 1))
            path.unlink()
        position += part.content


def _download(address: str, part: Part, path: Path, progress: Progress) -> None:
    """Download a part and compare its digest; a damaged one is downloaded once more.

    Raises:
        OpenMofiError: it is missing, damaged or cannot be read; the disk is full.
    """
    missing, shown = OpenMofiError(f"{address} is missing.", _PUBLISH_AGAIN), 0

    def size() -> int:
        return path.stat().st_size if path.exists() else 0

    def read() -> None:
        nonlocal shown
        with closing(read_blocks(address, size(), part.size)) as blocks:
            for block in blocks:
                _write(path, size(), block)
                while shown < -(-size() // BLOCK):
                    progress.advance({})
                    shown += 1

    for _ in range(2):
        if size() < part.size:
            _tried(read, size, address, missing)
        if size() == part.size and file_digest(path) == part.digest:
            return
        path.unlink(missing_ok=True)
    raise OpenMofiError(
        f"{address} is damaged: its content is not what was published.",
        "Start the same command again, or ask whoever published it to publish it again.",
    )


def _write(path: Path, offset: int, block: bytes | memoryview) -> None:
    """Write a block into a file at an offset."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        try:
            while block:
                written = os.pwrite(descriptor, block, offset)
                block, offset = block[written:], offset + written
        finally:
            os.close(descriptor)
    except OSError as error:
        raise write_error(error, path) from error


def _unpack(path: Path, position: int, part: Part, base: PublishedBase, folder: Path, place: str) -> None:
    """Write what a part holds of the files; `position` is where it begins in the stream.

    Raises:
        OpenMofiError: it does not decompress to what the description says; the disk is full.
    """
    end = position + part.content
    try:
        with pa.OSFile(str(path)) as packed, pa.CompressedInputStream(packed, "zstd") as stream:
            while block := stream.read(BLOCK):
                for file in base.files:
                    first, last = max(position, file.offset), min(position + len(block), file.offset + file.size, end)
                    if first < last:
                        inside = memoryview(block)[first - position : last - position]
                        _write(folder / file.name, first - file.offset, inside)
                position += len(block)
                if position > end:
                    break
    except (OSError, pa.ArrowException) as error:
        raise OpenMofiError(f"{place}/{part.name} cannot be unpacked: {error}.", _PUBLISH_AGAIN) from error
    if position != end:
        raise OpenMofiError(f"{place}/{part.name} holds other content than {DESCRIPTION} says.", _PUBLISH_AGAIN)


def _move(work: Path, base: PublishedBase, place: str, out: Path, progress: Progress) -> None:
    """Check the whole base and move it to its place.

    Raises:
        OpenMofiError: it is damaged, and is forgotten; it cannot be moved.
    """
    folder = work / _BASE
    try:
        for file in base.files:
            if file_digest(folder / file.name) != file.digest:
                raise OpenMofiError(f"{file.name} has another digest.")
        kb = KnowledgeBase.open(folder, progress=progress)
        if kb.fingerprint != base.fingerprint:
            raise OpenMofiError("it is another base than its description says.")
    except OpenMofiError as error:
        _clear(work)
        raise OpenMofiError(
            f"What was fetched from {place} is damaged: {error.message}", "Start the same command again."
        ) from error
    try:
        for file in base.files:
            with open(folder / file.name, "rb") as handle:
                os.fsync(handle.fileno())
        folder.rename(out)
    except OSError as error:
        raise write_error(error, out) from error
    files = kb.manifest.counts["files"]
    note_checked(file_stamp(out, files, kb.manifest.counts[layout.DIGESTS]))
