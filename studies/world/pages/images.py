"""The pages' images: a rendered artwork on some background, turned, cut, stamped and compressed."""

from __future__ import annotations

import io
import random
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from openmofi.errors import MissingExtraError, OpenMofiError
from studies.world.pages.templates import WATERMARKS
from studies.world.seeds import pick, rng_of
from studies.world.world_settings import PageNoise

_ASPECTS = (1.0, 1.0, 1.0, 1.25, 1.5, 0.8, 0.67)
_CONTRAST = 70
_BACKGROUNDS = ("plain", "gradient", "noise", "blocks", "blur")
_BACKGROUND_SHARES = (0.38, 0.20, 0.12, 0.12, 0.18)
_RETRIEVAL_SIDE = 224


def render(svg: str, side: int) -> Image.Image:
    """An SVG as RGBA; its longer side has `side` pixels.

    Raises:
        OpenMofiError: the SVG cannot be rendered.
    """
    try:
        import resvg_py
    except ImportError as error:
        raise MissingExtraError.of("resvg-py", "sample") from error
    try:
        # Width and height both: resvg then fits the artwork into the square.
        png = resvg_py.svg_to_bytes(svg_string=svg, width=side, height=side, skip_system_fonts=True)
    except ValueError as error:
        raise OpenMofiError(f"An artwork of the sample world cannot be rendered: {error}.") from error
    image = Image.open(io.BytesIO(bytes(png))).convert("RGBA")
    box = image.getchannel("A").getbbox()
    return image.crop(box) if box else image


def luminance(artwork: Image.Image) -> float:
    """Mean brightness of what is opaque, 0..255."""
    small = np.asarray(artwork.resize((32, 32), Image.Resampling.BOX), dtype=np.float32)
    weight = small[..., 3].sum()
    if not weight:
        return 128.0
    grey = small[..., :3] @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    return float((grey * small[..., 3]).sum() / weight)


def _colour(rng: random.Random, away_from: float) -> NDArray[np.float32]:
    """A colour whose brightness differs from that of the artwork."""
    for _ in range(30):
        colour = [rng.uniform(0, 255) for _ in range(3)]
        if rng.random() < 0.4:
            # Much of the web is white or nearly so.
            colour = [255 - (255 - value) * 0.08 for value in colour]
        grey = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]
        if abs(grey - away_from) > _CONTRAST:
            return np.array(colour, dtype=np.float32)
    return np.array([255.0] * 3 if away_from < 128 else [16.0] * 3, dtype=np.float32)


def background(width: int, height: int, brightness: float, rng: random.Random) -> Image.Image:
    """A background that the artwork stands out from, RGB."""
    kind = _BACKGROUNDS[pick(rng, _BACKGROUND_SHARES)]
    base = _colour(rng, brightness)
    if kind == "plain":
        return Image.new("RGB", (width, height), tuple(int(value) for value in base))
    noise = np.random.default_rng(rng.getrandbits(64))
    if kind == "gradient":
        other = base + (_colour(rng, brightness) - base) * 0.6
        corners = np.stack([base, other, other * 0.5 + base * 0.5, base])[:, None].reshape(2, 2, 3)
    elif kind == "noise":
        pixels = base + noise.normal(0, rng.uniform(6, 24), (height, width, 1)).astype(np.float32)
        return _image(pixels)
    else:
        rows, columns = rng.randrange(3, 9), rng.randrange(3, 9)
        corners = base + noise.normal(0, 34, (rows, columns, 3)).astype(np.float32)
    sampling = Image.Resampling.NEAREST if kind == "blocks" else Image.Resampling.BICUBIC
    return _image(corners).resize((width, height), sampling)


def _image(pixels: NDArray[np.float32]) -> Image.Image:
    pixels = np.broadcast_to(np.clip(pixels, 0, 255), (*pixels.shape[:2], 3))
    return Image.fromarray(pixels.astype(np.uint8))


@lru_cache(maxsize=8)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _stamp(page: Image.Image, rng: random.Random) -> Image.Image:
    layer = Image.new("RGBA", page.size, (0, 0, 0, 0))
    draw = ImageDraw.Draw(layer)
    word = rng.choice(WATERMARKS)
    shade = rng.choice((0, 255))
    fill = (shade, shade, shade, rng.randrange(50, 120))
    font = _font(rng.choice((12, 16, 22)))
    if rng.random() < 0.5:
        for row in range(0, page.height, 52):
            for column in range(-(row % 40), page.width, 90):
                draw.text((column, row), word, fill=fill, font=font)
    else:
        draw.text((rng.uniform(0.02, 0.6) * page.width, 0.88 * page.height), word, fill=fill, font=font)
    return Image.alpha_composite(page.convert("RGBA"), layer).convert("RGB")


def _scaled(artwork: Image.Image, longer: float, resampling: Image.Resampling) -> Image.Image:
    """The artwork with a longer side of `longer` pixels."""
    factor = longer / max(artwork.size)
    return artwork.resize((max(1, round(artwork.width * factor)), max(1, round(artwork.height * factor))), resampling)


def compose(artwork: Image.Image, noise: PageNoise, rng: random.Random) -> Image.Image:
    """A page's image, RGB."""
    aspect = rng.choice(_ASPECTS)
    longer = rng.randint(*noise.side)
    width, height = (longer, round(longer / aspect)) if aspect >= 1 else (round(longer * aspect), longer)
    width, height = max(width, noise.side[0] * 2 // 3), max(height, noise.side[0] * 2 // 3)
    page = background(width, height, luminance(artwork), rng)
    shown = _scaled(artwork, rng.uniform(*noise.scale) * min(width, height), Image.Resampling.BILINEAR)
    if rng.random() < 0.5:
        shown = shown.rotate(rng.uniform(-noise.rotation, noise.rotation), Image.Resampling.BICUBIC, expand=True)
    left, top = rng.uniform(0, max(0, width - shown.width)), rng.uniform(0, max(0, height - shown.height))
    if rng.random() < noise.crop:
        left += rng.choice((-1, 1)) * rng.uniform(0, 0.2) * shown.width
        top += rng.choice((-1, 1)) * rng.uniform(0, 0.2) * shown.height
    page.paste(shown, (round(left), round(top)), shown)
    return _stamp(page, rng) if rng.random() < noise.watermark else page


def encode(page: Image.Image, noise: PageNoise, rng: random.Random) -> bytes:
    """The page's image as JPEG, WebP or PNG."""
    buffer = io.BytesIO()
    quality = rng.randint(*noise.quality)
    kind = ("JPEG", "WEBP", "PNG")[pick(rng, noise.formats)]
    # A format takes of the options what it knows.
    page.save(buffer, kind, quality=quality, method=0, compress_level=3)
    return buffer.getvalue()


def spoil(content: bytes, rng: random.Random) -> bytes:
    """Bytes that no decoder takes: the image cut short, garbage, or an error page."""
    way = rng.randrange(3)
    if way == 0:
        return content[: max(24, len(content) // 4)]
    if way == 1:
        return rng.randbytes(600)
    return b"<!DOCTYPE html><html><head><title>404 Not Found</title></head><body>Not found</body></html>"


def page_bytes(artwork: Image.Image, noise: PageNoise, broken: bool, *seed: object) -> bytes:
    """The bytes of the page that `seed` names."""
    rng = rng_of(*seed)
    content = encode(compose(artwork, noise, rng), noise, rng)
    return spoil(content, rng) if broken else content


def retrieval_bytes(artwork: Image.Image, *seed: object) -> bytes:
    """A light page for retrieval: the artwork upright on white or a light tint, PNG of 224 × 224 pixels."""
    rng = rng_of(*seed)
    side = _RETRIEVAL_SIDE
    tint = (255, 255, 255) if rng.random() < 0.5 else tuple(rng.randrange(215, 256) for _ in range(3))
    if luminance(artwork) > 255 - _CONTRAST:
        tint = (40, 44, 52)
    shown = _scaled(artwork, rng.uniform(0.6, 0.9) * side, Image.Resampling.BICUBIC)
    page = Image.new("RGB", (side, side), tint)
    page.paste(shown, ((side - shown.width) // 2, (side - shown.height) // 2), shown)
    buffer = io.BytesIO()
    page.save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()
