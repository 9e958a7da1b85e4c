"""Unpacking is linear, bounded and refuses bombs."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import random
import subprocess
import sys
import zlib

import pytest
from tars import read_bytes, tar_bytes

from openmofi.errors import OpenMofiError
from openmofi.pairs.formats import streams
from openmofi.pairs.formats.streams import LOOK_BACK, ForwardFile, open_stream
from openmofi.pairs.read_settings import Damage
from terminal import PATIENCE


def chunks_of(content, sizes):
    at = 0
    while at < len(content):
        size = next(sizes)
        yield content[at : at + size]
        at += size


def test_a_forward_file_reads_what_a_file_reads():
    draw = random.Random(5)
    content = draw.randbytes(3_000_000)
    for _ in range(10):
        file = ForwardFile(chunks_of(content, iter(lambda: draw.randrange(1, 300_000), 0)))
        position = furthest = 0
        while position < len(content) + 5000:
            step = draw.choice([0, 1, 511, 70_000, 400_000, -LOOK_BACK, -512])
            position = max(0, furthest - LOOK_BACK, position + step)
            file.seek(position)
            size = draw.choice([0, 1, 512, 5000, 500_000])
            assert file.read(size) == content[position : position + size]
            position = file.tell()
            furthest = max(furthest, position)
            assert len(file._buffer) < 500_000 + LOOK_BACK + 600_000
    with pytest.raises(ValueError, match="gone by"):
        file.seek(0)


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize(
    "content", [b"", b"short", bytes(3_000_000), os.urandom(900_000)], ids=["none", "short", "zeros", "noise"]
)
def test_all_bytes_come_out_also_of_several_streams(tmp_path, pack, content):
    packed = pack(content) + bytes(8) + pack(b"end")
    for cut in (len(packed), len(packed) - 1, len(pack(content)) - 1):
        (tmp_path / "x").write_bytes(packed[:cut])
        with open(tmp_path / "x", "rb") as file:
            stream = open_stream(file, 200)
            if cut == len(packed):
                assert stream.read(len(content) + 99) == content + b"end"
                continue
            with pytest.raises(Damage, match="ends in the middle"):
                stream.read(len(content) + 99)


def bomb(pack, size):
    """A tar of one member of zeros, packed."""
    header = tar_bytes([("a.jpg", b"")])[:512]
    return pack(header + bytes(size))


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_bombs_are_refused_by_their_ratio(tmp_path, pack, monkeypatch):
    monkeypatch.setattr(streams, "_ALLOWANCE", 1 << 20)
    content = bomb(pack, 3 << 20)
    with pytest.raises(OpenMofiError, match="unpack to more than 200 times as many") as error:
        read_bytes(tmp_path, content, "x.tar.gz")
    assert "raise --max-unpack-ratio, or use --on-damage keep" in error.value.hint
    assert len(read_bytes(tmp_path, content, "x.tar.gz", max_unpack_ratio=1 << 30)) == 1
    assert len(read_bytes(tmp_path, bomb(pack, 1 << 19), "x.tar.gz")) == 1


MEASURE = """
import sys
from openmofi.pairs import read_pairs, ReadSettings
from openmofi.storage import Shard
# Not getrusage's: that of a process that was forked begins at its parent's.
peak = lambda: int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0])
before = peak()
rows = sum(1 for _ in read_pairs(Shard(sys.argv[1], "x"), ReadSettings(max_unpack_ratio=1 << 30)))
print(rows, peak() - before)
"""


def test_unpacking_a_lot_takes_little_memory(tmp_path):
    # 256 MiB in 256 KiB: a reader that joins what it has unpacked would take minutes, and hundreds of MiB.
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    with open(tmp_path / "x.tar.gz", "wb") as file:
        file.write(packer.compress(tar_bytes([("a.jpg", b"1"), ("a.txt", b"t")])[:2048]))
        for _ in range(256):
            file.write(packer.compress(bytes(1 << 20)))
        file.write(packer.flush())
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path / "x.tar.gz")],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    rows, kib = map(int, done.stdout.split())
    assert rows == 1
    assert kib < 16_384
