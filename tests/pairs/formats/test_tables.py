from __future__ import annotations

import json
import os
from pathlib import Path

import fsspec
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tables import parquet, read
from tars import pairs_until_error

from openmofi.errors import OpenMofiError, UsageError
from openmofi.pairs.formats.files import inside
from openmofi.schema import Pair, PairStatus


def test_parquet_with_bytes(tmp_path):
    table = pa.table({"URL": ["u1", None, "u3"], "TEXT": ["a cat", None, " "], "image": [b"1", b"2", None]})
    assert read(parquet(tmp_path, table)) == [
        Pair("000000000", b"1", "a cat", PairStatus.OK, "u1"),
        Pair("000000001", b"2", "", PairStatus.TEXT_MISSING),
        Pair("000000002", None, " ", PairStatus.IMAGE_MISSING, "u3"),
    ]


def test_parquet_as_hugging_face_writes_it(photos):
    image = pa.array(
        [
            {"bytes": b"1", "path": "x.jpg"},
            {"bytes": None, "path": "in/b.png"},
            {"bytes": None, "path": "../secret.jpg"},
            None,
        ],
        pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
    )
    table = pa.table({"image": image, "caption": [["one", "other"], ["two"], ["three"], []], "id": [7, 8, 8, None]})
    assert read(parquet(photos, table)) == [
        Pair("7", b"1", "one"),
        Pair("8", b"BB", "two"),
        Pair("8", None, "three", PairStatus.DUPLICATE_KEY),
        Pair("000000003", None, "", PairStatus.IMAGE_MISSING),
    ]


@pytest.mark.parametrize(
    "encode",
    [lambda column: column, lambda column: column.dictionary_encode(), lambda column: column.cast(pa.large_string())],
)
def test_parquet_with_paths(photos, encode):
    table = pa.table(
        {
            "file_name": encode(pa.array(["a.jpg", "in/b.png", "none.jpg", "../secret.jpg"])),
            "text": encode(pa.array(["one", "two", "three", "four"])),
        }
    )
    assert [(p.image, p.text, p.status.name) for p in read(parquet(photos, table))] == [
        (b"A", "one", "OK"),
        (b"BB", "two", "OK"),
        (None, "three", "IMAGE_MISSING"),
        (None, "four", "IMAGE_MISSING"),
    ]


def test_parquet_with_bytes_that_are_no_utf8_in_strings(tmp_path):
    raw = pa.array([b"caf\xe9", b"ok"])
    text = pa.StringArray.from_buffers(2, raw.buffers()[1], raw.buffers()[2])
    table = pa.table({"text": text, "image": [b"1", b"2"], "key": text})
    assert read(parquet(tmp_path, table)) == [
        Pair("caf\\xe9", b"1", "caf\ufffd", PairStatus.TEXT_INVALID),
        Pair("ok", b"2", "ok"),
    ]


def test_parquet_limits(tmp_path):
    table = pa.table({"text": ["x" * 1_000_000, "y"], "image": [b"1", b"2" * 100]})
    long, large = read(parquet(tmp_path, table), max_image_bytes=99, max_text_chars=10)
    assert (long.text, long.status) == ("x" * 10, PairStatus.TEXT_TOO_LONG)
    assert (large.image, large.status) == (None, PairStatus.IMAGE_TOO_LARGE)


def test_columns_by_name(tmp_path):
    place = parquet(tmp_path, pa.table({"a": [b"1"], "b": ["t"], "c": ["k"], "d": ["u"]}))
    named = {"image_column": "a", "text_column": "b", "key_column": "c", "url_column": "d"}
    assert read(place, **named) == [Pair("k", b"1", "t", PairStatus.OK, "u")]
    with pytest.raises(UsageError, match=r"has no text column .* it has: a, b, c, d") as caught:
        read(place)
    assert "--text-column NAME" in caught.value.hint
    assert "--text-column 'x.parquet=NAME'" in caught.value.hint
    with pytest.raises(UsageError, match="has no column 'z'"):
        read(place, **{**named, "key_column": "z"})
    with pytest.raises(UsageError, match="is int64, not bytes"):
        read(parquet(tmp_path, pa.table({"image": [1], "text": ["t"]})))


def test_parquet_of_several_row_groups_and_remote(tmp_path):
    table = pa.table({"text": [f"t{n}" for n in range(1000)], "image": [b"%d" % n for n in range(1000)]})
    place = parquet(tmp_path, table, row_group_size=170)
    with fsspec.open("memory://tables/x.parquet", "wb") as handle:
        handle.write(place.read_bytes())
    for where in (place, "memory://tables/x.parquet"):
        assert [(p.text, p.image) for p in read(where)] == [(f"t{n}", b"%d" % n) for n in range(1000)]


TITLES = 'Foto;Titel\na.jpg;"Balsamgewächs; Büste"\nin/b.png;für „Öl“\n'


@pytest.mark.parametrize(
    ("encoding", "given", "name", "delimiter"),
    [
        ("cp1252", "", "k.csv", ";"),
        ("cp1252", "", "k.tsv", ";"),
        ("utf-8", "", "k.csv", "\t"),
        ("utf-8-sig", "utf8", "k.csv", ";"),
        ("utf-16", "", "k.csv", "\t"),
        ("utf-16", "utf-16-le", "k.csv", ","),
        ("utf-16-be", "utf-16-be", "k.csv", ";"),
        ("cp1250", "cp1250", "k.csv", ";"),
    ],
)
def test_tables_of_other_encodings_and_delimiters(photos, caplog, encoding, given, name, delimiter):
    text = (
        TITLES if delimiter == ";" else TITLES.replace("s; B", "s: B").replace(";", delimiter).replace("s: B", "s; B")
    )
    (photos / name).write_bytes(text.encode(encoding))
    pairs = read(photos / name, image_column="Foto", text_column="Titel", encoding=given)
    assert [(pair.image, pair.text, pair.status.name) for pair in pairs] == [
        (b"A", "Balsamgewächs; Büste", "OK"),
        (b"BB", "für „Öl“", "OK"),
    ]
    assert [record.getMessage().partition(f"{name} ")[2] for record in caplog.records] == (
        [
            "is not UTF-8 and is read as Windows-1252, by which line 2 says 'Balsamgewächs'. If that is wrong, name "
            "its encoding with --encoding."
        ]
        if encoding == "cp1252"
        else []
    )


@pytest.mark.parametrize(("given", "encoding"), [("", "cp1252"), ("ascii", "ascii")])
def test_what_cannot_be_decoded_is_refused_with_its_line(photos, given, encoding):
    rows = "".join(f"a.jpg,Nr. {number}\n" for number in range(3000))
    (photos / "k.csv").write_bytes(f"file_name,text\n{rows}a.jpg,f\x81r\n".encode("latin-1"))
    with pytest.raises(OpenMofiError, match=rf"k\.csv: line 3002 cannot be read as {encoding}\.") as caught:
        read(photos / "k.csv", encoding=given)
    assert "--encoding" in caught.value.hint
    kept = read(photos / "k.csv", encoding=given, on_damage="keep")
    assert (len(kept), kept[-1].text) == (3001, "f\ufffdr")
    with pytest.raises(UsageError, match="Unknown encoding 'klingon'"):
        read(photos / "k.csv", encoding="klingon")


def test_one_damaged_row_of_a_large_table_leaves_it_utf8(photos):
    rows = "a.jpg,été\n" * 3 + "x" * 70_000 + ",t\n"
    (photos / "k.csv").write_bytes(f"file_name,text\n{rows}".encode() + b"in/b.png,caf\xe9\n")
    pairs = read(photos / "k.csv")
    assert (pairs[0].text, pairs[-1].text, pairs[-1].status) == ("été", "caf\ufffd", PairStatus.TEXT_INVALID)


def test_captions_of_another_encoding(photos, caplog):
    (photos / "a.txt").write_bytes("Büste".encode("cp1252"))
    (photos / "in/b.txt").write_bytes("Büste".encode("utf-16"))
    assert [(pair.text, pair.status.name) for pair in read(photos)] == [("B\ufffdste", "TEXT_INVALID"), ("Büste", "OK")]
    assert "1 texts" in caplog.text
    assert "name it with --encoding" in caplog.text
    assert [(pair.text, pair.status.name) for pair in read(photos, encoding="cp1252")] == [("Büste", "OK")] * 2


@pytest.mark.parametrize("content", [b"", b"PAR1", b"not parquet at all", b"PAR1" + b"\xff" * 100 + b"PAR1"])
def test_what_is_no_parquet_is_one_sentence(tmp_path, content):
    (tmp_path / "x.parquet").write_bytes(content)
    with pytest.raises(OpenMofiError, match=r"x\.parquet is not a Parquet file, or damaged"):
        read(tmp_path / "x.parquet")


def damaged(folder: Path) -> Path:
    rows = [os.urandom(500) for _ in range(600)]
    place = parquet(folder, pa.table({"text": ["t"] * 600, "image": rows}), row_group_size=200, compression="zstd")
    content = bytearray(place.read_bytes())
    start = len(content) // 2
    content[start : start + 2000] = b"\xff" * 2000
    place.write_bytes(content)
    return place


def test_parquet_damaged_in_the_middle(tmp_path):
    place = damaged(tmp_path)
    rows, error = pairs_until_error(place)
    assert f"damaged after {len(rows)} pairs" in error.message
    assert 0 < len(rows) < 600
    assert read(place, on_damage="keep") == rows


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), min_size=1, max_size=5))
def test_any_damage_to_parquet_is_one_sentence(tmp_path_factory, flips):
    folder = tmp_path_factory.getbasetemp()
    place = parquet(folder, pa.table({"text": ["t", "u"] * 20, "image": [b"x", b"y"] * 20}))
    content = bytearray(place.read_bytes())
    for position, value in flips:
        content[-1 - position % len(content)] = value
    place.write_bytes(content)
    pairs, error = pairs_until_error(place)
    assert len(pairs) <= 1000
    assert error is None or str(place) in error.message


@pytest.mark.parametrize("bit", [0x01, 0x10])
def test_a_footer_with_any_bit_turned_ends_no_process(tmp_path, bit):
    # Arrow 26 aborts where the description of a column contradicts itself, in the footer's histograms of sizes.
    place = parquet(tmp_path, pa.table({"text": ["t", "u"] * 20, "image": [b"x", b"y"] * 20}))
    content = place.read_bytes()
    outcomes = set()
    for position in range(len(content) - 8 - int.from_bytes(content[-8:-4], "little"), len(content)):
        place.write_bytes(content[:position] + bytes([content[position] ^ bit]) + content[position + 1 :])
        pairs, error = pairs_until_error(place)
        assert error is None or str(place) in error.message
        outcomes.add((len(pairs), error is None))
    assert {(40, True), (0, False)} <= outcomes


@pytest.mark.parametrize(
    ("columns", "urls"),
    [
        ({"source": ["s", None], "url": ["u", None]}, ["u", ""]),
        ({"source": ["s", None]}, ["s", ""]),
        ({"collection": ["c", "d"]}, ["c", "d"]),
        ({"source": [{"a": 1}, {"a": 2}]}, ["", ""]),
    ],
)
def test_a_source_or_a_collection_is_where_a_row_comes_from_where_there_is_no_address(tmp_path, columns, urls):
    path = parquet(tmp_path, pa.table({"image": [b"1", b"2"], "text": ["a", "b"], **columns}))
    assert [pair.url for pair in read(path)] == urls


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("metadata.csv", 'file_name,text,url\na.jpg,"one, two",u\nin/b.png,zwei,\n'),
        ("captions.tsv", "image\tcaption\turl\na.jpg\tone, two\tu\nin/b.png\tzwei\t\n"),
        (
            "anything.jsonl",
            '{"file_name": "a.jpg", "text": "one, two", "url": "u"}\n\n{"file_name": "in/b.png", "text": "zwei"}\n',
        ),
        ("bom.csv", '\ufefffile_name,text,url\r\na.jpg,"one, two",u\r\nin/b.png,zwei,\r\n'),
    ],
)
def test_folders_with_a_table(photos, name, content):
    (photos / name).write_bytes(content.encode())
    expected = [Pair("a.jpg", b"A", "one, two", PairStatus.OK, "u"), Pair("in/b.png", b"BB", "zwei")]
    assert read(photos) == expected
    assert read(photos / name) == expected


def test_rows_of_a_table_that_cannot_be_used_have_a_status(photos):
    (photos / "metadata.csv").write_bytes(
        b"file_name,text\na.jpg,\nnone.jpg,\xc3\xa9t\xc3\xa9\n../secret.jpg,t\n/etc/passwd,t\nfile:///etc/passwd,t\n"
        b"a.jpg,again\n,no image\nin/b.png\nin,a folder\nin/../a.jpg,t\n./a.jpg,caf\xe9\nin/./b.png,a\0b\n"
    )
    pairs = read(photos)
    assert [(pair.key, pair.status.name) for pair in pairs] == [
        ("a.jpg", "TEXT_EMPTY"),
        ("none.jpg", "IMAGE_MISSING"),
        ("../secret.jpg", "IMAGE_MISSING"),
        ("/etc/passwd", "IMAGE_MISSING"),
        ("file:///etc/passwd", "IMAGE_MISSING"),
        ("a.jpg", "DUPLICATE_KEY"),
        ("000000006", "IMAGE_MISSING"),
        ("in/b.png", "TEXT_MISSING"),
        ("in", "IMAGE_MISSING"),
        ("in/../a.jpg", "IMAGE_MISSING"),
        ("./a.jpg", "TEXT_INVALID"),
        ("in/./b.png", "OK"),
    ]
    assert not any(pair.image == b"secret" for pair in pairs)


@pytest.mark.parametrize(
    ("path", "stays"),
    [
        ("a.jpg", True),
        ("a/b c.jpg", True),
        ("a..b/c.jpg", True),
        ("é.jpg", True),
        ("", False),
        ("/a", False),
        ("../a", False),
        ("a/../b", False),
        ("..\\a", False),
        ("\\a", False),
        ("C:\\a", False),
        ("c:/a", False),
        ("http://x/a.jpg", False),
        ("memory:x", False),
        ("a\0.jpg", False),
    ],
)
def test_paths_that_stay_inside(path, stays):
    assert inside(path) is stays


def test_a_text_of_a_megabyte_in_a_table(photos):
    (photos / "metadata.csv").write_text("file_name,text\na.jpg," + "x" * (1 << 20) + "\nin/b.png,t\n")
    assert [(len(pair.text), pair.status.name) for pair in read(photos)] == [(10_000, "TEXT_TOO_LONG"), (1, "OK")]


def test_images_that_a_folders_table_does_not_name_are_said_to_be_left_out(photos, caplog):
    (photos / "captions.csv").write_text("file_name,text\n./a.jpg,t\n")
    assert len(read(photos)) == 1
    assert caplog.text == ""
    for name in ("c.JPG", "d.png", "notes.md"):
        (photos / name).write_bytes(b"C")
    assert len(read(photos)) == 1
    assert "captions.csv does not name 2 of the 3 images beside it, such as c.JPG: they are left out." in caplog.text
    caplog.clear()
    read(photos / "captions.csv")  # whoever names the table means the table
    assert caplog.text == ""


def test_several_tables_or_none(photos):
    (photos / "a.csv").write_text("file_name,what\na.jpg,t\n")
    with pytest.raises(UsageError, match="no text column"):
        read(photos)
    (photos / "b.csv").write_text("file_name,text\na.jpg,t\n")
    with pytest.raises(UsageError, match=r"several tables: a\.csv, b\.csv"):
        read(photos)
    assert read(photos / "b.csv") == [Pair("a.jpg", b"A", "t")]
    (photos / "metadata.csv").write_text("file_name,text\nin/b.png,t\n")
    assert read(photos) == [Pair("in/b.png", b"BB", "t")]


def test_json_lines_that_are_no_objects_keep_their_rows(photos):
    lines = [json.dumps({"file_name": "a.jpg", "text": "t"}), "{broken", "[1]", json.dumps({"text": "u"})]
    (photos / "metadata.jsonl").write_text("\n".join(lines))
    assert [(pair.key, pair.status.name) for pair in read(photos)] == [
        ("a.jpg", "OK"),
        ("000000001", "IMAGE_MISSING"),
        ("000000002", "IMAGE_MISSING"),
        ("000000003", "IMAGE_MISSING"),
    ]


def test_a_folder_of_images_with_texts_beside_them(photos):
    (photos / "a.txt").write_text("one")
    (photos / "in/b.json").write_text('{"caption": "two", "url": "u"}')
    (photos / ".hidden").mkdir()
    (photos / ".hidden/c.jpg").write_bytes(b"x")
    assert read(photos) == [Pair("a", b"A", "one"), Pair("in/b", b"BB", "two", PairStatus.OK, "u")]
    assert [pair.status.name for pair in read(photos, max_image_bytes=1)] == ["OK", "IMAGE_TOO_LARGE"]


def test_a_folder_of_nothing_and_files_of_no_known_kind(tmp_path):
    (tmp_path / "notes.md").write_text("x")
    with pytest.raises(OpenMofiError, match="has no table and no images"):
        read(tmp_path)
    with pytest.raises(UsageError, match=r"notes\.md is not a shard"):
        read(tmp_path / "notes.md")


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200), st.sampled_from(["csv", "tsv", "jsonl"]))
def test_any_table_gives_rows_or_one_sentence(tmp_path_factory, content, ending):
    place = tmp_path_factory.getbasetemp() / f"metadata.{ending}"
    place.write_bytes(
        (b"" if ending == "jsonl" else b"file_name\ttext\n".replace(b"\t", b"," if ending == "csv" else b"\t"))
        + content
    )
    pairs, error = pairs_until_error(place)
    assert error is None or str(place) in error.message
    assert len(pairs) <= content.count(b"\n") + content.count(b"\r") + 1
    assert len(pa.array([pair.key + pair.text + pair.url for pair in pairs], pa.string())) == len(pairs)
