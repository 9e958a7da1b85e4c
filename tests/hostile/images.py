"""Images: every format cut and flipped, bombs, files of other kinds; twelve a case, beside a sound one."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from PIL.Image import Resampling

from hostile.workbench import Case, Workbench, expect
from openmofi.pairs import Record, write_tar
from tests.pairs.image_bytes import encode, gradient, png

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
A_CASE = 12


def cases(bench: Workbench, seed: int) -> Iterator[Case]:
    draw = np.random.default_rng(seed)
    sound = {kind: encode(gradient(), kind) for kind in FORMATS}
    for kind, content in sound.items():
        for number in range(8):
            images = [mutated(content, draw) for _ in range(A_CASE)]
            yield Case(f"images/{kind}-{number}", partial(label, bench, images))
        cuts = [content[: int(at)] for at in draw.integers(0, len(content), A_CASE)]
        yield Case(f"images/{kind}-cut", partial(label, bench, cuts))
        tails = [content + bytes(draw.integers(0, 256, 100, dtype=np.uint8)) for _ in range(A_CASE)]
        yield Case(f"images/{kind}-tail", partial(label, bench, tails))
    for name, image in bombs().items():
        yield Case(f"images/bomb-{name}", partial(label_bomb, bench, image))
    yield Case("images/foreign", partial(label, bench, list(foreign())))


def label(bench: Workbench, images: list[bytes], folder: Path) -> None:
    records = [Record(f"{number:03d}", image, "a sun") for number, image in enumerate(images)]
    write_tar(folder / "x.tar", [*records, Record("sound", encode(gradient(), "PNG"), "a sun")])
    expect(bench.label(folder / "x.tar", folder / "out"), len(images) + 1)


def label_bomb(bench: Workbench, image: Callable[[], bytes], folder: Path) -> None:
    label(bench, [image()] * 4, folder)


def mutated(content: bytes, draw: np.random.Generator) -> bytes:
    """One to eight bytes changed, mostly near the beginning, where sizes and tables stand."""
    changed = bytearray(content)
    for _ in range(int(draw.integers(1, 9))):
        end = min(len(changed), 80) if draw.random() < 0.6 else len(changed)
        changed[int(draw.integers(0, end))] = int(draw.choice([0, 1, 127, 128, 255, int(draw.integers(0, 256))]))
    return bytes(changed)


def bombs() -> dict[str, Callable[[], bytes]]:
    """Few bytes that claim many pixels, each made where it is read: some take seconds."""
    sides = (9_000, 30_000, 60_000, 2_000_000_000)
    size = struct.pack("<HH", 65_535, 65_535)
    return {
        **{f"png-{side}": partial(png, side, side, data=bytes(1000)) for side in sides},
        "png-wide": partial(png, 1_000_000_000, 1, data=bytes(100)),
        "png-deep": partial(png, 12_000, 12_000, depth=16, colour=6, data=bytes(1000)),
        "bmp": lambda: b"BM" + struct.pack("<IHHIIiiHH", 60, 0, 0, 54, 40, 40_000, 40_000, 1, 24) + bytes(24),
        "gif": lambda: b"GIF89a" + size + b"\x80\0\0" + bytes(6) + b",\0\0\0\0" + size + b"\0\2",
        "jpeg": partial(jpeg_of, 65_500, 65_500),
        "solid-png": lambda: encode(gradient(8, 8).resize((9_000, 9_000), Resampling.NEAREST), "PNG"),
        "solid-webp": lambda: encode(gradient(8, 8).resize((8_000, 8_000), Resampling.NEAREST), "WEBP", quality=1),
    }


def jpeg_of(width: int, height: int) -> bytes:
    """A small JPEG whose frame header claims another size."""
    content = bytearray(encode(gradient(), "JPEG"))
    frame = content.index(b"\xff\xc0")
    content[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(content)


def foreign() -> Iterator[bytes]:
    """Files that are not images, or of formats that are not read."""
    yield from (
        b"<html>404</html>",
        b"%PDF-1.7\n",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"",
        b"\0" * 900,
        b"\0\0\0\x18ftypheic" + bytes(60),
        b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(40),
        b"8BPS" + bytes(60),
        b"RIFF\0\0\0\0WEBPVP8X",
        b"\0\0\0\x20ftypisom" + bytes(60),
        b"GIF89a",
        b"\xff\xd8\xff\xd9",
    )
