"""A 64-bit perceptual hash, for finding near-duplicates."""

from typing import NamedTuple

import numpy as np
from PIL import Image

from openmofi.pairs.images.decode import MAX_PIXELS, Decoded, decode

_COARSE = 64
_SAYS_LITTLE = 8
_SAME_BITS = 10


class Description(NamedTuple):
    """Properties of a decoded image: its stored width and height in pixels, and its perceptual hash (uint64)."""

    width: int
    height: int
    phash: int


def perceptual_hash(image: Image.Image) -> int:
    """Compute the DCT hash `imagehash.phash` as an unsigned 64-bit number; near-duplicates differ in few bits.

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
    """Return width, height and hash of a decoded image."""
    return Description(decoded.width, decoded.height, perceptual_hash(decoded.image))


def hashes_differ(data: bytes, phash: int, max_pixels: int = MAX_PIXELS) -> bool:
    """Whether encoded bytes are hardly the image of a perceptual hash; it says nothing of images that are nearly empty.

    A JPEG is decoded at each scale that the hash may have been taken at, since fine texture changes with the scale.

    Raises:
        ImageRefused: they cannot be decoded.
    """
    if not _SAYS_LITTLE <= phash.bit_count() <= 64 - _SAYS_LITTLE:
        return False
    whole = decode(data, max_pixels=max_pixels)
    side = min(whole.width, whole.height)
    if (perceptual_hash(whole.image) ^ phash).bit_count() <= _SAME_BITS:
        return False
    # Twice the hint is kept of a side, so that these are libjpeg's eighth, quarter and half.
    scaled = (decode(data, max_pixels=max_pixels, size_hint=max(1, side // (2 * part))) for part in (2, 4, 8))
    return all((perceptual_hash(decoded.image) ^ phash).bit_count() > _SAME_BITS for decoded in scaled)
