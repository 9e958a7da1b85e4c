"""Texts and names: every alphabet, markup, control characters, lengths; through the label job and the commands."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from hostile.workbench import Broken, Case, Workbench, command, expect, small_records
from openmofi.pairs import Record, write_tar
from openmofi.schema import ENTITIES, NAMES
from openmofi.storage import write_table
from tests.pairs.tars import tar_bytes

MARKUP = (
    "[/ref]",
    "[sic]",
    "[bold red]sun[/]",
    "[link=x]",
    "[[sun]]",
    "\\[sun",
    ":sun:",
    "[@click=app.bell]x[/]",
    "[",
    "]",
    "{name}",
    "%s %d",
    "\x1b[31msun",
    "<b>sun</b>",
    "|sun|`sun`",
    "$(sun)",
    "sun\r\nsun",
    "sun\0sun",
    "\u202esun",
    "[/]",
    "[not closed",
    "[#ff0000]sun",
    "[red on blue]",
)
A_CASE = 12


def cases(bench: Workbench, seed: int) -> Iterator[Case]:
    draw = np.random.default_rng(seed)
    for number in range(60):
        yield Case(f"texts/drawn-{number}", partial(label, bench, [drawn_text(draw) for _ in range(A_CASE)]))
    yield Case("texts/markup", partial(label, bench, list(MARKUP)))
    yield Case("texts/long", partial(label, bench, ["sun " * 2**power for power in range(8, 19)]))
    yield Case("texts/one-word", partial(label, bench, ["s" * 1_000_000, "sun" * 300_000, "\u0301" * 200_000]))
    for number in range(12):
        yield Case(
            f"texts/bytes-{number}",
            partial(
                label_bytes,
                bench,
                [bytes(draw.integers(0, 256, int(draw.integers(0, 60)), dtype=np.uint8)) for _ in range(A_CASE)],
            ),
        )
    for number, name in enumerate(MARKUP):
        yield Case(f"texts/name-{number}", partial(look_up, name))


def label(bench: Workbench, texts: list[str], folder: Path) -> None:
    image = small_records()[0].image
    write_tar(folder / "x.tar", [Record(f"{number:04d}", image, text) for number, text in enumerate(texts)])
    expect(bench.label(folder / "x.tar", folder / "out"), len(texts))


def label_bytes(bench: Workbench, texts: list[bytes], folder: Path) -> None:
    image = small_records()[0].image or b""
    members = [
        member for number, text in enumerate(texts) for member in ((f"{number}.jpg", image), (f"{number}.txt", text))
    ]
    (folder / "x.tar").write_bytes(tar_bytes(members))
    expect(bench.label(folder / "x.tar", folder / "out"), len(texts))


def look_up(name: str, folder: Path) -> None:
    """A base whose names and descriptions are `name`: what is printed holds it to the letter."""
    rows = [
        {"id": f"e:{number}", "name": f"thing {name}", "description": name, "types": [], "popularity": 1.0}
        for number in range(2)
    ]
    write_table(folder / "source" / "entities.parquet", pa.Table.from_pylist(rows, ENTITIES))
    names = [{"name": row["name"], "entity": row["id"], "count": 1.0} for row in rows]
    write_table(folder / "source" / "names.parquet", pa.Table.from_pylist(names, NAMES))
    command("kb", "build", "table", folder / "source", "-o", folder / "kb")
    printed = command("kb", "lookup", folder / "kb", f"thing {name}")
    # Control characters may be shown otherwise; brackets may not vanish.
    for bracket in "[]":
        if printed.count(bracket) < 4 * name.count(bracket):
            raise Broken(f"{name!r} was shown as {printed!r}")


def drawn_text(draw: np.random.Generator) -> str:
    """Words of the world among characters of all planes, markup and combining marks."""
    pieces = ["sun", "moon", "orange", "tangerine", "the", " ", "\n", "\t", *MARKUP]
    text = []
    for _ in range(int(draw.integers(0, 30))):
        kind = draw.random()
        if kind < 0.5:
            text.append(str(draw.choice(pieces)))
        elif kind < 0.9:
            point = int(draw.integers(1, 0x3000))
            text.append(chr(point))
        else:
            point = int(draw.integers(0x3000, 0x110000))
            text.append("?" if 0xD800 <= point < 0xE000 else chr(point))
    return " ".join(text)
