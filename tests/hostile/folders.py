"""Folders of labels and datasets, and tables of truth: what reads them refuses what was damaged or never was."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from hostile.tars import flipped, zeroed
from hostile.workbench import Broken, Case, Workbench, command
from openmofi.errors import OpenMofiError


def cases(bench: Workbench, seed: int) -> Iterator[Case]:
    draw = np.random.default_rng(seed)
    for kind, original in (("labels", bench.labels), ("dataset", bench.dataset)):
        act = partial({"labels": use_labels, "dataset": use_dataset}[kind], bench)
        table = next(path for path in sorted(original.rglob("*.parquet")) if path.parent.name in ("labels", "images"))
        for path in [original / "manifest.json", table]:
            whole, file = path.read_bytes(), str(path.relative_to(original))
            for at in map(int, draw.integers(0, len(whole), 12)):
                yield Case(f"folders/{kind}-{file}-flipped-{at}", partial(act, writes(file, flipped(whole, 8 * at))))
                yield Case(f"folders/{kind}-{file}-zeros-{at}", partial(act, writes(file, zeroed(whole, at, 32))))
            for at in map(int, draw.integers(0, len(whole), 6)):
                yield Case(f"folders/{kind}-{file}-cut-{at}", partial(act, writes(file, whole[:at])))
            yield Case(f"folders/{kind}-{file}-missing", partial(act, writes(file, None)))
        manifest = json.loads((original / "manifest.json").read_text())
        for key in manifest:
            for number, value in enumerate((None, 7, "x", [], {})):
                content = json.dumps({**manifest, key: value}).encode()
                yield Case(f"folders/{kind}-manifest-{key}-{number}", partial(act, writes("manifest.json", content)))
        for name in pq.read_schema(table).names:
            file = str(table.relative_to(original))
            yield Case(f"folders/{kind}-without-{name}", partial(act, changes(file, partial(without, name))))
            yield Case(f"folders/{kind}-null-{name}", partial(act, changes(file, partial(nulls, name))))
    for number, value in enumerate((float("nan"), float("inf"), -0.5, 1.5)):
        file = str(next((bench.labels / "labels").glob("*.parquet")).relative_to(bench.labels))
        yield Case(
            f"folders/probability-{number}",
            partial(refused, partial(use_labels, bench, changes(file, partial(probabilities, value)))),
        )
    truth = bench.truth.read_text()
    for number, content in enumerate(
        (
            b"",
            b"key,entity\n",
            b"\xff\xfe",
            truth.replace("entity", "thing", 1).encode(),
            b"a,b\n1,2\n",
            b"key,entity\nno-such-key,e:sun\n",
            truth.encode("utf-16-le"),
            truth.replace("\n", '\n"', 1).encode(),
        )
    ):
        yield Case(f"folders/truth-{number}", partial(refused, partial(audit, bench, content)))


def writes(file: str, content: bytes | None) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / file).unlink()
        if content is not None:
            (folder / file).write_bytes(content)

    return change


def changes(file: str, change: Callable[[pa.Table], pa.Table]) -> Callable[[Path], None]:
    def rewrite(folder: Path) -> None:
        pq.write_table(change(pq.read_table(folder / file)), folder / file)

    return rewrite


def without(name: str, table: pa.Table) -> pa.Table:
    return table.drop_columns([name])


def nulls(name: str, table: pa.Table) -> pa.Table:
    row = table.column_names.index(name)
    return table.set_column(row, name, pa.nulls(table.num_rows, table.schema.field(name).type))


def probabilities(value: float, table: pa.Table) -> pa.Table:
    rows = table.to_pylist()
    for judged in (row["entities"] for row in rows if row["entities"]):
        judged[0] |= {"probability": value, "accepted": True}
    return pa.Table.from_pylist(rows, table.schema)


def use_labels(bench: Workbench, change: Callable[[Path], None], folder: Path) -> None:
    shutil.copytree(bench.labels, folder / "labels")
    change(folder / "labels")
    command(
        "dataset",
        "build",
        folder / "labels",
        "--kb",
        bench.kb,
        "-o",
        folder / "dataset",
        "--min-images",
        "2",
        "--no-report",
    )


def use_dataset(bench: Workbench, change: Callable[[Path], None], folder: Path) -> None:
    shutil.copytree(bench.dataset, folder / "dataset")
    change(folder / "dataset")
    command("dataset", "audit", folder / "dataset", "--truth", bench.truth, "--json")


def audit(bench: Workbench, truth: bytes, folder: Path) -> None:
    (folder / "truth.csv").write_bytes(truth)
    command("dataset", "audit", bench.labels, "--truth", folder / "truth.csv", "--json")


def refused(act: Callable[[Path], None], folder: Path) -> None:
    """Nonsense that must be refused: to accept it is to break the invariant."""
    try:
        act(folder)
    except OpenMofiError:
        raise
    raise Broken("it was accepted")
