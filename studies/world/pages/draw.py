"""Draws planned shards: renders each artwork once, makes its pages, writes the tar."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from openmofi.pairs import Record, write_tar
from studies.world.pages.images import page_bytes, render, retrieval_bytes
from studies.world.pages.plan import Page, PlannedShard
from studies.world.world_settings import WorldSettings


@dataclass(frozen=True)
class DrawTask:
    """A shard with all that drawing it needs.

    Attributes:
        path: of the tar.
        shard: its pages.
        svgs: artwork id → SVG.
        settings: of the world.
    """

    path: Path
    shard: PlannedShard
    svgs: Mapping[str, str]
    settings: WorldSettings

    def __str__(self) -> str:
        return str(self.path)


def open_drawer() -> Callable[[DrawTask], dict[str, Any]]:
    """The engine's factory."""
    return draw


def draw(task: DrawTask) -> dict[str, Any]:
    """Write one shard. Equal tasks write equal bytes."""
    rendered: dict[str, Image.Image] = {}
    images: dict[tuple[str, int], bytes] = {}
    records = []
    for page in task.shard.pages:
        name = page.artwork.id
        if name not in rendered:
            rendered[name] = render(task.svgs[name], task.settings.picture_side)
        key = (name, page.number)
        if key not in images:
            images[key] = _bytes(page, rendered[name], task.settings)
        records.append(_record(page, images[key]))
    return {"rows": write_tar(task.path, records)}


def _bytes(page: Page, artwork: Image.Image, settings: WorldSettings) -> bytes:
    seed = (settings.seed, "image", page.entity, page.artwork.id, page.number)
    if page.text is None:
        return retrieval_bytes(artwork, *seed)
    return page_bytes(artwork, settings.page, page.broken, *seed)


def _record(page: Page, image: bytes) -> Record:
    if page.text is None:
        return Record(page.key, image, None, {"entity": page.entity, "domain": page.domain, "picture": page.artwork.id})
    about: dict[str, Any] = {
        "url": f"https://sample.invalid/{page.key}",
        "status": "success",
        "sha256": hashlib.sha256(image).hexdigest(),
    }
    if not page.broken:
        with Image.open(io.BytesIO(image)) as opened:
            about["width"], about["height"] = opened.size
    return Record(page.key, image, page.text.text, about)
