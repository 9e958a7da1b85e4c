"""A small labelled world: real tar shards with drawn images, label tables, and the truth."""

from __future__ import annotations

import io
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image, ImageDraw

from openmofi.pairs import Record, perceptual_hash, write_tar
from openmofi.schema import LABELS, TRUTH, Entity
from openmofi.storage import Shard, claim_folder, finish_manifest, write_table

NASTY = "<script>alert('x')</script> & \"apple\" ☃"


@dataclass
class World:
    root: Path
    labels: Path
    truth: Path
    shards: list[Shard]


class Lookup:
    """A knowledge base of the entities e0, e1 …, as far as this room asks for one."""

    fingerprint = "0123456789abcdef"

    def __init__(self, count: int) -> None:
        self.count = count

    path = "lookup"

    def current(self, ids: pa.StringArray) -> pa.StringArray:
        return ids

    def rows(self, ids: Sequence[str]) -> np.ndarray:
        rows = np.array([int(entity_id[1:]) for entity_id in ids])
        return np.where(rows < self.count, rows, -1)

    def entity(self, row: int) -> Entity:
        return Entity(f"e{row}", f"Thing {row} <b>", f"the {row}th thing there is", ("odd" if row % 2 else "even",))


def draw(number: int, generator: np.random.Generator) -> bytes:
    image = Image.new("RGB", (96, 80), "white")
    pen = ImageDraw.Draw(image)
    for _ in range(6):
        left, top, width, height = (int(part) for part in generator.integers(0, 50, 4))
        colour = tuple(int(part) for part in generator.integers(0, 255, 3))
        pen.ellipse([left, top, left + width + 4, top + height + 4], colour)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def judgement(entity, mention, probability, accepted, reason, link=0.5, prior=0.5):
    return {
        "entity": entity,
        "mention": mention,
        "prior": prior,
        "link_score": link,
        "image_score": 1.0,
        "probability": probability,
        "accepted": accepted,
        "reason": reason,
    }


def label_row(key, text, status, mentions=(), entities=(), phash=1):
    return {
        "key": key,
        "text": text,
        "status": status,
        "mentions": list(mentions),
        "entities": list(entities),
        "width": 96,
        "height": 80,
        "phash": phash,
    }


def _row(key: str, generator: np.random.Generator, true: str, entities: int, phash: int) -> dict:
    draws = generator.random()
    if draws < 0.05:
        return label_row(key, "", "image_broken", phash=0)
    if draws < 0.12:
        return label_row(key, "a nice day", "no_mention", phash=phash)
    first = f"name{int(true[1:]) // 2}"
    second = f"name{int(generator.integers(entities)) // 2}"
    text = f"{first} and {second} {NASTY if draws > 0.9 else ''}"
    mentions = [
        {"start": 0, "end": len(first), "surface": first, "detector": "gazetteer"},
        {"start": len(first) + 5, "end": len(first) + 5 + len(second), "surface": second, "detector": "spacy"},
    ]
    judged = []
    for number, surface in enumerate((first, second)):
        pair = [f"e{2 * int(surface[4:])}", f"e{2 * int(surface[4:]) + 1}"]
        link = generator.dirichlet([1, 1, 1])
        for position, entity in enumerate(pair):
            probability = float(np.clip(generator.normal(0.8 if entity == true else 0.25, 0.2), 0.01, 0.99))
            judged.append(
                judgement(
                    entity,
                    number,
                    probability,
                    probability >= 0.5,
                    "accepted" if probability >= 0.5 else "sibling_preferred" if position else "below_threshold",
                    float(link[position]),
                )
            )
    status = "labelled" if any(entry["accepted"] for entry in judged) else "rejected"
    return label_row(key, text, status, mentions, judged, phash)


def finish_labels(folder: Path, tables: dict[str, list[dict]], shards: list[Shard] | None = None) -> None:
    shards = shards or [Shard(f"{name}.tar", name) for name in tables]
    inputs = {shard.name: shard.fingerprint for shard in shards if Path(shard.path).exists()}
    manifest = claim_folder(
        folder, "labels", {"encoder": "drawn", "shards": [asdict(shard) for shard in shards]}, {"kb": "abc"} | inputs
    )
    for name, rows in tables.items():
        write_table(folder / "labels" / f"{name}.parquet", pa.Table.from_pylist(rows, LABELS))
    finish_manifest(folder, manifest, {"rows_out": sum(map(len, tables.values()))})


def make_world(root: Path, *, shards: int = 3, rows: int = 80, entities: int = 16, seed: int = 0) -> World:
    generator = np.random.default_rng(seed)
    weights = 1 / np.arange(1, entities + 1)
    found, tables, truth = [], {}, []
    for number in range(shards):
        name = f"pairs-{number:03d}"
        records, table = [], []
        for position in range(rows):
            key = f"{number:03d}{position:05d}"
            true = f"e{generator.choice(entities, p=weights / weights.sum())}"
            data = draw(position, generator)
            row = _row(key, generator, true, entities, perceptual_hash(Image.open(io.BytesIO(data))))
            table.append(row)
            records.append(Record(key, data if row["status"] != "image_broken" else b"broken", row["text"]))
            truth.append(
                {
                    "shard": name,
                    "key": key,
                    "entity": true if position % 20 else "",
                    "named": bool(position % 20) and row["status"] not in ("image_broken", "no_mention"),
                    "ambiguous": int(true[1:]) % 4 < 2,
                    "domain": "emoji" if int(true[1:]) % 2 else "flags",
                    "split": "train" if number else "heldout_pages",
                }
            )
        write_tar(root / "pairs" / f"{name}.tar", records)
        found.append(Shard(str(root / "pairs" / f"{name}.tar"), name))
        tables[name] = table
    finish_labels(root / "labels", tables, found)
    write_table(root / "truth.parquet", pa.Table.from_pylist(truth, TRUTH))
    return World(root, root / "labels", root / "truth.parquet", found)


@pytest.fixture(scope="session")
def world(tmp_path_factory) -> World:
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture
def lookup() -> Lookup:
    return Lookup(14)


@pytest.fixture
def small_labels(tmp_path):
    """Write a labels folder from rows by hand."""

    def write(tables: dict[str, list[dict]], name: str = "labels") -> Path:
        finish_labels(tmp_path / name, tables)
        return tmp_path / name

    return write


@pytest.fixture
def rows():
    """The makers of rows: `rows.label_row`, `rows.judgement`."""

    class Makers:
        pass

    makers = Makers()
    makers.label_row, makers.judgement, makers.nasty, makers.make_world = label_row, judgement, NASTY, make_world
    return makers


@pytest.fixture(scope="session")
def makers():
    """What makes and copies labels by hand."""
    return SimpleNamespace(label_row=label_row, judgement=judgement, finish_labels=finish_labels, copy=shutil.copytree)
