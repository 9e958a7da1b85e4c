"""Tables of pairs: quotes that never end, encodings, columns of every type, damage."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import openmofi
from hostile.tars import flipped, zeroed
from hostile.workbench import Broken, Case, Workbench, expect, small_records

ROWS = 24
Write = Callable[[Path], None]


def cases(bench: Workbench, seed: int) -> Iterator[Case]:
    draw = np.random.default_rng(seed)
    for name, file, content, rows in [*comma_separated(draw), *json_lines(draw)]:
        yield Case(f"tables/{name}", partial(label_text, bench, file, content, rows))
    for name, table in typed_tables():
        yield Case(f"tables/parquet-{name}", partial(label_parquet, bench, parquet_bytes(table), table.num_rows))
    for number, name in enumerate(("pipe.jpg", "folder.jpg", "\ud800.jpg", "x" * 999 + ".jpg", "0.jpg/x", "nul\0.jpg")):
        yield Case(f"tables/name-{number}", partial(label_names, bench, name))
    for name in ("struct", "list", "map", "nan", "image-bytes-dictionary"):
        yield Case(f"tables/meaning-{name}", partial(meaning, bench, name))
    keys = [str(number) for number in range(ROWS)]
    sound = parquet_bytes(pa.table({"image": images(), "caption": ["a sun"] * ROWS, "key": keys}))
    for _ in range(40):
        at = int(draw.integers(0, len(sound)))
        yield Case(f"tables/parquet-cut-{at}", partial(label_parquet, bench, sound[:at], ROWS))
        yield Case(f"tables/parquet-zeros-{at}", partial(label_parquet, bench, zeroed(sound, at, 64), None))
        yield Case(f"tables/parquet-flipped-{at}", partial(label_parquet, bench, flipped(sound, 8 * at), None))


def images() -> list[bytes]:
    return [bytes(record.image or b"") for record in small_records()[:ROWS]]


def label_text(bench: Workbench, file: str, content: bytes, rows: int | None, folder: Path) -> None:
    for number, image in enumerate(images()):
        (folder / f"{number}.jpg").write_bytes(image)
    (folder / file).write_bytes(content)
    got = bench.label(folder / file, folder / "out")
    if rows is not None:
        expect(got, rows)


def label_names(bench: Workbench, name: str, folder: Path) -> None:
    """Tables in which one image has a name that no file has: JSON lines, COCO and FiftyOne."""
    for number, image in enumerate(images()):
        (folder / f"{number}.jpg").write_bytes(image)
    (folder / "folder.jpg").mkdir()
    os.mkfifo(folder / "pipe.jpg")
    names = [name if number == 5 else f"{number}.jpg" for number in range(ROWS)]
    text = f"a sun {name[:6]}"
    tables = {
        "x.jsonl": "\n".join(json.dumps({"file_name": each, "caption": text}) for each in names),
        "coco.json": json.dumps(
            {
                "images": [{"id": each, "file_name": each} for each in names],
                "annotations": [{"image_id": each, "caption": text} for each in names],
            }
        ),
        "samples.json": json.dumps({"samples": [{"filepath": each, "caption": text} for each in names]}),
    }
    for file, content in tables.items():
        (folder / file).write_text(content)
        expect(bench.label(folder / file, folder / f"out-{file}"), ROWS)


def label_parquet(bench: Workbench, content: bytes, rows: int | None, folder: Path) -> None:
    (folder / "x.parquet").write_bytes(content)
    got = bench.label(folder / "x.parquet", folder / "out")
    # A flipped bit in the footer may change the count that the file itself declares.
    if rows is not None:
        expect(got, rows)


def meaning(bench: Workbench, name: str, folder: Path) -> None:
    """A text is never a value's source code, and what holds images gives them."""
    table = next(table for kind, table in typed_tables() if kind in (name, f"caption-{name}"))
    label_parquet(bench, parquet_bytes(table), table.num_rows, folder)
    rows = openmofi.Labels.open(folder / "out").to_arrow().to_pylist()
    if any(set("{[(") & set(row["text"]) or row["text"] == "nan" for row in rows):
        raise Broken(f"a text is {rows[0]['text']!r}")
    if "dictionary" in name and any(row["status"].startswith("image") for row in rows):
        raise Broken(f"the status of a good image is {rows[0]['status']}")


def written(rows: list[list[str]], delimiter: str = ",") -> str:
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, lineterminator="\n").writerows(rows)
    return out.getvalue()


def comma_separated(draw: np.random.Generator) -> Iterator[tuple[str, str, bytes, int | None]]:
    """Name, file name, content and the rows that a person sees in it."""
    rows = [[f"{number}.jpg", f'the "sun", number {number}'] for number in range(ROWS)]
    head = ["file_name", "caption"]
    text = written([head, *rows])
    lines = text.splitlines(keepends=True)
    for number in range(1, ROWS + 1):
        # The quote that opens a caption, without its end: all that follows would be one field.
        broken = [*lines[:number], f'{number - 1}.jpg,"the sun\n', *lines[number + 1 :]]
        yield f"quote-{number}", "x.csv", "".join(broken).encode(), ROWS
    for number in map(int, draw.integers(1, ROWS, 12)):
        plain = [line.replace('"', "") for line in lines]
        plain[number] = plain[number].replace("the sun", 'the "sun')
        yield (
            f"quote-inside-{number}",
            "x.csv",
            written([head, *rows[:0]]).encode()
            + "".join(f"{i}.jpg,{'a ' + chr(34) if i == number else 'a '}sun\n" for i in range(ROWS)).encode(),
            ROWS,
        )
    yield "tabs", "x.tsv", written([head, *rows], "\t").encode(), ROWS
    yield (
        "tabs-quote",
        "x.tsv",
        (
            "file_name\tcaption\n" + "".join(f"{i}.jpg\t{chr(34) if i == 5 else ''}a sun\n" for i in range(ROWS))
        ).encode(),
        ROWS,
    )
    yield "bom", "x.csv", "\ufeff".encode() + text.encode(), ROWS
    yield "utf-16", "x.csv", text.encode("utf-16"), ROWS
    yield "latin", "x.csv", text.replace("sun", "s\xfcn").encode("latin-1"), ROWS
    yield "zero-byte", "x.csv", text.replace("number 3", "num\0ber 3").encode(), ROWS
    yield "carriage", "x.csv", text.replace("\n", "\r").encode(), ROWS
    yield "windows", "x.csv", text.replace("\n", "\r\n").encode(), ROWS
    yield "no-last-line-end", "x.csv", text.rstrip("\n").encode(), ROWS
    yield "blank-lines", "x.csv", text.replace("\n", "\n\n").encode(), ROWS
    yield "line-ends-inside", "x.csv", written([head, *([a, b + "\nand more"] for a, b in rows)]).encode(), ROWS
    yield "short-rows", "x.csv", written([head, *rows[:5], ["5.jpg"], *rows[6:]]).encode(), ROWS
    yield "long-rows", "x.csv", written([head, *rows[:5], ["5.jpg", "a", "b", "c"], *rows[6:]]).encode(), ROWS
    yield "no-header", "x.csv", written(rows).encode(), None
    yield "same-columns", "x.csv", written([["caption", "caption"], *rows]).encode(), None
    yield "semicolons", "x.csv", written([head, *rows], ";").encode(), ROWS
    yield "absolute", "x.csv", written([head, *(["/" + a, b] for a, b in rows)]).encode(), ROWS
    yield "parents", "x.csv", written([head, *(["../../etc/passwd", b] for _, b in rows)]).encode(), ROWS
    yield "addresses", "x.csv", written([head, *(["http://127.0.0.1:9/a.jpg", b] for _, b in rows)]).encode(), ROWS
    yield "long-field", "x.csv", written([head, *rows[:-1], ["23.jpg", "a " * 20_000_000]]).encode(), ROWS
    yield "empty", "x.csv", b"", 0
    yield "header-only", "x.csv", written([head]).encode(), 0
    yield "noise", "x.csv", bytes(draw.integers(0, 256, 5000, dtype=np.uint8)), None


def json_lines(draw: np.random.Generator) -> Iterator[tuple[str, str, bytes, int | None]]:
    values: list[object] = [
        "a sun",
        None,
        7,
        7.5,
        True,
        ["a", "sun"],
        {"en": "a sun"},
        float("nan"),
        float("inf"),
        "",
        "\ud800",
        "[bold]sun[/bold]",
        10**400,
    ]
    for number, value in enumerate(values):
        rows = [json.dumps({"file_name": f"{i}.jpg", "caption": value if i % 2 else "a sun"}) for i in range(ROWS)]
        yield f"json-value-{number}", "x.jsonl", "\n".join(rows).encode("utf-8", "surrogatepass"), ROWS
    row = json.dumps({"file_name": "0.jpg", "caption": "a sun"})
    for name, line in {
        "not-json": "{",
        "number": "7",
        "list": "[1]",
        "deep": "[" * 100_000,
        "empty-object": "{}",
        "twice": '{"caption": "a", "caption": "b", "file_name": "0.jpg"}',
        "cut": row[:-4],
    }.items():
        yield f"json-line-{name}", "x.jsonl", "\n".join([row] * 5 + [line] + [row] * (ROWS - 6)).encode(), ROWS
    yield "json-array", "x.jsonl", json.dumps([json.loads(row)] * ROWS, indent=1).encode(), None


def typed_tables() -> Iterator[tuple[str, pa.Table]]:
    """Columns of every type that Arrow has, in the place of texts, images and keys."""
    sound = {"image": pa.array(images()), "caption": pa.array(["a sun"] * ROWS)}
    odd: dict[str, pa.Array] = {
        "dictionary": pa.array(["a sun"] * ROWS).dictionary_encode(),
        "large": pa.array(["a"] * ROWS, pa.large_string()),
        "nan": pa.array([float("nan")] * ROWS),
        "struct": pa.array([{"en": "a sun"}] * ROWS),
        "list": pa.array([["a sun", "b"]] * ROWS),
        "map": pa.array([[("en", "a sun")]] * ROWS, pa.map_(pa.string(), pa.string())),
        "null": pa.nulls(ROWS),
        "integer": pa.array(range(ROWS)),
        "bytes": pa.array([b"a sun \xff"] * ROWS),
        "boolean": pa.array([True] * ROWS),
        "time": pa.array([0] * ROWS, pa.timestamp("us")),
        "decimal": pa.nulls(ROWS, pa.decimal128(20, 2)),
        "half-null": pa.array(["a sun", None] * (ROWS // 2)),
        "fixed": pa.array([b"abcd"] * ROWS, pa.binary(4)),
        "image-struct": pa.array([{"bytes": b"x", "path": None}] * ROWS),
    }
    for name, column in odd.items():
        yield f"caption-{name}", pa.table({**sound, "caption": column})
        yield f"image-{name}", pa.table({**sound, "image": column})
        yield f"key-{name}", pa.table({**sound, "key": column})
    encoded = pa.array(images()).dictionary_encode()
    yield "image-bytes-dictionary", pa.table({**sound, "image": encoded})
    yield "no-rows", pa.table({**sound}).slice(0, 0)
    yield "same-names", pa.table([sound["image"], sound["caption"], sound["caption"]], ["image", "caption", "caption"])


def parquet_bytes(table: pa.Table) -> bytes:
    out = io.BytesIO()
    pq.write_table(table, out)
    return out.getvalue()
