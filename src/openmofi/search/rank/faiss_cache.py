"""FAISS over the segments of an index: a cache, which is made again from them whenever it is missing.

Below 50,000 vectors comparing with all of them is as fast. Up to a few million a graph over bytes (HNSW, SQ8) answers
in about a millisecond; beyond, lists of cells (IVF) with a bit for each dimension (RaBitQ) take a fifth of the memory
of such lists over bytes. What comes back is compared again by the vectors themselves, so that cosines are exact.
How far a query looks is measured while the cache is made (`effort.py`): some vectors are kept out until the others are
searched for them, and come last. `benchmarks/search.py` measures what is chosen here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from openmofi.encoders import Array
from openmofi.search.rank.effort import COUNT, QUERIES, least_effort
from openmofi.search.rank.vectors import Bools, Effort, Exact, Ints, VectorIndex, best
from openmofi.search.store.segments import CACHE, Segment
from openmofi.storage import atomic_path, fingerprint, write_json

T = TypeVar("T")
FROM = 50_000
"""Vectors from which on FAISS is used."""
_GRAPH = 4_000_000
_FEW = 0.1
"""Share of allowed vectors below which these alone are compared with all."""
_MANY, _NEARLY_ALL = 3, 0.9
"""Times `FROM` allowed vectors up to which the same holds. Beyond, a filtered graph is walked further: where whole
clusters are allowed and the query lies in another, it finds .8 of the nearest ten with an effort of 256, .96 with 2048
(200,000 vectors, half of them allowed). Where a few were removed, nearly all are allowed."""
_NEIGHBOURS_SEEN = 100
"""Of each vector while a graph is built (FAISS's own 40 loses .01 to .025 of recall, for a third of the time)."""
_EFFORTS = {"HNSW": (64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048),
            "IVF": (16, 32, 64, 96, 128, 192, 256, 512)}
"""What a query looks at in a graph, and in how many cells: values that are tried."""
_WALKED = 2048
"""The same in a graph with a filter, at least."""
_GROWN = 1.25
"""Times as many vectors as when it was measured, from which on it is measured again."""
_KEPT_OUT = 50
"""One in so many vectors is kept out, at most."""
_COMPARED = {"HNSW": (1, 32), "IVF": (5, 450)}
"""How many times what is asked for is compared by the vectors themselves, and how many more: bits say less of them than
bytes, by which few of the nearest change places."""
_UNKNOWN = Effort(0, 0.0, 0, 0)
_TRAINED = 65_536
_ROWS = 65_536


@dataclass(frozen=True)
class Order:
    """FAISS numbers vectors as they come: those that were kept out come after the others of the first.

    Attributes:
        kept_out: (h,) positions, rising.
        first: how many vectors there were; later ones have their positions as numbers.
    """

    kept_out: tuple[int, ...]
    first: int

    def positions(self, numbers: Ints) -> Ints:
        """Positions of FAISS's numbers; −1 stays."""
        kept = np.array(self.kept_out, np.int64)
        others = self.first - len(kept)
        moved = numbers + np.searchsorted(kept - np.arange(len(kept)), numbers, side="right")
        last = np.concatenate([kept, [-1]])[np.clip(numbers - others, -1, len(kept) - 1)]
        return np.select([numbers < 0, numbers < others, numbers < self.first], [numbers, moved, last], numbers)

    def numbered(self, allowed: Bools) -> Bools:
        """By position → by FAISS's number."""
        kept = np.array(self.kept_out, np.int64)
        first = allowed[:self.first]
        return np.concatenate([np.delete(first, kept), first[kept], allowed[self.first:]])


@dataclass(frozen=True)
class Layered:
    """FAISS over the first vectors, exact search over what was added since.

    Attributes:
        exact: all vectors.
        covered: how many of them `index` has.
        index: FAISS's.
        factory: the string that describes it.
        order: of FAISS's numbers.
        effort: how far a query looks.
    """

    exact: Exact
    covered: int
    index: Any
    factory: str
    order: Order
    effort: Effort

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
        times, more = self._of(_COMPARED)
        found = [self._nearest(queries, times * count + more, allowed)]
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

    def measured(self, allowed: Bools, kinds: Mapping[str, Array]) -> Effort:
        """The effort that queries need; see `least_effort`."""
        return least_effort(
            lambda queries, value: replace(self, effort=replace(self.effort, value=value)).search(queries, COUNT)[1],
            self.exact, allowed, kinds, self._of(_EFFORTS))

    def _of(self, by_kind: Mapping[str, T]) -> T:
        return next(given for kind, given in by_kind.items() if self.factory.startswith(kind))

    def _nearest(self, queries: Array, count: int, allowed: Bools | None) -> Ints:
        faiss, chosen, share, effort = _faiss(), None, 1.0, self.effort.value
        if allowed is not None:
            some = self.order.numbered(allowed[:self.covered])
            chosen = faiss.IDSelectorBitmap(np.packbits(some, bitorder="little"))
            share = max(float(some.mean()), 0.01)
        # What is not allowed is passed through too: the fewer are allowed, the further it has to go.
        if self.factory.startswith("HNSW"):
            walked = effort if share > _NEARLY_ALL else max(effort, _WALKED)
            parameters = faiss.SearchParametersHNSW(sel=chosen, efSearch=int(max(walked, count) / share))
        else:
            parameters = faiss.SearchParametersIVF(sel=chosen, nprobe=int(effort / share))
        # Where another library has loaded FAISS's helpers for torch, `search` takes no parameters.
        search = getattr(self.index, "search_numpy", self.index.search)
        numbers: Ints = search(np.ascontiguousarray(queries), min(count, self.index.ntotal), params=parameters)[1]
        return self.order.positions(numbers)


def factory_for(count: int) -> str:
    """What suits so many vectors; `""` where FAISS is not worth it."""
    if count < FROM:
        return ""
    # Cells by 4 √n, as FAISS's guidelines have it.
    return "HNSW16,SQ8" if count <= _GRAPH else f"IVF{int(4 * np.sqrt(count))},RaBitQfs"


def vector_index(folder: Path, segments: Sequence[Segment], exact: Exact) -> VectorIndex:
    """What searches the vectors: FAISS as far as the cache has it, else exact."""
    path, covered = _cached(folder, segments)
    return (path and _opened(path, covered, exact)) or exact


def _opened(path: Path, covered: int, exact: Exact) -> Layered | None:
    """A cache of so many vectors; `None` where it is damaged."""
    try:
        index = _faiss().read_index(str(path))
        noted = json.loads(path.with_suffix(".json").read_text())
        order = Order(tuple(noted["order"]["kept_out"]), noted["order"]["first"])
        effort = Effort(**noted["effort"])
    except (ImportError, RuntimeError, OSError, ValueError, KeyError, TypeError):  # FAISS raises the second
        return None
    return Layered(exact, covered, index, path.name.split("-")[1], order, effort) if index.ntotal == covered else None


def refresh(folder: Path, segments: Sequence[Segment], exact: Exact, texts: Array) -> None:
    """Make the cache, or add to it what it does not have; nothing where FAISS is not installed or not worth it.

    Args:
        folder: of the index.
        segments: of its vectors.
        exact: the vectors.
        texts: (e, dim) further queries by which is measured what is found.

    Raises:
        OpenMofiError: the cache cannot be written.
    """
    factory = factory_for(len(exact))
    path, covered = _cached(folder, segments)
    if not factory or find_spec("faiss") is None:
        return
    before = _opened(path, covered, exact) if path and path.name.split("-")[1] == factory else None
    if before is not None and covered == len(exact):
        return
    asked = np.random.default_rng(0).permutation(texts)[:QUERIES]
    made = _made(exact, factory, asked) if before is None else _grown(before, asked)
    target = folder / CACHE / f"faiss-{factory}-{_key(segments)}.index"
    note = target.with_suffix(".json")
    write_json(note, {"effort": asdict(made.effort), "order": asdict(made.order)})
    with atomic_path(target) as temporary:
        _faiss().write_index(made.index, str(temporary))
    for old in (folder / CACHE).glob("faiss-*"):
        if old not in (target, note):
            old.unlink(missing_ok=True)


def _made(exact: Exact, factory: str, texts: Array) -> Layered:
    faiss, draw, count = _faiss(), np.random.default_rng(0), len(exact)
    index = faiss.index_factory(exact.parts[0].shape[1], factory, faiss.METRIC_INNER_PRODUCT)
    if factory.startswith("HNSW"):
        index.hnsw.efConstruction = _NEIGHBOURS_SEEN
    index.train(exact.rows(np.sort(draw.choice(count, min(count, _trained(factory)), replace=False))))
    kept_out = np.sort(draw.choice(count, min(QUERIES, count // _KEPT_OUT), replace=False))
    others = np.ones(count, bool)
    others[kept_out] = False
    _add(index, exact, np.flatnonzero(others))
    made = Layered(exact, count, index, factory, Order(tuple(kept_out.tolist()), count), _UNKNOWN)
    effort = made.measured(others, {"images": exact.rows(kept_out), "texts": texts})
    _add(index, exact, kept_out)
    return replace(made, effort=replace(effort, vectors=count))


def _grown(before: Layered, texts: Array) -> Layered:
    """With what has come since. It is measured again where that is much: by some of it, before it is added."""
    new, effort = np.arange(before.covered, len(before)), before.effort
    if len(before) > _GROWN * effort.vectors:
        there = np.arange(len(before)) < before.covered
        some = np.random.default_rng(0).permutation(new)[:QUERIES]
        again = replace(before, covered=len(before)).measured(
            there, {"images": before.exact.rows(np.sort(some)), "texts": texts})
        effort = replace(max(again, effort, key=lambda each: each.value), vectors=len(before))
    _add(before.index, before.exact, new)
    return replace(before, covered=len(before), effort=effort)


def _add(index: Any, exact: Exact, positions: Ints) -> None:
    for start in range(0, len(positions), _ROWS):
        index.add(exact.rows(positions[start:start + _ROWS]))


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

