from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mounts import read_only, small_disk

from openmofi.errors import OpenMofiError
from openmofi.storage import (
    atomic_path,
    read_arrow,
    read_parquet,
    write_arrow,
    write_bytes,
    write_json,
    write_table,
    write_text,
)
from openmofi.storage.atomic import _TEMPORARY, remove_leftovers, temporary_folder
from openmofi.storage.table_files import table_footer

TABLE = pa.table({"x": list(range(1000))})


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_content_stands_there_and_nothing_beside_it(tmp_path):
    write_bytes(tmp_path / "a/b/c.bin", b"\0\1")
    write_text(tmp_path / "a/b/t.txt", "grün")
    assert (tmp_path / "a/b/c.bin").read_bytes() == b"\0\1"
    assert (tmp_path / "a/b/t.txt").read_text("utf-8") == "grün"
    assert names(tmp_path / "a/b") == ["c.bin", "t.txt"]


def test_file_urls_and_object_stores():
    import fsspec

    write_bytes("memory://bucket/deep/x.bin", b"abc")
    assert fsspec.open("memory://bucket/deep/x.bin").open().read() == b"abc"


def test_a_file_url_is_a_local_path(tmp_path):
    write_bytes(f"file://{tmp_path}/x.bin", b"abc")
    assert (tmp_path / "x.bin").read_bytes() == b"abc"


def test_an_unknown_protocol_is_one_sentence():
    with pytest.raises(OpenMofiError, match="not an address that OpenMOFI reads"):
        write_bytes("nosuch://bucket/x.bin", b"abc")


def test_an_error_in_the_body_leaves_the_old_file(tmp_path):
    write_text(tmp_path / "x", "old")

    def half():
        with atomic_path(tmp_path / "x") as temporary:
            temporary.write_text("half")
            raise KeyError("a bug")

    with pytest.raises(KeyError):
        half()
    assert (tmp_path / "x").read_text() == "old"
    assert names(tmp_path) == ["x"]


def test_a_body_that_writes_nothing_is_an_error(tmp_path):
    def nothing():
        with atomic_path(tmp_path / "x"):
            pass

    with pytest.raises(OpenMofiError, match="could not be written"):
        nothing()


def test_equal_tables_give_equal_bytes_and_their_rows_stand_at_the_end(tmp_path):
    for name in ("a", "b"):
        write_table(tmp_path / name, TABLE)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert pq.read_table(tmp_path / "a").equals(TABLE)
    assert table_footer(tmp_path / "a").rows == len(TABLE)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + b"\xff" * 200 + b"\x08\0\0\0PAR1", b"no parquet at all"])
def test_a_damaged_table_has_no_footer(tmp_path, content):
    (tmp_path / "x").write_bytes(content)
    assert table_footer(tmp_path / "x") is None
    assert table_footer(tmp_path / "absent") is None


def test_json_is_sorted_and_takes_names_of_files_that_are_no_utf8(tmp_path):
    write_json(tmp_path / "a", {"b": 1, "a": "é"})
    assert (tmp_path / "a").read_text("utf-8") == '{\n  "a": "é",\n  "b": 1\n}\n'
    name = os.fsdecode(b"caf\xe9.tar")
    write_json(tmp_path / "b", [name])
    assert json.loads((tmp_path / "b").read_bytes()) == [name]


def test_a_file_where_a_folder_is_needed(tmp_path):
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file/x", tmp_path / "file/deeper/x"):
        with pytest.raises(OpenMofiError, match="a file exists where a folder is needed") as caught:
            write_text(place, "x")
        assert "-o" in caught.value.hint


def test_a_folder_where_the_file_should_be(tmp_path):
    (tmp_path / "x").mkdir()
    with pytest.raises(OpenMofiError, match="could not be written"):
        write_text(tmp_path / "x", "x")
    assert names(tmp_path) == ["x"]


def write_big(place: Path) -> None:
    write_bytes(place, b"x" * (4 << 20))


def write_big_table(place: Path) -> None:
    rng = np.random.default_rng(0)
    write_table(place, pa.table({"x": rng.integers(0, 1 << 60, 1 << 19)}))


def write_big_array(place: Path) -> None:
    with atomic_path(place) as temporary, open(temporary, "wb") as handle:
        np.save(handle, np.ones(1 << 19))


@pytest.mark.parametrize("write", [write_big, write_big_table, write_big_array])
def test_a_full_disk_is_one_sentence_and_keeps_what_is_finished(tmp_path, write):
    with small_disk(tmp_path / "disk") as disk:
        write_text(disk / "x", "old")
        with pytest.raises(OpenMofiError, match="disk is full") as caught:
            write(disk / "x")
        assert "start the same command again" in caught.value.hint
        assert (disk / "x").read_text() == "old"
        assert names(disk) == ["x"]


def test_a_read_only_output_is_one_sentence(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/x").write_text("old")
    with read_only(tmp_path / "out") as folder:
        for place in (folder / "x", folder / "new/x"):
            with pytest.raises(OpenMofiError, match="cannot be written: Read-only") as caught:
                write_text(place, "new")
            assert "-o" in caught.value.hint
        remove_leftovers(folder)
        assert (folder / "x").read_text() == "old"


_WRITER = """
import sys
from openmofi.storage import atomic_path
number = 0
while True:
    number += 1
    with atomic_path(sys.argv[1]) as temporary, open(temporary, "wb") as handle:
        for _ in range(64):
            handle.write(bytes([number % 256]) * 4096)
        handle.flush()
        print(number, flush=True)
"""


def test_killed_in_the_middle_of_writing_the_file_is_always_whole(tmp_path):
    place = tmp_path / "x"
    for delay in (0.0, 0.003, 0.011):
        process = subprocess.Popen([sys.executable, "-c", _WRITER, str(place)], stdout=subprocess.PIPE)
        process.stdout.readline()
        process.stdout.readline()
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        content = place.read_bytes()
        assert len(content) == 64 * 4096
        assert len(set(content)) == 1
        remove_leftovers(tmp_path)
        assert names(tmp_path) == ["x"]


_STAGER = """
import pathlib, sys, time
from openmofi.storage.atomic import temporary_folder
with temporary_folder(pathlib.Path(sys.argv[1])) as folder:
    (folder / "whole").mkdir()
    (folder / "whole" / "graph.onnx").write_bytes(bytes(9))
    print("written", flush=True)
    time.sleep(60)
"""


def test_a_folder_of_a_killed_process_is_swept_and_one_in_use_stays(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", _STAGER, str(tmp_path)], stdout=subprocess.PIPE)
    process.stdout.readline()
    remove_leftovers(tmp_path)
    assert len(list(tmp_path.rglob("graph.onnx"))) == 1
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    with temporary_folder(tmp_path) as ours:
        remove_leftovers(tmp_path)
        assert list(tmp_path.iterdir()) == [ours]
    assert list(tmp_path.iterdir()) == []


def test_leftovers_of_the_living_and_of_other_machines_stay_for_a_day(tmp_path):
    host = "deadbeef"
    with atomic_path(tmp_path / "x") as ours:
        ours.write_text("being written")
        other = tmp_path / f"{_TEMPORARY}{host}-1-00.parquet"
        other.write_text("")
        old = tmp_path / f"{_TEMPORARY}{host}-2-00.parquet"
        old.write_text("")
        os.utime(old, (0, 0))
        remove_leftovers(tmp_path)
        assert ours.exists()
        assert other.exists()
        assert not old.exists()
    assert (tmp_path / "x").read_text() == "being written"


def test_threads_that_write_the_same_file_do_not_meet(tmp_path):
    failed = []

    def write(letter: bytes) -> None:
        try:
            for _ in range(30):
                write_bytes(tmp_path / "x", letter * 10_000)
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=write, args=(letter,)) for letter in (b"a", b"b", b"c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert len(set((tmp_path / "x").read_bytes())) == 1


def test_a_parquet_table_is_read_in_the_order_and_types_of_its_schema(tmp_path):
    schema = pa.schema([pa.field("y", pa.int64()), pa.field("x", pa.int32())])
    write_table(tmp_path / "t.parquet", pa.table({"x": [1, 2], "more": ["a", "b"], "y": [3, 4]}))
    table = read_parquet(tmp_path / "t.parquet", schema)
    assert table.schema == schema
    assert table.to_pydict() == {"y": [3, 4], "x": [1, 2]}
    assert read_parquet(tmp_path / "t.parquet", schema, columns=["x"]).schema.names == ["x"]


@pytest.mark.parametrize(("content", "problem"), [(None, "is missing"), (b"PAR1", "cannot be read")])
def test_a_parquet_table_that_cannot_be_read_is_one_sentence_with_a_hint(tmp_path, content, problem):
    if content is not None:
        (tmp_path / "t.parquet").write_bytes(content)
    with pytest.raises(OpenMofiError, match=problem) as caught:
        read_parquet(tmp_path / "t.parquet", TABLE.schema, hint="Build it again.")
    assert caught.value.hint == "Build it again."
    assert "\n" not in caught.value.message


def test_a_parquet_table_of_other_columns_is_refused(tmp_path):
    write_table(tmp_path / "t.parquet", pa.table({"other": [1]}))
    with pytest.raises(OpenMofiError, match=r"cannot be read: .*x"):
        read_parquet(tmp_path / "t.parquet", TABLE.schema)


def test_tables_are_written_to_and_read_from_names_that_are_not_utf8(tmp_path):
    folder = tmp_path / os.fsdecode(b"out-\xff")
    table = pa.table({"a": [1, 2]})
    write_table(folder / "a.parquet", table)
    write_arrow(folder / "a.arrow", table)
    assert read_parquet(folder / "a.parquet", table.schema).equals(table)
    assert read_arrow(folder / "a.arrow").equals(table)
