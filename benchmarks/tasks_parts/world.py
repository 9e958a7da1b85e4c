"""What the tasks ask of: an index, and what both pages are asked for."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from openmofi.search import Index

NEAREST = 20


@dataclass(frozen=True)
class World:
    """What is asked for.

    Attributes:
        name: of an entity with images.
        type: that many images have, as both pages name it.
        words: that stand in an image's text, and are nobody's name.
    """

    name: str = "rabbit"
    type: str = "animal"
    words: str = "buckets vs vases"


def table_of(index: Index, out: Path) -> Path:
    """All that the index knows of its images, as a table that peers open: one row an image that has a vector.

    Columns: `id`, `image` (a PNG of 128 pixels a side at most), `text`, `file`, `label` (the likeliest one's name),
    `type` (of its entity), `neighbors` (rows and distances of the twenty nearest), `x`, `y` (of the map).
    """
    ids, vectors = index.vectors()
    mapped = index.map()
    places = dict(zip(mapped.images.tolist(), mapped.places.tolist(), strict=True))
    scores = vectors @ vectors.T
    near = np.argsort(-scores, axis=1)[:, :NEAREST]
    rows = []
    for row, record in enumerate(index.images(ids.tolist())):
        top = next((label for label in record.labels if label.accepted), None)
        kind = next(iter(index.entity(top.entity).types), "") if top else ""
        x, y = places.get(record.id, (0.0, 0.0))
        rows.append(
            {
                "id": record.id,
                "image": {"bytes": _png(index.thumbnail(record.id))},
                "text": record.text,
                "file": record.path or f"{record.shard} {record.key}",
                "label": top.name if top else "",
                "type": kind.rpartition(".")[2],
                "neighbors": {"ids": near[row].tolist(), "distances": (1 - scores[row, near[row]]).tolist()},
                "x": x,
                "y": y,
            }
        )
    pq.write_table(pa.Table.from_pylist(rows), out)
    return out


def _png(data: bytes) -> bytes:
    image = Image.open(io.BytesIO(data)).convert("RGB")
    image.thumbnail((128, 128))
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()
