"""One file a shard: Parquet, Hugging Face's Parquet, WebDataset tars."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from openmofi.dataset.export.rows import Classes, Row, require_files
from openmofi.pairs import Record, write_tar
from openmofi.storage import atomic_path

_GROUP = 256
_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_LABEL = pa.struct(
    [("class_id", pa.int32()), ("entity", pa.string()), ("name", pa.string()), ("probability", pa.float32())]
)
PARQUET = pa.schema(
    [
        ("image", pa.binary()),
        ("path", pa.string()),
        ("source", pa.string()),
        ("shard", pa.string()),
        ("key", pa.string()),
        ("text", pa.string()),
        ("labels", pa.list_(_LABEL)),
    ]
)
"""A row an image: its encoded bytes, or where it is; its text; its labels, the most probable first."""
HUGGINGFACE = pa.schema(
    [
        ("image", _IMAGE),
        ("label", pa.int64()),
        ("labels", pa.list_(pa.int64())),
        ("entities", pa.list_(pa.string())),
        ("probabilities", pa.list_(pa.float32())),
        ("text", pa.string()),
        ("shard", pa.string()),
        ("key", pa.string()),
        ("source", pa.string()),
    ]
)
"""A row an image, as `datasets` reads it: `label` is the most probable class, `labels` are all."""


def write_parquet(path: str, rows: Iterable[Row], _: Classes) -> int:
    """Write `PARQUET`; the number of rows."""
    return _write(
        path,
        PARQUET,
        (
            {
                **_where(row),
                "image": row.image,
                "path": row.path or None,
                "labels": [asdict(label) for label in row.labels],
            }
            for row in rows
        ),
    )


def write_huggingface(path: str, rows: Iterable[Row], classes: Classes) -> int:
    """Write `HUGGINGFACE` with the features in its metadata; the number of rows."""
    metadata = {"huggingface": json.dumps({"info": {"features": features(classes)}})}
    return _write(
        path,
        HUGGINGFACE.with_metadata(metadata),
        (
            {
                **_where(row),
                "image": _image(row),
                "label": row.labels[0].class_id,
                "labels": [label.class_id for label in row.labels],
                "entities": [label.entity for label in row.labels],
                "probabilities": [label.probability for label in row.labels],
            }
            for row in rows
        ),
    )


def features(classes: Classes) -> dict[str, Any]:
    """The features of `datasets`, as it writes them into Parquet's metadata."""
    label = {"names": list(classes.unique), "_type": "ClassLabel"}

    def value(kind: str) -> dict[str, Any]:
        return {"dtype": kind, "_type": "Value"}

    def several(kind: dict[str, Any]) -> dict[str, Any]:
        return {"feature": kind, "_type": "List"}

    return {
        "image": {"_type": "Image"},
        "label": label,
        "labels": several(label),
        "entities": several(value("string")),
        "probabilities": several(value("float32")),
        **{name: value("string") for name in ("text", "shard", "key", "source")},
    }


def _where(row: Row) -> dict[str, Any]:
    return {"text": row.text, "shard": row.shard, "key": row.key, "source": row.source}


def _image(row: Row) -> dict[str, Any] | None:
    if row.image is None:
        return {"bytes": None, "path": row.path} if row.path else None
    return {"bytes": row.image, "path": f"{row.stem}.{row.extension}"}


def _write(path: str, schema: pa.Schema, rows: Iterator[dict[str, Any]]) -> int:
    count = 0
    with atomic_path(path) as temporary, pq.ParquetWriter(temporary, schema) as writer:
        while part := list(islice(rows, _GROUP)):
            writer.write_table(pa.Table.from_pylist(part, schema))
            count += len(part)
    return count


def write_webdataset(path: str, rows: Iterable[Row], _: Classes) -> int:
    """Write a tar of `.jpg` (or what the image is), `.txt`, `.cls` (the most probable class) and `.json`."""

    def record(row: Row) -> Record:
        about = {**row.provenance(), "class": row.labels[0].class_id, "key_of_pair": row.key}
        return Record(
            row.stem, require_files(row).image, row.text, about, {"cls": str(row.labels[0].class_id).encode()}
        )

    return write_tar(path, map(record, rows))
