"""Formats that are not read have a name and a status of their own; HEIC is read where pillow-heif is installed."""

from __future__ import annotations

import numpy as np
import pillow_heif
import pytest
from image_bytes import encode, gradient
from PIL import Image
from tars import read_bytes, tar_bytes

from openmofi.errors import install_command
from openmofi.pairs import ImageRefused, Record, decode, write_tar
from openmofi.pairs.images import formats
from openmofi.pairs.images.formats import shown_formats, unread_format
from openmofi.schema import PairStatus


def heic(image: Image.Image, **options: object) -> bytes:
    pillow_heif.register_heif_opener()
    return encode(image, "HEIF", quality=90, **options)


def ftyp(*brands: bytes) -> bytes:
    return (16 + 4 * len(brands[1:])).to_bytes(4, "big") + b"ftyp" + brands[0] + b"\0\0\0\0" + b"".join(brands[1:])


OTHERS = [
    (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
    (b"\xef\xbb\xbf<?xml version='1.0'?>\n<!-- made > by -->\n<!DOCTYPE svg PUBLIC 'x'>\n<svg>", "SVG"),
    (b"<html>404</html>", "HTML"),
    (b"\n <!doctype html><title>Not found</title>", "HTML"),
    (b"%PDF-1.4", "PDF"),
    (b"%!PS-Adobe-3.0 EPSF-3.0\n", "EPS"),
    (b"8BPS\0\1", "PSD"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
    (b"\xff\x4f\xff\x51\0", "JPEG 2000"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
    (b"\xff\x0a\0", "JPEG XL"),
    (b"II\xbc\x01", "JPEG XR"),
    (b"P6\n2 2\n255\n", "Netpbm"),
    (ftyp(b"isom", b"iso2", b"mp41"), "video"),
    (ftyp(b"qt  "), "video"),
    (b"\x1aE\xdf\xa3webm", "video"),
    (b"RIFF\0\0\0\0AVI LIST", "video"),
    (ftyp(b"crx ", b"isom"), "CR3"),
]
UNKNOWN = [
    b"",
    b"x",
    b"\0" * 100,
    b"<a>",
    b"<?xml version='1.0'?><rss>",
    b"Plain text",
    ftyp(b"avif", b"mif1"),
    ftyp(b"mif1", b"miaf"),
    b"GIF89a",
    b"P9 ",
]


@pytest.mark.parametrize(("data", "name"), OTHERS)
def test_other_formats_have_a_name(data, name):
    assert unread_format(data) == name
    with pytest.raises(ImageRefused, match="none of JPEG, PNG") as caught:
        decode(data)
    assert (caught.value.status, caught.value.format) == (PairStatus.IMAGE_UNSUPPORTED_FORMAT, name)


@pytest.mark.parametrize("data", UNKNOWN)
def test_what_is_nothing_known_is_broken(data):
    assert unread_format(data) == ""
    with pytest.raises(ImageRefused) as caught:
        decode(data)
    assert (caught.value.status, caught.value.format) == (PairStatus.IMAGE_BROKEN, "")


@pytest.mark.parametrize("brands", [(b"heic", b"mif1"), (b"mif1", b"heic"), (b"msf1", b"hevc"), (b"heix",)])
def test_heic_without_the_extra_is_a_format_that_is_not_read(monkeypatch, brands):
    monkeypatch.setattr(formats, "heic_readable", lambda: False)
    with pytest.raises(ImageRefused) as caught:
        decode(ftyp(*brands) + b"\0" * 200)
    assert (caught.value.status, caught.value.format) == (PairStatus.IMAGE_UNSUPPORTED_FORMAT, "HEIC")
    with pytest.raises(ImageRefused) as caught:
        decode(heic(gradient(64, 48)))
    assert caught.value.format == "HEIC"


def test_heic_is_read_with_the_extra():
    found = decode(heic(gradient(64, 48)))
    assert (found.width, found.height, found.image.mode) == (64, 48, "RGB")
    assert np.abs(np.asarray(found.image, int) - np.asarray(gradient(64, 48), int)).mean() < 6
    clear = gradient(64, 48).convert("RGBA")
    clear.putalpha(0)
    assert np.asarray(decode(heic(clear)).image).min() > 250
    with pytest.raises(ImageRefused, match="64 × 48 pixels, more than 3071") as caught:
        decode(heic(gradient(64, 48)), max_pixels=3071)
    assert caught.value.status is PairStatus.IMAGE_TOO_LARGE


def test_heic_of_a_phone_is_upright():
    exif = Image.Exif()
    exif[0x0112] = 6
    found = decode(heic(gradient(64, 48), exif=exif.tobytes()))
    assert (found.width, found.height) == (48, 64)
    expected = gradient(64, 48).transpose(Image.Transpose.ROTATE_270)
    assert np.abs(np.asarray(found.image, int) - np.asarray(expected, int)).mean() < 6


def test_broken_heic_is_broken():
    data = heic(Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)))
    for part in (0.2, 0.5, 0.9):
        with pytest.raises(ImageRefused) as caught:
            decode(data[: int(len(data) * part)])
        assert caught.value.status in (PairStatus.IMAGE_BROKEN, PairStatus.IMAGE_UNSUPPORTED_FORMAT)


def test_a_key_with_another_image_keeps_it(tmp_path):
    members = [
        ("a.svg", b"<svg/>"),
        ("a.jpg", b"JPEG"),
        ("a.txt", b"both"),
        ("b.heic", b"HEIC"),
        ("b.txt", b"one"),
        ("c.psd", b"8BPS"),
    ]
    pairs = read_bytes(tmp_path, tar_bytes(members))
    assert [(pair.key, pair.image, pair.status.name) for pair in pairs] == [
        ("a", b"JPEG", "OK"),
        ("b", b"HEIC", "OK"),
        ("c", b"8BPS", "TEXT_MISSING"),
    ]


def test_heic_is_written_under_its_name(tmp_path):
    data = heic(gradient(64, 48))
    write_tar(tmp_path / "x.tar", [Record("k", data, "text")])
    content = (tmp_path / "x.tar").read_bytes()
    assert content.startswith(b"k.heic")
    assert read_bytes(tmp_path, content)[0].image == data


def test_formats_are_shown_with_what_reads_them():
    assert shown_formats({"SVG": 1, "HEIC": 1234}) == f"HEIC 1,234: {install_command('heic')}; SVG 1"
    assert pillow_heif.__version__
