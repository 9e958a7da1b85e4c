"""From which cosine on two images count as copies: measured, for an encoder and an evaluation set, on made copies.

Up to 128 images of the set are saved anew as JPEG of quality 30, halved in size, cropped by a tenth a side and
mirrored. The threshold is the cosine at which 95 % of each of the first three kinds are found; mirrored ones are only
counted. What is alike and no copy may not go out, though: the threshold is at least the cosine that only one labelled
image in a thousand reaches among as many images *of other entities* as the set has (`unrelated`). Fewer copies may be
found then; both shares are reported.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from openmofi.dataset.exclusion.sets import some_images
from openmofi.dataset.tables import Floats
from openmofi.encoders import Encoder
from openmofi.encoders.arrays import normalised
from openmofi.features.sources import ImageSource
from openmofi.features.store import FeatureStore
from openmofi.pairs import ImageRefused
from openmofi.pairs.images.decode import decoding

_SAMPLE = 128
_FOUND, _ALIKE = 0.05, 0.999
_ROUNDING = 1e-4


def _saved(image: Image.Image) -> Image.Image:
    data = io.BytesIO()
    image.save(data, "JPEG", quality=30)
    return Image.open(data).convert("RGB")


def _halved(image: Image.Image) -> Image.Image:
    return image.resize((max(1, image.width // 2), max(1, image.height // 2)), Image.Resampling.LANCZOS)


def _cropped(image: Image.Image) -> Image.Image:
    width, height = image.width // 20, image.height // 20
    return image.crop((width, height, image.width - width, image.height - height))


DECIDING: Mapping[str, Callable[[Image.Image], Image.Image]] = {
    "jpeg_quality_30": _saved,
    "half_size": _halved,
    "cropped_by_a_tenth": _cropped,
}
COPIES = {**DECIDING, "mirrored": ImageOps.mirror}
"""Kinds of copies; the first three decide."""


@dataclass(frozen=True)
class Threshold:
    """From which cosine on an image is a copy.

    Attributes:
        cosine: it.
        sampled: images that it was measured on; 0 where it was given.
        found: kind of copy → share found, 0..1.
        alike: share of labelled images that are as near to one of as many images of other entities: no copies.
    """

    cosine: float
    sampled: int = 0
    found: Mapping[str, float] | None = None
    alike: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def measure_threshold(
    sources: Sequence[ImageSource],
    rows: Sequence[int],
    features: Floats,
    nearest: Floats,
    store: FeatureStore,
    given: float | None = None,
) -> Threshold:
    """The threshold of a set, and what it finds; a `given` one is only looked at.

    Args:
        sources: the images of the set.
        rows: (n,) which of their images could be used, counted over all sources.
        features: (n, d) L2-normalised, of these.
        nearest: cosines of labelled images to the nearest of n that they have nothing to do with.
        store: reads images as it read those.
        given: the cosine that a user chose.
    """
    chosen = np.unique(np.linspace(0, len(rows) - 1, _SAMPLE).round().astype(int))
    place = {rows[number]: int(number) for number in chosen}
    cosines: dict[str, list[Floats]] = {kind: [] for kind in COPIES}
    for row, load in some_images(sources, list(place)):
        image = load().image
        try:
            with decoding(image or b"", max_pixels=store.max_pixels) as decoded:
                copies = [make(decoded.image.convert("RGB")) for make in COPIES.values()]
        except ImageRefused:  # it changed meanwhile
            continue
        for kind, copy in zip(COPIES, _features(copies, store.encoder), strict=True):
            cosines[kind].append(copy @ features[place[row]])
    shown = {kind: np.array(values, np.float32) for kind, values in cosines.items()}
    cosine = given if given is not None else _threshold([shown[kind] for kind in DECIDING], nearest)
    return Threshold(
        cosine,
        len(chosen),
        {kind: round(float((values >= cosine).mean()), 4) for kind, values in shown.items()},
        round(float((nearest >= cosine).mean()), 4),
    )


def _features(images: Sequence[Image.Image], encoder: Encoder) -> Floats:
    return normalised(encoder.image_features(encoder.batch([encoder.preprocess(image) for image in images])))


def _threshold(copies: Sequence[Floats], nearest: Floats) -> float:
    least = min(float(np.quantile(values, _FOUND, method="lower")) for values in copies)
    floor = float(np.quantile(nearest, _ALIKE, method="higher")) + _ROUNDING
    # An exact copy is one for any encoder.
    return math.floor(1e6 * np.clip(max(least, floor), _ROUNDING, 1 - _ROUNDING)) / 1e6
