"""Tars: zeroed at every block, cut, flipped, joined, compressed, with things behind their end."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from hostile.workbench import PAIRS, Broken, Case, Workbench, expect, small_records, warnings_of
from openmofi.errors import OpenMofiError
from openmofi.pairs import write_tar
from tests.pairs.tars import tar_bytes

BLOCK, PAGE = 512, 4096


def cases(bench: Workbench, seed: int) -> Iterator[Case]:
    whole, draw = bench.shard.read_bytes(), np.random.default_rng(seed)
    made: list[tuple[str, str, bytes, int | None]] = []
    # Where the last pair's members lie in the zeros from end to end, what is left is a tar of a pair less, to the byte.
    fewer = {tar_of(bench, pairs): pairs for pairs in (PAIRS - 2, PAIRS - 1)}
    made += [
        (f"zeros-at-{at}", "x.tar", zero, fewer.get(zero.rstrip(b"\0"), PAIRS))
        for at in range(0, len(whole), BLOCK)
        for zero in [zeroed(whole, at, PAGE)]
    ]
    made += [
        (f"zero-block-at-{at}", "x.tar", zeroed(whole, at, BLOCK), PAIRS)
        for at in map(int, draw.integers(0, len(whole) // BLOCK, 60) * BLOCK)
    ]
    made += [(f"cut-at-{at}", "x.tar", whole[:at], PAIRS) for at in range(0, len(whole), PAGE)]
    made += [(f"cut-inside-{at}", "x.tar", whole[:at], PAIRS) for at in map(int, draw.integers(1, len(whole), 30))]
    made += [
        (f"flipped-{bit}", "x.tar", flipped(whole, bit), PAIRS)
        for bit in map(int, draw.integers(0, 8 * len(whole), 80))
    ]
    for suffix, packed in compressed(whole).items():
        made += [
            (f"cut{suffix}-at-{at}", f"x.tar{suffix}", packed[:at], PAIRS)
            for at in map(int, draw.integers(1, len(packed), 8))
        ]
        made += [
            (f"flipped{suffix}-{bit}", f"x.tar{suffix}", flipped(packed, bit), PAIRS)
            for bit in map(int, draw.integers(0, 8 * len(packed), 12))
        ]
        made += [
            (f"joined{suffix}", f"x.tar{suffix}", packed + packed, 2 * PAIRS),
            (f"tail{suffix}", f"x.tar{suffix}", packed + b"tail" * 300, PAIRS),
            (f"zeros-behind{suffix}", f"x.tar{suffix}", packed + bytes(5000), PAIRS),
            (f"called-tar{suffix}", "x.tar", packed, PAIRS),
        ]
    made += [
        ("joined", "x.tar", whole + whole, 2 * PAIRS),
        ("joined-thrice", "x.tar", whole * 3, 3 * PAIRS),
        ("joined-without-end", "x.tar", without_end(whole) + whole, 2 * PAIRS),
        ("without-end", "x.tar", without_end(whole), PAIRS),
        ("one-end-block", "x.tar", without_end(whole) + bytes(BLOCK), PAIRS),
        ("far-end", "x.tar", whole + bytes(1 << 20), PAIRS),
        ("tail", "x.tar", whole + b"x" * 700, PAIRS),
        ("tail-after-zeros", "x.tar", whole + bytes(1 << 16) + b"x", PAIRS),
        ("bgzip", "x.tar.gz", members_of_gzip(whole, 9000), PAIRS),
        ("gzip-crc", "x.tar.gz", bad_checksum(gzip.compress(whole)), PAIRS),
        ("gzip-length", "x.tar.gz", gzip.compress(whole)[:-4] + b"\1\2\3\4", PAIRS),
        ("twice-gzip", "x.tar.gz", gzip.compress(gzip.compress(whole)), PAIRS),
        ("empty", "x.tar", b"", 0),
        ("zeros-only", "x.tar", bytes(10240), 0),
        ("text", "x.tar", b"hello\n" * 999, 0),
        ("zip", "x.tar", b"PK\3\4" + whole, None),
        ("half-a-block", "x.tar", whole[:300], None),
    ]
    made += [(f"names-{name}", "x.tar", content, rows) for name, content, rows in dotted()]
    last = tar_bytes(
        [
            *((f"{number}.{extension}", b"x" * 900) for number in range(PAIRS) for extension in ("jpg", "txt")),
            ("z.npy", b"1" * 9000),
        ]
    )
    made += [
        (f"zeros-behind-{size}{suffix}", f"x.tar{suffix}", pack(last.ljust(size, b"\0")), PAIRS)
        for size in (1 << 18, 1 << 19, 1 << 22)
        for suffix, pack in (("", bytes), (".gz", gzip.compress))
    ]
    made += [(f"header-{name}", "x.tar", content, None) for name, content in headers(draw)]
    for name, file, content, rows in made:
        yield Case(f"tars/{name}", partial(label, bench, file, content, rows, "stop"))
    kept = draw.choice(len(made), 60, replace=False)
    for name, file, content, rows in (made[int(at)] for at in kept):
        yield Case(f"tars/kept-{name}", partial(label, bench, file, content, rows, "keep"))
    for suffix, bomb in bombs().items():
        yield Case(f"tars/bomb{suffix}", partial(refused, bench, f"x.tar{suffix}", bomb))


def dotted() -> Iterator[tuple[str, bytes, int]]:
    """Names with dots of their own, by every habit: name, tar, and the pairs that a person sees in it."""
    records = small_records()
    for name, stem, parts in (
        ("numbered", "sun.{}", ("jpg", "txt")),
        ("version", "v1.{:04d}", ("jpg", "json", "txt")),
        ("parts", "s{}", ("image.jpg", "caption.txt")),
        ("dates", "IMG.2024.{:02d}", ("jpg", "txt")),
        ("masks", "m.{}", ("jpg", "mask.png", "txt")),
        ("plain", "p{}", ("jpg", "cls", "txt")),
    ):
        members = [
            (
                f"{stem.format(number)}.{part}",
                record.image or b"" if part.endswith("jpg") else b"{}" if part == "json" else b"the sun",
            )
            for number, record in enumerate(records)
            for part in parts
        ]
        yield name, tar_bytes(members), len(records)
        yield f"{name}-sorted", tar_bytes(sorted(members)), len(records)


def tar_of(bench: Workbench, pairs: int) -> bytes:
    """The bench's shard with its first pairs alone, without the zeros at its end."""
    with tempfile.TemporaryDirectory() as folder:
        write_tar(Path(folder) / "x.tar", small_records()[:pairs])
        return (Path(folder) / "x.tar").read_bytes().rstrip(b"\0")


def label(bench: Workbench, file: str, content: bytes, rows: int | None, on_damage: str, folder: Path) -> None:
    """Label a tar; where it is not refused, `rows` come out (`None`: any number)."""
    (folder / file).write_bytes(content)
    with warnings_of(folder / file) as warned:
        got = bench.label(folder / file, folder / "out", on_damage=on_damage)
        if rows is not None:
            expect(got, rows, warned=warned())


def refused(bench: Workbench, file: str, content: Callable[[], bytes], folder: Path) -> None:
    (folder / file).write_bytes(content())
    try:
        bench.label(folder / file, folder / "out")
    except OpenMofiError:
        return
    raise Broken("a bomb was read")


def zeroed(content: bytes, start: int, size: int) -> bytes:
    return content[:start] + bytes(len(content[start : start + size])) + content[start + size :]


def flipped(content: bytes, bit: int) -> bytes:
    changed = bytearray(content)
    changed[bit >> 3] ^= 1 << (bit & 7)
    return bytes(changed)


def compressed(content: bytes) -> dict[str, bytes]:
    return {".gz": gzip.compress(content, 6), ".bz2": bz2.compress(content), ".xz": lzma.compress(content, preset=1)}


def without_end(tar: bytes) -> bytes:
    """A tar without the zeros at its end."""
    return tar[: -(-len(tar.rstrip(b"\0")) // BLOCK) * BLOCK]


def members_of_gzip(content: bytes, size: int) -> bytes:
    """As bgzip writes it: many members, the last one empty."""
    pieces = [content[at : at + size] for at in range(0, len(content), size)]
    return b"".join(map(gzip.compress, [*pieces, b""]))


def bad_checksum(packed: bytes) -> bytes:
    return packed[:-8] + struct.pack("<I", zlib.crc32(packed)) + packed[-4:]


def bombs() -> dict[str, Callable[[], bytes]]:
    """Compressed members of 1 GiB of zeros, and of nothing but zeros behind the end."""

    def tar(pack: Callable[[bytes], bytes]) -> bytes:
        header = tarfile.TarInfo("a.jpg")
        header.size = 1 << 30
        zeros = pack(bytes(1 << 24))
        return pack(header.tobuf()) + zeros * 64 + pack(bytes(1024))

    return {
        ".gz": partial(tar, gzip.compress),
        ".xz": partial(tar, partial(lzma.compress, preset=1)),
        ".bz2": partial(tar, bz2.compress),
    }


def headers(draw: np.random.Generator) -> Iterator[tuple[str, bytes]]:
    """Headers that claim what is not so, before and between sound members."""

    def info(name: str = "b.jpg", size: int = 3, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
        header = tarfile.TarInfo(name)
        header.size, header.type, header.linkname = size, kind, link
        return header

    sound = [("a.txt", b"sun"), ("a.jpg", b"image")]
    for name, header in {
        "huge": info(size=1 << 40),
        "long-name": info("n" * 5000 + ".jpg"),
        "pax-bomb": info(size=1 << 30, kind=b"x"),
        "link": info(kind=tarfile.SYMTYPE, link="/etc/passwd"),
        "hard-link": info(kind=tarfile.LNKTYPE, link="a.jpg"),
        "device": info(kind=tarfile.CHRTYPE),
        "parent": info("../../b.jpg"),
        "absolute": info("/etc/b.jpg"),
        "folder": info("b.jpg/", kind=tarfile.DIRTYPE),
        "newline": info("b\n.jpg"),
        "odd": info("\udcff.jpg"),
        "empty-name": info(".jpg"),
        "dots": info("....jpg"),
        "sparse": info(kind=tarfile.GNUTYPE_SPARSE),
    }.items():
        out = header.tobuf(tarfile.GNU_FORMAT, errors="surrogateescape")
        yield name, tar_bytes(sound)[:2048] + out + b"abc".ljust(BLOCK, b"\0") + tar_bytes([("c.jpg", b"x")])
    for at in range(30):
        header = bytearray(info().tobuf())
        place = int(draw.integers(0, BLOCK))
        header[place] = int(draw.integers(0, 256))
        if at % 2:
            header[148:156] = b" " * 8
            header[148:156] = f"{sum(header):06o}\0 ".encode()
        yield f"byte-{place}-{at}", tar_bytes(sound)[:2048] + bytes(header) + b"abc".ljust(BLOCK, b"\0") + bytes(1024)
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for key, value in (("size", "99999999999999"), ("size", "-5"), ("path", "a\0b"), ("path", "x" * 100_000)):
            header = info(f"{key}.jpg")
            header.pax_headers = {key: value}
            archive.addfile(header, io.BytesIO(b"abc"))
    yield "pax", out.getvalue()
