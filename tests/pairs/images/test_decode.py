from __future__ import annotations

import io
import resource
import struct
import threading
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

import imagehash
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from image_bytes import chunk, encode, gradient, png
from PIL import Image, ImageOps

from openmofi.pairs import Decoded, ImageRefused, decode, decode_image, describe, perceptual_hash
from openmofi.pairs.images.decode import image_size
from openmofi.schema import PairStatus

KINDS = {
    "PNG": {},
    "JPEG": {"quality": 95, "subsampling": 0},
    "WEBP": {"lossless": True},
    "BMP": {},
    "TIFF": {},
    "GIF": {},
    "AVIF": {"quality": 95},
}


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image, dtype=np.int32)


def close(one: Image.Image, other: Image.Image, within: float) -> bool:
    return one.size == other.size and float(np.abs(pixels(one) - pixels(other)).mean()) <= within


@pytest.mark.parametrize("kind", KINDS)
def test_a_size_is_in_the_header_whatever_follows(kind):
    data = encode(gradient(640, 480), kind, **KINDS[kind])
    assert image_size(data) == (640, 480)
    with pytest.raises(ImageRefused, match="image_too_large"):
        image_size(data, max_pixels=640 * 480 - 1)
    with pytest.raises(ImageRefused):
        image_size(data[:10])
    if kind in ("PNG", "JPEG", "GIF"):
        assert image_size(data[: len(data) // 2]) == (640, 480)


@pytest.mark.parametrize("kind", KINDS)
def test_formats(kind):
    found = decode(encode(gradient(), kind, **KINDS[kind]))
    assert found.image.mode == "RGB"
    assert (found.width, found.height) == (48, 32)
    assert close(found.image, gradient(), 0 if kind in ("PNG", "BMP", "TIFF", "WEBP") else 8)


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        *((kind, PairStatus.IMAGE_UNSUPPORTED_FORMAT) for kind in ("ICO", "PPM", "ICNS", "JPEG2000", "DDS")),
        ("TGA", PairStatus.IMAGE_BROKEN),
        ("PCX", PairStatus.IMAGE_BROKEN),
    ],
)
def test_other_formats_are_refused(kind, status):
    with pytest.raises(ImageRefused) as caught:
        decode(encode(gradient(64, 64), kind))
    assert caught.value.status is status
    assert "none of JPEG, PNG" in str(caught.value)


@pytest.mark.parametrize(
    "data",
    [b"", b"x", b"\0" * 1000, b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"RIFF\0\0\0\0WEBP", b"BM", b"II*\0"],
)
def test_what_is_no_image_is_broken(data):
    with pytest.raises(ImageRefused) as caught:
        decode_image(data)
    assert caught.value.status is PairStatus.IMAGE_BROKEN
    assert caught.value.why


@pytest.mark.parametrize(
    "data",
    [
        png(100_000, 100_000),
        png(2**31 - 1, 2**31 - 1),
        png(100_000, 1_000),
        png(89_478_486, 1),
        b"GIF89a" + struct.pack("<HHxxxcHHHHBB", 65535, 65535, b",", 0, 0, 65535, 65535, 0, 8),
        b"BM" + struct.pack("<IIIIiiHHIIiiII", 54, 0, 54, 40, 50_000, 50_000, 1, 24, 0, 0, 0, 0, 0, 0),
    ],
)
def test_bombs_are_refused_by_their_header(data):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ImageRefused) as caught:
            decode(data)
    assert caught.value.status is PairStatus.IMAGE_TOO_LARGE
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


def test_max_pixels():
    data = encode(gradient(100, 50), "PNG")
    assert decode(data, max_pixels=5000).width == 100
    with pytest.raises(ImageRefused, match="100 × 50 pixels, more than 4999") as caught:
        decode(data, max_pixels=4999)
    assert caught.value.status is PairStatus.IMAGE_TOO_LARGE


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"iCCP"])
def test_bombs_in_metadata_are_refused(kind):
    packed = zlib.compress(b"\0" * (200 << 20))
    content = {b"zTXt": b"k\0\0" + packed, b"iTXt": b"k\0\1\0\0\0" + packed, b"iCCP": b"k\0\0" + packed}[kind]
    data = png(2, 2, chunk(kind, content), data=b"\0" * 14)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ImageRefused):
        decode(data)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF", "AVIF"])
def test_the_first_frame_of_an_animation(kind):
    first, second = Image.new("RGB", (32, 32), (250, 0, 0)), Image.new("RGB", (32, 32), (0, 0, 250))
    data = encode(first, kind, save_all=True, append_images=[second])
    assert close(decode_image(data), first, 4)


def test_cmyk_as_print_shops_store_it():
    image = gradient().convert("CMYK")
    assert close(decode_image(encode(image, "JPEG", quality=98)), gradient(), 6)
    assert close(decode_image(encode(image, "TIFF")), gradient(), 2)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_grey_of_16_bits_is_scaled_not_clipped(kind):
    ramp = np.tile(np.linspace(0, 65535, 64).astype(np.uint16), (8, 1))
    found = pixels(decode_image(encode(Image.fromarray(ramp), kind)))
    assert np.abs(found[..., 0] - ramp / 257.0).max() <= 1
    assert (found[..., 0] == found[..., 1]).all()


def test_colours_of_16_bits():
    rows = b"".join(b"\0" + struct.pack(">HHH", 65535, 32768, 257) * 2 for _ in range(2))
    assert decode_image(png(2, 2, depth=16, data=rows)).getpixel((0, 0)) == (255, 128, 1)


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_grey_without_a_fixed_white_is_stretched(dtype):
    ramp = np.tile(np.linspace(-1e6, 1e6, 64).astype(dtype), (8, 1))
    found = pixels(decode_image(encode(Image.fromarray(ramp), "TIFF")))[0, :, 0]
    assert (found[0], found[-1]) == (0, 255)
    assert np.abs(found - np.linspace(0, 255, 64)).max() <= 1


def test_floats_that_are_no_numbers():
    image = Image.fromarray(np.array([[np.nan, np.inf], [0.0, 1.0]], np.float32))
    assert decode_image(encode(image, "TIFF")).mode == "RGB"


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "AVIF"])
def test_transparency_lies_over_white(kind):
    image = gradient().convert("RGBA")
    image.putalpha(Image.new("L", image.size, 0))
    options = {"lossless": True} if kind == "WEBP" else {}
    assert close(decode_image(encode(image, kind, **options)), Image.new("RGB", image.size, "white"), 1)


def test_transparency_of_palettes_grey_and_colour_keys():
    palette = Image.new("P", (4, 4), 0)
    palette.putpalette([10, 20, 30, 200, 100, 50])
    palette.putpixel((0, 0), 1)
    for kind in ("PNG", "GIF"):
        found = decode_image(encode(palette, kind, transparency=0))
        assert found.getpixel((1, 1)) == (255, 255, 255)
        assert found.getpixel((0, 0)) == (200, 100, 50)
    half = Image.new("LA", (4, 4), (0, 128))
    assert abs(decode_image(encode(half, "PNG")).getpixel((0, 0))[0] - 127) <= 1
    keyed = Image.new("RGB", (4, 4), (1, 2, 3))
    assert decode_image(encode(keyed, "PNG", transparency=(1, 2, 3))).getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("mode", ["1", "L", "P"])
def test_modes_with_few_colours(mode):
    image = gradient().convert(mode)
    assert close(decode_image(encode(image, "PNG")), image.convert("RGB"), 0)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_orientation_is_applied(kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(gradient(), kind, exif=exif, **KINDS[kind])
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    found = decode(data)
    assert close(found.image, expected, 0)
    assert (found.width, found.height) == expected.size == ((32, 48) if orientation >= 5 else (48, 32))


def test_damaged_exif_is_no_reason_to_refuse():
    for exif in (b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"):
        assert decode(encode(gradient(), "JPEG", exif=exif)).width == 48


@pytest.mark.parametrize("kind", KINDS)
def test_truncated_images_are_broken(kind):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
    data = encode(noise, kind)
    for part in (0.1, 0.3, 0.5, 0.7, 0.9):
        with pytest.raises(ImageRefused) as caught:
            decode(data[: int(len(data) * part)])
        assert caught.value.status is PairStatus.IMAGE_BROKEN


@pytest.mark.parametrize("size", [(1600, 1200), (1201, 1603), (500, 5000), (300, 300)])
def test_a_hint_lets_jpeg_be_decoded_smaller_but_never_below_twice_the_hint(size):
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encode(gradient(*size), "JPEG", quality=90, exif=exif)
    full, hinted = decode(data), decode(data, size_hint=128)
    assert (hinted.width, hinted.height) == (full.width, full.height) == (size[1], size[0])
    assert min(hinted.image.size) >= min(256, min(size))
    assert min(hinted.image.size) < 512 or min(size) < 512
    shrunk = full.image.resize(hinted.image.size, Image.Resampling.BOX)
    assert close(hinted.image, shrunk, 2)
    assert decode(data, size_hint=128).image.tobytes() == hinted.image.tobytes()


def test_many_threads_see_what_one_sees():
    data = [encode(gradient(64 + n, 64), kind, **KINDS[kind]) for n in range(6) for kind in KINDS]
    broken = [item[: len(item) // 2] for item in data]
    before = threading.active_count()  # other tests' libraries leave some
    expected = [decode_image(item).tobytes() for item in data]

    def try_both(number: int) -> bytes:
        with pytest.raises(ImageRefused):
            decode_image(broken[number])
        return decode_image(data[number]).tobytes()

    with ThreadPoolExecutor(8) as pool:
        for found in range(5):
            assert list(pool.map(try_both, range(len(data)))) == expected, found
    assert threading.active_count() <= before


SEEDS = [encode(gradient(24, 16), kind, **options) for kind, options in KINDS.items()] + [
    encode(gradient(24, 16).convert("RGBA"), "PNG"),
    encode(gradient(24, 16).convert("CMYK"), "JPEG"),
    encode(gradient(24, 16).convert("P"), "GIF", save_all=True, append_images=[gradient(24, 16)]),
    encode(gradient(24, 16), "TIFF", compression="tiff_lzw"),
    encode(gradient(24, 16), "JPEG", progressive=True),
]
FLIPS = st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), min_size=1, max_size=8)


def decoded_or_refused(data: bytes) -> Decoded | ImageRefused:
    try:
        return decode(data, max_pixels=1 << 22, size_hint=8)
    except ImageRefused as refusal:
        return refusal


@settings(max_examples=250, deadline=None)
@given(st.sampled_from(SEEDS), FLIPS, st.integers(0, 3), st.integers(0, 1 << 12))
def test_mutated_bytes_give_an_image_or_a_refusal(seed, flips, where, cut):
    data = bytearray(seed)
    for position, value in flips:
        # Half of the damage goes to the header, where it hurts.
        data[position % (len(data) if where % 2 else min(len(data), 80))] = value
    if where >= 2:
        data = data[: cut % (len(data) + 1)]
    found = decoded_or_refused(bytes(data))
    if isinstance(found, ImageRefused):
        assert found.status in (
            PairStatus.IMAGE_BROKEN,
            PairStatus.IMAGE_TOO_LARGE,
            PairStatus.IMAGE_UNSUPPORTED_FORMAT,
        )
    else:
        assert found.image.mode == "RGB"
        assert describe(found).phash < 1 << 64


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from([b"", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"RIFF", b"BM", b"II*\0", b"MM\0*"]),
    st.binary(max_size=300),
)
def test_any_bytes_give_an_image_or_a_refusal(magic, data):
    found = decoded_or_refused(magic + data)
    assert found.why if isinstance(found, ImageRefused) else found.image.mode == "RGB"


def texture(seed: int, size: tuple[int, int] = (640, 480)) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 255, (9, 12, 3), np.uint8)
    return Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)


def bits(one: int, other: int) -> int:
    return (one ^ other).bit_count()


@pytest.mark.parametrize("seed", range(8))
def test_the_hash_is_the_librarys_up_to_its_averaging(seed):
    image = texture(seed)
    library = int(str(imagehash.phash(image)), 16)
    assert bits(perceptual_hash(image), library) <= 4
    small = image.resize((64, 64))
    assert perceptual_hash(small) == int(str(imagehash.phash(small)), 16)


@pytest.mark.parametrize("seed", range(4))
def test_near_duplicates_are_near_and_others_are_not(seed):
    image = texture(seed)
    mine = describe(decode(encode(image, "JPEG", quality=60))).phash
    again = describe(decode(encode(image.resize((333, 250)), "WEBP", quality=50), size_hint=64)).phash
    assert bits(mine, again) <= 6
    assert bits(mine, perceptual_hash(texture(seed + 100))) > 16


def test_describe_tells_the_stored_size():
    found = describe(decode(encode(texture(0, (1600, 1200)), "JPEG"), size_hint=64))
    assert (found.width, found.height) == (1600, 1200)
    for size in ((1, 1), (1, 500), (3, 2)):
        assert 0 <= perceptual_hash(Image.new("RGB", size)) < 1 << 64
