"""Posters that say what they show where their captions do not: pictures of the sample world under a printed name.

The names mean several things each, such as "mercury". On a quarter of the posters the name is another entity's, as
advertisements have it, so that reading alone does not make a label right.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
import pyarrow.parquet as pq
from PIL import Image, ImageDraw, ImageFont

from openmofi.pairs import ImageRefused, Record, decode_image, read_pairs, write_tar
from openmofi.storage import expand_shards
from studies.scoring import Truth

POSTERS, SEED, OTHERS = 200, 0, 0.25
"""How many, the seed of their drawing, and the share whose name is another entity's."""
_CAPTIONS = ("new in store", "our latest design", "IMG_2041.JPG", "product photo", "seen at the fair", "poster, A2")
_SMALL_PRINT = ("NET WT 250 g", "No. 17", "new recipe", "est. 1987", "limited edition", "www.example.com")
_FONTS = ("DejaVuSans-Bold", "DejaVuSerif", "DejaVuSans", "DejaVuSerif-BoldItalic", "DejaVuSansMono", "STIXGeneral")
_WIDTH, _HEIGHT = 480, 640


@dataclass(frozen=True)
class Picture:
    """A picture of the world.

    Attributes:
        entity: what it shows.
        name: one of its names that another entity has, too.
        image: RGB.
    """

    entity: str
    name: str
    image: Image.Image


def write_posters(demo: Path, out: Path) -> list[Truth]:
    """Write the posters as one shard of pairs.

    Args:
        demo: folder of `openmofi sample demo`; the pictures are of pages that its encoder was not trained on.
        out: gets `00000.tar`.

    Returns:
        What each poster shows.
    """
    draw = np.random.default_rng(SEED)
    pictures = _pictures(demo)[:POSTERS]
    records, truth = [], []
    for number, picture in enumerate(pictures):
        other = pictures[(number + 1 + int(draw.integers(len(pictures) - 1))) % len(pictures)]
        name = other.name if draw.random() < OTHERS else picture.name
        key = f"{number:05d}"
        records.append(Record(key, _poster(picture.image, name, draw), str(draw.choice(_CAPTIONS))))
        truth.append(Truth("00000", key, frozenset([picture.entity]), frozenset()))
    out.mkdir(parents=True, exist_ok=True)
    write_tar(out / "00000.tar", records)
    return truth


def _pictures(demo: Path) -> list[Picture]:
    """Return a picture of each entity with such a name, in the order of the held-out pages."""
    rows = pq.read_table(demo / "world/truth.parquet").to_pylist()
    entities = {(row["shard"], row["key"]): row["entity"] for row in rows if row["split"] == "heldout_pages"}
    names, pictures = _shared_names(demo), dict[str, Picture]()
    for shard in expand_shards([str(demo / "world/pages/heldout_pages")]):
        for pair in read_pairs(shard):
            entity = entities.get((shard.name, pair.key), "")
            if entity in names and entity not in pictures and pair.image:
                try:
                    pictures[entity] = Picture(entity, names[entity], decode_image(pair.image))
                except ImageRefused:
                    continue
    return list(pictures.values())


def _shared_names(demo: Path) -> dict[str, str]:
    """Return entity → the commonest of its names of three letters or more that another entity has."""
    table = pq.read_table(demo / "world/kb/names.parquet").sort_by([("count", "descending"), ("name", "ascending")])
    rows, meanings = table.to_pylist(), dict[str, set[str]]()
    for row in rows:
        meanings.setdefault(row["name"].lower(), set()).add(row["entity"])
    names: dict[str, str] = {}
    for row in rows:
        if len(meanings[row["name"].lower()]) > 1 and len(row["name"]) > 2 and row["name"].isascii():
            names.setdefault(row["entity"], row["name"])
    return names


def _poster(picture: Image.Image, name: str, draw: np.random.Generator) -> bytes:
    dark = draw.random() < 0.4
    ground = tuple(int(value) for value in draw.integers(10, 90, 3) + (0 if dark else 160))
    ink = (245, 245, 240) if dark else (20, 20, 25)
    poster = Image.new("RGB", (_WIDTH, _HEIGHT), ground)
    side = int(draw.integers(260, 400))
    small = picture.resize((side, round(side * min(picture.height / picture.width, 1.1))))
    top = draw.random() < 0.5
    poster.paste(small, (int(draw.integers(0, _WIDTH - side)), 150 if top else 30))
    printed = [name, name.upper(), name.title()][int(draw.integers(3))]
    font = str(draw.choice(_FONTS))
    _write(poster, printed, font, int(draw.integers(34, 72)), 50 if top else 500, ink)
    _write(poster, str(draw.choice(_SMALL_PRINT)), "DejaVuSans", 16, 605, ink)
    if draw.random() < 0.3:
        poster = poster.rotate(float(draw.uniform(-6, 6)), Image.Resampling.BICUBIC, fillcolor=ground)
    out = io.BytesIO()
    poster.save(out, "JPEG", quality=int(draw.integers(70, 92)))
    return out.getvalue()


def _write(poster: Image.Image, text: str, font: str, size: int, top: int, ink: tuple[int, int, int]) -> None:
    """Write a line in the middle, smaller where it would be too long."""
    path = Path(matplotlib.get_data_path()) / f"fonts/ttf/{font}.ttf"
    width = ImageFont.truetype(path, size).getlength(text)
    letters = ImageFont.truetype(path, int(size * min(1.0, (_WIDTH - 30) / width)))
    ImageDraw.Draw(poster).text((_WIDTH // 2, top), text, ink, letters, anchor="ma")
