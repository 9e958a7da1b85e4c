"""Small images for pages: read by key from a shard of pairs, shrunk, as data URIs."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from dataclasses import replace
from typing import Literal

from openmofi.errors import OpenMofiError
from openmofi.pairs import ImageRefused, ReadSettings, decode_image, read_pairs
from openmofi.pairs.images.memory import of_machine
from openmofi.storage import Shard

SIDE = 160
_QUALITY = 82


def thumbnails(
    shard: Shard,
    keys: Iterable[str],
    read: ReadSettings = ReadSettings(),
    *,
    side: int = SIDE,
    form: Literal["JPEG", "WebP"] = "JPEG",
) -> dict[str, str]:
    """Key → image of at most `side` px a side as a data URI, for those of `keys` whose image can be shown.

    `read` says how the pairs were read when they were labelled.

    Reading stops when all have been read. A shard that has moved gives no images; the report is written
    without them.

    Raises:
        MemoryError, OSError: the machine is short of memory or open files: images that are there would be missing.
    """
    missing, uris = set(keys), {}
    if not missing:
        return {}
    try:
        for pair in read_pairs(shard, replace(read, on_damage="keep")):
            if pair.key in missing and pair.image is not None:
                missing.discard(pair.key)
                if uri := thumbnail(pair.image, side, form):
                    uris[pair.key] = uri
            if not missing:
                break
    except (OpenMofiError, OSError) as error:
        if of_machine(error):
            raise
    return uris


def thumbnail(data: bytes, side: int = SIDE, form: Literal["JPEG", "WebP"] = "JPEG") -> str | None:
    """The image, shrunk, as a data URI; `None` if it cannot be decoded."""
    try:
        image = decode_image(data, size_hint=side)
    except ImageRefused:
        return None
    image.thumbnail((side, side))
    buffer = io.BytesIO()
    image.save(buffer, form, quality=_QUALITY)
    return f"data:image/{form.lower()};base64," + base64.b64encode(buffer.getvalue()).decode()
