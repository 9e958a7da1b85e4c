"""Finds which keys of a corpus belong together (`openmofi.labeling.groups`), in tasks of which none holds the corpus.

1. Each part of the shards gives the distinct keys of its pairs, by ranges of hashes, and how many pairs have each.
2. Each range keeps the keys that two pairs or more have, over all parts. One after another these are the *nodes*.
3. Each part gives the distinct triples of nodes that its pairs have.
4. One task joins what the triples link, by union-find in files that are mapped: eight bytes a node each.

So the process that drives a job reads no key.
"""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, groupby, pairwise
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from openmofi.arrays import Hashes, Ints
from openmofi.engine.steps import Running
from openmofi.engine.two_pass import Part, folder_beside, parts_of
from openmofi.labeling.groups import LARGEST, PairKeys, positions_in
from openmofi.schema import GROUPS
from openmofi.storage.addresses import is_remote, local_path, open_address, open_ranges
from openmofi.storage.atomic import atomic_path, read_arrow, write_arrow, write_error
from openmofi.storage.shards import Shard

_PART, _RANGE, _LINKS = 1 << 22, 1 << 23, 1 << 21
"""Pairs of a part at most, keys of a range and links of a bucket in the mean."""
_BLOCK = 1 << 20
_KINDS = ("source", "template", "image")
_COUNTED = pa.schema([("key", pa.uint64()), ("pairs", pa.int64())])


def merge_groups(
    path: str,
    blocks: Callable[[Sequence[Shard]], Iterable[PairKeys]],
    shards: Sequence[Shard],
    pairs: int,
    running: Running,
) -> None:
    """Write the groups of a corpus: keys of one group have one number (`openmofi.schema.GROUPS`).

    However the corpus is cut and ordered, the bytes are the same.

    Args:
        path: of the table; local or in a store.
        blocks: gives the keys of the pairs of some shards, in blocks; travels to the workers.
        shards: all of them; where they are one part, it is done here.
        pairs: of all shards.
        running: does the tasks.
    """
    parts = parts_of(shards, _PART / max(pairs / max(len(shards), 1), 1))
    with folder_beside(path) as folder:
        merge = _Merge(blocks, pairs, folder, len(parts))

        def do(name: str, method: str, tasks: Sequence[Any]) -> None:
            work = _Work(merge, method)
            if len(parts) > 1:
                running.do(name, work, tasks)
            else:
                for task in tasks:
                    work()(task)

        do("cut", "cut", parts)
        do("keep", "keep", range(merge.ranges))
        merge.concatenate()
        do("look up", "look_up", parts)
        do("join", "join", [path])


@dataclass(frozen=True)
class _Work:
    """Tasks of one kind; a `WorkFactory`."""

    merge: _Merge
    method: str

    def __call__(self) -> Callable[[Any], dict[str, Any]]:
        return getattr(self.merge, self.method)


@dataclass(frozen=True)
class _Merge:
    """The tasks.

    Attributes:
        blocks, pairs: see `merge_groups`.
        folder: for what lies between the tasks.
        parts: how many there are.
    """

    blocks: Callable[[Sequence[Shard]], Iterable[PairKeys]]
    pairs: int
    folder: str
    parts: int

    @property
    def ranges(self) -> int:
        """Return how many ranges of hashes there are, a power of two."""
        return 1 << max(0, math.ceil(math.log2(max(len(_KINDS) * self.pairs, 1) / _RANGE)))

    def cut(self, part: Part) -> dict[str, Any]:
        """Write the distinct keys of a part, a record batch for each kind of each range."""
        bounds = np.array([2**64 * number // self.ranges for number in range(1, self.ranges)], np.uint64)
        cuts = []
        values = [np.zeros((len(_KINDS), 0), np.uint64), *(block.values for block in self.blocks(part.shards))]
        for of_kind in np.concatenate(values, axis=1):
            keys, pairs = np.unique(of_kind[of_kind > 0], return_counts=True)
            batch = pa.record_batch([pa.array(keys), pa.array(pairs.astype(np.int64))], schema=_COUNTED)
            ends = [0, *np.searchsorted(keys, bounds).tolist(), len(keys)]
            cuts.append([batch.slice(start, end - start) for start, end in pairwise(ends)])
        with atomic_path(self._counted(part.number)) as temporary, pa.ipc.new_file(str(temporary), _COUNTED) as writer:
            for batch in chain.from_iterable(zip(*cuts, strict=True)):
                writer.write_batch(batch)
        return {"shards": len(part.shards)}

    def keep(self, number: int) -> dict[str, Any]:
        """Write the keys of a range that join: those of several pairs, and of sources these that are not too large."""
        of_kinds: list[list[pa.RecordBatch]] = [[], [], []]
        for part in range(self.parts):
            with open_ranges(self._counted(part)) as handle, pa.ipc.open_file(handle) as file:
                for kind, held in enumerate(of_kinds):
                    held.append(file.get_batch(len(_KINDS) * number + kind))
        kept = []
        for kind, held in enumerate(of_kinds):
            table = pa.Table.from_batches(held, _COUNTED)
            keys, inverse = np.unique(table["key"].to_numpy(), return_inverse=True)
            pairs = np.bincount(inverse, table["pairs"].to_numpy(), len(keys))
            kept.append(keys[(pairs > 1) & ((kind > 0) | (pairs <= LARGEST * self.pairs))])
        with atomic_path(self._kept(number)) as temporary:
            np.unique(np.concatenate(kept)).tofile(temporary)
        return {"parts": self.parts}

    def concatenate(self) -> None:
        """Write the nodes: 0, which is no key, and what the ranges kept."""
        with atomic_path(f"{self.folder}/nodes") as temporary, open(temporary, "wb") as nodes:
            nodes.write(bytes(8))
            for number in range(self.ranges):
                with open_address(self._kept(number)) as kept:
                    shutil.copyfileobj(kept, nodes, _BLOCK)

    @cached_property
    def nodes(self) -> Hashes:
        """(nodes + 1,) ascending keys; mapped where they are local."""
        path = f"{self.folder}/nodes"
        if not is_remote(path):
            return np.memmap(local_path(path), np.uint64, "r").view(np.ndarray)
        with open_address(path) as handle:
            return np.frombuffer(handle.read(), np.uint64)

    def look_up(self, part: Part) -> dict[str, Any]:
        """Write the distinct triples of nodes that the pairs of a part have, and how many pairs have each."""
        triples, held = [(np.zeros((3, 0), np.int64), np.zeros(0, np.int64))], 0
        for block in self.blocks(part.shards):
            nodes = np.maximum(positions_in(self.nodes, block.values), 0)
            nodes = nodes[:, nodes.any(axis=0)]
            triples.append(_summed([(nodes, np.ones(nodes.shape[1], np.int64))]))
            held += triples[-1][0].shape[1]
            if held >= max(_BLOCK, triples[0][0].shape[1]):
                triples, held = [_summed(triples)], 0
        nodes, pairs = _summed(triples)
        write_arrow(self._linked(part.number), pa.table({**dict(zip(_KINDS, nodes, strict=True)), "pairs": pairs}))
        return {"shards": len(part.shards)}

    def join(self, path: str) -> dict[str, Any]:
        """Write the groups."""
        # Files of a task of its own, since a task may be tried again before its first try has ended.
        beside = None if is_remote(self.folder) else local_path(self.folder)
        with tempfile.TemporaryDirectory(dir=beside) as scratch:
            parent, size, of_source, group = (
                _zeros(f"{scratch}/{number}", dtype, len(self.nodes))
                for number, dtype in enumerate((np.int64, np.int64, np.int64, np.uint64))
            )
            for block in _blocks(parent):
                parent[block] = np.arange(block.start, block.stop)
            for source, template, image, pairs in self._triples():
                both = (template > 0) & (image > 0)
                _unite(parent, template[both], image[both])
                np.add.at(of_source, source, pairs)
            for source, template, image, pairs in self._triples():
                strong = np.where(template > 0, template, image)
                np.add.at(size, _roots(parent, np.where(strong > 0, strong, source)), pairs)
            for source, strong in self._links(parent, of_source, scratch):
                _join_by_sources(source, strong, parent, size, LARGEST * self.pairs)
            for block in _blocks(parent):
                # The least key of a group is its number.
                group[block] = self.nodes[_roots(parent, np.arange(block.start, block.stop))]
            columns = [pa.array(self.nodes[1:]), pa.array(group[1:])]
            write_arrow(path, pa.Table.from_arrays(columns, schema=GROUPS))
        return {"groups": len(self.nodes) - 1}

    def _triples(self) -> Iterator[tuple[Ints, ...]]:
        """Yield sources, templates, images and numbers of pairs of the parts' triples."""
        for part in range(self.parts):
            table = read_arrow(self._linked(part))
            for block in _blocks(table):
                yield tuple(column.to_numpy()[block] for column in table.columns)

    def _links(self, parent: Ints, of_source: Ints, scratch: str) -> Iterator[tuple[Ints, Ints]]:
        """Yield sources and what their pairs are in, the smallest source first and those of a source together."""

        def unsorted() -> Iterator[tuple[Ints, Ints]]:
            for source, template, image, _ in self._triples():
                strong = np.where(template > 0, template, image)
                linked = (source > 0) & (strong > 0)
                source, strong = source[linked], strong[linked]
                yield of_source[source] * len(parent) + source, strong

        count, sample = 0, [np.zeros(1, np.int64)]
        for order, _ in unsorted():
            count += len(order)
            sample.append(order[::64])
        buckets = count // _LINKS + 1
        bounds = np.quantile(np.concatenate(sample), np.arange(1, buckets) / buckets, method="lower")
        for order, strong in unsorted():
            bucket = np.searchsorted(bounds, order, side="right")
            for number in np.unique(bucket).tolist():
                try:
                    with open(path := f"{scratch}/bucket-{number}", "ab") as file:
                        file.write(np.stack([order, strong], axis=1)[bucket == number].tobytes())
                except OSError as error:
                    raise write_error(error, path) from error
        for number in range(buckets):
            if (written := Path(scratch, f"bucket-{number}")).exists():
                links = np.fromfile(written, np.int64).reshape(-1, 2)
                order, strong = links[np.argsort(links[:, 0], kind="stable")].T
                yield order % len(parent), strong

    def _counted(self, part: int) -> str:
        return f"{self.folder}/counted-{part}.arrow"

    def _kept(self, number: int) -> str:
        return f"{self.folder}/kept-{number}"

    def _linked(self, part: int) -> str:
        return f"{self.folder}/linked-{part}.arrow"


def _blocks(values: Any) -> Iterator[slice]:
    return (slice(start, min(start + _BLOCK, len(values))) for start in range(0, len(values), _BLOCK))


def _zeros(path: str, dtype: type, length: int) -> Any:
    """Map a new file of zeros, which are written: where the disk is full, a sparse file would end the process later."""
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        for block in _blocks(range(length)):
            file.write(bytes(8 * (block.stop - block.start)))
    return np.memmap(path, dtype, "r+").view(np.ndarray)


def _summed(parts: Sequence[tuple[Ints, Ints]]) -> tuple[Ints, Ints]:
    """Return the distinct columns of (3, n) nodes, and how many of (n,) pairs have each."""
    nodes, pairs = np.concatenate([nodes for nodes, _ in parts], axis=1), np.concatenate([pairs for _, pairs in parts])
    order = np.lexsort(nodes)
    nodes = nodes[:, order]
    first = np.flatnonzero(np.r_[len(order) > 0, (nodes[:, 1:] != nodes[:, :-1]).any(axis=0)][: len(order)])
    return nodes[:, first], np.add.reduceat(pairs[order], first) if len(first) else pairs


def _roots(parent: Ints, nodes: Ints) -> Ints:
    """Return the root of each node, and halve the ways there."""
    while ((above := parent[nodes]) != (second := parent[above])).any():
        parent[nodes] = second
        nodes = second
    return above


def _unite(parent: Ints, first: Ints, second: Ints) -> None:
    """Join the sets of `first` and `second`, one by one; the least node of a set is its root."""
    while len(first):
        first, second = _roots(parent, first), _roots(parent, second)
        first, second = np.minimum(first, second), np.maximum(first, second)
        apart = first < second
        first, second = first[apart], second[apart]
        np.minimum.at(parent, second, first)


def _join_by_sources(source: Ints, strong: Ints, parent: Ints, size: Ints, most: float) -> None:
    """Join what the pairs of a source are in, source by source, unless the set would be too large.

    Args:
        source, strong: (links,) node of a source, and one of what a pair of it is in; those of a source together.
        parent: (nodes,) a node that is nearer to the root of its set.
        size: (nodes,) at the root of a set, its pairs.
        most: pairs that a joined set may have.
    """

    def root(node: int) -> int:
        while (above := int(parent[node])) != node:
            parent[node] = node = int(parent[above])
        return node

    for of_source, links in groupby(zip(source.tolist(), strong.tolist(), strict=True), itemgetter(0)):
        members = {root(of_source), *(root(node) for _, node in links)}
        if (total := sum(int(size[member]) for member in members)) <= most:
            target = min(members)
            for member in members:
                parent[member] = target
            size[target] = total
