"""Tables of a whole corpus, merged in tasks: a sketch says what is worth keeping, and a second pass keeps that.

What a corpus repeats is little, but which rows it is only all of them together say. Each part of the shards gives a
sketch of a fixed size; a task makes these one; by that each part gives the few rows that may count, and these are
joined. So the process that drives a job reads one small file a part, and neither a sketch nor the tables of the shards.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial, reduce
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
import pyarrow as pa
from numpy.lib.format import read_array, write_array
from numpy.typing import NDArray

from openmofi.engine.steps import Running
from openmofi.storage.addresses import is_remote, local_path, open_address
from openmofi.storage.atomic import (
    atomic_path,
    make_folder,
    read_arrow,
    remove_folder,
    temporary_folder,
    write_arrow,
)
from openmofi.storage.shards import Shard

Block = TypeVar("Block", contravariant=True)
Sketch = NDArray[Any]
Blocks = Callable[[Sequence[Shard]], Iterable[Any]]
PART, PARTS = 64, 64
"""Shards of a part, at least; and parts, at most."""


class TwoPass(Protocol[Block]):
    """Defines what is merged, and how. However parts are cut and ordered, the outcome is the same."""

    def sketch(self, blocks: Iterable[Block]) -> Sketch:
        """Sketch the blocks of a part."""

    def combined(self, first: Sketch, second: Sketch) -> Sketch:
        """Combine the sketches of two parts, in any order to the same result; may change `first`."""

    def counted(self, blocks: Iterable[Block], sketch: Sketch) -> pa.Table:
        """Return the rows of a part that may count by the sketch of all parts."""

    def joined(self, parts: Iterable[pa.Table]) -> pa.Table:
        """Join the counted rows of all parts into the outcome."""


@dataclass(frozen=True)
class Part:
    """Some shards, which one task does."""

    number: int
    shards: tuple[Shard, ...]

    def __str__(self) -> str:
        return f"{self.shards[0]} to {self.shards[-1]}"


def parts_of(shards: Sequence[Shard], most: float = math.inf) -> list[Part]:
    """Cut shards into parts of `PART` or more, at most `PARTS` of them unless parts would be of more than `most`."""
    size = max(1, math.floor(min(max(PART, math.ceil(len(shards) / PARTS)), most)))
    return [
        Part(number, tuple(shards[start : start + size])) for number, start in enumerate(range(0, len(shards), size))
    ]


@contextmanager
def folder_beside(path: str) -> Iterator[str]:
    """Make a folder beside `path` for the block.

    On a local disk each process has its own, and what a killed one left goes with `remove_leftovers`; in a store its
    name follows from `path`.
    """
    if not is_remote(path):
        make_folder(parent := local_path(path).parent)
        with temporary_folder(parent) as own:
            yield str(own)
        return
    remove_folder(folder := f"{path}.parts")
    try:
        yield folder
    finally:
        remove_folder(folder)


@dataclass(frozen=True)
class _Task:
    """Tasks of one kind; a `WorkFactory`."""

    merge: TwoPass[Any]
    blocks: Blocks
    folder: str
    method: Literal["sketch", "combine", "count"]

    def __call__(self) -> Callable[[Any], dict[str, Any]]:
        return getattr(self, self.method)

    def sketch(self, part: Part) -> dict[str, Any]:
        """Save the sketch of a part, compressed, since most of its cells are empty."""
        with (
            atomic_path(f"{self.folder}/{part.number}.zst") as temporary,
            open(temporary, "wb") as handle,
            pa.CompressedOutputStream(handle, "zstd") as packed,
        ):
            write_array(packed, self.merge.sketch(self.blocks(part.shards)), allow_pickle=False)
        return {"shards": len(part.shards)}

    def combine(self, parts: int) -> dict[str, Any]:
        """Make the sketches of all parts one, which can be mapped."""
        sketch = reduce(self.merge.combined, (_load(f"{self.folder}/{number}.zst") for number in range(parts)))
        with atomic_path(f"{self.folder}/all.npy") as temporary, open(temporary, "wb") as handle:
            np.save(handle, sketch, allow_pickle=False)
        return {"sketches": parts}

    def count(self, part: Part) -> dict[str, Any]:
        """Save the rows of a part that may count."""
        counted = self.merge.counted(self.blocks(part.shards), _mapped(f"{self.folder}/all.npy"))
        write_arrow(f"{self.folder}/{part.number}.arrow", counted)
        return {"shards": len(part.shards)}


def merged(merge: TwoPass[Block], blocks: Callable[[], Iterable[Block]]) -> pa.Table:
    """Merge a single part, which is everything."""
    return merge.joined([merge.counted(blocks(), merge.sketch(blocks()))])


def merged_in_tasks(
    merge: TwoPass[Any], blocks: Blocks, shards: Sequence[Shard], path: str, running: Running
) -> pa.Table:
    """Merge the blocks of all shards, in tasks on an engine.

    Args:
        merge: what is merged; travels to the workers, as `blocks` does.
        blocks: gives those of some shards.
        shards: all of them; up to 64 are one part, which is done here.
        path: of the file that will hold the outcome; sketches and rows of the parts are beside it until the end.
        running: does the parts.
    """
    parts = parts_of(shards)
    if len(parts) < 2:
        return merged(merge, lambda: blocks(shards))
    with folder_beside(path) as folder:
        task = partial(_Task, merge, blocks, folder)
        running.do("count", task("sketch"), parts)
        running.do("combine", task("combine"), [len(parts)])
        running.do("collect", task("count"), parts)
        return merge.joined(read_arrow(f"{folder}/{part.number}.arrow") for part in parts)


def _load(path: str) -> Sketch:
    with open_address(path) as handle, pa.CompressedInputStream(handle, "zstd") as packed:
        return read_array(packed, allow_pickle=False)


def _mapped(path: str) -> Sketch:
    """Open an array; where it is local, map it, since all workers of a machine share one."""
    if not is_remote(path):
        return np.load(local_path(path), mmap_mode="r", allow_pickle=False)
    with open_address(path) as handle:
        return np.load(handle, allow_pickle=False)
