"""Dumps as blocks of whole lines, whatever compresses them, and files that are none."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from itertools import groupby
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from item_dumps import Entity, lines_of, random_items, write_dump

from openmofi.errors import OpenMofiError
from openmofi.plugins.wikidata.items import ItemReader
from openmofi.plugins.wikidata.published import Piece, pieces

KINDS = ("", ".gz", ".bz2", ".zst")


def blocks_of(found: list[Piece]) -> list[bytes]:
    grouped = [
        (number, b"".join(piece.lines for piece in group))
        for number, group in groupby(found, lambda piece: piece.block)
    ]
    assert [number for number, _ in grouped] == list(range(len(grouped)))
    return [lines for _, lines in grouped]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [1000, 50_000, 1 << 30])
def test_blocks_are_the_lines_of_the_dump(tmp_path: Path, kind: str, size: int) -> None:
    entities = random_items(300, seed=1)
    dump = write_dump(tmp_path / f"all.json{kind}", entities)
    found = list(pieces(dump, size))
    blocks = blocks_of(found)
    assert b"".join(blocks).rstrip(b"\n").split(b"\n") == lines_of(entities)
    assert found[-1].read == dump.stat().st_size
    # The same lines, whatever compresses them and however they are unpacked.
    plain = lines_of(entities)
    expected, held = list[bytes](), b""
    for line in plain:
        held += line + b"\n"
        if len(held) >= size:
            expected, held = [*expected, held], b""
    assert blocks == expected + [held] * bool(held)


@settings(max_examples=60)
@given(
    lines=some.lists(some.text(some.characters(exclude_characters="\n\r", codec="utf-8")), min_size=1),
    size=some.integers(1, 60),
    ended=some.booleans(),
)
def test_no_byte_is_lost_or_moved(tmp_path_factory, lines: list[str], size: int, ended: bool) -> None:
    content = ("[\n" + "\n".join(lines) + ("\n" if ended else "")).encode()
    path = tmp_path_factory.mktemp("dump") / "all.json"
    path.write_bytes(content)
    found = blocks_of(list(pieces(path, size)))
    assert b"".join(found) == content
    assert all(each.endswith(b"\n") for each in found[:-1])


LAYOUTS: dict[str, Callable[[list[Entity]], str]] = {
    "one line": json.dumps,
    "pretty": lambda entities: json.dumps(entities, indent=4),
    "pretty, with a mark and DOS's line ends": lambda entities: (
        "\ufeff" + json.dumps(entities, indent=1).replace("\n", "\r\n")
    ),
    "API": lambda entities: json.dumps({"entities": {each["id"]: each for each in entities}, "success": 1}),
    "API, pretty": lambda entities: json.dumps(
        {"success": 1, "entities": {each["id"]: each for each in entities}}, indent=1
    ),
    "by id": lambda entities: json.dumps({each["id"]: each for each in entities}),
    "lines, no array": lambda entities: "\n".join(map(json.dumps, entities)),
    "lines, two a side": lambda entities: "[" + ",\n".join(map(json.dumps, entities)) + "]",
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("count", [1, 60])
def test_json_of_any_layout_is_read_as_the_dump_of_its_entities(tmp_path: Path, layout: str, count: int) -> None:
    entities = random_items(count, seed=3)
    (tmp_path / "a.json").write_text(LAYOUTS[layout](entities), "utf-8", newline="")
    lines = b"".join(piece.lines for piece in pieces(tmp_path / "a.json", 9000)).split(b"\n")
    table, broken, _ = ItemReader(["en", "de"]).read(lines)
    assert broken == []
    assert table.equals(ItemReader(["en", "de"]).read(lines_of(entities))[0])


def test_an_entity_over_many_lines_and_an_answer_without_entities(tmp_path: Path) -> None:
    (entity,) = random_items(1, seed=3)
    (tmp_path / "a.json").write_text(json.dumps(entity, indent=1))
    (tmp_path / "b.json").write_text('{"error":{"code":"no-such-entity"}}')
    table, broken, _ = ItemReader(["en"]).read([piece.lines for piece in pieces(tmp_path / "a.json")])
    assert (len(table), broken) == (1, [])
    _, (broken_line,), _ = ItemReader(["en"]).read([piece.lines for piece in pieces(tmp_path / "b.json")])
    assert broken_line.why == "Object missing required field `id`"


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS[1:])
def test_a_file_that_is_cut_off_or_damaged_is_told_from_a_whole_one(tmp_path: Path, kind: str) -> None:
    whole = write_dump(tmp_path / f"whole.json{kind}", random_items(2000, seed=2)).read_bytes()
    cut, damaged = tmp_path / f"cut.json{kind}", tmp_path / f"damaged.json{kind}"
    cut.write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(OpenMofiError, match=r"cut\.json.* is cut off: its .* data does not end"):
        list(pieces(cut))
    damaged.write_bytes(whole[:1000] + bytes(1000) + whole[2000:])
    with pytest.raises(OpenMofiError, match=r"damaged\.json.* (is damaged|is cut off)"):
        list(pieces(damaged))


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        (b"<!DOCTYPE html>\n<html>404</html>", "it begins with '<!DOCTYPE html>'"),
        (b"-- MySQL dump 10.19\nINSERT INTO `page`", "it begins with '-- MySQL dump 10.19'"),
        (b"", "is empty"),
        (b"PK\x03\x04", "is no JSON dump"),
    ],
)
def test_a_file_that_is_no_dump_is_named(tmp_path: Path, content: bytes, shown: str) -> None:
    path = tmp_path / "all.json.gz"
    path.write_bytes(content)
    with pytest.raises(OpenMofiError, match=shown):
        list(pieces(path))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(OpenMofiError, match=r"all\.json is missing"):
        list(pieces(tmp_path / "all.json"))


def test_a_process_that_parses_imports_neither_pandas_nor_what_later_steps_need() -> None:
    code = (
        "import io, sys\nfrom openmofi.plugins.wikidata import slots\n"
        "from openmofi.plugins.wikidata import parts\n"
        "slots._begin(parts._begin, (('en',), ()))\n"
        'line = b\'{"type":"item","id":"Q1","labels":{"en":{"value":"crane"}}}\'\n'
        "assert parts._reader.read(io.BytesIO(line))[0]['name'].to_pylist() == ['crane']\n"
        "print({'pandas', 'scipy', 'duckdb', 'torch'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "set()\n"), done.stderr
