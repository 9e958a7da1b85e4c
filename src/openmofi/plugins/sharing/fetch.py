"""Fetches what was published, such as a knowledge base: part by part, each checked before it is unpacked."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from itertools import accumulate
from pathlib import Path
from typing import Any

import pyarrow as pa

from openmofi.engine import Progress, Quiet
from openmofi.errors import OpenMofiError, UsageError
from openmofi.knowledge import KnowledgeBase, layout
from openmofi.plugins.sharing.description import BASE, PUBLISH_AGAIN, Described, Kind, Part, Published
from openmofi.plugins.sharing.sources import CONTINUES, read_blocks
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

_MOST_BYTES = 1 << 24
"""Most bytes of a description, which has some hundred for each part and file."""
_FILES, _DONE = "files", "done"
_NOT_PUBLISHED = "Nothing is published there, or not all of it yet: check the address."


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
    progress, checked = progress or Quiet(), list[Mapping[str, Any]]()

    def fingerprint(folder: Path) -> str:
        kb = KnowledgeBase.open(folder, progress=progress)
        checked.append(kb.manifest.counts)
        return kb.fingerprint

    target = fetch_published(address, out, BASE, _is_base, fingerprint, progress)
    note_checked(file_stamp(target, checked[0]["files"], checked[0][layout.DIGESTS]))
    return KnowledgeBase.open(target, progress=progress)


def _is_base(folder: Path) -> bool:
    return require_claimable(folder, layout.KIND) is not None


def fetch_published(
    address: str | Path,
    out: str | Path,
    kind: Kind[Described],
    is_there: Callable[[Path], bool],
    fingerprint: Callable[[Path], str],
    progress: Progress,
) -> Path:
    """Download what was published, check it, and give it its place, which is returned.

    Args:
        address, out: see `fetch_kb`.
        kind: of what is published.
        is_there: whether `out` holds something of this kind already; raises an error where it holds something else.
        fingerprint: opens and checks a folder, and returns the fingerprint of what is in it.
        progress: receives the blocks of the download.

    Raises:
        MissingExtraError, OpenMofiError: see `fetch_kb`.
    """
    require_local(out)
    place, target = str(address).rstrip("/"), local_path(out).absolute()
    if target.is_file():
        raise OpenMofiError(f"{out} is a file.", "Choose another output with -o.")
    described = f"{place}/{kind.description}"
    text = b"".join(read_blocks(described, 0, _MOST_BYTES, _NOT_PUBLISHED))
    published, work = kind.parse(text, described), target.with_name(f".{target.name}.fetch")
    with written_together(work):
        if is_there(target):
            if fingerprint(target) != published.fingerprint:
                raise OpenMofiError(f"{out} is another {kind.name} than {place}.", "Choose another output with -o.")
        else:
            _begin(work, text, published, target, kind.description)
            _fetch_parts(place, published, work, progress)
            _move(work, published, place, target, fingerprint)
        shutil.rmtree(work, ignore_errors=True)
    return target


def _begin(work: Path, text: bytes, base: Published, out: Path, description: str) -> None:
    """Make the folder of a download, or keep one of the same content.

    Raises:
        OpenMofiError: the disk has no room for what is missing.
    """
    if not (work / description).is_file() or (work / description).read_bytes() != text:
        _clear(work)
        for file in base.files:
            write_bytes(work / _FILES / file.name, b"")
        write_bytes(work / description, text)
    missing = sum(file.size - (work / _FILES / file.name).stat().st_size for file in base.files)
    needed, free = missing + max((part.size for part in base.parts), default=0), shutil.disk_usage(work).free
    if needed > free:
        raise OpenMofiError(
            f"The disk is full: {out} needs {needed / 2**20:,.0f} MiB, and {free / 2**20:,.0f} MiB are free.",
            f"Free some space and {CONTINUES}",
        )


def _clear(work: Path) -> None:
    """Forget a download; the lock of the folder stays."""
    for path in (*work.glob("*.json"), work / _DONE, *work.glob("part-*")):
        path.unlink(missing_ok=True)
    shutil.rmtree(work / _FILES, ignore_errors=True)


def _fetch_parts(place: str, base: Published, work: Path, progress: Progress) -> None:
    """Download and unpack the parts that were not unpacked before."""
    done = int((work / _DONE).read_text()) if (work / _DONE).is_file() else 0
    progress.begin("fetch", sum(-(-part.size // BLOCK) for part in base.parts[done:]))
    begins = list(accumulate((part.content for part in base.parts), initial=0))
    for number, part in list(enumerate(base.parts))[done:]:
        path = work / part.name
        # What is there of it may be damaged: then all of it is downloaded once more.
        if not _downloaded(f"{place}/{part.name}", part, path, progress):
            path.unlink(missing_ok=True)
            if not _downloaded(f"{place}/{part.name}", part, path, Quiet()):
                path.unlink(missing_ok=True)
                raise OpenMofiError(f"{place}/{part.name} is damaged.", f"Ask its publisher, or {CONTINUES}")
        _unpack(path, begins[number], part, base, work / _FILES, place)
        write_text(work / _DONE, str(number + 1))
        path.unlink()


def _downloaded(address: str, part: Part, path: Path, progress: Progress) -> bool:
    """Download what is missing of a part, and return whether the part is what was published.

    Raises:
        OpenMofiError: it is missing or cannot be read; the disk is full.
    """
    position, shown = path.stat().st_size if path.exists() else 0, 0
    for block in read_blocks(address, position, part.size, PUBLISH_AGAIN):
        _write(path, position, block)
        position += len(block)
        while shown < -(-position // BLOCK):
            progress.advance({})
            shown += 1
    return position == part.size and file_digest(path) == part.digest


def _write(path: Path, offset: int, block: bytes | memoryview) -> None:
    """Write a block into a file, at an offset."""
    try:
        with open(path, "r+b" if path.exists() else "wb") as file:
            file.seek(offset)
            file.write(block)
    except OSError as error:
        raise write_error(error, path) from error


def _unpack(path: Path, position: int, part: Part, base: Published, folder: Path, place: str) -> None:
    """Write what a part holds of the files; `position` is where it begins in the stream.

    Raises:
        OpenMofiError: it does not decompress to what the description says; the disk is full.
    """
    end = position + part.content
    try:
        with pa.OSFile(str(path)) as packed, pa.CompressedInputStream(packed, "zstd") as stream:
            while position <= end and (block := stream.read(BLOCK)):
                for file in base.files:
                    first, last = max(position, file.offset), min(position + len(block), file.offset + file.size)
                    if first < last:
                        inside = memoryview(block)[first - position : last - position]
                        _write(folder / file.name, first - file.offset, inside)
                position += len(block)
    except (OSError, pa.ArrowException) as error:
        raise OpenMofiError(f"{place}/{part.name} cannot be unpacked: {error}.", PUBLISH_AGAIN) from error
    if position != end:
        raise OpenMofiError(f"{place}/{part.name} holds other content than its description says.", PUBLISH_AGAIN)


def _move(work: Path, base: Published, place: str, out: Path, fingerprint: Callable[[Path], str]) -> None:
    """Check all that was fetched and move it to its place.

    Raises:
        UsageError: it has what has to be asked for.
        OpenMofiError: it is damaged, and is forgotten; it cannot be moved.
    """
    folder = work / _FILES
    try:
        wrong = [file.name for file in base.files if file_digest(folder / file.name) != file.digest]
        if wrong or fingerprint(folder) != base.fingerprint:
            raise OpenMofiError(f"{', '.join(wrong) or 'the whole'} is not what the description says.")
    except UsageError:  # it is kept for another try with other arguments
        raise
    except OpenMofiError as error:
        _clear(work)
        raise OpenMofiError(
            f"What {place} gave is damaged: {error.message}", f"Ask its publisher, or {CONTINUES}"
        ) from error
    try:
        for file in base.files:
            with open(folder / file.name, "rb") as handle:
                os.fsync(handle.fileno())
        folder.rename(out)
    except OSError as error:
        raise write_error(error, out) from error
