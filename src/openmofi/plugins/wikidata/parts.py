"""The items of dumps as Parquet parts: one process decompresses, workers parse, and nothing is parsed twice.

Of as many files as there are workers, or more, each worker decompresses and parses its own.

A part is what a block of lines holds. Its name says the file, by its fingerprint, and the block, so a run that was
stopped goes on, and one of other dumps too: what is there is not parsed again.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import IO

import pyarrow as pa

from openmofi.engine.protocol import Progress, cores
from openmofi.errors import OpenMofiError
from openmofi.plugins.wikidata.items import Broken, ItemReader
from openmofi.plugins.wikidata.published import BLOCK, Piece, PublishedColumns, pieces, published_blocks, read_published
from openmofi.plugins.wikidata.slots import Slots, begin_reading, reported, slots
from openmofi.storage import make_folder, write_table, write_text
from openmofi.storage.table_files import footers

_SHOWN = 3
_COUNT = re.compile(r"[0-9]{1,7}")
PARQUET = ".parquet"
_reader: ItemReader


@dataclass(frozen=True)
class Parts:
    """What was read of the dumps.

    Attributes:
        paths: of the parts, `openmofi.plugins.wikidata.items.ITEMS`, in the order of files and blocks.
        items: how many they hold.
        others: entities that are no items: properties, lexemes.
        broken: lines that cannot be read.
    """

    paths: tuple[str, ...]
    items: int
    others: int
    broken: int


def read_parts(
    dumps: Mapping[str, Path],
    folder: Path,
    languages: Sequence[str],
    progress: Progress,
    *,
    external: Sequence[str] = (),
    transliterate: Sequence[str] = (),
    columns: PublishedColumns | None = None,
    workers: int = 0,
    max_broken: float = 0.001,
    size: int = BLOCK,
) -> Parts:
    """Parse what has not been parsed yet into `folder`.

    Args:
        dumps: fingerprint → file.
        folder: gets `<fingerprint>-<block>.parquet` and, where lines are broken, `<fingerprint>-<block>.broken.jsonl`.
        languages, external, transliterate: see `ItemReader`; another folder is for others.
        columns: of Parquet files; another folder is for others.
        progress: is advanced by MiB of the files.
        workers: processes that parse; one a core where 0.
        max_broken: the share of broken lines from which on the dump counts as damaged.
        size: bytes of a block.

    Raises:
        OpenMofiError: see `pieces`; too many lines are broken; a worker died.
    """
    make_folder(folder)
    begin_reading(progress, "read", dumps.values())
    workers = workers or cores()
    columns = columns or PublishedColumns.read(None)
    with slots(folder, workers, _begin, (tuple(languages), tuple(external), tuple(transliterate))) as pool:
        whole = _read_side_by_side(dumps, folder, pool, workers, progress, size)
        for digest, dump in dumps.items():
            if digest not in whole:
                _read_by_blocks(dump, folder, digest, pool, columns, progress, size)
    paths = [str(path) for digest in dumps for path in parts_of(folder, digest)]
    parts = _summed(paths)
    if parts.broken > max_broken * (parts.items + parts.others + parts.broken):
        raise _damaged(parts, max_broken)
    return parts


def _read_side_by_side(
    dumps: Mapping[str, Path], folder: Path, pool: Slots, workers: int, progress: Progress, size: int
) -> set[str]:
    """Have each worker read whole files, the largest first, where there are enough; return which were read."""
    fresh = {digest: dump for digest, dump in dumps.items() if dump.suffix != PARQUET and not parts_of(folder, digest)}
    if not 1 < workers <= len(fresh):
        return set()

    def done(digest: str, blocks: int) -> None:
        write_text(blocks_file(folder, digest), str(blocks))
        for _ in reported((), len, fresh[digest], progress):
            pass

    for digest, dump in sorted(fresh.items(), key=lambda each: -each[1].stat().st_size):
        pool.run(partial(done, digest), (), _read_file, dump, folder, digest, size)
    pool.finish()
    return set(fresh)


def _read_by_blocks(
    dump: Path, folder: Path, digest: str, pool: Slots, columns: PublishedColumns, progress: Progress, size: int
) -> None:
    """Hand the blocks of a file over to the workers, where it was not read to its end before."""
    published, number = dump.suffix == PARQUET, -1
    read = (
        iter(()) if parts_of(folder, digest) else published_blocks(dump, columns) if published else pieces(dump, size)
    )
    for number, block in groupby(reported(read, lambda piece: piece.read, dump, progress), lambda piece: piece.block):
        path = _part(folder, digest, number)
        if not path.exists():
            pool.run(lambda _: None, (piece.lines for piece in block), _parse, str(path), published=published)
    pool.finish()
    if number >= 0:
        write_text(blocks_file(folder, digest), str(number + 1))


def parts_of(folder: Path, digest: str) -> list[Path]:
    """Return the parts of a dump that was read to its end before; else none."""
    noted = blocks_file(folder, digest)
    if not noted.exists() or not _COUNT.fullmatch(count := noted.read_text()):
        return []
    parts = [_part(folder, digest, number) for number in range(int(count))]
    return parts if all(path.exists() for path in parts) else []


def blocks_file(folder: Path, digest: str) -> Path:
    """Return the path of the file that says how many parts a dump has; it is written after the last of them."""
    return folder / f"{digest}.blocks"


def _part(folder: Path, digest: str, block: int) -> Path:
    return folder / f"{digest}-{block:07}.parquet"


def _summed(paths: Sequence[str]) -> Parts:
    items = others = broken = 0
    for path, end in zip(paths, footers(paths), strict=True):
        if end is None:
            raise OpenMofiError(f"{path} is damaged.", "Remove it and start the command again: it is read anew.")
        items, others, broken = items + end.rows, others + int(end.notes["others"]), broken + int(end.notes["broken"])
    return Parts(tuple(paths), items, others, broken)


def _damaged(parts: Parts, allowed: float) -> OpenMofiError:
    total, examples = parts.items + parts.others + parts.broken, list[str]()
    for path in parts.paths:
        aside = kept_aside(path)
        if aside.exists():
            examples += [json.loads(line)["why"] for line in aside.read_text("utf-8").splitlines()]
        if len(examples) >= _SHOWN:
            break
    return OpenMofiError(
        f"{parts.broken:,} of {total:,} lines cannot be read ({'; '.join(examples[:_SHOWN])}).",
        f"That is more than {allowed:.2%}: fetch the dump again. The lines are beside the parts in "
        f"{Path(parts.paths[0]).parent}.",
    )


def kept_aside(path: str | Path) -> Path:
    """Return the path of the lines of a part that cannot be read; there is no file where there are none."""
    return Path(path).with_suffix(".broken.jsonl")


def _begin(languages: tuple[str, ...], external: tuple[str, ...], transliterate: tuple[str, ...] = ()) -> None:
    global _reader
    _reader = ItemReader(languages, external, transliterate)


def _read_file(_: IO[bytes], dump: Path, folder: Path, digest: str, size: int) -> int:
    """A worker's task: parse a whole dump to parts and return their number."""
    number = -1
    for number, block in groupby(pieces(dump, size), lambda piece: piece.block):
        if not (path := _part(folder, digest, number)).exists():
            _write(str(path), *_reader.read(_lines(block)))
    return number + 1


def _lines(block: Iterable[Piece]) -> Iterator[bytes]:
    begun = b""
    for piece in block:
        *lines, begun = (begun + piece.lines).split(b"\n")
        yield from lines
    if begun:
        yield begun


def _parse(handle: IO[bytes], path: str, *, published: bool) -> None:
    """A worker's task: parse the lines of a file, or published rows, to a part."""
    _write(path, *(read_published(_reader, handle) if published else _reader.read(handle)))


def _write(path: str, items: pa.Table, broken: Sequence[Broken], others: int) -> None:
    if broken:
        write_text(kept_aside(path), "".join(json.dumps(asdict(each), ensure_ascii=False) + "\n" for each in broken))
    write_table(path, items, {"others": str(others), "broken": str(len(broken))})
