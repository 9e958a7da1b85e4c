from __future__ import annotations

import errno
import json
import logging
import os
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tars import pairs_until_error

from openmofi.config import settings_from
from openmofi.errors import OpenMofiError, UsageError
from openmofi.pairs import ReadSettings, count_pairs, read_pairs
from openmofi.pairs.formats.columns import check_patterns, column_setting
from openmofi.pairs.formats.files import inside
from openmofi.schema import Pair, PairStatus
from openmofi.storage import Shard


def read(place: Path | str, **options: object) -> list[Pair]:
    return list(read_pairs(Shard(str(place), "x"), ReadSettings(**options)))


def parquet(folder: Path, table: pa.Table, **options: object) -> Path:
    pq.write_table(table, folder / "x.parquet", **options)
    return folder / "x.parquet"


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    (folder / "in").mkdir(parents=True)
    (folder / "a.jpg").write_bytes(b"A")
    (folder / "in/b.png").write_bytes(b"BB")
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    return folder


def test_parquet_with_bytes(tmp_path):
    table = pa.table({"URL": ["u1", None, "u3"], "TEXT": ["a cat", None, " "], "image": [b"1", b"2", None]})
    assert read(parquet(tmp_path, table)) == [
        Pair("000000000", b"1", "a cat", PairStatus.OK, "u1"),
        Pair("000000001", b"2", "", PairStatus.TEXT_MISSING),
        Pair("000000002", None, " ", PairStatus.IMAGE_MISSING, "u3")]
    assert count_pairs(Shard(str(tmp_path / "x.parquet"), "x")) == 3


def test_parquet_as_hugging_face_writes_it(photos):
    image = pa.array([{"bytes": b"1", "path": "x.jpg"}, {"bytes": None, "path": "in/b.png"},
                      {"bytes": None, "path": "../secret.jpg"}, None],
                     pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    table = pa.table({"image": image, "caption": [["one", "other"], ["two"], ["three"], []], "id": [7, 8, 8, None]})
    assert read(parquet(photos, table)) == [
        Pair("7", b"1", "one"), Pair("8", b"BB", "two"), Pair("8", None, "three", PairStatus.DUPLICATE_KEY),
        Pair("000000003", None, "", PairStatus.IMAGE_MISSING)]


@pytest.mark.parametrize("encode", [lambda column: column, lambda column: column.dictionary_encode(),
                                    lambda column: column.cast(pa.large_string())])
def test_parquet_with_paths(photos, encode):
    table = pa.table({"file_name": encode(pa.array(["a.jpg", "in/b.png", "none.jpg", "../secret.jpg"])),
                      "text": encode(pa.array(["one", "two", "three", "four"]))})
    assert [(p.image, p.text, p.status.name) for p in read(parquet(photos, table))] == [
        (b"A", "one", "OK"), (b"BB", "two", "OK"), (None, "three", "IMAGE_MISSING"), (None, "four", "IMAGE_MISSING")]


def test_parquet_with_bytes_that_are_no_utf8_in_strings(tmp_path):
    raw = pa.array([b"caf\xe9", b"ok"])
    text = pa.StringArray.from_buffers(2, raw.buffers()[1], raw.buffers()[2])
    table = pa.table({"text": text, "image": [b"1", b"2"], "key": text})
    assert read(parquet(tmp_path, table)) == [
        Pair("caf\\xe9", b"1", "caf\ufffd", PairStatus.TEXT_INVALID), Pair("ok", b"2", "ok")]


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


@pytest.mark.parametrize("content", [b"", b"PAR1", b"not parquet at all", b"PAR1" + b"\xff" * 100 + b"PAR1"])
def test_what_is_no_parquet_is_one_sentence(tmp_path, content):
    (tmp_path / "x.parquet").write_bytes(content)
    for use in (read, lambda place: count_pairs(Shard(str(place), "x"))):
        with pytest.raises(OpenMofiError, match=r"x\.parquet is not a Parquet file, or damaged"):
            use(tmp_path / "x.parquet")


def damaged(folder: Path) -> Path:
    rows = [os.urandom(500) for _ in range(600)]
    place = parquet(folder, pa.table({"text": ["t"] * 600, "image": rows}), row_group_size=200, compression="zstd")
    content = bytearray(place.read_bytes())
    start = len(content) // 2
    content[start: start + 2000] = b"\xff" * 2000
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


@pytest.mark.parametrize(("name", "content"), [
    ("metadata.csv", 'file_name,text,url\na.jpg,"one, two",u\nin/b.png,zwei,\n'),
    ("captions.tsv", "image\tcaption\turl\na.jpg\tone, two\tu\nin/b.png\tzwei\t\n"),
    ("anything.jsonl", '{"file_name": "a.jpg", "text": "one, two", "url": "u"}\n\n'
                       '{"file_name": "in/b.png", "text": "zwei"}\n'),
    ("bom.csv", '\ufefffile_name,text,url\r\na.jpg,"one, two",u\r\nin/b.png,zwei,\r\n'),
])
def test_folders_with_a_table(photos, name, content):
    (photos / name).write_bytes(content.encode())
    expected = [Pair("a.jpg", b"A", "one, two", PairStatus.OK, "u"), Pair("in/b.png", b"BB", "zwei")]
    assert read(photos) == expected
    assert read(photos / name) == expected
    assert count_pairs(Shard(str(photos), "x")) == 2


def test_rows_of_a_table_that_cannot_be_used_have_a_status(photos):
    (photos / "metadata.csv").write_bytes(
        b"file_name,text\na.jpg,\nnone.jpg,t\n../secret.jpg,t\n/etc/passwd,t\nfile:///etc/passwd,t\n"
        b"a.jpg,again\n,no image\nin/b.png\nin,a folder\nin/../a.jpg,t\n./a.jpg,caf\xe9\nin/./b.png,a\0b\n")
    pairs = read(photos)
    assert [(pair.key, pair.status.name) for pair in pairs] == [
        ("a.jpg", "TEXT_EMPTY"), ("none.jpg", "IMAGE_MISSING"), ("../secret.jpg", "IMAGE_MISSING"),
        ("/etc/passwd", "IMAGE_MISSING"), ("file:///etc/passwd", "IMAGE_MISSING"), ("a.jpg", "DUPLICATE_KEY"),
        ("000000006", "IMAGE_MISSING"), ("in/b.png", "TEXT_MISSING"), ("in", "IMAGE_MISSING"),
        ("in/../a.jpg", "IMAGE_MISSING"), ("./a.jpg", "TEXT_INVALID"), ("in/./b.png", "OK")]
    assert not any(pair.image == b"secret" for pair in pairs)


@pytest.mark.parametrize(("path", "stays"), [
    ("a.jpg", True), ("a/b c.jpg", True), ("a..b/c.jpg", True), ("é.jpg", True), ("", False), ("/a", False),
    ("../a", False), ("a/../b", False), ("..\\a", False), ("\\a", False), ("C:\\a", False), ("c:/a", False),
    ("http://x/a.jpg", False), ("memory:x", False), ("a\0.jpg", False)])
def test_paths_that_stay_inside(path, stays):
    assert inside(path) is stays


def test_a_text_of_a_megabyte_in_a_table(photos):
    (photos / "metadata.csv").write_text("file_name,text\na.jpg," + "x" * (1 << 20) + "\nin/b.png,t\n")
    assert [(len(pair.text), pair.status.name) for pair in read(photos)] == [(10_000, "TEXT_TOO_LONG"), (1, "OK")]


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
        ("a.jpg", "OK"), ("000000001", "IMAGE_MISSING"), ("000000002", "IMAGE_MISSING"), ("000000003", "IMAGE_MISSING")]


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
    place.write_bytes((b"" if ending == "jsonl" else b"file_name\ttext\n".replace(
        b"\t", b"," if ending == "csv" else b"\t")) + content)
    pairs, error = pairs_until_error(place)
    assert error is None or str(place) in error.message
    assert len(pairs) <= content.count(b"\n") + content.count(b"\r") + 1
    assert len(pa.array([pair.key + pair.text + pair.url for pair in pairs], pa.string())) == len(pairs)


def column_of(kind: str) -> pa.Array:
    """Three images in a column of a kind."""
    values = [b"1", b"2", b"1"]
    return {"dictionary": lambda: pa.array(values).dictionary_encode(), "large": lambda: pa.array(values, pa.large_binary()),
            "view": lambda: pa.array(values, pa.binary_view()), "fixed": lambda: pa.array(values, pa.binary(1)),
            "struct": lambda: pa.array([{"bytes": value, "path": "x"} for value in values])}[kind]()


@pytest.mark.parametrize("kind", ["dictionary", "large", "view", "fixed", "struct"])
def test_image_bytes_of_any_encoding(tmp_path, kind):
    table = pa.table({"image": column_of(kind), "text": ["one", "two", "three"]})
    assert [(pair.image, pair.status.name) for pair in read(parquet(tmp_path, table))] == [
        (b"1", "OK"), (b"2", "OK"), (b"1", "OK")]


@pytest.mark.parametrize("column", [
    pa.array(["one", None]), pa.array(["one", None]).dictionary_encode(), pa.array(["one", None], pa.large_string()),
    pa.array(["one", None], pa.string_view()), pa.array([b"one", None]), pa.array([["one", "1"], []]),
    pa.array([["one"], None], pa.large_list(pa.string())), pa.array([["one", "1"], None], pa.list_(pa.string(), 2)),
    pa.array([["one"], [None]], pa.list_(pa.dictionary(pa.int32(), pa.string())))])
def test_texts_of_any_encoding(tmp_path, column):
    table = pa.table({"image": [b"1", b"2"], "text": column})
    assert [(pair.text, pair.status.name) for pair in read(parquet(tmp_path, table))] == [
        ("one", "OK"), ("", "TEXT_MISSING")]


@pytest.mark.parametrize("column", [
    pa.array([{"en": "one"}]), pa.array([[("en", "one")]], pa.map_(pa.string(), pa.string())), pa.array([[["one"]]]),
    pa.array([True]), pa.array([[{"raw": "one"}]]), pa.array([0], pa.timestamp("s"))])
def test_a_column_that_holds_no_texts_is_refused(tmp_path, column):
    place = parquet(tmp_path, pa.table({"image": [b"1"], "caption": column}))
    with pytest.raises(UsageError, match=r"The column 'caption' of .*x\.parquet is .*, not text") as caught:
        read(place)
    assert "--text-column NAME" in caught.value.hint


def test_nan_is_missing_and_numbers_are_digits(tmp_path):
    table = pa.table({"image": [b"1", b"2", b"3"], "text": [1984.0, float("nan"), None], "id": [7.0, float("nan"), None]})
    assert [(pair.key, pair.text, pair.status.name) for pair in read(parquet(tmp_path, table))] == [
        ("7.0", "1984.0", "OK"), ("000000001", "", "TEXT_MISSING"), ("000000002", "", "TEXT_MISSING")]


def test_values_of_json_that_are_no_texts(photos):
    values = ["one", ["two", "2"], 1984, float("nan"), True, {"en": "x"}, [["x"]], [], None]
    rows = [{"file_name": "a.jpg", "key": f"{number}", "text": value} for number, value in enumerate(values)]
    rows += [{"file_name": {"path": "a.jpg"}, "key": ["x"], "text": "t"}, {"file_name": float("nan"), "text": "t"}]
    (photos / "metadata.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    assert [(pair.text, pair.status.name) for pair in read(photos)] == [
        ("one", "OK"), ("two", "OK"), ("1984", "OK"), *[("", "TEXT_MISSING")] * 6, *[("t", "IMAGE_MISSING")] * 2]


def hundred_rows(photos: Path, wrong: str, kind: str = "csv") -> Path:
    """A table of 100 rows, of which the one in line 12 has another text."""
    rows = [f"a.jpg,k{number}," + (wrong if number == 10 else f"text {number}") for number in range(100)]
    content = "file_name,key,text\n" + "\n".join(rows) + "\n"
    (photos / f"t.{kind}").write_text(content if kind == "csv" else content.replace(",", "\t"))
    return photos / f"t.{kind}"


@pytest.mark.parametrize("kind", ["csv", "tsv"])
def test_a_quote_that_is_not_closed_swallows_no_rows(photos, kind):
    place = hundred_rows(photos, '"a text', kind)
    rows, error = pairs_until_error(place)
    assert len(rows) == 10
    assert "the quote that opens in line 12 is not closed" in error.message
    assert error.hint.startswith("Close that quote")
    assert "--on-damage keep" in error.hint
    assert read(place, on_damage="keep") == rows


def test_a_quote_that_another_row_closes(photos):
    place = hundred_rows(photos, '"a text')
    place.write_text(place.read_text().replace("text 40", '"text 40"'))
    rows, error = pairs_until_error(place)
    assert len(rows) == 10
    assert "the quote that opens in line 12 is not closed" in error.message


def test_the_last_line_and_the_header_are_checked_too(photos):
    (photos / "t.csv").write_text('file_name,text\na.jpg,t\nin/b.png,"u')
    rows, error = pairs_until_error(photos / "t.csv")
    assert (len(rows), "line 3 is not closed" in error.message) == (1, True)
    (photos / "t.csv").write_text('file_name,"text\na.jpg,t\n')
    assert "line 1 is not closed" in pairs_until_error(photos / "t.csv")[1].message
    (photos / "t.csv").write_text('file_name,text\na.jpg,"t\nu"\nin/b.png,"' + "x" * (17 << 20) + "\n")
    rows, error = pairs_until_error(photos / "t.csv")
    assert (len(rows), "line 4 is not closed" in error.message) == (1, True)


def test_quotes_as_people_write_them_are_read(photos):
    (photos / "t.csv").write_text('file_name,key,text\na.jpg,1,"two\nlines, ""quoted"""\na.jpg,2,"so" said\n'
                                  'a.jpg,3,a 5" disk\n\na.jpg,4,"last"')
    assert [pair.text for pair in read(photos)] == ['two\nlines, "quoted"', "so said", 'a 5" disk', "last"]


def test_more_fields_than_the_header_has(photos, caplog):
    (photos / "t.csv").write_text("file_name,text\na.jpg,t,\na.jpg,one, two\nin/b.png,u\n")
    rows, error = pairs_until_error(photos / "t.csv")
    assert [pair.text for pair in rows] == ["t"]
    assert error.message.startswith("Line 3 of")
    assert "2 fields of the header" in error.message
    assert [pair.text for pair in read(photos, on_damage="keep")] == ["t", "one", "u"]
    assert "Line 3 of" in caplog.text


def test_absolute_paths_count_below_the_root_alone(photos, tmp_path, caplog):
    names = [f"{photos}/a.jpg", f"file://{photos}/in/b.png", f"{photos}/../secret.jpg", f"{tmp_path}/secret.jpg"]
    (photos / "t.csv").write_text("file_name,text\n" + "".join(f"{name},t\n" for name in names))
    assert [pair.image for pair in read(photos)] == [b"A", b"BB", None, None]
    assert [pair.image for pair in read(photos, image_root=str(tmp_path))] == [b"A", b"BB", None, b"secret"]
    assert [pair.image for pair in read(photos, image_root="/")] == [b"A", None, None, b"secret"]
    (tmp_path / "t.csv").write_text("file_name,text\na.jpg,t\n../secret.jpg,t\n")
    assert [pair.image for pair in read(tmp_path / "t.csv", image_root=str(photos))] == [b"A", None]


@pytest.mark.parametrize(("name", "why"), [
    ("/data/a.jpg", "/data/a.jpg leads out of {folder}/. Name a folder that all images lie below with --image-root."),
    ("gone.jpg", "{folder}/gone.jpg cannot be read: No such file or directory."),
    ("https://x.org/a.jpg", "https://x.org/a.jpg is an address in the web. Download the images first")])
def test_where_no_row_has_an_image_the_log_says_why(photos, caplog, name, why):
    (photos / "t.csv").write_text("file_name,key,text\n" + "".join(f"{name},k{number},t\n" for number in range(3)))
    with caplog.at_level(logging.WARNING):
        assert {pair.status.name for pair in read(photos / "t.csv")} == {"IMAGE_MISSING"}
    assert f"All 3 rows of {photos}/t.csv are image_missing. " in caplog.text
    assert why.format(folder=photos) in caplog.text
    caplog.clear()
    (photos / "t.csv").write_text(f"file_name,text\n{name},t\na.jpg,t\n")
    read(photos / "t.csv")
    assert not caplog.text


def test_where_no_row_of_a_parquet_file_can_be_used_the_log_says_why(photos, caplog):
    read(parquet(photos, pa.table({"path": ["/x/a.jpg"], "text": ["t"]})))
    assert "are image_missing. /x/a.jpg leads out" in caplog.text
    read(parquet(photos, pa.table({"image": [b"1", b"2"], "text": pa.nulls(2)})))
    assert "are text_missing. Name another column with --text-column." in caplog.text


@pytest.mark.parametrize("name", ["filepath", "image_path", "file_name", "File Path", "ImagePath", "filename", "path",
                                  "image-file", "img_path"])
def test_usual_names_of_image_columns(photos, name):
    (photos / "t.csv").write_text(f"{name},Alt-Text\na.jpg,t\n")
    assert read(photos / "t.csv")[0].image == b"A"


def test_columns_by_input(tmp_path):
    for name in ("a", "b"):
        pq.write_table(pa.table({"one": [b"1"], "two": [b"2"], "picture=jpg": [b"3"], "t": ["t"]}),
                       tmp_path / f"{name}.parquet")

    def image(name: str, *entries: str) -> bytes | None:
        return read(tmp_path / f"{name}.parquet", text_column="t", image_column=entries)[0].image

    assert [image(name, "one", "b.parquet=two") for name in "ab"] == [b"1", b"2"]
    assert [image(name, "b*=two", "one") for name in "ab"] == [b"1", b"2"]
    assert [image(name, "*=one", f"{tmp_path}/b.*=two") for name in "ab"] == [b"1", b"2"]
    assert image("a", "picture=jpg") == b"3"
    assert image("a", f"{tmp_path.name}=two") == b"2"
    with pytest.raises(UsageError, match="has no image column"):
        image("a", "b.parquet=two")
    with pytest.raises(UsageError, match=r"has no column 'three' \(--image-column\)"):
        image("a", "a.parquet=three")
    for entries in (("one", "b.parquet=two"), "one", ()):
        setting = column_setting(entries)
        check_patterns(ReadSettings(image_column=setting), [f"{tmp_path}/a.parquet", f"{tmp_path}/b.parquet"])
        assert settings_from(ReadSettings(), values=json.loads(json.dumps({"image_column": setting}))
                             ) == ReadSettings(image_column=setting)
    with pytest.raises(UsageError, match=r"--image-column 'c.parquet=x': none of the inputs matches 'c\.parquet'"):
        check_patterns(ReadSettings(image_column="c.parquet=x"), [f"{tmp_path}/a.parquet"])
    check_patterns(ReadSettings(image_column="metadata.csv=x"), [f"{tmp_path}/folder"])


@pytest.mark.parametrize("error", [pa.ArrowMemoryError("malloc of size 64 failed"), MemoryError(),
                                   OSError(errno.EMFILE, "Too many open files")])
def test_a_shortage_is_no_damage_of_a_table(tmp_path, monkeypatch, error):
    def fail(*_: object, **__: object) -> None:
        raise error

    place = parquet(tmp_path, pa.table({"text": ["t"], "image": [b"1"]}))
    monkeypatch.setattr(pq.ParquetFile, "iter_batches", fail)
    with pytest.raises(type(error)):
        read(place, on_damage="keep")
    monkeypatch.setattr(pq, "ParquetFile", fail)
    with pytest.raises(type(error)):
        count_pairs(Shard(str(place), "x"))
