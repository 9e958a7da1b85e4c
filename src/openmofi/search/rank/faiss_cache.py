"""FAISS over the segments of an index: a cache, which is made again from them whenever it is missing.

Below 50,000 vectors comparing with all of them is as fast. Up to a few million a graph over bytes (HNSW, SQ8) answers
in about a millisecond; beyond, lists of cells (IVF) with a bit for each dimension (RaBitQ) take a fifth of the memory
of such lists over bytes. What comes back is compared again by the vectors themselves, so that cosines are exact.
`benchmarks/search.py` measures what is chosen here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from openmofi.encoders import Array
from openmofi.search.rank.vectors import Bools, Exact, Ints, VectorIndex, best
from openmofi.search.store.segments import CACHE, Segment
from openmofi.storage import atomic_path, fingerprint

FROM = 50_000
"""Vectors from which on FAISS is used."""
_GRAPH = 4_000_000
_FEW = 0.1
"""Share of allowed vectors below which these alone are compared with all."""
_MANY, _FURTHER, _NEARLY_ALL = 3, 8, 0.9
"""Times `FROM` allowed vectors up to which the same holds, and how much further a filtered graph is walked: where whole
clusters are allowed and the query lies in another, a graph finds .8 of the nearest ten with the usual effort, .96 with
eight times as much (200,000 vectors, half of them allowed). Where a few were removed, nearly all are allowed."""
_NEIGHBOURS_SEEN = 100
"""Of each vector while a graph is built (FAISS's own 40 loses .01 to .025 of recall, for a third of the time)."""
_EFFORT, _PROBES = 256, 128
"""What a query looks at in a graph, and in how many cells; measured for a recall@10 of .98."""
_COMPARED = {"HNSW": (2, 0), "IVF": (5, 500)}
"""How many times what is asked for is compared by the vectors themselves, and how many at least: bits say less of them
than bytes."""
_TRAINED = 65_536
_ROWS = 65_536


@dataclass(frozen=True)
class Layered:
    """FAISS over the first vectors, exact search over what was added since.

    Attributes:
        exact: all vectors.
        covered: how many of them `index` has.
        index: FAISS's.
        factory: the string that describes it.
    """

    exact: Exact
    covered: int
    index: Any
    factory: str

    @property
    def name(self) -> str:
        """See `VectorIndex.name`."""
        return self.factory

    def __len__(self) -> int:
        return len(self.exact)

    def search(self, queries: Array, count: int, allowed: Bools | None = None) -> tuple[Array, Ints]:
        """See `VectorIndex.search`."""
        if allowed is not None and allowed.sum() < max(_FEW * len(self), _MANY * FROM):
            return self.exact.search(queries, count, allowed)
        times, least = next(given for kind, given in _COMPARED.items() if self.factory.startswith(kind))
        found = [self._nearest(queries, max(times * count, least), allowed)]
        if self.covered < len(self):
            rest = np.arange(len(self)) >= self.covered
            found.append(self.exact.search(queries, count, rest if allowed is None else rest & allowed)[1])
        candidates = np.concatenate(found, axis=1)
        scores = np.full(candidates.shape, -np.inf, np.float32)
        for place, query in enumerate(queries):
            there = candidates[place] >= 0
            scores[place, there] = self.exact.rows(candidates[place, there]) @ query
        values, places = best(scores, count)
        positions = np.where(np.isfinite(values), np.take_along_axis(
            candidates, np.minimum(np.maximum(places, 0), candidates.shape[1] - 1), axis=1), -1)
        return values, positions

    def _nearest(self, queries: Array, count: int, allowed: Bools | None) -> Ints:
        faiss, chosen, share = _faiss(), None, 1.0
        if allowed is not None:
            chosen = faiss.IDSelectorBitmap(np.packbits(allowed[:self.covered], bitorder="little"))
            share = max(float(allowed[:self.covered].mean()), 0.01)
        effort = _EFFORT if share > _NEARLY_ALL else _FURTHER * _EFFORT
        # What is not allowed is passed through too: the fewer are allowed, the further it has to go.
        parameters = faiss.SearchParametersHNSW(sel=chosen, efSearch=int(max(effort, count) / share)) \
            if self.factory.startswith("HNSW") else faiss.SearchParametersIVF(sel=chosen, nprobe=int(_PROBES / share))
        # Where another library has loaded FAISS's helpers for torch, `search` takes no parameters.
        search = getattr(self.index, "search_numpy", self.index.search)
        positions: Ints = search(np.ascontiguousarray(queries), min(count, self.covered), params=parameters)[1]
        return positions


def factory_for(count: int) -> str:
    """What suits so many vectors; `""` where FAISS is not worth it."""
    if count < FROM:
        return ""
    # Cells by 4 √n, as FAISS's guidelines have it.
    return "HNSW16,SQ8" if count <= _GRAPH else f"IVF{int(4 * np.sqrt(count))},RaBitQfs"


def vector_index(folder: Path, segments: Sequence[Segment], exact: Exact) -> VectorIndex:
    """What searches the vectors: FAISS as far as the cache has it, else exact."""
    path, covered = _cached(folder, segments)
    if path is None:
        return exact
    try:
        index = _faiss().read_index(str(path))
        if index.ntotal != covered:
            return exact
        return Layered(exact, covered, index, path.name.split("-")[1])
    except (ImportError, RuntimeError):  # what FAISS raises of a damaged file
        return exact


def refresh(folder: Path, segments: Sequence[Segment], exact: Exact) -> None:
    """Make the cache, or add to it what it does not have; nothing where FAISS is not installed or not worth it.

    Raises:
        OpenMofiError: the cache cannot be written.
    """
    factory = factory_for(len(exact))
    path, covered = _cached(folder, segments)
    if not factory or covered == len(exact):
        return
    try:
        faiss = _faiss()
    except ImportError:
        return
    index = faiss.read_index(str(path)) if path and path.name.split("-")[1] == factory else None
    if index is None or index.ntotal != covered:
        covered, index = 0, faiss.index_factory(exact.parts[0].shape[1], factory, faiss.METRIC_INNER_PRODUCT)
        if factory.startswith("HNSW"):
            index.hnsw.efConstruction = _NEIGHBOURS_SEEN
        sample = np.random.default_rng(0).choice(len(exact), min(len(exact), _trained(factory)), replace=False)
        index.train(exact.rows(np.sort(sample)))
    for start in range(covered, len(exact), _ROWS):
        index.add(exact.rows(np.arange(start, min(start + _ROWS, len(exact)))))
    target = folder / CACHE / f"faiss-{factory}-{_key(segments)}.index"
    with atomic_path(target) as temporary:
        faiss.write_index(index, str(temporary))
    for old in (folder / CACHE).glob("faiss-*"):
        if old != target:
            old.unlink(missing_ok=True)


def _faiss() -> Any:
    """The library, whose stubs lack half of it."""
    return import_module("faiss")


def _trained(factory: str) -> int:
    return _TRAINED if factory.startswith("HNSW") else 64 * int(factory.split(",")[0][3:])


def _key(segments: Sequence[Segment]) -> str:
    return fingerprint([segment.file for segment in segments])


def _cached(folder: Path, segments: Sequence[Segment]) -> tuple[Path | None, int]:
    """The cache of most segments, from the first on, and how many vectors it has."""
    files = {path.stem.rpartition("-")[2]: path for path in (folder / CACHE).glob("faiss-*.index")}
    for count in range(len(segments), 0, -1) if files else ():
        if path := files.get(_key(segments[:count])):
            return path, sum(segment.rows for segment in segments[:count])
    return None, 0

