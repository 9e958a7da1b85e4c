"""Which formats are decoded, and the names of others, by the first bytes of a file."""

import re
import threading
from collections.abc import Mapping
from functools import cache

from openmofi.errors import install_command

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
HEIC = "HEIC"

_HEVC = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
_STILL = {*_HEVC, b"avif", b"avis", b"mif1", b"msf1", b"miaf"}
_MAGIC = (
    (0, b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000"),
    (0, b"\0\0\0\x0cJXL ", "JPEG XL"),
    (0, b"\xff\x0a", "JPEG XL"),
    (0, b"II\xbc\x01", "JPEG XR"),
    (0, b"8BPS", "PSD"),
    (0, b"%!PS", "EPS"),
    (0, b"\xc5\xd0\xd3\xc6", "EPS"),
    (0, b"%PDF", "PDF"),
    (0, b"\0\0\1\0", "ICO"),
    (0, b"icns", "ICNS"),
    (0, b"DDS ", "DDS"),
    (0, b"qoif", "QOI"),
    (0, b"v/1\x01", "OpenEXR"),
    (0, b"#?RADIANCE", "Radiance"),
    (0, b"\x1aE\xdf\xa3", "video"),
    (0, b"FLV\x01", "video"),
    (0, b"OggS", "video"),
    (0, b"\0\0\x01\xba", "video"),
    (8, b"AVI LIST", "video"),
)
_NETPBM = re.compile(rb"P[1-7][ \t\r\n]")
_MARKUP = re.compile(
    rb"(?:<\?xml[^>]*>|<!--.*?-->|<!doctype [^>]*>|\s+)*<(svg|html|head|body|title|script)[\s>/]",
    re.IGNORECASE | re.DOTALL,
)
_MARKUP_WITHIN = 4096
_lock = threading.Lock()


def unread_format(data: bytes) -> str:
    """Name the format of bytes that are not of `FORMATS`: `HEIC`, `SVG`, `JPEG 2000`, `video` …; `""` where unknown."""
    if brands := _brands(data):
        if brands & _HEVC:
            return HEIC
        return "" if brands & _STILL else "CR3" if b"crx " in brands else "video"
    if name := next((name for start, magic, name in _MAGIC if data.startswith(magic, start)), ""):
        return name
    if _NETPBM.match(data):
        return "Netpbm"
    markup = _MARKUP.match(data[:_MARKUP_WITHIN].removeprefix(b"\xef\xbb\xbf"))
    return "" if markup is None else "SVG" if markup[1].lower() == b"svg" else "HTML"


def _brands(data: bytes) -> set[bytes]:
    """Return the brands with which a file of ISO's base format (MP4, QuickTime, HEIF, AVIF) is compatible."""
    if data[4:8] != b"ftyp":
        return set()
    end = min(int.from_bytes(data[:4], "big"), 256)
    return {data[8:12], *(data[start : start + 4] for start in range(16, end, 4))}


def readable_formats(data: bytes) -> tuple[str, ...]:
    """Return Pillow's names of the formats as which these bytes may be opened."""
    return ("HEIF",) if _brands(data) & _HEVC and heic_readable() else FORMATS


@cache
def _registered() -> bool:
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return False
    register_heif_opener()
    return True


def heic_readable() -> bool:
    """Whether HEIC is decoded: pillow-heif, which `openmofi[heic]` brings, is installed."""
    with _lock:
        return _registered()


def shown_formats(counts: Mapping[str, int]) -> str:
    """List formats that were not read, most images first, with what to install: `HEIC 12: pip install …; SVG 1`."""
    return "; ".join(
        f"{name} {count:,}" + (f": {install_command('heic')}" if name == HEIC else "")
        for name, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    )
