"""Augmentations that are drawn once, stored as numbers, and replayed to the same pixels.

A crop is stored as fractions of the image, so that it means the same on a copy of another size (absolute pixels
silently gave black images). The stored size and the hash of the bytes show that a copy differs.
"""

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image
from torchvision.transforms.v2 import functional as F

from openmofi.arrays import Octets
from openmofi.pairs.images.scaled import ScaledImage
from openmofi.plugins.reinforcement.reinforce_settings import RANDAUGMENT_BINS, AugmentSettings
from openmofi.storage import hash64

TRANSFORM_VERSION = 1
"""Of the mapping from an `Augmentation` to pixels; a store of another version is refused."""

_TRIES = 10


@dataclass(frozen=True)
class Augmentation:
    """RandomResizedCrop, flip and RandAugment, as drawn.

    Attributes:
        crop: x, y, width and height of the crop as fractions (0..1) of the upright image's width and height.
        flip: whether the crop is mirrored.
        ops: names of torchvision's RandAugment (`OPS`) and signed magnitudes, in order; those of translations are
            fractions of the image's side.
    """

    crop: tuple[float, float, float, float]
    flip: bool
    ops: tuple[tuple[str, float], ...]

    def replayed(self, image: ScaledImage, size: int, interpolation: str) -> Image.Image:
        """Replay on an image whose header was already read, as `augmented` does; return a Pillow image.

        Raises:
            ImageRefused: the bytes cannot be decoded.
        """
        x, y, across, down = self.crop
        # On the image for which they were drawn, these are the integers that were drawn.
        box = (
            round(x * image.width),
            round(y * image.height),
            max(1, round(across * image.width)),
            max(1, round(down * image.height)),
        )
        crop = image.cut(box, size, interpolation)
        if self.flip:
            crop = crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        for name, value in self.ops:
            crop = _SPACE[name].apply(crop, value)
        return crop


@dataclass(frozen=True)
class _Op:
    """An op of RandAugment: its greatest magnitude, whether it is signed, and its function."""

    greatest: float
    signed: bool
    apply: Callable[[Image.Image, float], Image.Image]
    least: float = 0.0


def _sheared(image: Image.Image, across: float, down: float) -> Image.Image:
    # torchvision takes degrees and shears by their tangent.
    degrees = [math.degrees(math.atan(value)) for value in (across, down)]
    return F.affine(image, angle=0.0, translate=[0, 0], scale=1.0, shear=degrees, center=[0, 0])


def _moved(image: Image.Image, across: float, down: float) -> Image.Image:
    pixels = [int(across * image.width), int(down * image.height)]
    return F.affine(image, angle=0.0, translate=pixels, scale=1.0, shear=[0.0, 0.0])


_SPACE = {
    "Identity": _Op(0.0, False, lambda image, value: image),
    "ShearX": _Op(0.3, True, lambda image, value: _sheared(image, value, 0.0)),
    "ShearY": _Op(0.3, True, lambda image, value: _sheared(image, 0.0, value)),
    "TranslateX": _Op(150.0 / 331.0, True, lambda image, value: _moved(image, value, 0.0)),
    "TranslateY": _Op(150.0 / 331.0, True, lambda image, value: _moved(image, 0.0, value)),
    "Rotate": _Op(30.0, True, lambda image, value: F.rotate(image, angle=value)),
    "Brightness": _Op(0.9, True, lambda image, value: F.adjust_brightness(image, brightness_factor=1.0 + value)),
    "Color": _Op(0.9, True, lambda image, value: F.adjust_saturation(image, saturation_factor=1.0 + value)),
    "Contrast": _Op(0.9, True, lambda image, value: F.adjust_contrast(image, contrast_factor=1.0 + value)),
    "Sharpness": _Op(0.9, True, lambda image, value: F.adjust_sharpness(image, sharpness_factor=1.0 + value)),
    "Posterize": _Op(4.0, False, lambda image, value: F.posterize(image, bits=int(value)), 8.0),
    "Solarize": _Op(0.0, False, lambda image, value: F.solarize(image, threshold=255.0 * value), 1.0),
    "AutoContrast": _Op(0.0, False, lambda image, value: F.autocontrast(image)),
    "Equalize": _Op(0.0, False, lambda image, value: F.equalize(image)),
}
OPS = tuple(_SPACE)
"""Names of torchvision's RandAugment ops; the store keeps positions in this tuple."""


def image_hash(data: bytes) -> int:
    """Return the unsigned 64-bit hash (BLAKE2b) of encoded bytes."""
    return hash64(data)


def drawing(seed: int, shard: str, key: str, number: int) -> np.random.Generator:
    """Return a generator of random numbers that depends on the arguments alone."""
    digest = hashlib.blake2b(f"{seed}\0{number}\0{shard}\0{key}".encode(), digest_size=16).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest, "little")))


def draw_augmentation(settings: AugmentSettings, draw: np.random.Generator, width: int, height: int) -> Augmentation:
    """Draw an augmentation for an image of this upright size, as torchvision does."""
    left, top, across, down = _draw_crop(settings, draw, width, height)
    flip = bool(draw.random() < settings.flip)
    ops = tuple(_draw_op(settings.magnitude, draw) for _ in range(settings.ops))
    return Augmentation((left / width, top / height, across / width, down / height), flip, ops)


def _draw_crop(
    settings: AugmentSettings,
    draw: np.random.Generator,
    width: int,
    height: int,
) -> tuple[int, int, int, int]:
    """Draw left, top, width, height in whole pixels: RandomResizedCrop's ten tries, then the middle."""
    low, high = (math.log(ratio) for ratio in settings.ratio)
    for _ in range(_TRIES):
        area, ratio = width * height * draw.uniform(*settings.scale), math.exp(draw.uniform(low, high))
        across, down = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < across <= width and 0 < down <= height:
            return int(draw.integers(width - across + 1)), int(draw.integers(height - down + 1)), across, down
    across = min(width, max(1, round(height * settings.ratio[1])))
    down = min(height, max(1, round(width / settings.ratio[0])))
    return (width - across) // 2, (height - down) // 2, across, down


def _draw_op(magnitude: int, draw: np.random.Generator) -> tuple[str, float]:
    name = OPS[int(draw.integers(len(OPS)))]
    op = _SPACE[name]
    value = op.least + (op.greatest - op.least) * magnitude / (RANDAUGMENT_BINS - 1)
    if name == "Posterize":
        value = float(round(value))
    return name, -value if op.signed and draw.random() < 0.5 else value


def augmented(data: bytes, augmentation: Augmentation, size: int, interpolation: str) -> Octets:
    """Decode, crop, resize, flip and alter an image, as drawn; (size, size, 3) uint8.

    A JPEG is decoded at the smallest of libjpeg's scales at which the crop has at least `size` pixels a side. The
    result depends on the arguments alone. Thread-safe.

    Args:
        data: the encoded bytes.
        augmentation: as drawn.
        size: height and width in pixels.
        interpolation: `bilinear` or `bicubic`.

    Raises:
        ImageRefused: the bytes cannot be decoded.
    """
    return np.array(augmentation.replayed(ScaledImage.of(data), size, interpolation))
