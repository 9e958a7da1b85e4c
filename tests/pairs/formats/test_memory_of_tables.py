"""What is read of a table takes the memory of a few of its rows, whatever its file says of their number and size."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tables import read
from tars import pairs_until_error

from openmofi.pairs.formats import parquet
from terminal import PATIENCE

MEASURE = """
import sys
from openmofi.pairs import read_pairs
from openmofi.storage import Shard
# Not getrusage's: that of a process that was forked begins at its parent's.
peak = lambda: int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) >> 10
before = peak()
sizes = [len(pair.image or b"") for pair in read_pairs(Shard(sys.argv[1], "x"))]
print(len(sizes), sum(sizes) >> 20, peak() - before)
"""
LARGE = bytes(20 << 20)


def measured(place: Path) -> tuple[int, int, int]:
    """Rows, MiB of their images, and MiB that reading them in a process of its own took.

    By the system's allocator, since what Arrow's own keeps of freed memory is up to 80 MiB and not the same each time.
    """
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(place)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
        env=os.environ | {"ARROW_DEFAULT_MEMORY_POOL": "system"},
    )
    rows, size, peak = map(int, done.stdout.split())
    return rows, size, peak


def repeated(column: str = "image") -> pa.Table:
    """130 rows of one value of 20 MiB."""
    values = pa.DictionaryArray.from_arrays(pa.array([0] * 130, pa.int32()), pa.array([LARGE]))
    return pa.table({"image": pa.array([b"1"] * 130), "text": pa.array(["t"] * 130)} | {column: values})


@pytest.mark.slow
@pytest.mark.parametrize("as_dictionary", [True, False])
def test_a_kilobyte_of_parquet_that_repeats_a_value_takes_no_gigabytes(tmp_path, as_dictionary):
    pq.write_table(repeated(), tmp_path / "x.parquet", compression="zstd", store_schema=as_dictionary)
    assert (tmp_path / "x.parquet").stat().st_size < 2000
    rows, size, peak = measured(tmp_path / "x.parquet")
    assert (rows, size) == (130, 2600)
    assert peak < 500


def test_large_images_are_read_a_few_at_a_time(tmp_path):
    schema = pa.schema([("image", pa.binary()), ("text", pa.string())])
    with pq.ParquetWriter(tmp_path / "x.parquet", schema) as writer:
        for _ in range(4):
            images = [os.urandom(8 << 20) for _ in range(10)]
            writer.write_table(pa.table({"image": images, "text": ["t"] * 10}, schema))
    rows, size, peak = measured(tmp_path / "x.parquet")
    assert (rows, size) == (40, 320)
    assert peak < 300


def test_a_value_that_a_saved_dataset_repeats_is_one_object(tmp_path):
    with pa.ipc.new_stream(tmp_path / "data.arrow", repeated().schema) as writer:
        writer.write_table(repeated())
    (tmp_path / "dataset_info.json").write_text("{}")
    (tmp_path / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data.arrow"}]}))
    rows, size, peak = measured(tmp_path)
    assert (rows, size) == (130, 2600)
    assert peak < 300


def test_a_list_of_many_texts_is_read_to_its_first(tmp_path):
    long = pa.DictionaryArray.from_arrays(pa.array([0] * 1000, pa.int32()), pa.array(["sun " * (1 << 18)]))
    table = pa.table({"image": [b"1"], "text": pa.ListArray.from_arrays([0, 1000], long)})
    pq.write_table(table, tmp_path / "x.parquet")
    (pair,) = read(tmp_path / "x.parquet")
    assert pair.text == ("sun " * 2500)
    # Arrow writes out the lists of a row; asked for their dictionaries (`read_dictionary`) pyarrow 26.0.1 crashes.
    assert measured(tmp_path / "x.parquet")[2] < 1300


def test_a_column_that_unpacks_to_far_more_than_its_size_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "_ALLOWANCE", 1 << 20)
    pq.write_table(
        pa.table({"image": [bytes(4 << 20)], "text": ["t"]}),
        tmp_path / "x.parquet",
        compression="zstd",
        use_dictionary=False,
    )
    _, error = pairs_until_error(tmp_path / "x.parquet")
    assert "the column 'image' of its row group 0 unpacks to more than 200 times as much" in error.message
    assert "raise --max-unpack-ratio" in error.hint
    assert len(read(tmp_path / "x.parquet", max_unpack_ratio=1 << 30)) == 1


@pytest.mark.parametrize("rows_at_once", [1, 7, 128])
def test_the_rows_are_the_same_however_many_are_read_at_once(tmp_path, monkeypatch, rows_at_once):
    images, texts = [f"{row % 5}".encode() for row in range(200)], [f"t{row}" for row in range(200)]
    table = pa.table({"image": images, "text": texts})
    pq.write_table(table, tmp_path / "x.parquet", row_group_size=90)
    expected = read(tmp_path / "x.parquet")
    monkeypatch.setattr(parquet, "_rows_at_once", lambda *_: rows_at_once)
    assert read(tmp_path / "x.parquet") == expected
    assert [(pair.image, pair.text) for pair in expected] == list(zip(images, texts, strict=True))
