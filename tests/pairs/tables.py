"""Tables of pairs, for the tests."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from openmofi.pairs import ReadSettings, read_pairs
from openmofi.schema import Pair
from openmofi.storage import Shard


def read(place: Path | str, **options: object) -> list[Pair]:
    return list(read_pairs(Shard(str(place), "x"), ReadSettings(**options)))


def parquet(folder: Path, table: pa.Table, **options: object) -> Path:
    pq.write_table(table, folder / "x.parquet", **options)
    return folder / "x.parquet"
