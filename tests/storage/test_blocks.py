"""Tables in blocks: the same rows, the bytes of a whole table where it is one block, nothing of a caller that fails."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from openmofi.errors import OpenMofiError
from openmofi.storage import read_arrow, write_arrow, write_table
from openmofi.storage import table_files as blocks
from openmofi.storage.table_files import arrow_blocks, read_arrow_blocks, read_table_blocks, table_blocks, table_footer

KINDS = {
    "parquet": (table_blocks, read_table_blocks, write_table),
    "arrow": (arrow_blocks, read_arrow_blocks, write_arrow),
}
SCHEMA = pa.schema([("a", pa.int64()), ("b", pa.list_(pa.string())), ("c", pa.uint64())])


def table_of(rows):
    return pa.table(
        {
            "a": list(range(rows)),
            "b": [["x"] * (row % 3) for row in range(rows)],
            "c": [None if row % 4 else row for row in range(rows)],
        },
        SCHEMA,
    )


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("rows", [0, 1, 7, 8, 9, 16, 40])
@pytest.mark.parametrize("part", [1, 3, 8, 40])
def test_rows_come_back_in_blocks(tmp_path, monkeypatch, kind, rows, part):
    monkeypatch.setattr(blocks, "BLOCK_ROWS", 8)
    write, read, write_whole = KINDS[kind]
    table = table_of(rows)
    with write(tmp_path / "x", SCHEMA) as add:
        for start in range(0, rows, part):
            add(table.slice(start, part))
    parts = list(read(tmp_path / "x"))
    assert [len(block) for block in parts] == ([8] * (rows // 8) + [rows % 8] * (rows % 8 > 0) or [0])
    assert pa.concat_tables(parts).equals(table)
    write_whole(tmp_path / "y", table)
    assert ((tmp_path / "x").read_bytes() == (tmp_path / "y").read_bytes()) == (rows <= 8)
    assert next(iter(read(tmp_path / "y"))).schema.equals(SCHEMA)
    assert (read_arrow if kind == "arrow" else pq.read_table)(str(tmp_path / "x")).equals(table)


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("error", [OSError(5, "the shard's disk"), KeyError("x"), KeyboardInterrupt()])
def test_what_the_caller_raises_is_raised_and_nothing_is_left(tmp_path, kind, error):
    def fail():
        with KINDS[kind][0](tmp_path / "x", SCHEMA) as add:
            add(table_of(3))
            raise error

    with pytest.raises(type(error)) as raised:
        fail()
    assert raised.value is error
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_folder_that_cannot_be_written_and_a_damaged_file_are_one_sentence(tmp_path, kind):
    write, read, _ = KINDS[kind]
    (tmp_path / "file").write_bytes(b"x")
    with (
        pytest.raises(OpenMofiError, match="a file exists where a folder is needed"),
        write(tmp_path / "file" / "x", SCHEMA) as add,
    ):
        add(table_of(3))
    with write(tmp_path / "x", SCHEMA) as add:
        add(table_of(3))
    content = (tmp_path / "x").read_bytes()
    (tmp_path / "x").write_bytes(content[: len(content) // 2])
    for path in (tmp_path / "x", tmp_path / "none"):
        with pytest.raises(OpenMofiError, match="cannot be read"):
            list(read(path))


def test_notes_are_those_at_the_end_of_the_block(tmp_path):
    notes = {}
    with table_blocks(tmp_path / "x", SCHEMA, notes) as add:
        add(table_of(3))
        notes["sum"] = "tést"
    footer = table_footer(tmp_path / "x")
    assert (footer.rows, footer.notes["sum"]) == (3, "tést")
    with table_blocks(tmp_path / "y", SCHEMA) as add:
        add(table_of(3))
    write_table(tmp_path / "z", table_of(3))
    assert (tmp_path / "y").read_bytes() == (tmp_path / "z").read_bytes()
    assert "sum" not in table_footer(tmp_path / "y").notes
    with table_blocks("memory://blocks/x.parquet", SCHEMA) as add:
        add(table_of(3))
    assert next(read_table_blocks("memory://blocks/x.parquet", ["a"]))["a"].to_pylist() == [0, 1, 2]
    with arrow_blocks("memory://blocks/x.arrow", SCHEMA) as add:
        add(table_of(3))
    assert next(read_arrow_blocks("memory://blocks/x.arrow")).equals(table_of(3))
