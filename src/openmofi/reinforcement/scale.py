"""A teacher's logit scale, where its checkpoint does not hold it: fitted to held-out pairs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import chain, islice

import numpy as np
from PIL import Image

from openmofi.encoders import open_encoder
from openmofi.encoders.scale import FittedScale, fit_scale
from openmofi.errors import OpenMofiError
from openmofi.pairs import ImageRefused, ReadSettings, decode_image, read_pairs
from openmofi.schema import PairStatus
from openmofi.storage import Shard

_LEAST_PAIRS = 16
_FORWARD = 64


def tune_scale(
    shards: Sequence[Shard],
    spec: str,
    *,
    pairs: int = 4096,
    batch: int = 256,
    seed: int = 0,
    read: ReadSettings = ReadSettings(),
    device: str = "cpu",
) -> FittedScale:
    """Find a teacher's scale on pairs that it was not trained on.

    Args:
        shards: of held-out pairs; the first `pairs` usable ones of distinct texts are taken, since of two pairs of
            one text neither is wrong for the other.
        spec: the teacher.
        pairs: how many, at most.
        batch: pairs a softmax runs over.
        seed: of the batches.
        read: how the shards are read.
        device: where the teacher works, see `openmofi.encoders.open_encoder`.

    Raises:
        OpenMofiError: too few pairs can be used, or the encoder cannot compare images with texts.
    """
    encoder = open_encoder(spec, device=device)
    encoder.require_comparison()
    image_parts, text_parts = [], []
    usable = islice(_usable(shards, read), pairs)
    while portion := list(islice(usable, _FORWARD)):
        pixels = np.stack([encoder.preprocess(image) for image, _ in portion])
        image_parts.append(encoder.project_images(encoder.image_features(pixels)))
        text_parts.append(encoder.embed_texts([text for _, text in portion]))
    count = sum(map(len, image_parts))
    if count < _LEAST_PAIRS:
        raise OpenMofiError(
            f"{count} pairs of distinct texts can be used; a scale needs {_LEAST_PAIRS}.", "Give more held-out pairs."
        )
    return fit_scale(np.concatenate(image_parts), np.concatenate(text_parts), batch=batch, seed=seed)


def _usable(shards: Sequence[Shard], read: ReadSettings) -> Iterator[tuple[Image.Image, str]]:
    """Images and texts of usable pairs of distinct texts."""
    seen: set[str] = set()
    for pair in chain.from_iterable(read_pairs(shard, read) for shard in shards):
        if pair.status == PairStatus.OK and pair.image is not None and pair.text not in seen:
            with suppress(ImageRefused):
                image = decode_image(pair.image)
                seen.add(pair.text)
                yield image, pair.text
