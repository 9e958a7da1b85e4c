"""The items of dumps as Parquet parts: one process decompresses, workers parse, and nothing is parsed twice.

A part is what a block of lines holds. Its name says the file, by its fingerprint, and the block, so a run that was
stopped goes on, and one of other dumps too: what is there is not parsed again. The lines travel by files that are
written again and again, and so stay in the page cache: pickling them would cost half as much as parsing, and shared
memory is 64 MB in a container and outlives who is killed.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from importlib.abc import MetaPathFinder
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory

from openmofi.engine.cores import cores
from openmofi.engine.protocol import Progress
from openmofi.errors import OpenMofiError
from openmofi.knowledge.wikidata.dump import BLOCK, Piece, pieces
from openmofi.knowledge.wikidata.items import ItemReader
from openmofi.knowledge.wikidata.published import PublishedColumns, published_blocks, read_published
from openmofi.storage import make_folder, write_table, write_text
from openmofi.storage.atomic import Footer, footers, remove_folder, write_error

_MIB = 1 << 20
_SHOWN = 3
_SLOTS = "lines-"
PARQUET = ".parquet"
_reader: ItemReader


@dataclass(frozen=True)
class Parts:
    """What was read of the dumps.

    Attributes:
        paths: of the parts, `openmofi.knowledge.wikidata.items.ITEMS`, in the order of files and blocks.
        items: how many they hold.
        others: entities that are no items: properties, lexemes.
        broken: lines that cannot be read.
    """

    paths: tuple[str, ...]
    items: int
    others: int
    broken: int


def read_parts(dumps: Mapping[str, Path], folder: Path, languages: Sequence[str], progress: Progress, *,
               external: Sequence[str] = (), columns: PublishedColumns | None = None, workers: int = 0,
               max_broken: float = 0.001, size: int = BLOCK) -> Parts:
    """Parse what has not been parsed yet into `folder`.

    Args:
        dumps: fingerprint → file.
        folder: gets `<fingerprint>-<block>.parquet` and, where lines are broken, `<fingerprint>-<block>.broken.jsonl`.
        languages, external: see `ItemReader`; another folder is for others.
        columns: of Parquet files; another folder is for others.
        progress: is advanced by MiB of the files.
        workers: processes that parse; one a core where 0.
        max_broken: the share of broken lines from which on the dump counts as damaged.
        size: bytes of a block.

    Raises:
        OpenMofiError: see `blocks`; too many lines are broken; a worker died.
    """
    make_folder(folder)
    for left in folder.glob(f"{_SLOTS}*"):  # of a run that was killed
        remove_folder(left)
    progress.begin("read", sum(-(-dump.stat().st_size // _MIB) for dump in dumps.values()))
    paths: list[str] = []
    with _pool(folder, (tuple(languages), tuple(external)), workers or cores()) as pool:
        for own, dump in dumps.items():
            published = dump.suffix == PARQUET
            fresh = (partial(published_blocks, dump, columns or PublishedColumns.read(None)) if published else
                     partial(pieces, dump, size))
            count, read = 0, _shown(_unread(folder, own, fresh, paths), dump, progress)
            for number, block in groupby(read, lambda piece: piece.block):
                path = _part(folder, own, number)
                paths.append(str(path))
                count += 1
                if not path.exists():
                    pool.parse((piece.lines for piece in block), path, published=published)
            pool.finish()
            if count:
                write_text(folder / f"{own}.blocks", str(count))
    parts = _summed(paths)
    if parts.broken > max_broken * (parts.items + parts.others + parts.broken):
        raise _damaged(parts, max_broken)
    return parts


def _shown(read: Iterator[Piece], dump: Path, progress: Progress) -> Iterator[Piece]:
    """Tells of each MiB of a file, of all of them in the end."""
    advanced = 0
    for piece in read:
        yield piece
        for _ in range(piece.read // _MIB - advanced):
            progress.advance({})
        advanced = piece.read // _MIB
    for _ in range(-(-dump.stat().st_size // _MIB) - advanced):
        progress.advance({})


def _unread(folder: Path, own: str, fresh: Callable[[], Iterator[Piece]], paths: list[str]) -> Iterator[Piece]:
    """The pieces of a dump; none, and its parts' paths, where all of it was read before."""
    noted = folder / f"{own}.blocks"
    there = [_part(folder, own, number) for number in range(int(noted.read_text()))] if noted.exists() else []
    if there and all(path.exists() for path in there):
        paths += map(str, there)
    else:
        yield from fresh()


def _part(folder: Path, own: str, block: int) -> Path:
    return folder / f"{own}-{block:07}.parquet"


def _summed(paths: Sequence[str]) -> Parts:
    items = others = broken = 0
    for path, end in zip(paths, footers(paths), strict=True):
        if end is None:
            raise OpenMofiError(f"{path} is damaged.", "Remove it and start the command again: it is read anew.")
        items, others, broken = (items + end.rows, others + _noted(end, "others"), broken + _noted(end, "broken"))
    return Parts(tuple(paths), items, others, broken)


def _noted(end: Footer, name: str) -> int:
    return int(end.notes.get(name, 0))


def _damaged(parts: Parts, allowed: float) -> OpenMofiError:
    total, examples = parts.items + parts.others + parts.broken, list[str]()
    for path in parts.paths:
        kept = _kept_aside(path)
        if kept.exists():
            examples += [json.loads(line)["why"] for line in kept.read_text("utf-8").splitlines()]
        if len(examples) >= _SHOWN:
            break
    return OpenMofiError(
        f"{parts.broken:,} of {total:,} lines cannot be read ({'; '.join(examples[:_SHOWN])}).",
        f"That is more than {allowed:.2%}: fetch the dump again. The lines are beside the parts in "
        f"{Path(parts.paths[0]).parent}.")


def _kept_aside(path: str | Path) -> Path:
    return Path(path).with_suffix(".broken.jsonl")


class _Pool:
    """Workers, and files by which lines get to them; one is free again when its part is written."""

    def __init__(self, executor: ProcessPoolExecutor, slots: Sequence[Path]) -> None:
        self._executor = executor
        self._free = list(slots)
        self._running: dict[Future[None], Path] = {}

    def parse(self, lines: Iterable[bytes], path: Path, *, published: bool) -> None:
        """Have the lines of a block written to its part; waits while all slots are in use."""
        while not self._free:
            self._collect()
        slot = self._free.pop()
        try:
            with open(slot, "wb") as handle:
                handle.writelines(lines)
            self._running[self._executor.submit(_parse, slot, str(path), published)] = slot
        except OSError as error:
            raise write_error(error, slot) from error
        except BrokenProcessPool as error:
            raise _died() from error

    def finish(self) -> None:
        """Wait for all parts."""
        while self._running:
            self._collect()

    def _collect(self) -> None:
        done, _ = wait(self._running, return_when=FIRST_COMPLETED)
        for future in done:
            try:
                future.result()
            except BrokenProcessPool as error:
                raise _died() from error
            self._free.append(self._running.pop(future))


def _died() -> OpenMofiError:
    return OpenMofiError("A process that reads the dump died (out of memory?).",
                         "Start the command again: it goes on with what has not been read yet.")


@contextmanager
def _pool(folder: Path, reading: tuple[tuple[str, ...], tuple[str, ...]], workers: int) -> Iterator[_Pool]:
    executor = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _begin, reading)
    with TemporaryDirectory(prefix=_SLOTS, dir=folder) as slots:
        try:
            yield _Pool(executor, [Path(slots) / str(number) for number in range(workers + 1)])
        finally:
            executor.shutdown(wait=True, cancel_futures=True)


class _NoPandas(MetaPathFinder):
    """Arrow imports pandas, 50 MiB, to ask whether a list is one of its series: to a worker it is not installed."""

    def find_spec(self, fullname: str, path: object, target: object = None) -> None:
        if fullname == "pandas":
            raise ModuleNotFoundError("a process that parses has no use for pandas", name=fullname)


def _begin(languages: tuple[str, ...], external: tuple[str, ...]) -> None:
    global _reader
    sys.meta_path.insert(0, _NoPandas())
    _reader = ItemReader(languages, external)


def _parse(lines: Path, path: str, published: bool) -> None:
    """A worker's task: the lines of a file, or published rows, to their part."""
    with open(lines, "rb") as handle:
        items, broken, others = read_published(_reader, handle) if published else _reader.read(handle)
    if broken:
        write_text(_kept_aside(path), "".join(
            json.dumps(asdict(each), ensure_ascii=False) + "\n" for each in broken))
    write_table(path, items, {"others": str(others), "broken": str(len(broken))})
