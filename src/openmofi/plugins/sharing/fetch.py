"""Fetches a published knowledge base: part by part, each checked before it is unpacked."""

from __future__ import annotations

import os
import shutil
from itertools import accumulate
from pathlib import Path

import pyarrow as pa

from openmofi.engine import Progress, Quiet
from openmofi.errors import OpenMofiError
from openmofi.knowledge import KnowledgeBase, layout
from openmofi.plugins.sharing.description import DESCRIPTION, PUBLISH_AGAIN, Part, PublishedBase, parse_description
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
"""Most bytes of a `base.json`, which has some hundred for each part and file."""
_BASE, _DONE = "base", "done"
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
    require_local(out)
    progress, place, target = progress or Quiet(), str(address).rstrip("/"), local_path(out).absolute()
    if target.is_file():
        raise OpenMofiError(f"{out} is a file.", "Choose another output with -o.")
    described = f"{place}/{DESCRIPTION}"
    text = b"".join(read_blocks(described, 0, _MOST_BYTES, _NOT_PUBLISHED))
    base, work = parse_description(text, described), target.with_name(f".{target.name}.fetch")
    with written_together(work):
        if require_claimable(target, layout.KIND) is None:
            _begin(work, text, base, target)
            _fetch_parts(place, base, work, progress)
            _move(work, base, place, target, progress)
        shutil.rmtree(work, ignore_errors=True)
    kb = KnowledgeBase.open(target, progress=progress)
    if kb.fingerprint != base.fingerprint:
        raise OpenMofiError(f"{out} is another knowledge base than {place}.", "Choose another output with -o.")
    return kb


def _begin(work: Path, text: bytes, base: PublishedBase, out: Path) -> None:
    """Make the folder of a download, or keep one of the same base.

    Raises:
        OpenMofiError: the disk has no room for what is missing.
    """
    if not (work / DESCRIPTION).is_file() or (work / DESCRIPTION).read_bytes() != text:
        _clear(work)
        for file in base.files:
            write_bytes(work / _BASE / file.name, b"")
        write_bytes(work / DESCRIPTION, text)
    missing = sum(file.size - (work / _BASE / file.name).stat().st_size for file in base.files)
    needed, free = missing + max((part.size for part in base.parts), default=0), shutil.disk_usage(work).free
    if needed > free:
        raise OpenMofiError(
            f"The disk is full: {out} needs {needed / 2**20:,.0f} MiB, and {free / 2**20:,.0f} MiB are free.",
            f"Free some space and {CONTINUES}",
        )


def _clear(work: Path) -> None:
    """Forget a download; the lock of the folder stays."""
    for path in (work / DESCRIPTION, work / _DONE, *work.glob("part-*")):
        path.unlink(missing_ok=True)
    shutil.rmtree(work / _BASE, ignore_errors=True)


def _fetch_parts(place: str, base: PublishedBase, work: Path, progress: Progress) -> None:
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
        _unpack(path, begins[number], part, base, work / _BASE, place)
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


def _unpack(path: Path, position: int, part: Part, base: PublishedBase, folder: Path, place: str) -> None:
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
        raise OpenMofiError(f"{place}/{part.name} holds other content than {DESCRIPTION} says.", PUBLISH_AGAIN)


def _move(work: Path, base: PublishedBase, place: str, out: Path, progress: Progress) -> None:
    """Check the whole base and move it to its place.

    Raises:
        OpenMofiError: it is damaged, and is forgotten; it cannot be moved.
    """
    folder = work / _BASE
    try:
        wrong = [file.name for file in base.files if file_digest(folder / file.name) != file.digest]
        kb = KnowledgeBase.open(folder, progress=progress)
        if wrong or kb.fingerprint != base.fingerprint:
            raise OpenMofiError(f"{', '.join(wrong) or 'the base'} is not what {DESCRIPTION} says.")
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
    note_checked(file_stamp(out, kb.manifest.counts["files"], kb.manifest.counts[layout.DIGESTS]))
