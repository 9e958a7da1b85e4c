"""A tar is read to the end of its file: no zeros, seams or bytes behind the end lose a row without a word."""

from __future__ import annotations

import bz2
import gzip
import io
import logging
import lzma
import os
import random
import tarfile

import pytest
from tars import pairs_and_error, read_bytes, tar_bytes

from openmofi.errors import OpenMofiError
from openmofi.pairs import Record, read_pairs, write_tar
from openmofi.pairs.formats.tar import locate_images
from openmofi.schema import PairStatus
from openmofi.storage import Shard


def members(rows, largest, *, draw, with_json=True):
    """Rows of random non-zero images."""
    result = []
    for row in range(rows):
        result.append((f"{row:04d}.jpg", bytes(draw.choices(range(1, 256), k=draw.randrange(50, largest)))))
        result += [(f"{row:04d}.json", b'{"url": "u"}')] * with_json
        result.append((f"{row:04d}.txt", b"a cat"))
    return result


def shorter_tars(rows):
    """What a regular tar of the first members is, but for zeros behind it."""
    return {tar_bytes(rows[:count]).rstrip(b"\0") for count in range(len(rows))}


@pytest.mark.parametrize("size", [512, 4096, 8192])
@pytest.mark.parametrize("largest", [400, 6000])
@pytest.mark.parametrize("with_json", [True, False])
def test_zeros_at_any_place_lose_no_row_without_a_word(tmp_path, size, largest, with_json):
    rows = members(14, largest, draw=random.Random(largest), with_json=with_json)
    whole, regular = tar_bytes(rows), shorter_tars(rows)
    full, refused = read_bytes(tmp_path, whole), 0
    for start in range(0, len(whole), min(size, 4096)):
        damaged = whole[:start] + bytes(min(size, len(whole) - start)) + whole[start + size :]
        if damaged.rstrip(b"\0") in regular:
            continue  # byte for byte a tar of fewer members: nobody could tell
        pairs, error = pairs_and_error(tmp_path, damaged)
        refused += error is not None
        if error is None:
            assert [pair.key for pair in pairs] == [pair.key for pair in full]
            assert damaged == whole or size == 512 or pairs != full or not whole[start : start + size].strip(b"\0")
        else:
            assert pairs[:-1] == [pair for pair in full if pair in pairs[:-1]]
            assert "byte" in error.message
            # What is behind the damage is read where that is asked for.
            kept = read_bytes(tmp_path, damaged, on_damage="keep")
            lost = {pair.key for pair in full} - {pair.key for pair in kept}
            assert len(lost) <= (size // 1024 + 1)
            assert kept[-1].key == full[-1].key or start > len(whole) - 16384
    assert refused


def test_a_page_where_a_header_should_be_names_the_offset(tmp_path):
    rows = [(f"{row}.{extension}", b"x" * 100) for row in range(8) for extension in ("jpg", "txt")]
    whole = tar_bytes(rows)
    damaged = whole[:4096] + bytes(4096) + whole[8192:]
    with pytest.raises(OpenMofiError, match=r"after 1 pairs: 4,096 bytes of zeros from byte 4,096 on, and "):
        read_bytes(tmp_path, damaged)
    assert [pair.key for pair in read_bytes(tmp_path, damaged, on_damage="keep")] == ["0", "1", "4", "5", "6", "7"]


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_tars_one_behind_another_are_read_as_one(tmp_path, pack, caplog):
    draw = random.Random(3)
    parts = [
        tar_bytes([(f"{part}-{name}", content) for name, content in members(3, 2000, draw=draw)]) for part in range(5)
    ]
    with caplog.at_level(logging.WARNING):
        together = read_bytes(tmp_path, b"".join(map(pack, parts)))
        assert read_bytes(tmp_path, pack(b"".join(parts))) == together
    assert together == [pair for part in parts for pair in read_bytes(tmp_path, part)]
    assert len(together) == 15
    assert "is 5 tars one behind another" in caplog.text
    (tmp_path / "plain.tar").write_bytes(b"".join(parts))
    assert [key for key, _, _ in locate_images(str(tmp_path / "plain.tar"))] == [pair.key for pair in together]


def test_a_seam_that_may_be_lost_pages_is_refused_and_read_where_asked(tmp_path):
    # The first tar's members end at byte 12,288 and its padding at 20,480: two pages.
    first = tar_bytes([(f"{row}.jpg", b"x" * 1024) for row in range(8)])
    assert len(first.rstrip(b"\0")) == len(first) - 8192 == 12288
    both = first + tar_bytes([("z.jpg", b"x")])
    with pytest.raises(OpenMofiError, match="a part may be lost") as error:
        read_bytes(tmp_path, both)
    assert "--on-damage keep" in error.value.hint
    assert len(read_bytes(tmp_path, both, on_damage="keep")) == 9


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize("behind", [b"x", b"junk" * 400, bytes(512) + b"<html>"])
def test_bytes_behind_the_end_are_no_silence(tmp_path, pack, behind, caplog):
    rows = members(2, 300, draw=random.Random(1))
    full = read_bytes(tmp_path, pack(tar_bytes(rows)))
    for content in (pack(tar_bytes(rows) + behind), pack(tar_bytes(rows)) + behind):
        pairs, error = pairs_and_error(tmp_path, content)
        assert pairs == full[: len(pairs)]
        assert error is not None
        with caplog.at_level(logging.WARNING):
            assert read_bytes(tmp_path, content, on_damage="keep") == full
        assert "damaged" in caplog.text


def test_zeros_behind_the_end_are_padding(tmp_path, caplog):
    rows = members(2, 300, draw=random.Random(1))
    full = read_bytes(tmp_path, tar_bytes(rows))
    with caplog.at_level(logging.WARNING):
        assert read_bytes(tmp_path, tar_bytes(rows) + bytes(1000)) == full
        assert read_bytes(tmp_path, gzip.compress(tar_bytes(rows)) + bytes(5000)) == full
        assert not caplog.text
        assert read_bytes(tmp_path, tar_bytes(rows) + bytes(1_000_000)) == full
    assert "bytes of zeros behind its last member" in caplog.text


def test_a_last_member_that_ends_in_zeros_is_none(tmp_path):
    whole = tar_bytes([("a.jpg", b"x" * 6000), ("a.txt", b"cat"), ("b.jpg", b"y" * 9000), ("b.txt", b"dog")])
    damaged = whole[:12288].ljust(len(whole), b"\0")
    with pytest.raises(OpenMofiError, match=r"its last member, b\.jpg, ends in zeros before byte 17,408"):
        read_bytes(tmp_path, damaged)
    # Of other kinds nobody knows how they end.
    raw = tar_bytes([("a.jpg", b"x"), ("a.txt", b"cat"), ("a.npy", b"1" + bytes(9000))])
    assert len(read_bytes(tmp_path, raw)) == 1


def test_a_wrong_checksum_of_gzip_is_damage(tmp_path):
    rows = [(f"{row}.jpg", os.urandom(150_000)) for row in range(6)]
    packed = bytearray(gzip.compress(tar_bytes(rows)))
    packed[-7] ^= 1
    pairs, error = pairs_and_error(tmp_path, bytes(packed), "x.tar.gz")
    assert pairs
    assert "incorrect data check" in error.message


def test_streams_of_a_few_bytes_each(tmp_path):
    # As bgzip writes them: every block is a gzip file of its own, and the last one is empty.
    whole = tar_bytes(members(3, 900, draw=random.Random(2)))
    packed = b"".join(gzip.compress(whole[at : at + 700]) for at in range(0, len(whole), 700)) + gzip.compress(b"")
    assert read_bytes(tmp_path, packed, "x.tar.gz") == read_bytes(tmp_path, whole)


def test_large_members_are_passed_over_and_looked_back_at(tmp_path):
    rows = [
        ("a.npy", bytes(700_000)),
        ("a.jpg", b"x" * 600_000),
        ("a.txt", b"t"),
        ("b.npy", b"1" * 1_300_000),
        ("b.jpg", b"y" * 300_000),
        ("b.txt", b"u"),
    ]
    whole = tar_bytes(rows)
    for content in (whole, gzip.compress(whole), whole + whole):
        pairs = read_bytes(tmp_path, content)
        assert [(pair.key, len(pair.image), pair.text) for pair in pairs[:2]] == [
            ("a", 600_000, "t"),
            ("b", 300_000, "u"),
        ]
    assert [pair.status for pair in pairs[2:]] == [PairStatus.DUPLICATE_KEY] * 2


def test_a_name_is_never_given_to_the_member_behind_damage(tmp_path):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name in ("a" * 150, "b", "c"):
            header = tarfile.TarInfo(f"{name}.jpg")
            header.size = 600
            archive.addfile(header, io.BytesIO(b"x" * 600))
    damaged = bytearray(out.getvalue())
    damaged[1024:1536] = bytes(512)  # the header behind the long name
    kept = read_bytes(tmp_path, bytes(damaged), on_damage="keep")
    assert [pair.key for pair in kept] == ["b", "c"]


def test_a_text_of_zeros_is_empty(tmp_path):
    pairs = read_bytes(tmp_path, tar_bytes([("a.jpg", b"x"), ("a.txt", bytes(9)), ("b.jpg", b"x"), ("b.txt", b"x\0")]))
    assert [pair.status for pair in pairs] == [PairStatus.TEXT_EMPTY, PairStatus.OK]


def test_what_we_write_ends_as_others_do(tmp_path):
    write_tar(tmp_path / "a.tar", [Record("a", b"x", "t")])
    whole = (tmp_path / "a.tar").read_bytes()
    assert len(whole) % tarfile.RECORDSIZE == 0
    (tmp_path / "b.tar").write_bytes(whole * 2)
    assert [pair.status for pair in read_pairs(Shard(str(tmp_path / "b.tar"), "b"))] == [
        PairStatus.OK,
        PairStatus.DUPLICATE_KEY,
    ]
