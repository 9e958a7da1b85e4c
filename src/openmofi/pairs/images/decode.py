"""Untrusted image bytes → upright RGB pixels, or a refusal with its reason."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from openmofi.schema import PairStatus

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
MAX_PIXELS = 89_478_485
"""Pillow's own bound against decompression bombs: a quarter of a gigabyte of RGB."""

_ORIENTATION = 0x0112
_TIFF_BITS = 258
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# Odd metadata of images from the web does not concern the user. `warnings.catch_warnings` is not thread-safe.
warnings.filterwarnings("ignore", module=r"PIL\.")


class ImageRefused(Exception):
    """These bytes cannot be decoded to an image.

    Attributes:
        status: `IMAGE_BROKEN` or `IMAGE_TOO_LARGE`.
        why: the reason, one phrase.
    """

    def __init__(self, status: PairStatus, why: str) -> None:
        super().__init__(status, why)
        self.status = status
        self.why = why

    def __str__(self) -> str:
        return f"{self.status}: {self.why}"


@dataclass(frozen=True, slots=True)
class Decoded:
    """A decoded image.

    Attributes:
        image: RGB, upright; perhaps smaller than the stored one, see `decode`.
        width, height: of the stored image at full size, upright, in pixels.
    """

    image: Image.Image
    width: int
    height: int


def decode(data: bytes, *, max_pixels: int = MAX_PIXELS, size_hint: int | None = None) -> Decoded:
    """Decode an image of an allowed format (`FORMATS`) to RGB.

    The header is checked before any pixel is decoded. The first frame of an animation is taken; transparency
    lies over white; 16-bit grey is scaled, not clipped; grey of 32 bits or floats, which has no fixed white,
    is stretched from its least to its greatest value; CMYK is converted without its profile (inverted where
    JPEG stores it so); EXIF orientation is applied. Colour profiles are not applied. Safe to call from
    several threads.

    Args:
        data: the encoded bytes.
        max_pixels: larger images are refused; beyond twice `MAX_PIXELS` Pillow refuses them in any case.
        size_hint: the caller will shrink the image to this many pixels a side: a JPEG may be decoded at
            1/2, 1/4 or 1/8 of its size (libjpeg's scaled DCT), as long as both sides keep at least twice the
            hint. The result depends on the bytes and the hint alone.

    Raises:
        ImageRefused: and nothing else, whatever the bytes.
    """
    if not data:
        raise ImageRefused(PairStatus.IMAGE_BROKEN, "no bytes")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            return _decode(image, max_pixels, size_hint)
    except ImageRefused:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageRefused(PairStatus.IMAGE_TOO_LARGE, str(error)) from error
    except Image.UnidentifiedImageError as error:
        raise ImageRefused(PairStatus.IMAGE_BROKEN, f"none of {', '.join(FORMATS)}") from error
    except Exception as error:
        # Plug-ins raise whatever their parsing ran into: OSError, SyntaxError, struct.error, MemoryError …
        raise ImageRefused(PairStatus.IMAGE_BROKEN, f"{type(error).__name__}: {error}"[:200]) from error


def decode_image(data: bytes, *, max_pixels: int = MAX_PIXELS, size_hint: int | None = None) -> Image.Image:
    """The image alone; see `decode`."""
    return decode(data, max_pixels=max_pixels, size_hint=size_hint).image


def _decode(image: Any, max_pixels: int, size_hint: int | None) -> Decoded:
    width, height = image.size
    if width * height > max_pixels:
        raise ImageRefused(PairStatus.IMAGE_TOO_LARGE, f"{width} × {height} pixels, more than {max_pixels}")
    if size_hint and image.format == "JPEG":
        image.draft(None, (2 * size_hint, 2 * size_hint))
    image.load()
    if image.size[0] * image.size[1] > max_pixels:
        raise ImageRefused(PairStatus.IMAGE_TOO_LARGE, "frames larger than the header says")
    if _orientation(image) in (5, 6, 7, 8):
        width, height = height, width
    return Decoded(upright(image), width, height)


def upright(image: Image.Image) -> Image.Image:
    """An opened image as `decode` returns it: RGB, another object, transparency over white, EXIF orientation applied.

    Raises:
        OSError: its pixels were not loaded yet, and cannot be.
    """
    orientation = _orientation(image)
    turned = _rgb(image)
    return turned.transpose(_TURNS[orientation]) if orientation in _TURNS else turned


def _orientation(image: Image.Image) -> int:
    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
        return orientation if isinstance(orientation, int) else 1
    except Exception:
        # An image with damaged EXIF is still an image.
        return 1


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        return _grey(image).convert("RGB")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, layer).convert("RGB")
    # Another object in any case: what comes out must not hang on to the open file.
    return image.copy() if image.mode == "RGB" else image.convert("RGB")


def _grey(image: Any) -> Image.Image:
    pixels = np.nan_to_num(np.asarray(image).astype(np.float64))
    if image.mode.startswith("I;16") or image.format == "PNG":
        bits = image.tag_v2.get(_TIFF_BITS, (16,))[0] if image.format == "TIFF" else 16
        low, white = 0.0, float(2**bits - 1)
    else:
        low, white = float(pixels.min()), float(pixels.max())
    scaled = (pixels - low) * (255.0 / max(white - low, 1e-12))
    return Image.fromarray(np.clip(np.rint(scaled), 0, 255).astype(np.uint8))
