"""Contenders over the same vectors: how each is built, opened and asked; each in a process of its own, one thread."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from pgvector_peer import cpu_seconds
from search_parts.world import DIM, Floats, Ints, make_cache, make_index

Ask = Callable[[Floats], Ints]
"""(dim,) a query → (10,) rows."""
COUNT = 10
POSTGRES = "OPENMOFI_BENCH_POSTGRES"
"""Environment variable: a connection string of a PostgreSQL with pgvector; where it is set, pgvector takes part."""

_PARTITIONS = 10
"""Of LanceDB, that are looked into."""


@dataclass(frozen=True)
class Peer:
    """A contender.

    Attributes:
        build: (work, folder) → writes its index.
        opened: (work, folder) → effort → what asks it; the larger the effort the more it compares.
        efforts: that are tried, the smallest first; a single 0 where it takes its own.
        package: that has to be there.
        served: whether a server does the work, whose memory is not that of this process.
    """

    build: Callable[[Path, Path], None]
    opened: Callable[[Path, Path], Callable[[int], Ask]]
    efforts: tuple[int, ...]
    package: str = "numpy"
    served: bool = False


_backends: dict[int, float] = {}
"""Process of a server that works for this one → CPU seconds that it had used when it was last looked at."""


def used() -> float:
    """CPU seconds of this process, and of those of a server that work for it."""
    for process in _backends:
        if Path(f"/proc/{process}").exists():
            _backends[process] = cpu_seconds(process)
    return time.process_time() + sum(_backends.values())


def peers() -> Mapping[str, Peer]:
    """Those that are installed, exact NumPy first."""
    listed = {
        "exact NumPy": Peer(lambda work, folder: None, _numpy, (0,)),
        "openmofi": Peer(_build_ours, _ours, (0,), "faiss"),
        "hnswlib": Peer(_build_hnswlib, _hnswlib, (32, 48, 64, 96, 128, 160, 192, 256, 512), "hnswlib"),
        "usearch f16": Peer(_build_usearch, _usearch, (32, 48, 64, 96, 128, 160, 192, 256, 512), "usearch"),
        "LanceDB IVF-HNSW-SQ": Peer(_build_lance, _lance, (64, 100, 150, 200, 300, 400, 600), "lancedb"),
    }
    if os.environ.get(POSTGRES):
        listed["pgvector halfvec HNSW"] = Peer(
            _build_pgvector, _pgvector, (40, 80, 120, 200, 400, 800), "psycopg", served=True
        )
    return {name: peer for name, peer in listed.items() if find_spec(peer.package)}


def _base(work: Path) -> Floats:
    base: Floats = np.load(work / "base.npy", mmap_mode="r")
    return base


def _numpy(work: Path, folder: Path) -> Callable[[int], Ask]:
    base = np.load(work / "base.npy")

    def ask(query: Floats) -> Ints:
        scores = base @ query
        places = np.argpartition(scores, len(scores) - COUNT)[-COUNT:]
        chosen: Ints = places[np.argsort(-scores[places])]
        return chosen

    return lambda effort: ask


def _build_ours(work: Path, folder: Path) -> None:
    make_cache(make_index(work))


def _ours(work: Path, folder: Path) -> Callable[[int], Ask]:
    from openmofi.search.rank.state import State
    from openmofi.search.store.database import connect

    with closing(connect(work / "index")) as connection:
        state = State.read(connection)
    if state.vectors.name == "exact":
        sys.exit("the index has no FAISS")
    return lambda effort: lambda query: state.vectors.search(query[None], COUNT)[1][0]


def _build_hnswlib(work: Path, folder: Path) -> None:
    import hnswlib

    base = _base(work)
    index = hnswlib.Index("ip", DIM)
    index.init_index(len(base), M=16, ef_construction=100, random_seed=0)
    index.set_num_threads(1)
    for start in range(0, len(base), 65_536):
        index.add_items(np.asarray(base[start : start + 65_536]))
    index.save_index(str(folder / "index"))


def _hnswlib(work: Path, folder: Path) -> Callable[[int], Ask]:
    import hnswlib

    index = hnswlib.Index("ip", DIM)
    index.load_index(str(folder / "index"))
    index.set_num_threads(1)

    def of(effort: int) -> Ask:
        index.set_ef(effort)
        return lambda query: index.knn_query(query, COUNT)[0][0].astype(np.int64)

    return of


def _build_usearch(work: Path, folder: Path) -> None:
    from usearch.index import Index

    base = _base(work)
    index = Index(ndim=DIM, metric="ip", dtype="f16", connectivity=16, expansion_add=100)
    for start in range(0, len(base), 65_536):
        part = np.asarray(base[start : start + 65_536])
        index.add(np.arange(start, start + len(part)), part, threads=1)
    index.save(str(folder / "index"))


def _usearch(work: Path, folder: Path) -> Callable[[int], Ask]:
    from usearch.index import Index

    index = Index(ndim=DIM, metric="ip", dtype="f16")
    index.load(str(folder / "index"))

    def of(effort: int) -> Ask:
        index.expansion_search = effort
        return lambda query: np.asarray(index.search(query, COUNT, threads=1).keys, np.int64)

    return of


def _build_lance(work: Path, folder: Path) -> None:
    import lancedb
    import pyarrow as pa

    base = _base(work)
    kind = pa.list_(pa.float32(), DIM)
    schema = pa.schema([("id", pa.int64()), ("vector", kind)])

    def batches() -> Any:
        for start in range(0, len(base), 65_536):
            part = np.asarray(base[start : start + 65_536])
            yield pa.record_batch(
                [
                    pa.array(np.arange(start, start + len(part))),
                    pa.FixedSizeListArray.from_arrays(pa.array(part.ravel()), DIM),
                ],
                schema=schema,
            )

    table = lancedb.connect(folder).create_table("vectors", batches(), schema=schema)
    table.create_index(
        metric="dot",
        vector_column_name="vector",
        index_type="IVF_HNSW_SQ",
        num_partitions=max(len(base) // 50_000, 1),
        m=16,
        ef_construction=100,
    )


def _lance(work: Path, folder: Path) -> Callable[[int], Ask]:
    import lancedb

    table = lancedb.connect(folder).open_table("vectors")

    def of(effort: int) -> Ask:
        def ask(query: Floats) -> Ints:
            found = table.search(query).distance_type("dot").nprobes(_PARTITIONS).ef(effort).refine_factor(2)
            ids: Ints = found.limit(COUNT).select(["id", "_distance"]).to_arrow()["id"].to_numpy()
            return ids

        return ask

    return of


def _build_pgvector(work: Path, folder: Path) -> None:
    import psycopg

    base = _base(work)
    with psycopg.connect(os.environ[POSTGRES], autocommit=True) as connection:
        _backends[connection.info.backend_pid] = 0.0
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        connection.execute("DROP TABLE IF EXISTS openmofi_bench")
        connection.execute(f"CREATE TABLE openmofi_bench (id bigint PRIMARY KEY, v halfvec({DIM}))")
        with connection.cursor().copy("COPY openmofi_bench (id, v) FROM STDIN") as copy:
            for row in range(len(base)):
                copy.write_row((row, _literal(base[row])))
        connection.execute("SET maintenance_work_mem = '2GB'")
        connection.execute("SET max_parallel_maintenance_workers = 0")
        connection.execute(
            "CREATE INDEX ON openmofi_bench USING hnsw (v halfvec_ip_ops) WITH (m = 16, ef_construction = 100)"
        )
        (folder / "disk_mib").write_text(
            str(connection.execute("SELECT pg_total_relation_size('openmofi_bench') / 1048576").fetchone()[0])
        )
        used()


def _pgvector(work: Path, folder: Path) -> Callable[[int], Ask]:
    import psycopg

    connection = psycopg.connect(os.environ[POSTGRES], autocommit=True)
    _backends[connection.info.backend_pid] = 0.0
    used()

    def of(effort: int) -> Ask:
        connection.execute(f"SET hnsw.ef_search = {effort}")
        return lambda query: np.array(
            [
                row
                for (row,) in connection.execute(
                    f"SELECT id FROM openmofi_bench ORDER BY v <#> %s::halfvec LIMIT {COUNT}",
                    (_literal(query),),
                    prepare=True,
                )
            ],
            np.int64,
        )

    return of


def _literal(vector: Floats) -> str:
    return "[" + ",".join(f"{value:.6g}" for value in vector) + "]"
