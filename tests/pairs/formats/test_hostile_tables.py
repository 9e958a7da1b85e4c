"""What tables may hold, what is refused, and that no row is lost in silence."""

from __future__ import annotations

import errno
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tables import parquet, read
from tars import pairs_until_error

from openmofi.config import settings_from
from openmofi.errors import UsageError
from openmofi.pairs import ReadSettings, read_pairs
from openmofi.pairs.formats.columns import check_patterns
from openmofi.pairs.formats.delimited import read_records
from openmofi.pairs.read import job_of
from openmofi.schema import Pair
from openmofi.storage import Shard


def column_of(kind: str) -> pa.Array:
    """Three images in a column of a kind."""
    values = [b"1", b"2", b"1"]
    return {
        "dictionary": lambda: pa.array(values).dictionary_encode(),
        "large": lambda: pa.array(values, pa.large_binary()),
        "view": lambda: pa.array(values, pa.binary_view()),
        "fixed": lambda: pa.array(values, pa.binary(1)),
        "struct": lambda: pa.array([{"bytes": value, "path": "x"} for value in values]),
    }[kind]()


@pytest.mark.parametrize("kind", ["dictionary", "large", "view", "fixed", "struct"])
def test_image_bytes_of_any_encoding(tmp_path, kind):
    table = pa.table({"image": column_of(kind), "text": ["one", "two", "three"]})
    assert [(pair.image, pair.status.name) for pair in read(parquet(tmp_path, table))] == [
        (b"1", "OK"),
        (b"2", "OK"),
        (b"1", "OK"),
    ]


@pytest.mark.parametrize(
    "column",
    [
        pa.array(["one", None]),
        pa.array(["one", None]).dictionary_encode(),
        pa.array(["one", None], pa.large_string()),
        pa.array(["one", None], pa.string_view()),
        pa.array([b"one", None]),
        pa.array([["one", "1"], []]),
        pa.array([["one"], None], pa.large_list(pa.string())),
        pa.array([["one", "1"], None], pa.list_(pa.string(), 2)),
        pa.array([["one"], [None]], pa.list_(pa.dictionary(pa.int32(), pa.string()))),
    ],
)
def test_texts_of_any_encoding(tmp_path, column):
    table = pa.table({"image": [b"1", b"2"], "text": column})
    assert [(pair.text, pair.status.name) for pair in read(parquet(tmp_path, table))] == [
        ("one", "OK"),
        ("", "TEXT_MISSING"),
    ]


@pytest.mark.parametrize(
    "column",
    [
        pa.array([{"en": "one"}]),
        pa.array([[("en", "one")]], pa.map_(pa.string(), pa.string())),
        pa.array([[["one"]]]),
        pa.array([True]),
        pa.array([[{"raw": "one"}]]),
        pa.array([0], pa.timestamp("s")),
    ],
)
def test_a_column_that_holds_no_texts_is_refused(tmp_path, column):
    place = parquet(tmp_path, pa.table({"image": [b"1"], "caption": column}))
    with pytest.raises(UsageError, match=r"The column 'caption' of .*x\.parquet is .*, not text") as caught:
        read(place)
    assert "--text-column NAME" in caught.value.hint


def test_nan_is_missing_and_numbers_are_digits(tmp_path):
    table = pa.table(
        {"image": [b"1", b"2", b"3"], "text": [1984.0, float("nan"), None], "id": [7.0, float("nan"), None]}
    )
    assert [(pair.key, pair.text, pair.status.name) for pair in read(parquet(tmp_path, table))] == [
        ("7.0", "1984.0", "OK"),
        ("000000001", "", "TEXT_MISSING"),
        ("000000002", "", "TEXT_MISSING"),
    ]


def test_values_of_json_that_are_no_texts(photos):
    values = ["one", ["two", "2"], 1984, float("nan"), True, {"en": "x"}, [["x"]], [], None]
    rows = [{"file_name": "a.jpg", "key": f"{number}", "text": value} for number, value in enumerate(values)]
    rows += [{"file_name": {"path": "a.jpg"}, "key": ["x"], "text": "t"}, {"file_name": float("nan"), "text": "t"}]
    (photos / "metadata.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    assert [(pair.text, pair.status.name) for pair in read(photos)] == [
        ("one", "OK"),
        ("two", "OK"),
        ("1984", "OK"),
        *[("", "TEXT_MISSING")] * 6,
        *[("t", "IMAGE_MISSING")] * 2,
    ]


def hundred_rows(photos: Path, wrong: str, kind: str = "csv") -> Path:
    """A table of 100 rows, of which the one in line 12 has another text."""
    rows = [f"a.jpg,k{number}," + (wrong if number == 10 else f"text {number}") for number in range(100)]
    content = "file_name,key,text\n" + "\n".join(rows) + "\n"
    (photos / f"t.{kind}").write_text(content if kind == "csv" else content.replace(",", "\t"))
    return photos / f"t.{kind}"


def test_a_quote_that_is_not_closed_swallows_no_rows(photos):
    place = hundred_rows(photos, '"a text')
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


def test_quotes_that_tsv_does_not_close_are_characters(photos, caplog):
    place = hundred_rows(photos, '"a text', "tsv")
    expected = [f"text {number}" for number in range(100)]
    expected[10] = '"a text'
    assert [pair.text for pair in read(place)] == expected
    assert "1 lines of" in caplog.text
    for number in (40, 41, 99):
        place.write_text(place.read_text().replace(f"text {number}\n", f'"text {number}\n'))
        expected[number] = f'"text {number}'
    assert [pair.text for pair in read(place)] == expected
    assert "4 lines of" in caplog.text
    assert "have a quote that they do not close" in caplog.text


def test_quotes_that_span_lines_of_tsv_are_read_as_people_write_them(photos, caplog):
    (photos / "t.tsv").write_text(
        'file_name\tkey\ttext\na.jpg\t1\t"two\nlines, ""quoted"""\na.jpg\t2\t"a\ttab"\n'
        'a.jpg\t3\ta 5" disk\na.jpg\t4\t"last"\n\n'
    )
    assert [pair.text for pair in read(photos)] == ['two\nlines, "quoted"', "a\ttab", 'a 5" disk', "last"]
    assert not caplog.text


def test_lines_of_csv_between_two_quotes_that_could_be_rows_are_told(photos, caplog):
    place = hundred_rows(photos, '"a text')
    place.write_text(place.read_text().replace("text 40\n", 'text 40"\n'))
    assert len(read(place)) == 70
    assert "1 rows of" in caplog.text
    assert "the first from line 12 on): check whether two quotes are missing" in caplog.text
    caplog.clear()
    (photos / "u.csv").write_text('file_name,key,text\na.jpg,1,"two, or\nthree, lines"\n')
    read(photos / "u.csv")
    assert not caplog.text


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl"])
def test_a_text_of_any_length_is_a_row(photos, caplog, ending):
    long = "a sun " * (4 << 20)
    rows = [("a.jpg", "t"), ("in/b.png", long), ("a.jpg", "u")]
    if ending == "jsonl":
        lines = [json.dumps({"file_name": name, "text": text}) for name, text in rows]
    else:
        comma = "," if ending == "csv" else "\t"
        lines = [f"file_name{comma}text", *(f'{name}{comma}"{text}"' for name, text in rows)]
    (photos / f"t.{ending}").write_text("\n".join(lines) + "\n")
    statuses = [pair.status.name for pair in read(photos / f"t.{ending}")]
    # Of a cut line of JSON nothing is known.
    assert statuses == ["OK", "IMAGE_MISSING" if ending == "jsonl" else "TEXT_TOO_LONG", "DUPLICATE_KEY"]
    assert "1 lines of" in caplog.text


def test_json_lines_with_columns_of_their_own_take_linear_time(photos):
    columns = []
    monitored = [json.dumps({"file_name": "a.jpg", "text": "t", f"c{number}": 1}) for number in range(200)]
    (photos / "t.jsonl").write_text("\n".join(monitored))
    for names, row in read_records(str(photos / "t.jsonl"), ReadSettings()):
        columns.append(len(names))
        assert set(names) == set(row)
    assert columns == [3] * 200


HALF = "\ud800"
NAMES = ["a.jpg", f"{HALF}.jpg", "x" * 5000 + ".jpg", "pipe.jpg", "a.jpg/b", "in", "nul\0.jpg", 7, True, None]
"""A good name of a file, and some that no file can have or that are none."""


@pytest.mark.parametrize("kind", ["jsonl", "coco", "fiftyone", "parquet"])
def test_rows_whose_file_has_an_impossible_name_are_missing_an_image(photos, kind):
    os.mkfifo(photos / "pipe.jpg")
    rows = [{"file_name": name, "text": f"t{HALF}", "key": f"k{number}{HALF}"} for number, name in enumerate(NAMES)]
    if kind == "jsonl":
        place = photos / "t.jsonl"
        place.write_text("\n".join(map(json.dumps, rows)))
    elif kind == "parquet":
        names = [None if name is None else str(name).encode("utf-8", "surrogatepass") for name in NAMES]
        place = parquet(
            photos, pa.table({"file_name": pa.array(names, pa.binary()).view(pa.string()), "text": ["t"] * len(NAMES)})
        )
    elif kind == "coco":
        place = photos / "coco.json"
        place.write_text(
            json.dumps(
                {
                    "images": [{"id": row["key"], "file_name": row["file_name"]} for row in rows],
                    "annotations": [{"image_id": row["key"], "caption": row["text"]} for row in rows],
                }
            )
        )
    else:
        place = photos / "samples.json"
        place.write_text(json.dumps({"samples": [{"filepath": row["file_name"], "text": row["text"]} for row in rows]}))
    pairs = read(place)
    assert [pair.image for pair in pairs] == [b"A", *[None] * (len(NAMES) - 1)]
    assert {pair.status.name for pair in pairs[1:]} <= {"IMAGE_MISSING", "DUPLICATE_KEY"}
    assert pa.array([pair.key + pair.text + pair.url for pair in pairs]).to_pylist()
    if kind != "parquet":  # which holds bytes, and any bytes are a name
        assert [*read_pairs(Shard(str(place), "x"), paths_only=True)][1].status.name == "IMAGE_MISSING"


def test_a_folder_with_pipes_and_names_that_are_not_utf_8(photos):
    for name in (b"caf\xe9.jpg", b"caf\xe9.txt"):
        (photos / os.fsdecode(name)).write_bytes(b"t")
    for name in ("p.jpg", "q.txt"):
        os.mkfifo(photos / name)
    (photos / "q.jpg").write_bytes(b"Q")
    (photos / "r.jpg").symlink_to("p.jpg")
    assert [(pair.key, pair.image, pair.text, pair.status.name) for pair in read(photos)] == [
        ("a", b"A", "", "TEXT_MISSING"),
        ("caf\\xe9", b"t", "t", "OK"),
        ("in/b", b"BB", "", "TEXT_MISSING"),
        ("p", b"", "", "TEXT_MISSING"),
        ("q", b"Q", "", "TEXT_EMPTY"),
        ("r", b"", "", "TEXT_MISSING"),
    ]


@pytest.mark.parametrize("name", ["x.tar", "x.csv", "x.parquet", "x.json"])
def test_a_pipe_is_no_shard(tmp_path, name):
    os.mkfifo(tmp_path / name)
    pairs, error = pairs_until_error(tmp_path / name)
    assert not pairs
    assert error.message.endswith(f"{name} cannot be read: it is not a regular file.")


@pytest.mark.parametrize("on_damage", ["stop", "keep"])
def test_whatever_a_reader_raises_names_the_shard(tmp_path, monkeypatch, caplog, on_damage):
    def some_pairs(*_: object) -> Iterator[Pair]:
        yield Pair("a", b"x", "t")
        raise LookupError("an odd byte")

    monkeypatch.setattr("openmofi.pairs.formats.tar.read_tar", some_pairs)
    shard = Shard(str(tmp_path / "x.tar"), "x")
    pairs, error = pairs_until_error(tmp_path / "x.tar", on_damage=on_damage)
    assert [pair.key for pair in pairs] == ["a"]
    said = caplog.text if on_damage == "keep" else error.message
    assert f"{tmp_path}/x.tar cannot be read any further (LookupError: an odd byte)." in said
    assert job_of([shard, shard], ReadSettings(), "cpu", None).pairs(9) == 2


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
    (photos / "t.csv").write_text(
        'file_name,key,text\na.jpg,1,"two\nlines, ""quoted"""\na.jpg,2,"so" said\na.jpg,3,a 5" disk\n\na.jpg,4,"last"'
    )
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


@pytest.mark.parametrize(
    ("name", "why"),
    [
        (
            "/data/a.jpg",
            "/data/a.jpg leads out of {folder}/. Name a folder that all images lie below with --image-root.",
        ),
        ("gone.jpg", "{folder}/gone.jpg cannot be read: No such file or directory."),
        ("https://x.org/a.jpg", "https://x.org/a.jpg is an address in the web. Download the images first"),
    ],
)
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


@pytest.mark.parametrize(
    "name",
    ["filepath", "image_path", "file_name", "File Path", "ImagePath", "filename", "path", "image-file", "img_path"],
)
def test_usual_names_of_image_columns(photos, name):
    (photos / "t.csv").write_text(f"{name},Alt-Text\na.jpg,t\n")
    assert read(photos / "t.csv")[0].image == b"A"


def test_columns_by_input(tmp_path):
    for name in ("a", "b"):
        pq.write_table(
            pa.table({"one": [b"1"], "two": [b"2"], "picture=jpg": [b"3"], "t": ["t"]}), tmp_path / f"{name}.parquet"
        )

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
        settings = ReadSettings(image_column=entries)
        check_patterns(settings, [f"{tmp_path}/a.parquet", f"{tmp_path}/b.parquet"])
        written = json.loads(json.dumps({"image_column": settings.image_column}))
        assert settings_from(ReadSettings(), values=written) == settings
    assert [ReadSettings(image_column=entries).image_column for entries in (("one",), ())] == ["one", ""]
    with pytest.raises(UsageError, match=r"--image-column 'c.parquet=x': none of the inputs matches 'c\.parquet'"):
        check_patterns(ReadSettings(image_column="c.parquet=x"), [f"{tmp_path}/a.parquet"])
    check_patterns(ReadSettings(image_column="metadata.csv=x"), [f"{tmp_path}/folder"])


@pytest.mark.parametrize(
    "error",
    [pa.ArrowMemoryError("malloc of size 64 failed"), MemoryError(), OSError(errno.EMFILE, "Too many open files")],
)
def test_a_shortage_is_no_damage_of_a_table(tmp_path, monkeypatch, error):
    def fail(*_: object, **__: object) -> None:
        raise error

    place = parquet(tmp_path, pa.table({"text": ["t"], "image": [b"1"]}))
    monkeypatch.setattr(pq.ParquetFile, "iter_batches", fail)
    with pytest.raises(type(error)):
        read(place, on_damage="keep")
    monkeypatch.setattr(pq, "ParquetFile", fail)
    with pytest.raises(type(error)):
        read(place, on_damage="keep")


def test_columns_of_one_name_are_refused(tmp_path):
    table = pa.table([pa.array([b"1"]), pa.array(["a"]), pa.array(["b"])], ["image", "caption", "caption"])
    pq.write_table(table, tmp_path / "x.parquet")
    _, error = pairs_until_error(tmp_path / "x.parquet")
    assert isinstance(error, UsageError)
    assert error.message.endswith("x.parquet has more than one column 'caption'.")
