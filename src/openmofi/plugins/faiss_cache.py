"""FAISS over the segments of an index: a cache, which is made again from them whenever it is missing.

- Entry points: `openmofi.vector_caches` `faiss`
- Needs: `openmofi[search]`; without it all vectors are compared
- Use: `openmofi index build`; searches take it from 50,000 vectors on
- Never: returns a cosine that is not exact
- Tests: `tests/plugins/test_faiss_cache.py`
- Documentation: `docs/search.md`

Below 50,000 vectors comparing with all of them is as fast. Beyond, vectors lie in cells (IVF) as two bits for each
dimension (product quantization, whose table for a query serves all cells): at a million that takes a fraction of the
memory of a graph (HNSW) and of its time to build, is faster for the same recall, and finds also what a filter allows
far from the query. What comes back is compared again by the vectors themselves. How far a query looks is measured when
the cache is made, without a filter and with filters of whole cells. `benchmarks/search.py` measures what is chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from openmofi.arrays import Array, Bools, Doubles, Ints
from openmofi.errors import OpenMofiError
from openmofi.search.store.connection import Effort, Segment, VectorIndex, Vectors
from openmofi.search.store.vectors import CACHE, Exact, best
from openmofi.storage import atomic_path, fingerprint, read_json, write_json

# It depends on the vectors, so that no constant suits: it is measured when the index is made, by queries that are some
# of its own vectors, each of which is then no answer to itself, and by texts of entities, which lie elsewhere.

QUERIES = 500
"""Of each kind, at most."""
COUNT = 10
GOAL = 0.98
_SURE = 1.64
"""Standard errors by which the recall of the queries has to be above the goal: 95 % sure that it is for all."""
_EFFORT_ROWS = 16_384


@dataclass(frozen=True)
class QuerySet:
    """Queries of one kind.

    Attributes:
        queries: (q, dim) L2-normalised.
        own: (q,) their own positions among the vectors; −1 where they are not among them.
    """

    queries: Array
    own: Ints


def least_effort(
    search: Callable[[Array, int, int], Ints],
    vectors: Vectors,
    allowed: Bools | None,
    kinds: Mapping[str, QuerySet],
    values: Sequence[int],
) -> Effort:
    """The least effort whose recall@10 is .98, with 95 % confidence, for each kind of query; else the last one.

    Args:
        search: (q, dim) queries, k and an effort → (q, k) positions that are found.
        vectors: all of them.
        allowed: (n,) which of them are searched; all where not given.
        kinds: queries of each kind; kinds without queries are left out.
        values: efforts to try, rising.
    """
    among = np.ones(len(vectors), bool) if allowed is None else allowed
    nonempty = {kind: some for kind, some in kinds.items() if len(some.queries)}
    truth = {kind: nearest(vectors, some, among) for kind, some in nonempty.items()}
    least = 0.0
    for value in values:
        shares = [
            _shares(_others(search(some.queries, COUNT + 1, value), some.own), truth[kind])
            for kind, some in nonempty.items()
        ]
        least = min((float(share.mean()) for share in shares), default=0.0)
        if all(share.mean() - _SURE * share.std() / len(share) ** 0.5 >= GOAL for share in shares):
            break
    return Effort(value, round(least, 4), sum(len(some.queries) for some in nonempty.values()), len(vectors))


def nearest(vectors: Vectors, query_set: QuerySet, allowed: Bools) -> Ints:
    """(q, 10) positions of the nearest allowed vectors but themselves, exactly; reads each vector once."""
    count = len(query_set.queries)
    values, positions = np.full((count, 0), -np.inf, np.float32), np.zeros((count, 0), np.int64)
    for start in range(0, len(vectors), _EFFORT_ROWS):
        rows = start + np.flatnonzero(allowed[start : start + _EFFORT_ROWS])
        scores, columns = best(query_set.queries @ vectors.rows(rows).T, min(COUNT + 1, len(rows)))
        candidates = np.concatenate([positions, rows[columns]], axis=1)
        values, order = best(np.concatenate([values, scores], axis=1), min(COUNT + 1, candidates.shape[1]))
        positions = np.take_along_axis(candidates, order, axis=1)
    return _others(positions, query_set.own)


def _others(positions: Ints, itself: Ints) -> Ints:
    """(q, k + 1) → (q, k): without its own, else without the last."""
    order = np.argsort(positions == itself[:, None], axis=1, kind="stable")
    return np.take_along_axis(positions, np.sort(order[:, :-1], axis=1), axis=1)


def _shares(retrieved: Ints, truth: Ints) -> Doubles:
    """(q,) of each query the share of the true nearest that was found."""
    return np.asarray((truth[:, :, None] == retrieved[:, None, :]).any(axis=2).mean(axis=1))


FROM = 50_000
"""Vectors from which on FAISS is used."""
_BITS_FROM = 192
"""Dimensions, of an even number, from which on two bits for each say enough of vectors; below, bytes take as little."""
_FEW, _LEAST = 0.02, 10_000
"""Share of allowed vectors, and their number, up to which these alone are compared with all."""
_NEARLY_ALL = 0.9
"""Share of allowed vectors from which on a few were removed, and that is all."""
_SHARES = (0.5, 0.1, 0.02)
"""Shares of allowed vectors for which is measured how far a query has to look, falling."""
_FILTERED_QUERIES = 200
"""Of each kind, that measure it."""
_EFFORTS = (
    *range(16, 64, 8),
    *range(64, 128, 16),
    *range(128, 256, 32),
    *range(256, 512, 64),
    *(512, 640, 768, 1024, 1280, 1536, 2048, 3072, 4096, 8192),
)
"""Cells that a query looks into: values that are tried, as far as there are so many."""
_GROWN = 1.25
"""Times as many vectors as when it was made, from which on it is made again: cells are of what there was."""
_TIMES, _COMPARED, _COMPARED_OF_BITS, _COMPARED_OF_MANY, _MANY = 6, 80, 130, 270, 200_000
"""How many times what is asked for is compared by the vectors themselves, since codes say little, and how many at
least: more of caches that an earlier version made of single bits (RaBitQ), and from so many vectors on, where the
nearest lie closer together.
"""
_UNKNOWN = Effort(0, 0.0, 0, 0)
_CELL = 250
"""Vectors of a cell, at least: fewer take less time than the cell itself."""
_TRAINED = 40
"""Vectors a cell by which cells are found (FAISS asks for 39 at least)."""
_ROWS = 65_536


@dataclass(frozen=True)
class Layered:
    """FAISS over the first vectors, exact search over what was added since.

    Attributes:
        exact: all vectors.
        covered: how many of them `index` has.
        index: FAISS's.
        name: FAISS's factory string, which describes it.
        effort: how far a query looks.
        filtered: the same where only a share of the vectors is allowed, by `_SHARES`.
    """

    exact: Exact
    covered: int
    index: Any
    name: str
    effort: Effort
    filtered: tuple[Effort, ...]

    def __len__(self) -> int:
        return len(self.exact)

    def search(self, queries: Array, count: int, allowed: Bools | None = None) -> tuple[Array, Ints]:
        """See `VectorIndex.search`."""
        if allowed is not None and allowed.sum() <= max(_FEW * len(self), _LEAST):
            return self.exact.search(queries, count, allowed)
        return self._search(queries, count, allowed, self._cells(allowed))

    def _search(self, queries: Array, count: int, allowed: Bools | None, cells: int) -> tuple[Array, Ints]:
        least = _COMPARED_OF_BITS if "RaBitQ" in self.name else _COMPARED
        compared = max(_TIMES * count, least if self.covered < _MANY else _COMPARED_OF_MANY)
        parts = [self._nearest(queries, compared, allowed, cells)]
        if self.covered < len(self):
            rest = np.arange(len(self)) >= self.covered
            parts.append(self.exact.search(queries, count, rest if allowed is None else rest & allowed)[1])
        candidates = np.concatenate(parts, axis=1) if len(parts) > 1 else parts[0]
        values, positions = np.full((len(queries), count), -np.inf, np.float32), np.full((len(queries), count), -1)
        for row, query in enumerate(queries):
            there = candidates[row][candidates[row] >= 0]
            scores = self.exact.rows(there) @ query
            order = np.argsort(-scores, kind="stable")[:count]
            values[row, : len(order)], positions[row, : len(order)] = scores[order], there[order]
        return values, positions

    def measured(self, kinds: Mapping[str, QuerySet]) -> Layered:
        """Return a copy with the efforts that queries need; see `least_effort`."""

        def effort(allowed: Bools | None, most: int) -> Effort:
            def search(queries: Array, count: int, cells: int) -> Ints:
                return self._search(queries, count, allowed, cells)[1]

            return least_effort(
                search,
                self.exact,
                allowed,
                {kind: QuerySet(query_set.queries[:most], query_set.own[:most]) for kind, query_set in kinds.items()},
                [*(cells for cells in _EFFORTS if cells < self.index.nlist), self.index.nlist],
            )

        filtered = tuple(effort(self._of_cells(share), _FILTERED_QUERIES) for share in _SHARES)
        return replace(self, effort=effort(None, QUERIES), filtered=filtered)

    def _of_cells(self, share: float) -> Bools:
        """(n,) the vectors of so many cells by chance that they hold a share of all."""
        faiss, lists, allowed = _faiss(), self.index.invlists, np.zeros(len(self), bool)
        left = share * self.index.ntotal
        for cell in np.random.default_rng(0).permutation(self.index.nlist).tolist():
            if left <= 0:
                break
            if size := lists.list_size(cell):
                allowed[faiss.rev_swig_ptr(lists.get_ids(cell), size)] = True
            left -= size
        return allowed

    def _cells(self, allowed: Bools | None) -> int:
        """How many a query looks into: what is not allowed is passed by, and the allowed ones may lie far from it."""
        share = 1.0 if allowed is None else float(allowed[: self.covered].mean())
        if share > _NEARLY_ALL:
            return int(self.effort.value / share)
        enough = (effort.value for least, effort in zip(_SHARES, self.filtered, strict=True) if share >= least)
        return max(self.effort.value, next(enough, self.filtered[-1].value))

    def _nearest(self, queries: Array, count: int, allowed: Bools | None, cells: int) -> Ints:
        faiss, chosen = _faiss(), None
        if allowed is not None:
            chosen = faiss.IDSelectorBitmap(np.packbits(allowed[: self.covered], bitorder="little"))
        parameters = faiss.SearchParametersIVF(sel=chosen, nprobe=cells)
        # Where another library has loaded FAISS's helpers for torch, `search` takes no parameters.
        search = getattr(self.index, "search_numpy", self.index.search)
        return search(np.ascontiguousarray(queries), min(count, self.index.ntotal), params=parameters)[1]


def factory_for(count: int, dim: int) -> str:
    """Return FAISS's factory string for so many vectors; `""` where FAISS is not worth it."""
    if count < FROM:
        return ""
    cells = int(min(4 * np.sqrt(count), count / _CELL))  # 4 √n: FAISS's guidelines
    return f"IVF{cells},{'SQ8' if dim < _BITS_FROM or dim % 2 else f'PQ{dim // 2}x4fs'}"


def vector_index(folder: Path, segments: Sequence[Segment], exact: Exact) -> VectorIndex:
    """Return what searches the vectors: FAISS as far as the cache has it, else exact."""
    return _cached(folder, segments, exact) or exact


@dataclass(frozen=True)
class _Measured:
    """What the JSON file beside the cache says."""

    effort: Effort
    filtered: tuple[Effort, ...]


def _opened(path: Path, covered: int, exact: Exact) -> Layered | None:
    """A cache of so many vectors; `None` where it is damaged."""
    try:
        index = _faiss().read_index(str(path))
        measured = read_json(path.with_suffix(".json"), _Measured, "")
    except (ImportError, RuntimeError, OpenMofiError):  # FAISS raises the second
        return None
    made = Layered(exact, covered, index, path.name.split("-")[1], measured.effort, measured.filtered)
    return made if index.ntotal == covered and len(measured.filtered) == len(_SHARES) else None


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
    factory = factory_for(len(exact), texts.shape[1])
    if not factory or find_spec("faiss") is None:
        return
    before = _cached(folder, segments, exact)
    if before is not None and before.covered == len(exact):
        return
    if before is None or len(exact) > _GROWN * before.effort.vectors:
        made = _made(exact, factory, texts)
    else:
        made = replace(before, covered=len(exact))
        _add(made.index, exact, before.covered)
    target = folder / CACHE / f"faiss-{made.name}-{fingerprint([each.file for each in segments])}.index"
    note = target.with_suffix(".json")
    write_json(note, {"effort": asdict(made.effort), "filtered": [asdict(each) for each in made.filtered]})
    with atomic_path(target) as temporary:
        _faiss().write_index(made.index, str(temporary))
    for old in (folder / CACHE).glob("faiss-*"):
        if old not in (target, note):
            old.unlink(missing_ok=True)


def _made(exact: Exact, factory: str, texts: Array) -> Layered:
    faiss, draw, count = _faiss(), np.random.default_rng(0), len(exact)
    # Of vectors of length 1 the nearest are those of the largest inner product; cells and bits are truer so.
    index = faiss.index_factory(exact.parts[0].shape[1], factory, faiss.METRIC_L2)
    order = draw.permutation(count)
    tested, others = order[:QUERIES], order[QUERIES:][: _TRAINED * index.nlist]
    index.train(exact.rows(np.sort(others)))
    _add(index, exact, 0)
    some = draw.permutation(texts)[:QUERIES]
    return Layered(exact, count, index, factory, _UNKNOWN, ()).measured(
        {"images": QuerySet(exact.rows(tested), tested), "texts": QuerySet(some, np.full(len(some), -1))}
    )


def _add(index: Any, exact: Exact, first: int) -> None:
    for start in range(first, len(exact), _ROWS):
        index.add(exact.rows(np.arange(start, min(start + _ROWS, len(exact)))))


def _faiss() -> Any:
    """The library, whose stubs lack half of it."""
    return import_module("faiss")


def _cached(folder: Path, segments: Sequence[Segment], exact: Exact) -> Layered | None:
    """The cache of most segments, from the first on; `None` where there is none, or it is damaged."""
    files = {path.stem.rpartition("-")[2]: path for path in (folder / CACHE).glob("faiss-*.index")}
    for count in range(len(segments), 0, -1) if files else ():
        if path := files.get(fingerprint([each.file for each in segments[:count]])):
            return _opened(path, sum(each.rows for each in segments[:count]), exact)
    return None
