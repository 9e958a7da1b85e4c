"""Reads the images of a photo server into shards of pairs, a row an image; goes on if stopped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from openmofi.engine import Progress
from openmofi.errors import OpenMofiError
from openmofi.pairs.text import from_value
from openmofi.plugins.albums.immich import Immich
from openmofi.plugins.albums.photoprism import PhotoPrism
from openmofi.plugins.albums.server import Lost
from openmofi.storage import (
    Outputs,
    claimed,
    exists,
    finish_manifest,
    read_json,
    read_parquet,
    write_json,
    write_table,
)

TEXTS = ("title", "description", "tags", "albums", "people", "file_name")
"""Columns of what people say of an image; `text` has all of them, a line each."""
READ, FAILED = "read", "failed"
ROWS, AT_ONCE = 200, 4
"""Rows of a shard; images that are asked for at once."""
_COLUMNS = ("key", "text", *TEXTS, "status", "error_message")
_SCHEMA = pa.schema([*((name, pa.string()) for name in _COLUMNS), ("image", pa.binary())])
_LISTED, _SHARDS = "listed/images.json", "[0-9]*.parquet"
_AGAIN = "Start the command again with --restart."
_MOST_CHARS = 10_000
_IDLE_PAGES = 1_000
"""Pages of a list, one after the other, that may have nothing but videos."""


def read_images(
    server: Immich | PhotoPrism, out: Path, progress: Progress, *, limit: int, restart: bool = False
) -> Mapping[str, Any]:
    """Read the images of a server into Parquet shards: identifiers, texts, previews; nothing there is changed.

    Args:
        server: the server.
        out: a local folder.
        progress: is told of each shard.
        limit: images are left out beyond so many.
        restart: remove what was made in `out` before, and begin anew.

    Returns:
        `rows`, how many were `read` and `failed`, `shards`, and the ten most frequent `errors`.

    Raises:
        OpenMofiError: the server does not answer as its API does, refuses the key, or no image can be read; or `out`
            was made of another server.
    """
    settings = {"server": server.address, "limit": limit}
    outputs = Outputs((_SHARDS, _LISTED))
    with claimed(out, "pairs", settings, outputs=outputs, restart=restart) as manifest:
        if manifest.finished:
            return dict(manifest.counts)
        listed = f"{out}/{_LISTED}"
        if not exists(listed):
            write_json(listed, _identifiers(server, limit))
        photos = read_json(listed, list[str], _AGAIN)
        parts = {
            f"{out}/{start // ROWS:05d}.parquet": photos[start : start + ROWS] for start in range(0, len(photos), ROWS)
        }
        progress.begin("read", len(parts))
        for path, part in parts.items():
            if not exists(path):
                with ThreadPoolExecutor(AT_ONCE) as threads:
                    rows = list(threads.map(partial(_row, server), part))
                write_table(path, pa.Table.from_pylist(rows, _SCHEMA))
            progress.advance({"rows": len(part)})
        counts = _counts(list(parts))
        if not counts[READ]:
            reasons = "; ".join(counts["errors"])
            raise OpenMofiError(f"None of {len(photos):,} images of {server.address} could be read. {reasons}", _AGAIN)
        finish_manifest(out, manifest, counts)
        Path(listed).unlink()
        with suppress(OSError):  # somebody's file is there
            Path(listed).parent.rmdir()
    return counts


def _identifiers(server: Immich | PhotoPrism, limit: int) -> list[str]:
    photos, idle = dict[str, None](), 0
    for page in server.pages():
        before = len(photos)
        photos |= dict.fromkeys(page)
        idle = idle + 1 if len(photos) == before else 0
        if idle and (page or idle > _IDLE_PAGES):
            raise OpenMofiError(
                f"The {server.role} {server.address} lists the same images again and again.", "Check its version."
            )
        if len(photos) >= limit:
            break
    if not photos:
        raise OpenMofiError(f"The {server.role} {server.address} shows this key no images.", "Use its owner's key.")
    return list(photos)[:limit]


def _row(server: Immich | PhotoPrism, photo: str) -> dict[str, Any]:
    row: dict[str, Any] = {"key": photo, "status": READ}
    try:
        texts, preview = server.texts(photo)
        row |= {name: from_value(text, _MOST_CHARS).text for name, text in texts.items()}
        row["text"] = "\n".join(dict.fromkeys(row[name] for name in TEXTS if row.get(name)))
        if not preview:
            raise Lost("It has no preview.")
        row["image"] = server.image(preview)
    except Lost as lost:
        row |= {"status": FAILED, "error_message": from_value(lost.message, _MOST_CHARS).text}
    return row


def _counts(paths: list[str]) -> dict[str, Any]:
    tables = [read_parquet(path, _SCHEMA, columns=["status", "error_message"], hint=_AGAIN) for path in paths]
    rows = pa.concat_tables(tables).to_pylist()
    statuses, errors = Counter(row["status"] for row in rows), Counter(row["error_message"] for row in rows)
    errors.pop(None, None)
    found = {status: statuses[status] for status in (READ, FAILED)}
    return {"rows": len(rows), **found, "shards": len(paths), "errors": dict(errors.most_common(10))}
