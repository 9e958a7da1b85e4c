"""Pairs of any shard can be written as a plain tar, row for row."""

from __future__ import annotations

import logging

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tars import tar_bytes

from openmofi.pairs import read_pairs, write_tar
from openmofi.schema import Pair, PairStatus
from openmofi.storage import Shard


def converted(source, target):
    count = write_tar(target, read_pairs(Shard(str(source), "x")))
    pairs = list(read_pairs(Shard(str(target), "x")))
    assert count == len(pairs)
    return pairs


def test_a_parquet_file_becomes_a_tar_of_the_same_pairs(tmp_path):
    table = pa.table(
        {
            "key": ["a", "b", "a", "d", "e"],
            "image": [b"1", None, b"3", b"4", b"5"],
            "text": ["one", "two", "three", None, ""],
            "url": ["u", None, "v", None, "w"],
        }
    )
    pq.write_table(table, tmp_path / "x.parquet")
    pairs = list(read_pairs(Shard(str(tmp_path / "x.parquet"), "x")))
    assert converted(tmp_path / "x.parquet", tmp_path / "x.tar") == pairs
    assert {pair.status for pair in pairs} == {
        PairStatus.OK,
        PairStatus.IMAGE_MISSING,
        PairStatus.DUPLICATE_KEY,
        PairStatus.TEXT_MISSING,
        PairStatus.TEXT_EMPTY,
    }
    # What is converted once more has the same bytes.
    write_tar(tmp_path / "again.tar", read_pairs(Shard(str(tmp_path / "x.tar"), "x")))
    assert (tmp_path / "again.tar").read_bytes() == (tmp_path / "x.tar").read_bytes()


def test_a_folder_and_a_compressed_tar_with_odd_keys_become_plain_ones(tmp_path):
    (tmp_path / "f").mkdir()
    for name in ("1.png", "2.v1.png", "2.v2.png"):
        (tmp_path / "f" / name).write_bytes(name.encode())
    (tmp_path / "f" / "metadata.csv").write_text("file_name,text\n1.png,x\n2.v1.png,y\n2.v2.png,z\n")
    pairs = converted(tmp_path / "f", tmp_path / "f.tar")
    assert [(pair.key, pair.image, pair.text) for pair in pairs] == [
        ("1%2Epng", b"1.png", "x"),
        ("2%2Ev1%2Epng", b"2.v1.png", "y"),
        ("2%2Ev2%2Epng", b"2.v2.png", "z"),
    ]
    (tmp_path / "x.tar.xz").write_bytes(
        tar_bytes([("../a/k.jpg", b"x"), ("../a/k.txt", b"t"), ("/l.jpg", b"y"), ("/l.txt", b"u")], "w:xz")
    )
    assert converted(tmp_path / "x.tar.xz", tmp_path / "x.tar") == [Pair("../a/k", b"x", "t"), Pair("l", b"y", "u")]


def test_rows_whose_status_cannot_be_written_are_counted(tmp_path, caplog):
    pairs = [Pair("a", b"x", "cut", PairStatus.TEXT_TOO_LONG), Pair("b", b"x", "t")]
    with caplog.at_level(logging.WARNING):
        assert write_tar(tmp_path / "x.tar", pairs) == 2
    assert "no longer be read as text_too_long (1)" in caplog.text
    with pytest.raises(ValueError, match="duplicate key 'b'"):
        write_tar(tmp_path / "y.tar", [pairs[1], pairs[1]])
