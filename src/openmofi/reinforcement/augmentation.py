"""Augmentations that are drawn once, stored as numbers, and replayed to the very same pixels.

A crop is stored as fractions of the image, so that it means the same on a copy of another size; that it is another
size is told by the stored one and by the hash of the bytes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

TRANSFORM_VERSION = 1
"""Of what `augmented` makes of an `Augmentation`; a store of another version is refused."""


@dataclass(frozen=True)
class Augmentation:
    """RandomResizedCrop, flip and RandAugment, as drawn.

    Attributes:
        crop: x, y, width and height of the crop as fractions (0..1) of the upright image's width and height.
        flip: whether the crop is mirrored.
        ops: names of torchvision's RandAugment (`OPS`) and signed magnitudes, in order; those of translations are
            fractions of the picture's side.
    """

    crop: tuple[float, float, float, float]
    flip: bool
    ops: tuple[tuple[str, float], ...]


def image_hash(data: bytes) -> int:
    """Unsigned 64-bit hash of the encoded bytes."""
    raise NotImplementedError


def augmented(data: bytes, augmentation: Augmentation, size: int, interpolation: str) -> NDArray[np.uint8]:
    """Decode, crop, resize, flip and change an image, as drawn; (size, size, 3) uint8.

    A JPEG is decoded at the smallest of libjpeg's scales at which the crop has at least `size` pixels a side. The
    outcome depends on the arguments alone. Thread-safe.

    Args:
        data: the encoded bytes.
        augmentation: what is done.
        size: height and width in pixels.
        interpolation: `bilinear` or `bicubic`.

    Raises:
        ImageRefused: the bytes cannot be decoded.
    """
    raise NotImplementedError
