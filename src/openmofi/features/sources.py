"""Where images come from when their texts play no part: shards of pairs, or files in folders, under one reader."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from openmofi.errors import OpenMofiError
from openmofi.pairs import ReadSettings, read_pairs
from openmofi.pairs.read_settings import NO_FILE, open_regular
from openmofi.schema import Pair, PairStatus
from openmofi.storage import Shard, fingerprint

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".heic", ".heif")
FILES_PER_SOURCE = 4096
"""Files of one source: what is embedded is kept in parts of so many, so that a stopped run loses little."""

Load = Callable[[], Pair]
_OF_TEXT = (PairStatus.TEXT_MISSING, PairStatus.TEXT_EMPTY, PairStatus.TEXT_INVALID, PairStatus.TEXT_TOO_LONG)


@dataclass(frozen=True)
class ImageSource:
    """An ordered list of images.

    Attributes:
        name: unique among the sources of one call.
        stamp: changes when the images do; names what is kept of them on this machine.
        read: yields (key, load); `load` may be called in another thread, once, or not at all.
    """

    name: str
    stamp: str
    read: Callable[[], Iterator[tuple[str, Load]]]


def shard_source(shard: Shard, settings: ReadSettings = ReadSettings(), *, as_labelled: bool = False) -> ImageSource:
    """The images of a shard of pairs; its texts play no part.

    Args:
        shard: where they are.
        settings: how it is read.
        as_labelled: also those of repeated keys, as the label job embeds them: its features are the same.

    Raises:
        OpenMofiError: it cannot be read.
    """
    given = _as_it_is if as_labelled else _without_text

    def read() -> Iterator[tuple[str, Load]]:
        for pair in read_pairs(shard, settings):
            yield pair.key, partial(given, pair)

    return ImageSource(shard.name, shard.fingerprint, read)


def file_sources(root: str | Path, files: Sequence[str], name: str = "files") -> list[ImageSource]:
    """Files below `root`, in the order given, in sources of `FILES_PER_SOURCE`; keys are the relative paths.

    Raises:
        OpenMofiError: a file cannot be looked at.
    """
    folder, settings = Path(root), ReadSettings()
    return [
        _files(
            folder,
            list(files[start : start + FILES_PER_SOURCE]),
            f"{name}-{start // FILES_PER_SOURCE:05d}",
            settings.max_image_bytes,
        )
        for start in range(0, len(files), FILES_PER_SOURCE)
    ]


def images_in(folder: Path) -> list[str]:
    """Relative paths of the image files below `folder`, sorted; hidden files are left out."""
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def _files(folder: Path, files: list[str], name: str, limit: int) -> ImageSource:
    def read() -> Iterator[tuple[str, Load]]:
        for file in files:
            yield file, partial(_load, folder, file, limit)

    try:
        stats = [(file, *_stamp(folder / file)) for file in files]
    except OSError as error:
        raise OpenMofiError(f"{error.filename} cannot be read: {error.strerror}.", "Check the path.") from error
    return ImageSource(name, fingerprint([str(folder.resolve()), stats]), read)


def _stamp(path: Path) -> tuple[int, int]:
    try:
        stat = path.stat()
    except FileNotFoundError:
        # A table may name what is not there: such a row is excluded and counted like an unreadable image.
        return -1, 0
    return stat.st_size, stat.st_mtime_ns


def _load(folder: Path, file: str, limit: int) -> Pair:
    try:
        with open_regular(folder / file) as handle:
            data = handle.read(limit + 1)
    except NO_FILE:
        return Pair(file, None, "", PairStatus.IMAGE_MISSING)
    if len(data) > limit:
        return Pair(file, None, "", PairStatus.IMAGE_TOO_LARGE)
    return Pair(file, data, "")


def _as_it_is(pair: Pair) -> Pair:
    return pair


def _without_text(pair: Pair) -> Pair:
    """The pair as if it had a usable text; no bytes where the image cannot be used, as of a duplicate key."""
    status = PairStatus.OK if pair.status in _OF_TEXT else pair.status
    return Pair(pair.key, pair.image if status == PairStatus.OK else None, "", status, pair.url)
