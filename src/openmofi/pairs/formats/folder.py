"""Pairs from a folder of images: with a table (CSV, TSV, JSON lines) that names them, or with texts beside them."""

import logging
import os
from collections.abc import Iterable, Iterator
from dataclasses import replace

from openmofi.errors import OpenMofiError, UsageError
from openmofi.pairs.formats.columns import find_columns
from openmofi.pairs.formats.delimited import read_records
from openmofi.pairs.formats.files import ImageFiles
from openmofi.pairs.formats.grouping import (
    IMAGE_EXTENSIONS,
    Grouper,
    MemberContent,
    RowPairs,
    kind_of,
    read_limit,
    split_name,
)
from openmofi.pairs.formats.listings import listing_of, read_listing
from openmofi.pairs.formats.photographs import HEAD, TAIL, Photographs
from openmofi.pairs.read_settings import NO_FILE, ReadSettings, open_regular
from openmofi.pairs.text import identifier, printable
from openmofi.schema import Pair, PairStatus
from openmofi.storage import TABLES, filesystem_of, is_remote

_log = logging.getLogger(__name__)
_USUAL = ("metadata.csv", "metadata.jsonl", "metadata.tsv", "captions.csv", "captions.tsv", "captions.jsonl")


def read_folder(path: str, settings: ReadSettings, *, paths_only: bool = False, texts: bool = False) -> Iterator[Pair]:
    """Yield the rows of a folder's table, or, without one, the images with the `.txt`/`.json` of
    their name; where no image has these, with their own texts (`photographs`).

    The table is `metadata.csv`, `captions.csv` or the like, or the only CSV, TSV or JSON-lines file in the
    folder; see `read_table`. Without a table the files are taken in the order of their keys by the rules of
    `grouping`. With `paths_only` an image's content is its path (as of `os.fsencode`), and no image is opened; `texts`
    beside images are then read all the same.

    Raises:
        OpenMofiError: it does not exist, or contains nothing that can be read.
        UsageError: several tables, or no text or image column was recognised.
    """
    filesystem, root = filesystem_of(path)
    try:
        inside = sorted(name.rpartition("/")[2] for name in filesystem.ls(root, detail=False))
    except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
        raise OpenMofiError(f"{path} cannot be listed: {error.strerror}.", "Check the path.") from error
    listed = listing_of(inside)
    table = None if listed else table_of(path, inside)
    if listed:
        yield from read_listing(f"{path.rstrip('/')}/{listed}", settings, paths_only=paths_only)
    elif table:
        images = {name for name in inside if name.rpartition(".")[2].lower() in IMAGE_EXTENSIONS}
        yield from read_table(f"{path.rstrip('/')}/{table}", settings, paths_only=paths_only, beside=images)
    else:
        yield from _beside(path, settings, paths_only, texts)


def table_of(path: str, inside: list[str]) -> str | None:
    """Return the name of a folder's table, among the names `inside` it; `None` where it has none.

    Raises:
        UsageError: it has several, and none of a usual name.
    """
    tables = [name for name in inside if name.endswith(TABLES) and not name.startswith(".")]
    usual = [name for name in _USUAL if name in tables]
    if usual or len(tables) < 2:
        return next(iter(usual or tables), None)
    raise UsageError(
        f"{path} has several tables: {', '.join(tables[:5])}.",
        "Name the table itself as the shard, or call it metadata.csv.",
    )


def _beside(path: str, settings: ReadSettings, paths_only: bool, texts: bool) -> Iterator[Pair]:
    filesystem, root = filesystem_of(path)
    prefix = len(root.rstrip("/")) + 1
    members = []
    for name, info in filesystem.find(root, detail=True).items():
        parts = split_name(name[prefix:])
        if parts and not any(piece.startswith(".") for piece in name[prefix:].split("/")):
            address = filesystem.unstrip_protocol(name) if is_remote(path) else name
            members.append((*parts, address, int(info.get("size") or 0)))
    grouper = Grouper(settings)
    photographs = _photographs(members, settings) if texts or not paths_only else None
    for key, extension, address, size in sorted(members):
        if paths_only and not (texts and extension.endswith(("txt", "json"))):
            content = MemberContent(os.fsencode(address))
        else:
            content = _content(address, read_limit(extension, size, settings))
        if photographs and kind_of(extension).endswith("image"):
            ends = _ends(address, size) if paths_only else content.data or b""
            content = replace(content, texts=photographs.texts(key, extension, ends[:HEAD] + ends[HEAD:][-TAIL:]))
        yield from grouper.add(key, extension, content, size)
    yield from grouper.close()
    grouper.report_passed_over(path)
    if not grouper.keys:
        raise OpenMofiError(
            f"{path} has no table and no images with texts.",
            "Give .tar or .parquet files, or a folder with images and a metadata.csv.",
        )


def _photographs(members: Iterable[tuple[str, str, str, int]], settings: ReadSettings) -> Photographs | None:
    """Return the reader of photographs' own texts; `None` where texts lie beside images."""
    keys: dict[str, set[str]] = {}
    for key, extension, _, _ in members:
        keys.setdefault(kind_of(extension).removeprefix("other "), set()).add(key)
    if keys.get("image", set()) & (keys.get("txt", set()) | keys.get("json", set())):
        return None
    sidecars = {
        (key, extension.rpartition(".")[0]): name
        for key, extension, name, _ in members
        if extension.rpartition(".")[2] == "xmp"
    }
    return Photographs(settings, sidecars, lambda address, limit: _content(address, limit).data)


def _ends(address: str, size: int) -> bytes:
    tail = min(TAIL, max(size - HEAD, 0))
    parts = (_content(address, HEAD), _content(address, tail, size - tail))
    return b"".join(part.data or b"" for part in parts)


def _content(address: str, limit: int | None, start: int = 0) -> MemberContent:
    """Read a file's first `limit` bytes, or those from `start` on."""
    if not limit:
        return MemberContent(None, PairStatus.IMAGE_TOO_LARGE) if limit is None else MemberContent(b"")
    if is_remote(address):
        filesystem, name = filesystem_of(address)
        return MemberContent(filesystem.cat_file(name, start=start, end=start + limit))
    try:
        with open_regular(address) as handle:
            handle.seek(start)
            return MemberContent(handle.read(limit))
    except NO_FILE:  # it has gone since, or is a pipe
        return MemberContent(None)


def read_table(
    path: str,
    settings: ReadSettings,
    *,
    paths_only: bool = False,
    beside: Iterable[str] = (),
) -> Iterator[Pair]:
    """Yield the rows of a CSV or TSV (with a header) or of a JSON-lines file, in order.

    The image column holds paths, see `ImageFiles`; a path that leaves the folder, or does not exist, gives
    `IMAGE_MISSING`. The key is the key column's value, or else the path of the image. `paths_only`: see
    `read_folder`. Of the images `beside` it, the log says how many no row names.

    Raises:
        OpenMofiError: it does not exist, or is damaged (after the rows before the damage).
        UsageError: no text or image column was recognised.
    """
    rows, files = RowPairs(settings), ImageFiles(path, settings, paths_only=paths_only)
    columns, images = None, set(beside)
    unnamed = images.copy()
    for number, (names, row) in enumerate(read_records(path, settings)):
        columns = columns or find_columns(path, names, settings)
        image_path = identifier(row.get(columns.image))
        key = identifier(row.get(columns.key)) if columns.key else image_path
        image = files.image(str(image_path)) if image_path is not None else None
        unnamed.discard(os.path.normpath(str(image_path)))
        url = row.get(columns.url) if columns.url else None
        yield rows.pair(
            printable(key) if key else f"{number:09d}", image, columns.text_in(row, settings.max_text_chars), url
        )
    rows.report_useless(path, files.unread)
    if unnamed and len(unnamed) < len(images):
        _log.warning(
            "%s does not name %d of the %d images beside it, such as %s: they are left out.",
            path,
            len(unnamed),
            len(images),
            printable(min(unnamed)),
        )
