"""Images of plain colours, and an encoder that knows them: what is near what is known beforehand."""

import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from openmofi.encoders import as_encoder
from openmofi.knowledge import build_table
from openmofi.schema import ENTITIES, NAMES
from openmofi.storage import write_table

COLOURS = {
    "red": (220, 30, 30),
    "green": (30, 200, 40),
    "blue": (30, 40, 220),
    "yellow": (240, 220, 30),
    "grey": (128, 128, 128),
    "white": (250, 250, 250),
}
_TABLE = np.array(list(COLOURS.values()), np.float32)


class ColourEncoder:
    """Images by how near their pixels are to each colour; texts by the colours that they name."""

    logit_scale, fingerprint = 20.0, "colours-1"

    def __init__(self):
        self.images = 0

    def embed_images(self, images):
        self.images += len(images)
        pixels = [np.asarray(image.resize((8, 8)), np.float32).reshape(-1, 1, 3) for image in images]
        return np.stack([np.exp(-((each - _TABLE) ** 2).sum(2) / 4000).mean(0) + 1e-3 for each in pixels])

    def embed_texts(self, texts):
        return np.stack([[(name in text) + 1e-2 for name in COLOURS] for text in texts]).astype(np.float32)


def colour_encoder():
    return as_encoder(ColourEncoder())


def coloured(colour: str, seed: int = 0, other: str = "") -> bytes:
    """A PNG of a colour with some noise and a square of another place and size each time."""
    draw = np.random.default_rng([seed, *colour.encode()])
    pixels = np.full((48, 64, 3), COLOURS[colour], np.float32) + draw.normal(0, 12, (48, 64, 3))
    if other:
        pixels[:, 32:] = COLOURS[other]
    left, top = draw.integers(0, 40), draw.integers(0, 30)
    pixels[top : top + 12, left : left + 16] *= draw.uniform(0.3, 0.8)
    out = io.BytesIO()
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(out, "PNG")
    return out.getvalue()


def write_images(folder: Path, each: int = 5, colours=tuple(COLOURS)) -> Path:
    """`each` images of each colour, with a text beside each."""
    folder.mkdir(parents=True, exist_ok=True)
    for colour in colours:
        for number in range(each):
            (folder / f"{colour}-{number}.png").write_bytes(coloured(colour, number))
            (folder / f"{colour}-{number}.txt").write_text(f"a {colour} square, number {number}")
    return folder


def write_colour_kb(folder: Path) -> Path:
    """A knowledge base of the colours."""
    source = folder.with_name(f"{folder.name}-source")
    write_table(
        source / "entities.parquet",
        pa.Table.from_pylist(
            [
                {
                    "id": f"c:{name}",
                    "name": name,
                    "description": f"the colour {name}",
                    "types": ["colour"],
                    "popularity": 1.0,
                }
                for name in COLOURS
            ],
            ENTITIES,
        ),
    )
    write_table(
        source / "names.parquet",
        pa.Table.from_pylist(
            [{"name": name, "entity": f"c:{name}", "count": 2.0} for name in COLOURS]
            + [{"name": "crimson", "entity": "c:red", "count": 1.0}],
            NAMES,
        ),
    )
    build_table(source, folder)
    return folder


def write_table_of(folder: Path, rows: list[dict]) -> Path:
    """`metadata.jsonl` beside images."""
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder
