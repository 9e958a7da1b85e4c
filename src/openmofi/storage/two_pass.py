"""Tables of a whole corpus, merged in tasks: a sketch says what is worth keeping, and a second pass keeps that.

What a corpus repeats, or what its rows share, is little, but which rows it is only all of them together say. Each part
of the shards gives a sketch of a fixed size; the sketches become one; by that each part gives the few rows that may
count, and these are joined. So the process that drives a job reads one file a part and not all tables of all shards.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, Protocol, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from openmofi.storage.addresses import is_remote, local_path, open_address
from openmofi.storage.atomic import atomic_path, read_arrow, remove_folder, write_arrow
from openmofi.storage.shards import Shard

Block = TypeVar("Block", contravariant=True)
Sketch = NDArray[Any]
Blocks = Callable[[Sequence[Shard]], Iterable[Any]]
Run = Callable[[str, Any, Sequence[Any]], object]
"""Does tasks (`openmofi.engine.protocol.Engine.run`): a name for the progress, a `WorkFactory`, the tasks."""
PART, PARTS = 64, 64
"""Shards of a part, at least; and parts, at most."""


class TwoPass(Protocol[Block]):
    """What is merged, and how. Parts may be cut anywhere, and come in any order: the outcome is the same."""

    def sketch(self, blocks: Iterable[Block]) -> Sketch:
        """Of a part."""

    def combined(self, first: Sketch, second: Sketch) -> Sketch:
        """The sketch of two parts; may change `first`."""

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
        sketch = self.merge.sketch(self.blocks(part.shards))
        with atomic_path(f"{self.folder}/{part.number}.npy") as temporary, open(temporary, "wb") as handle:
            np.save(handle, sketch, allow_pickle=False)
        return {"shards": len(part.shards)}

    def _kept(self, part: _Part) -> dict[str, Any]:
        sketch = _load(f"{self.folder}/all.npy", mapped=True)
        write_arrow(f"{self.folder}/{part.number}.arrow", self.merge.kept(self.blocks(part.shards), sketch))
        return {"shards": len(part.shards)}


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
        whole = reduce(merge.combined, _loaded(folder, parts))
        with atomic_path(f"{folder}/all.npy") as temporary, open(temporary, "wb") as handle:
            np.save(handle, whole, allow_pickle=False)
        del whole
        run("collect", _Pass(merge, blocks, folder, second=True), parts)
        return merge.joined(read_arrow(f"{folder}/{part.number}.arrow") for part in parts)
    finally:
        remove_folder(folder)


def _loaded(folder: str, parts: Sequence[_Part]) -> Iterator[Sketch]:
    for part in parts:
        yield _load(f"{folder}/{part.number}.npy")


def _load(path: str, *, mapped: bool = False) -> Sketch:
    """Read an array; only look at it where it is local and `mapped`, since all workers of a machine share one."""
    if mapped and not is_remote(path):
        return np.load(local_path(path), mmap_mode="r", allow_pickle=False)
    with open_address(path) as handle:
        return np.load(handle, allow_pickle=False)
