"""Untrusted image bytes → upright RGB pixels, or a refusal with its reason."""

import io
import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from openmofi.pairs.images.formats import FORMATS, readable_formats, unread_format
from openmofi.pairs.images.memory import DECODING, memory_left, of_machine
from openmofi.pairs.read_settings import MAX_PIXELS
from openmofi.schema import PairStatus

_ORIENTATION = 0x0112
_TIFF_BITS, _TIFF_TILE_WIDTH, _TIFF_TILE_HEIGHT = 258, 322, 323
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_STRIP = 1 << 20
"""Pixels that are converted at once."""
_LEAST_MEMORY = 16 << 20
_BYTES_A_PIXEL = {"WEBP": 20, "AVIF": 20, "HEIF": 20}
_OTHER_BYTES_A_PIXEL = 12
"""What decoding takes at its peak: the decoder's own buffers, the pixels as stored and as RGB (measured)."""

# Odd metadata of images from the web does not concern the user. `warnings.catch_warnings` is not thread-safe.
warnings.filterwarnings("ignore", module=r"PIL\.")


class ImageRefused(Exception):
    """These bytes cannot be decoded to an image.

    Attributes:
        status: `IMAGE_BROKEN`, `IMAGE_TOO_LARGE` or `IMAGE_UNSUPPORTED_FORMAT`.
        why: the reason, one phrase.
        format: the name of a format that is not read, see `unread_format`; else `""`.
    """

    def __init__(self, status: PairStatus, why: str, format: str = "") -> None:
        super().__init__(status, why, format)
        self.status = status
        self.why = why
        self.format = format

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
    """Decode an image of an allowed format (`FORMATS`; HEIC where pillow-heif is installed) to RGB.

    The header is checked before any pixel is decoded. The first frame of an animation is taken; transparency
    lies over white; 16-bit grey is scaled, not clipped; grey of 32 bits or floats, which has no fixed white,
    is stretched from its least to its greatest value; CMYK is converted without its profile (inverted where
    JPEG stores it so); EXIF orientation is applied. Colour profiles are not applied. Safe to call from
    several threads, whose memory together stays within `memory.decode_limit`.

    Args:
        data: the encoded bytes.
        max_pixels: larger images are refused; beyond twice `MAX_PIXELS` Pillow refuses them in any case.
        size_hint: the caller will shrink the image to this many pixels a side: a JPEG may be decoded at
            1/2, 1/4 or 1/8 of its size (libjpeg's scaled DCT), as long as both sides keep at least twice the
            hint. The result depends on the bytes and the hint alone.

    Raises:
        ImageRefused: it is the image's fault, and would be again.
        MemoryError, OSError: the machine is short of memory or open files; a later try may succeed. Nothing else is
            raised, whatever the bytes.
    """
    with decoding(data, max_pixels=max_pixels, size_hint=size_hint) as decoded:
        return decoded


@contextmanager
def decoding(data: bytes, *, max_pixels: int = MAX_PIXELS, size_hint: int | None = None) -> Iterator[Decoded]:
    """As `decode`, for threads: the image counts as memory in use until the block ends."""
    with ExitStack() as held:
        yield _Decoding(data, max_pixels, size_hint, held).result()


def decode_image(data: bytes, *, max_pixels: int = MAX_PIXELS, size_hint: int | None = None) -> Image.Image:
    """Decode to the image alone; see `decode`."""
    return decode(data, max_pixels=max_pixels, size_hint=size_hint).image


def image_size(data: bytes, *, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Return width and height of the stored image, in pixels, from its header; its pixels are not decoded.

    Raises:
        ImageRefused, MemoryError, OSError: as `decode`, but for damage behind the header.
    """
    with ExitStack() as held:
        header = _Decoding(data, max_pixels, None, held, header_only=True).result()
    return header.width, header.height


@dataclass
class _Decoding:
    """One image being decoded.

    Attributes:
        data, max_pixels, size_hint: see `decode`.
        held: gives back, at its end, the memory that is held.
        size: the memory that decoding takes, in bytes, as soon as the header has been read.
        header_only: the image is left as it was opened.
    """

    data: bytes
    max_pixels: int
    size_hint: int | None
    held: ExitStack
    size: int = _LEAST_MEMORY
    header_only: bool = False

    def result(self) -> Decoded:
        """Return the image, or raise an error that says whose fault it is that there is none."""
        if not self.data:
            raise ImageRefused(PairStatus.IMAGE_BROKEN, "no bytes")
        try:
            return self._opened()
        except ImageRefused:
            raise
        except Exception:
            # Decoders do not always say that memory was short: libwebp "could not create decoder object", dav1d
            # "failed to decode". So an image is broken only if it cannot be decoded while nobody else decodes, and
            # there was enough memory before and after.
            self.held.close()
            self.held.enter_context(DECODING.alone())
            enough = memory_left(self.size)
        try:
            return self._opened()
        except ImageRefused:
            raise
        except Exception as error:
            if isinstance(error, MemoryError) or not (enough and memory_left(self.size)):
                raise MemoryError(f"too little memory is left to decode an image ({self.size >> 20} MiB)") from error
            if of_machine(error):
                raise
            # Plug-ins raise whatever their parsing ran into: OSError, SyntaxError, struct.error …
            raise ImageRefused(PairStatus.IMAGE_BROKEN, f"{type(error).__name__}: {error}"[:200]) from error

    def _opened(self) -> Decoded:
        if canvas := _webp_size(self.data):
            # Its decoder takes the memory of the canvas when it is opened.
            self._admit(canvas, "WEBP")
        try:
            with Image.open(io.BytesIO(self.data), formats=readable_formats(self.data)) as image:
                return self._decoded(image)
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise ImageRefused(PairStatus.IMAGE_TOO_LARGE, str(error)) from error
        except Image.UnidentifiedImageError as error:
            name = unread_format(self.data)
            status = PairStatus.IMAGE_UNSUPPORTED_FORMAT if name else PairStatus.IMAGE_BROKEN
            why = f"{name}, none of {', '.join(FORMATS)}" if name else f"none of {', '.join(FORMATS)}"
            raise ImageRefused(status, why, name) from error

    def _check_pixels(self, size: tuple[int, int]) -> None:
        if math.prod(size) > self.max_pixels:
            raise ImageRefused(PairStatus.IMAGE_TOO_LARGE, f"{size[0]} × {size[1]} pixels, more than {self.max_pixels}")

    def _admit(self, size: tuple[int, int], kind: str, more: int = 0) -> None:
        """Check the number of pixels, and hold the memory that decoding them takes, and `more` bytes."""
        self._check_pixels(size)
        self.size = max(_LEAST_MEMORY, math.prod(size) * _BYTES_A_PIXEL.get(kind, _OTHER_BYTES_A_PIXEL) + more)
        self.held.enter_context(DECODING.holding(self.size))

    def _decoded(self, image: Any) -> Decoded:
        width, height = image.size
        self._check_pixels(image.size)
        if self.header_only:
            return Decoded(image, width, height)
        more = 0
        if image.format == "JPEG":
            if self.size_hint:
                image.draft(None, (2 * self.size_hint, 2 * self.size_hint))
            # All coefficients, at full size, are held until the last scan has come.
            more = 2 * width * height * len(image.getbands()) if image.info.get("progressive") else 0
        if image.format == "TIFF":
            self._admit(max(image.size, _tile(image), key=math.prod), "TIFF")
        elif image.format != "WEBP":
            self._admit(image.size, image.format, more)
        image.load()
        if image.size[0] * image.size[1] > self.max_pixels:
            raise ImageRefused(PairStatus.IMAGE_TOO_LARGE, "frames larger than the header says")
        if _orientation(image) in (5, 6, 7, 8):
            width, height = height, width
        return Decoded(upright(image), width, height)


def _tile(image: Any) -> tuple[int, int]:
    """Return a TIFF's tile size in pixels: a decoder's buffer is a tile, whatever the size of the image."""
    width, height = image.tag_v2.get(_TIFF_TILE_WIDTH), image.tag_v2.get(_TIFF_TILE_HEIGHT)
    return (width, height) if isinstance(width, int) and isinstance(height, int) else (0, 0)


def _webp_size(data: bytes) -> tuple[int, int] | None:
    """Return width and height of a WebP's canvas, in pixels; `None` for anything else."""
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP" or len(data) < 30:
        return None
    if data[12:16] == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if data[12:16] == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    return int.from_bytes(data[26:28], "little") & 0x3FFF, int.from_bytes(data[28:30], "little") & 0x3FFF


def upright(image: Image.Image) -> Image.Image:
    """Return an opened image as `decode` does: RGB, a new object, transparency over white, upright by EXIF.

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
    except Exception as error:
        if of_machine(error):
            raise
        # An image with damaged EXIF is still an image.
        return 1


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        return _in_strips(image, _grey_scale(image))
    if image.has_transparency_data:
        return _in_strips(image, _over_white)
    # Another object in any case: what comes out must not hang on to the open file.
    return image.copy() if image.mode == "RGB" else image.convert("RGB")


def _in_strips(image: Image.Image, convert: Callable[[Image.Image], Image.Image]) -> Image.Image:
    """Apply `convert` to parts of an image, joined to RGB: what lies between takes the memory of one part."""
    out = Image.new("RGB", image.size)
    for top, strip in _strips(image):
        out.paste(convert(strip), (0, top))
    return out


def _strips(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """Yield (top, part) of parts that are as wide as the image."""
    width, height = image.size
    rows = max(1, _STRIP // width)
    return ((top, image.crop((0, top, width, min(top + rows, height)))) for top in range(0, height, rows))


def _over_white(image: Image.Image) -> Image.Image:
    layer = image.convert("RGBA")
    white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, layer).convert("RGB")


def _grey_scale(image: Any) -> Callable[[Image.Image], Image.Image]:
    """Convert grey with more than 8 bits to RGB."""
    if image.mode.startswith("I;16") or image.format == "PNG":
        bits = image.tag_v2.get(_TIFF_BITS, (16,))[0] if image.format == "TIFF" else 16
        low, white = 0.0, float(2**bits - 1)
    else:
        extremes = [(pixels.min(), pixels.max()) for pixels in (_floats(strip) for _, strip in _strips(image))]
        low, white = (float(pick(values)) for pick, values in zip((min, max), zip(*extremes, strict=True), strict=True))

    def convert(strip: Image.Image) -> Image.Image:
        scaled = (_floats(strip) - low) * (255.0 / max(white - low, 1e-12))
        return Image.fromarray(np.clip(np.rint(scaled), 0, 255).astype(np.uint8)).convert("RGB")

    return convert


def _floats(image: Image.Image) -> np.ndarray:
    return np.nan_to_num(np.asarray(image).astype(np.float64))
