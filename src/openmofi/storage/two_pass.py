"""Tables of a whole corpus, merged in tasks: a sketch says what is worth keeping, and a second pass keeps that.

What a corpus repeats, or what its rows share, is little, but which rows it is only all of them together say. Each part
of the shards gives a sketch of a fixed size; the sketches become one, eight at a time in tasks and the rest here; by
that each part gives the few rows that may count, and these are joined. So the process that drives a job reads a few
sketches and one small file a part, and not all tables of all shards.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, Protocol, TypeVar

import numpy as np
import pyarrow as pa
from numpy.lib.format import read_array, write_array
from numpy.typing import NDArray

from openmofi.storage.addresses import is_remote, local_path, open_address
from openmofi.storage.atomic import atomic_path, read_arrow, remove_folder, write_arrow
from openmofi.storage.shards import Shard

Block = TypeVar("Block", contravariant=True)
Sketch = NDArray[Any]
Blocks = Callable[[Sequence[Shard]], Iterable[Any]]
Run = Callable[[str, Any, Sequence[Any]], object]
"""Does tasks (`openmofi.engine.protocol.Engine.run`): a name for the progress, a `WorkFactory`, the tasks."""
PART, PARTS, TOGETHER = 64, 64, 8
"""Shards of a part, at least; parts, at most; and sketches that a task makes one."""


class TwoPass(Protocol[Block]):
    """What is merged, and how. Parts may be cut anywhere, and come in any order: the outcome is the same."""

    def sketch(self, blocks: Iterable[Block]) -> Sketch:
        """Of a part."""

    def combined(self, first: Sketch, second: Sketch) -> Sketch:
        """The sketch of two parts; may change `first`. In whatever order parts are combined, the last is the same."""

    def kept(self, blocks: Iterable[Block], sketch: Sketch) -> pa.Table:
        """The rows of a part that may count by the sketch of all parts."""

    def joined(self, parts: Iterable[pa.Table]) -> pa.Table:
        """The outcome."""


@dataclass(frozen=True)
class _Part:
    number: int
    shards: tuple[Shard, ...]

    def __str__(self) -> str:
        return f"{self.shards[0]} to {self.shards[-1]}"


@dataclass(frozen=True)
class _Pass:
    """One of the two passes over a part; a `WorkFactory`."""

    merge: TwoPass[Any]
    blocks: Blocks
    folder: str
    second: bool

    def __call__(self) -> Callable[[_Part], dict[str, Any]]:
        return self._kept if self.second else self._sketched

    def _sketched(self, part: _Part) -> dict[str, Any]:
        _save(f"{self.folder}/{part.number}.zst", self.merge.sketch(self.blocks(part.shards)))
        return {"shards": len(part.shards)}

    def _kept(self, part: _Part) -> dict[str, Any]:
        sketch = _mapped(f"{self.folder}/all.npy")
        write_arrow(f"{self.folder}/{part.number}.arrow", self.merge.kept(self.blocks(part.shards), sketch))
        return {"shards": len(part.shards)}


@dataclass(frozen=True)
class _Combining:
    """Makes the sketches of some parts one; a `WorkFactory`. Its tasks are the numbers of the parts."""

    merge: TwoPass[Any]
    folder: str

    def __call__(self) -> Callable[[tuple[int, ...]], dict[str, Any]]:
        return self._combined

    def _combined(self, numbers: tuple[int, ...]) -> dict[str, Any]:
        _save(self.path(numbers), self.all(f"{self.folder}/{number}.zst" for number in numbers))
        return {"sketches": len(numbers)}

    def path(self, numbers: tuple[int, ...]) -> str:
        return f"{self.folder}/from-{numbers[0]}.zst"

    def all(self, paths: Iterable[str]) -> Sketch:
        return reduce(self.merge.combined, map(_load, paths))


def merged(merge: TwoPass[Block], blocks: Callable[[], Iterable[Block]]) -> pa.Table:
    """The outcome for one part, which is everything."""
    return merge.joined([merge.kept(blocks(), merge.sketch(blocks()))])


def merged_in_tasks(merge: TwoPass[Any], blocks: Blocks, shards: Sequence[Shard], folder: str,
                    run: Run) -> pa.Table:
    """The outcome for the blocks of all shards.

    Args:
        merge: what is merged; travels to the workers, as `blocks` does.
        blocks: gives those of some shards.
        shards: all of them; up to 64 are one part, which is done here.
        folder: for sketches and rows of the parts; it is gone in the end.
        run: does the parts.
    """
    size = max(PART, math.ceil(len(shards) / PARTS))
    parts = [_Part(number, tuple(shards[start:start + size]))
             for number, start in enumerate(range(0, len(shards), size))]
    if len(parts) < 2:
        return merged(merge, lambda: blocks(shards))
    remove_folder(folder)
    try:
        run("count", _Pass(merge, blocks, folder, second=False), parts)
        combining, numbers = _Combining(merge, folder), range(len(parts))
        some = [tuple(numbers[start:start + TOGETHER]) for start in numbers[::TOGETHER]]
        run("combine", combining, some)
        whole = combining.all(map(combining.path, some))
        with atomic_path(f"{folder}/all.npy") as temporary, open(temporary, "wb") as handle:
            np.save(handle, whole, allow_pickle=False)
        del whole
        run("collect", _Pass(merge, blocks, folder, second=True), parts)
        return merge.joined(read_arrow(f"{folder}/{part.number}.arrow") for part in parts)
    finally:
        remove_folder(folder)


def _save(path: str, sketch: Sketch) -> None:
    """Compressed: most cells of a part's sketch are empty."""
    with (atomic_path(path) as temporary, open(temporary, "wb") as handle,
          pa.CompressedOutputStream(handle, "zstd") as packed):
        write_array(packed, sketch, allow_pickle=False)


def _load(path: str) -> Sketch:
    with open_address(path) as handle, pa.CompressedInputStream(handle, "zstd") as packed:
        return read_array(packed, allow_pickle=False)


def _mapped(path: str) -> Sketch:
    """Read an array; only look at it where it is local, since all workers of a machine share one."""
    if not is_remote(path):
        return np.load(local_path(path), mmap_mode="r", allow_pickle=False)
    with open_address(path) as handle:
        return np.load(handle, allow_pickle=False)
