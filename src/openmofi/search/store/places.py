"""An image's bytes, read from where it lies: its file, its place in a tar, or its shard read through."""

from __future__ import annotations

import json
import os

from openmofi.config import settings_from
from openmofi.errors import OpenMofiError
from openmofi.features.store import content_digits
from openmofi.pairs import ReadSettings, read_pairs
from openmofi.pairs.source import open_source
from openmofi.search.store.connection import Connection
from openmofi.storage import Shard


def image_bytes(connection: Connection, image: int) -> bytes:
    """The encoded bytes of an image.

    Raises:
        OpenMofiError: there is no such image, or it is no longer there, or other bytes are.
    """
    row = connection.execute(
        'SELECT sources.path, sources.shard, sources.reading, key, images.file, size, "offset", content FROM images '
        "JOIN sources ON sources.id = images.source WHERE images.id = ?",
        (image,),
    ).fetchone()
    if row is None:
        raise OpenMofiError(f"The index has no image {image}.", "It may have been removed.")
    path, shard, reading, key, file, size, offset, content = row
    where = os.fsdecode(file) if file else f"{path} ({key})"
    data: bytes | None = None
    try:
        if file:
            with open_source(os.fsdecode(file)) as handle:
                data = handle.read()
        elif offset >= 0:
            with open(path, "rb") as handle:
                data = os.pread(handle.fileno(), size, offset)
        else:
            settings = settings_from(ReadSettings(), values=json.loads(reading))
            data = next((pair.image for pair in read_pairs(Shard(path, shard), settings) if pair.key == key), None)
    except OSError as error:
        raise OpenMofiError(
            f"{where} cannot be read: {error.strerror}.",
            "Put it back, or bring the index up to date with openmofi index add.",
        ) from error
    if data is None or content_digits(data) != content:
        raise OpenMofiError(
            f"{where} has changed since it was indexed.", "Bring the index up to date with openmofi index add."
        )
    return data
