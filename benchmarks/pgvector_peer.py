"""Vectors of an index in PostgreSQL beside exact search, raw pgvector and FAISS.

    python benchmarks/pgvector_peer.py [--count 100000]

A server of its own is started, as the tests do (`tests/plugins/postgres/postgres_server.py`). CPU milliseconds a query
are those of this process and of the server's process for its connection together; recall@10 is against exact search
over the same halves. Filters have nothing to do with the query. `server`, `build` and `query` are for other benchmarks:
raw pgvector.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import harness

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/plugins/postgres"))
K, DIM, QUERIES, SHARES = 10, 256, 50, (0.01, 0.1, 0.5)
Vectors = NDArray[np.float32]
Ints = NDArray[np.int64]


@contextmanager
def server() -> Generator[Any]:
    """A server that lives as long as the block; `server.address()` is what libpq connects to."""
    from postgres_server import PostgresServer

    made = PostgresServer(shared_buffers="512MB", max_wal_size="4GB")
    try:
        yield made
    finally:
        made.close()


def build(connection: Any, vectors: Vectors) -> None:
    """A table of halves with a graph, of a connection of psycopg to a database with pgvector."""
    from pgvector import HalfVector
    from pgvector.psycopg import register_vector

    register_vector(connection)
    connection.execute(f"CREATE TABLE raw (id bigint PRIMARY KEY, vector halfvec({vectors.shape[1]}))")
    with connection.cursor().copy("COPY raw FROM STDIN WITH (FORMAT BINARY)") as copy:
        copy.set_types(["int8", "halfvec"])
        for row, vector in enumerate(vectors):
            copy.write_row((row, HalfVector(vector)))
    connection.execute("SET maintenance_work_mem = '1GB'")
    connection.execute("CREATE INDEX ON raw USING hnsw (vector halfvec_ip_ops) WITH (m = 16, ef_construction = 64)")
    connection.execute("ANALYZE raw")


def query(connection: Any, vector: Vectors, effort: int) -> Ints:
    """Rows of the nearest."""
    from pgvector import HalfVector

    connection.execute("SELECT set_config('hnsw.ef_search', %s, false)", (str(effort),))
    rows = connection.execute(f"SELECT id FROM raw ORDER BY vector <#> %s LIMIT {K}", (HalfVector(vector),))
    return np.array([row for (row,) in rows], np.int64)


def cpu_seconds(process: int) -> float:
    """What a process has used so far."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def clustered(count: int, seed: int = 0) -> Vectors:
    """L2-normalised vectors around a centre for every hundred."""
    draw = np.random.default_rng(seed)
    centres = np.random.default_rng(7).normal(size=(1000, DIM))
    vectors = centres[draw.integers(0, len(centres), count)] + draw.normal(0, 0.7, (count, DIM))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def row_of(name: str, search: Any, queries: Vectors, truth: Ints, backend: int = 0) -> harness.Row:
    """Recall and CPU of a contender."""
    search(queries[0])
    before = time.process_time() + (cpu_seconds(backend) if backend else 0.0)
    found = [search(each) for each in queries]
    used = time.process_time() + (cpu_seconds(backend) if backend else 0.0) - before
    recall = np.mean([len(set(a.tolist()) & set(b.tolist())) / K for a, b in zip(found, truth, strict=True)])
    row = {"contender": name, "recall_at_10": round(float(recall), 4), "cpu_ms": round(1000 * used / len(queries), 2)}
    print(row, flush=True)
    return row


def main() -> None:
    """Build, ask, print and write the figures."""
    import psycopg

    from openmofi.plugins import faiss_cache
    from openmofi.plugins.postgres.vector_table import InDatabase, VectorTable
    from openmofi.search.store.connection import Segment, place_of
    from openmofi.search.store.database import connect, only_writer
    from openmofi.search.store.vectors import Exact, VectorFiles

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100_000)
    count = parser.parse_args().count
    vectors, queries = clustered(count), clustered(QUERIES, 1)
    exact = Exact([vectors.astype(np.float16)])
    allowed = {share: np.random.default_rng(2).random(count) < share for share in SHARES}
    rows = [
        row_of("exact, in memory", lambda each: exact.search(each[None], K)[1][0], queries, exact.search(queries, K)[1])
    ]
    with server() as running, tempfile.TemporaryDirectory() as folder:
        place = place_of(running.address("bench"))
        new = {"dim": str(DIM), "dtype": "float16", "encoder": "", "fingerprint": "", "template": ""}
        with only_writer(place, new) as connection:
            store = connection.vectors()
            assert isinstance(store, VectorTable)
            segments = [Segment(1, *store.write(vectors, "float16"))]
            begun = time.monotonic()
            store.make_graph()
            print(f"graph: {time.monotonic() - begun:.0f} s of the clock", flush=True)
        with (
            closing(connect(place)) as connection,
            psycopg.connect(running.address(user="root"), autocommit=True) as raw,
        ):
            there = InDatabase(segments, DIM, lambda: connection)
            ((backend,),) = connection.execute("SELECT pg_backend_pid()")
            truth = exact.search(queries, K)[1]
            rows.append(
                row_of(
                    "openmofi in PostgreSQL", lambda each: there.search(each[None], K)[1][0], queries, truth, backend
                )
            )
            for share, mask in allowed.items():
                rows.append(
                    row_of(
                        f"openmofi in PostgreSQL, {share:.0%} allowed",
                        lambda each, mask=mask: there.search(each[None], K, mask)[1][0],
                        queries,
                        exact.search(queries, K, mask)[1],
                        backend,
                    )
                )
            build(raw, vectors)
            for effort in (40, 100, 200):
                rows.append(
                    row_of(
                        f"raw pgvector, ef_search {effort}",
                        lambda each, effort=effort: query(raw, each, effort),
                        queries,
                        truth,
                        raw.info.backend_pid,
                    )
                )
        file = Segment(1, *VectorFiles(Path(folder)).write(vectors, "float16"))
        faiss_cache.refresh(Path(folder), [file], exact, np.zeros((0, DIM), np.float32))
        faiss = faiss_cache.vector_index(Path(folder), [file], exact)
        rows.append(
            row_of(
                f"openmofi in a folder ({faiss.name})", lambda each: faiss.search(each[None], K)[1][0], queries, truth
            )
        )
    ours, others = rows[1], [row for row in rows if row["contender"].startswith("raw")]
    even = [row for row in others if row["recall_at_10"] >= ours["recall_at_10"]] or others[-1:]
    harness.write_result(
        "pgvector",
        rows,
        {
            "pgvector_recall_at_10": ours["recall_at_10"],
            "pgvector_cpu_over_raw": round(ours["cpu_ms"] / even[0]["cpu_ms"], 2),
        },
    )


if __name__ == "__main__":
    main()
