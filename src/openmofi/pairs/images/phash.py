"""A 64-bit perceptual hash, for finding near-duplicates."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from PIL import Image

from openmofi.pairs.images.decode import Decoded

_COARSE = 64


class Description(NamedTuple):
    """Properties of a decoded image: its stored width and height in pixels, and its perceptual hash (uint64)."""

    width: int
    height: int
    phash: int


def perceptual_hash(image: Image.Image) -> int:
    """The DCT hash `imagehash.phash` as an unsigned 64-bit number; near-duplicates differ in few bits.

    The image is first averaged down in whole-numbered steps, to at least 64 pixels a side, which costs
    little and changes hardly a bit.
    """
    import imagehash

    grey = image if image.mode == "L" else image.convert("L")
    factor = min(grey.size) // _COARSE
    small = grey.reduce(factor) if factor > 1 else grey
    bits = np.packbits(imagehash.phash(small).hash.reshape(-1))
    return int.from_bytes(bits.tobytes(), "big")


def describe(decoded: Decoded) -> Description:
    """Width, height and hash of a decoded image."""
    return Description(decoded.width, decoded.height, perceptual_hash(decoded.image))
