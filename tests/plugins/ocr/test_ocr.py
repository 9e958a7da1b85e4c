import socket

import pytest
from PIL import Image, ImageDraw, ImageFont

from openmofi.errors import MissingExtraError
from openmofi.labeling.in_image import ImageReader
from openmofi.plugins import ocr

pytest.importorskip("cv2")  # changes the environment when it is imported
pytest.importorskip("rapidocr")


def poster(*lines, size=(640, 480), letters=48):
    image = Image.new("RGB", size, "ivory")
    pen = ImageDraw.Draw(image)
    for number, line in enumerate(lines):
        pen.text((40, 40 + number * 2 * letters), line, "black", ImageFont.load_default(letters))
    return image


@pytest.fixture(scope="module")
def reader():
    return ImageReader(ocr.RapidReader())


@pytest.mark.slow
def test_lines_are_read_from_the_top_without_a_network(monkeypatch):
    def refuse(*_):
        raise OSError("no network here")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    read = ImageReader(ocr.RapidReader())
    assert read(poster("MERCURY", "Sea salt 250 g")) == ("MERCURY", "Sea salt 250 g")


@pytest.mark.slow
def test_small_and_large_images_are_read(reader):
    assert reader(poster("mercury", size=(150, 120), letters=18)) == ("mercury",)
    assert reader(poster("Mercury", size=(3000, 2000), letters=300)) == ("Mercury",)


@pytest.mark.slow
@pytest.mark.parametrize("size", [(1, 1), (1, 900), (2000, 3), (300, 300)])
def test_an_image_without_text_says_nothing(reader, size):
    assert reader(Image.new("RGB", size, "navy")) == ()
    assert reader.error is None


def test_the_fingerprint_names_model_and_version(monkeypatch):
    assert ocr.READER.fingerprint().startswith("rapidocr 3.")
    monkeypatch.setattr(ocr, "version", lambda name: raise_missing(name))
    with pytest.raises(MissingExtraError, match=r"\[ocr\]"):
        ocr.READER.fingerprint()


def raise_missing(name):
    raise ocr.PackageNotFoundError(name)
