"""A small world whose truth is plain: drawn shapes, texts that name them among others, one ambiguous name."""

import io
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image, ImageDraw

from openmofi.knowledge import build_table
from openmofi.pairs import Record, write_tar
from openmofi.schema import ENTITIES, NAMES
from openmofi.storage import write_table

SHAPES = {
    "e:sun": ("sun", (250, 210, 40), "circle"),
    "e:moon": ("moon", (90, 90, 140), "circle"),
    "e:brick": ("brick", (170, 60, 40), "box"),
    "e:lawn": ("lawn", (40, 160, 60), "box"),
    "e:tent": ("tent", (230, 120, 20), "triangle"),
    "e:peak": ("peak", (200, 210, 230), "triangle"),
    "e:orange-fruit": ("orange", (255, 140, 0), "circle"),
    "e:orange-firm": ("orange", (20, 20, 20), "cross"),
}

OTHER_NAMES = {"e:orange-fruit": "tangerine", "e:orange-firm": "telecom company"}
"""Two things of one name can be told apart only because some texts call them otherwise."""


@dataclass(frozen=True)
class SmallWorld:
    kb: Path
    shards: Path
    truth: dict[tuple[str, str], str]

    @classmethod
    def found(cls, folder: Path) -> "SmallWorld":
        """The one that `make_small_world` wrote."""
        rows = json.loads((folder / "truth.json").read_text())
        return cls(folder / "kb", folder / "shards", {(shard, key): entity for shard, key, entity in rows})


def drawn_image(entity: str, draw: np.random.Generator) -> bytes:
    _, colour, shape = SHAPES[entity]
    image = Image.new("RGB", (120, 100), tuple(int(x) for x in draw.integers(180, 256, 3)))
    pen = ImageDraw.Draw(image)
    x, y, size = (int(v) for v in (draw.integers(5, 30), draw.integers(5, 20), draw.integers(50, 70)))
    box = (x, y, x + size, y + size)
    if shape == "circle":
        pen.ellipse(box, fill=colour)
    elif shape == "box":
        pen.rectangle(box, fill=colour)
    elif shape == "triangle":
        pen.polygon([(x, y + size), (x + size, y + size), (x + size // 2, y)], fill=colour)
    else:
        pen.line(box, fill=colour, width=14)
        pen.line((x, y + size, x + size, y), fill=colour, width=14)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=90)
    return out.getvalue()


def write_kb_source(folder: Path) -> Path:
    entities = [
        {"id": key, "name": name, "description": f"a {shape} of colour {colour}", "types": [shape], "popularity": 1.0}
        for key, (name, colour, shape) in SHAPES.items()
    ]
    names = [{"name": name, "entity": key, "count": 3.0} for key, (name, _, _) in SHAPES.items()]
    names += [{"name": name, "entity": key, "count": 3.0} for key, name in OTHER_NAMES.items()]
    write_table(folder / "entities.parquet", pa.Table.from_pylist(entities, ENTITIES))
    write_table(folder / "names.parquet", pa.Table.from_pylist(names, NAMES))
    return folder


def make_small_world(folder: Path, shards: int = 4, pairs: int = 80) -> SmallWorld:
    build_table(write_kb_source(folder / "source"), folder / "kb")
    draw = np.random.default_rng(7)
    keys, truth = list(SHAPES), {}
    for shard in range(shards):
        rows = []
        for number in range(pairs):
            entity, wrong = (keys[int(i)] for i in draw.choice(len(keys), 2, replace=False))
            name = OTHER_NAMES.get(entity, SHAPES[entity][0]) if draw.random() < 0.5 else SHAPES[entity][0]
            named = [name] if draw.random() < 0.8 else []
            named += [SHAPES[wrong][0]] if draw.random() < 0.5 else []
            text = f"image {number}: " + " and ".join(named) if named else "untitled"
            image = b"broken" if draw.random() < 0.03 else drawn_image(entity, draw)
            rows.append(Record(f"{shard:02d}{number:04d}", image, text))
            truth[f"{shard:05d}", rows[-1].key] = entity
        write_tar(folder / "shards" / f"{shard:05d}.tar", rows)
    (folder / "truth.json").write_text(json.dumps([[*place, entity] for place, entity in truth.items()]))
    return SmallWorld.found(folder)
