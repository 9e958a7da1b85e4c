"""Crops of encoded images at a given size, decoding no more than needed; training and its replay share this."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import simplejpeg
from PIL import Image

from openmofi.arrays import Octets
from openmofi.pairs.images.decode import MAX_PIXELS, decode_image, decoding
from openmofi.pairs.images.memory import DECODING, of_machine

_ORIENTATION = 0x0112
_EXIF_WITHIN = 1 << 16
_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
_BYTES_A_PIXEL = 4
_PLAIN = ("YCbCr", "Gray", "RGB")

Box = tuple[int, int, int, int]


@dataclass
class ScaledImage:
    """An image's bytes and its upright size; what is decoded for one crop is kept for the next.

    Attributes:
        data: the encoded bytes.
        width, height: of the upright image at full size, in pixels.
    """

    data: bytes
    width: int
    height: int
    _whole: Image.Image | None = None
    _scaled: dict[int, Image.Image] = field(default_factory=dict)

    @classmethod
    def of(cls, data: bytes) -> ScaledImage:
        """Read the header; what libjpeg-turbo may not decode by itself (see `plain_jpeg`) is decoded whole.

        Raises:
            ImageRefused: the bytes cannot be decoded.
            MemoryError: the machine is short of memory.
        """
        height, width, plain = plain_jpeg(data)
        if plain:
            return cls(data, width, height)
        with decoding(data) as decoded:
            return cls(data, decoded.image.width, decoded.image.height, decoded.image)

    @classmethod
    @contextmanager
    def opened(cls, data: bytes) -> Iterator[ScaledImage]:
        """As `of`, for threads: the image counts as memory in use until the block ends."""
        height, width, plain = plain_jpeg(data)
        if plain:
            with DECODING.holding(height * width * _BYTES_A_PIXEL):
                yield cls(data, width, height)
        else:
            with decoding(data) as decoded:
                yield cls(data, decoded.image.width, decoded.image.height, decoded.image)

    @property
    def memory(self) -> int:
        """Return the bytes that it takes: encoded, and what is decoded by now."""
        decoded = [self._whole] if self._whole is not None else list(self._scaled.values())
        return len(self.data) + _BYTES_A_PIXEL * sum(image.width * image.height for image in decoded)

    def cut(self, box: Box, size: int, interpolation: str) -> Image.Image:
        """Cut out `box` (left, top, width, height; whole pixels at full size), resized to `size` × `size`, RGB.

        A JPEG is decoded at the smallest multiple of an eighth (libjpeg's scaled DCT) at which the crop has at least
        `size` pixels a side. The outcome depends on the bytes and the arguments alone, not on earlier crops.

        Raises:
            ImageRefused: the bytes cannot be decoded.
            MemoryError: the machine is short of memory.
        """
        left, top, width, height = box
        image = self._at(min(1.0, max(size / height, size / width)))
        across, down = image.width / self.width, image.height / self.height
        region = (left * across, top * down, (left + width) * across, (top + height) * down)
        return image.resize((size, size), _FILTERS[interpolation], box=region)

    def _at(self, share: float) -> Image.Image:
        """Decode the image at `share` of its size, or at the next larger scale."""
        if self._whole is not None:
            return self._whole
        height, width = math.ceil(self.height * share), math.ceil(self.width * share)
        eighths = next(
            (
                number
                for number in range(1, 8)
                if self._side(self.height, number) >= height and self._side(self.width, number) >= width
            ),
            8,
        )
        if eighths not in self._scaled:
            self._scaled[eighths] = self._decode(eighths)
        return self._scaled[eighths]

    @staticmethod
    def _side(length: int, eighths: int) -> int:
        """Return the length of a side, in pixels, as libjpeg scales it."""
        return -(-length * eighths // 8)

    def _decode(self, eighths: int) -> Image.Image:
        try:
            pixels: Octets = simplejpeg.decode_jpeg(
                self.data, min_height=self._side(self.height, eighths), min_width=self._side(self.width, eighths)
            )
        except ValueError as error:
            if "memory" in str(error).lower():
                raise MemoryError(f"too little memory is left to decode an image: {error}") from error
            # Damage that only shows on the way: Pillow may be more lenient, and says what is wrong if it is not.
            return decode_image(self.data)
        return Image.fromarray(pixels)


def plain_jpeg(data: bytes) -> tuple[int, int, bool]:
    """Return height, width, and whether libjpeg-turbo may decode these bytes by itself.

    It may not where `pairs.decode` does more than decode: other colours than grey and RGB, an image turned on its
    side, too many pixels, damage. Height and width are 0 then.
    """
    if not data.startswith(b"\xff\xd8\xff"):
        return 0, 0, False
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError:
        return 0, 0, False
    plain = colours in _PLAIN and height * width <= MAX_PIXELS and _upright(data)
    return (height, width, True) if plain else (0, 0, False)


def _upright(data: bytes) -> bool:
    if b"Exif\0\0" not in data[:_EXIF_WITHIN]:
        return True
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
            return image.getexif().get(_ORIENTATION, 1) == 1
    except Exception as error:
        if of_machine(error):
            raise
        # Damaged metadata: whatever `pairs.decode` makes of it.
        return False
