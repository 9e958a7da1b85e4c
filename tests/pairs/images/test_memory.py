"""A shortage of the machine is no verdict on an image; what all threads take together stays within a budget."""

from __future__ import annotations

import errno
import io
import json
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
import simplejpeg
from image_bytes import encode, gradient
from PIL import Image, ImageFile

from openmofi.errors import UsageError
from openmofi.pairs import ImageRefused, decode
from openmofi.pairs.images import decode as decoder
from openmofi.pairs.images.memory import VARIABLE, Budget, decode_limit, memory_left, of_machine
from openmofi.pairs.images.scaled import ScaledImage
from openmofi.schema import PairStatus
from terminal import PATIENCE

# Sixteen threads decode an image of 4 million pixels in a process that may take 12 MiB more than it has.
UNDER_LIMIT = """
import json, resource, sys, threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from openmofi.pairs import ImageRefused, decode
data = open(sys.argv[1], "rb").read()
decode(data)
barrier = threading.Barrier(16)
pool = ThreadPoolExecutor(16)
list(pool.map(lambda _: barrier.wait(), range(16)))
pages = int(open("/proc/self/statm").read().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * 4096 + (12 << 20),) * 2)
def outcome(_):
    try:
        return str(decode(data).image.size)
    except ImageRefused as refused:
        return f"REFUSED {refused}"
    except MemoryError:
        return "MemoryError"
counts = Counter(pool.map(outcome, range(16)))
print(json.dumps(counts))
"""

# The growth of the peak, in MiB, while threads decode an image at the same time.
PEAK = """
import sys
from concurrent.futures import ThreadPoolExecutor
from openmofi.pairs.images.decode import decoding
data = open(sys.argv[1], "rb").read()
def width(_):
    with decoding(data) as decoded:
        return decoded.width
# Not getrusage's: that of a process that was forked begins at its parent's.
peak = lambda: int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0])
before = peak()
with ThreadPoolExecutor(int(sys.argv[2])) as pool:
    assert len(list(pool.map(width, range(int(sys.argv[2]))))) == int(sys.argv[2])
print((peak() - before) // 1024)
"""


def run(script: str, *arguments: object) -> str:
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)], capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="limits of a process as Linux has them")
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF"])
def test_under_a_memory_limit_no_good_image_is_refused(tmp_path, kind):
    (tmp_path / "image").write_bytes(encode(Image.new("RGB", (2000, 2000), (10, 200, 30)), kind))
    outcomes = Counter(json.loads(run(UNDER_LIMIT, tmp_path / "image")))
    assert set(outcomes) <= {"(2000, 2000)", "MemoryError"}, outcomes
    assert outcomes.total() == 16


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        OSError(errno.EMFILE, "Too many open files"),
        OSError(errno.EIO, "Input/output error"),
    ],
)
@pytest.mark.parametrize("where", ["open", "load", "exif"])
def test_a_shortage_is_raised_wherever_it_comes_up(monkeypatch, error, where):
    def fail(*_: object, **__: object) -> None:
        raise error

    data = encode(gradient(), "PNG")
    if where == "open":
        monkeypatch.setattr(Image, "open", fail)
    else:
        monkeypatch.setattr(*((ImageFile.ImageFile, "load") if where == "load" else (Image.Image, "getexif")), fail)
    with pytest.raises(type(error)) as caught:
        decode(data)
    assert of_machine(caught.value)


@pytest.mark.parametrize(
    "says",
    [
        "out of memory error when reading image file",
        "could not create decoder object",
        "Failed to decode frame 0: Decoding of color planes failed",
    ],
)
def test_what_may_have_been_a_shortage_is_one_while_memory_is_short(monkeypatch, says):
    def fail(_: object) -> None:
        raise OSError(says)

    monkeypatch.setattr(ImageFile.ImageFile, "load", fail)
    with pytest.raises(ImageRefused) as refused:
        decode(encode(gradient(), "PNG"))
    assert refused.value.status is PairStatus.IMAGE_BROKEN
    assert says in refused.value.why
    monkeypatch.setattr(decoder, "memory_left", lambda size: False)
    with pytest.raises(MemoryError, match="16 MiB"):
        decode(encode(gradient(), "PNG"))


def test_an_image_that_failed_once_is_tried_while_nobody_else_decodes(monkeypatch):
    whole, fails = ImageFile.ImageFile.load, [MemoryError()]

    def load(self: ImageFile.ImageFile) -> object:
        if fails:
            raise fails.pop()
        return whole(self)

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    assert decode(encode(gradient(), "PNG")).width == 48
    assert not fails


def test_a_shortage_while_a_jpeg_is_scaled_is_raised(monkeypatch):
    image = ScaledImage.of(encode(gradient(200, 200), "JPEG"))

    def fail(*_: object, **__: object) -> None:
        raise ValueError("Insufficient memory (case 4)")

    monkeypatch.setattr(simplejpeg, "decode_jpeg", fail)
    with pytest.raises(MemoryError, match="Insufficient memory"):
        image.cut((0, 0, 100, 100), 32, "bilinear")


def test_memory_left():
    assert memory_left(1 << 20)
    assert not memory_left(1 << 60)


def test_a_budget_is_given_out_in_order_and_never_exceeded():
    budget, used, most, lock = Budget(lambda: 100), 0, 0, threading.Lock()

    def work(size: int) -> int:
        nonlocal used, most
        with budget.holding(size):
            share = min(size, 100)
            with lock:
                used += share
                most = max(most, used)
            # Who holds some is given more at once: threads must not wait for each other.
            with budget.holding(100):
                pass
            with lock:
                used -= share
        return size

    sizes = [1, 30, 500, 70, 20, 99] * 50
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, sizes)) == sizes
    assert 70 <= most <= 100
    assert (budget._used, len(budget._waiting)) == (0, 0)


def test_a_budget_is_given_back_after_an_error_and_after_a_fork():
    budget = Budget(lambda: 10)
    with pytest.raises(ValueError, match="x"), budget.alone():
        raise ValueError("x")
    with budget.holding(10):
        pass
    holding = budget.holding(10)
    holding.__enter__()
    budget.reset()
    waiting = threading.Thread(target=lambda: budget.holding(10).__enter__())
    waiting.start()
    waiting.join(5)
    assert not waiting.is_alive()


@pytest.mark.parametrize("value", ["0", "-1", "2G", "1.5"])
def test_a_limit_that_is_no_number_is_named(monkeypatch, value):
    monkeypatch.setenv(VARIABLE, value)
    with pytest.raises(UsageError, match=f"OPENMOFI_DECODE_MIB is '{value}'"):
        decode_limit()


def large(kind: str, mode: str, side: int) -> bytes:
    out = io.BytesIO()
    image = Image.new(mode, (side, side), 1000 if mode == "I;16" else None)
    image.putpalette([1, 2, 3] * 256) if mode == "P" else None
    options = {"transparency": 0} if mode == "P" else {}
    image.save(out, kind, **({"compress_level": 1} if kind == "PNG" else {"compression": "tiff_lzw"}), **options)
    return out.getvalue()


@pytest.mark.parametrize(
    ("kind", "mode", "most"),
    [
        ("PNG", "I;16", 9),
        ("PNG", "RGBA", 11),
        ("PNG", "LA", 11),
        ("PNG", "P", 9),
        ("TIFF", "F", 13),
        ("TIFF", "CMYK", 11),
    ],
)
def test_what_is_converted_takes_little_beside_the_pixels(tmp_path, kind, mode, most):
    """Bytes a pixel at the peak; 16-bit grey took 34, floats 38, transparency 20."""
    side = 3500
    (tmp_path / "image").write_bytes(large(kind, mode, side))
    assert int(run(PEAK, tmp_path / "image", 1)) << 20 < side * side * most + (60 << 20)


def test_threads_stay_within_the_budget(tmp_path, monkeypatch):
    (tmp_path / "image").write_bytes(large("PNG", "RGBA", 2500))
    monkeypatch.setenv(VARIABLE, "4096")
    free = int(run(PEAK, tmp_path / "image", 8))
    monkeypatch.setenv(VARIABLE, "80")
    bounded = int(run(PEAK, tmp_path / "image", 8))
    assert bounded < 160
    assert free > 1.5 * bounded


def test_a_webp_is_refused_before_its_canvas_is_made():
    for data in (
        encode(Image.new("RGB", (60, 50)), "WEBP"),
        encode(Image.new("RGB", (60, 50)), "WEBP", lossless=True),
        encode(Image.new("RGBA", (60, 50)), "WEBP"),
    ):
        assert decode(data, max_pixels=3000).width == 60
        with pytest.raises(ImageRefused, match="60 × 50 pixels, more than 2999") as caught:
            decode(data, max_pixels=2999)
        assert caught.value.status is PairStatus.IMAGE_TOO_LARGE
