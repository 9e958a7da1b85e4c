"""Samples of a store for a report: images, their augmentations replayed, and their texts."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from openmofi.dataset.report.thumbnails import thumbnail
from openmofi.pairs import read_pairs
from openmofi.reinforcement import Knowledge, augmented
from openmofi.schema import Pair
from openmofi.storage import Shard


@dataclass(frozen=True)
class ReplayedSample:
    """What the store knows of a page, for the eye.

    Attributes:
        text: the page's own.
        texts: the synthetic ones.
        picture: the page's, small, as a data URI.
        augmentations: replayed, as data URIs.
    """

    text: str
    texts: tuple[str, ...]
    picture: str
    augmentations: tuple[str, ...]


def replayed_samples(store: Path, shards: Sequence[Shard], count: int = 4) -> list[ReplayedSample]:
    """The first page with a synthetic text from each of `count` shards at most, evenly spaced; equal bytes for equal
    stores.

    Raises:
        OpenMofiError: the store cannot be opened, or a shard cannot be read.
    """
    knowledge = Knowledge.open(store)
    chosen = [shards[place] for place in sorted({int(at) for at in np.linspace(0, len(shards) - 1, count)})]
    found = (next(filter(None, (_replayed(knowledge, shard, pair) for pair in read_pairs(shard))), None)
             for shard in chosen)
    return [sample for sample in found if sample is not None]


def _replayed(knowledge: Knowledge, shard: Shard, pair: Pair) -> ReplayedSample | None:
    """`None` where the store does not know the page, or has no texts of it but its own."""
    numbers = np.arange(max(knowledge.augmentations, knowledge.captions))
    recalled = knowledge.take([shard.name] * len(numbers), [pair.key] * len(numbers),
                              numbers.clip(max=knowledge.augmentations - 1), numbers.clip(max=knowledge.captions - 1))
    texts = tuple(dict.fromkeys(recalled.captions))
    if pair.image is None or not recalled.known.all() or texts == (pair.text,):
        return None
    made = [augmented(pair.image, drawn, knowledge.size, knowledge.interpolation)
            for drawn in recalled.augmentations[:knowledge.augmentations] if drawn is not None]
    return ReplayedSample(pair.text, texts, thumbnail(pair.image) or "", tuple(_uri(pixels) for pixels in made))


def _uri(pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
