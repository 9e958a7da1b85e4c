from __future__ import annotations

import gzip
import io
import json
import logging
import os
import tarfile
from pathlib import Path

import fsspec
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tars import pairs_and_error, read, read_bytes, tar_bytes

from openmofi.errors import OpenMofiError
from openmofi.pairs import Record, read_pairs, write_tar
from openmofi.schema import Pair, PairStatus
from openmofi.storage import Shard

THREE = [
    ("a.jpg", b"A" * 700),
    ("a.txt", b"a cat"),
    ("b.png", b"B" * 700),
    ("b.txt", b"a dog"),
    ("c.webp", b"C" * 700),
    ("c.txt", b"a fox"),
]


def brief(pairs: list[Pair]) -> list[tuple[str, str]]:
    return [(pair.key, pair.status.name) for pair in pairs]


def test_img2dataset_layout_as_written_by_us(tmp_path):
    records = [
        Record("000000001", b"\xff\xd8\xff1", "a cat", {"url": "http://x/1"}),
        Record("dir/000000002", b"\x89PNG\r\n\x1a\n2", "", {"width": 3}),
        Record("000000003", b"GIF89a", "grün"),
        Record("000000004", None, None),
        Record("000000005", b"RIFF0000WEBP", "w", None),
    ]
    assert write_tar(tmp_path / "a.tar", records) == 5
    write_tar(tmp_path / "b.tar", records)
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()
    with tarfile.open(tmp_path / "a.tar") as archive:
        assert archive.getnames()[:3] == ["000000001.jpg", "000000001.json", "000000001.txt"]
        assert {(m.mtime, m.uid, m.gid, m.uname) for m in archive} == {(0, 0, 0, "")}
    pairs = list(read_pairs(Shard(str(tmp_path / "a.tar"), "a")))
    assert pairs == [
        Pair("000000001", b"\xff\xd8\xff1", "a cat", PairStatus.OK, "http://x/1"),
        Pair("dir/000000002", b"\x89PNG\r\n\x1a\n2", "", PairStatus.TEXT_EMPTY),
        Pair("000000003", b"GIF89a", "grün"),
        Pair("000000004", None, "", PairStatus.IMAGE_MISSING),
        Pair("000000005", b"RIFF0000WEBP", "w"),
    ]


@pytest.mark.parametrize("keys", [["a.b"], ["/a"], [""], ["x/"], [".a"], ["a", "a"]])
def test_the_writer_refuses_keys_that_would_be_read_otherwise(tmp_path, keys):
    with pytest.raises(ValueError, match="key"):
        write_tar(tmp_path / "a.tar", [Record(key, b"x", "x") for key in keys])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("extension", ["jpg", "JPG", "jpeg", "Png", "webp", "gif", "bmp", "tif", "TIFF", "avif"])
def test_extensions_in_any_case(tmp_path, extension):
    assert read(tmp_path, [(f"k.{extension}", b"x"), ("k.TXT", b"t")]) == [Pair("k", b"x", "t")]


def test_what_can_be_wrong_with_a_pair_has_a_status(tmp_path):
    pairs = read(
        tmp_path,
        [
            ("no_text.jpg", b"x"),
            ("no_image.txt", b"t"),
            ("only_json.json", b'{"caption": "t"}'),
            ("empty.jpg", b"x"),
            ("empty.txt", b""),
            ("blank.jpg", b"x"),
            ("blank.txt", b" \n\t"),
            ("latin.jpg", b"x"),
            ("latin.txt", b"caf\xe9"),
            ("long.jpg", b"x"),
            ("long.txt", b"y" * 1_000_000),
            ("large.jpg", b"x" * 2001),
            ("large.txt", b"t"),
            ("zero.jpg", b""),
            ("zero.txt", b"t"),
        ],
        max_image_bytes=2000,
    )
    assert brief(pairs) == [
        ("no_text", "TEXT_MISSING"),
        ("no_image", "IMAGE_MISSING"),
        ("only_json", "IMAGE_MISSING"),
        ("empty", "TEXT_EMPTY"),
        ("blank", "TEXT_EMPTY"),
        ("latin", "TEXT_INVALID"),
        ("long", "TEXT_TOO_LONG"),
        ("large", "IMAGE_TOO_LARGE"),
        ("zero", "OK"),
    ]
    by_key = {pair.key: pair for pair in pairs}
    assert by_key["latin"].text == "caf\ufffd"
    assert by_key["long"].text == "y" * 10_000
    assert by_key["large"].image is None
    assert by_key["zero"].image == b""


def test_captions_from_json_where_there_is_no_txt(tmp_path):
    about = {"caption": "from json", "url": "http://x"}
    pairs = read(
        tmp_path,
        [
            ("a.jpg", b"x"),
            ("a.json", json.dumps(about).encode()),
            ("b.jpg", b"x"),
            ("b.json", json.dumps(about).encode()),
            ("b.txt", b"from txt"),
            ("c.jpg", b"x"),
            ("c.json", b'{"caption": "\\ud800 half"}'),
            ("d.jpg", b"x"),
            ("d.json", b"{broken"),
            ("e.jpg", b"x"),
            ("e.json", b"[" * 100_000),
            ("f.jpg", b"x"),
            ("f.json", b'{"caption": null, "url": 7}'),
            ("g.jpg", b"x"),
            ("g.json", b'{"caption": "\xe9"}'),
        ],
    )
    assert [(pair.text, pair.url, pair.status.name) for pair in pairs] == [
        ("from json", "http://x", "OK"),
        ("from txt", "http://x", "OK"),
        ("\ufffd half", "", "TEXT_INVALID"),
        ("", "", "TEXT_MISSING"),
        ("", "", "TEXT_MISSING"),
        ("", "7", "TEXT_MISSING"),
        ("\ufffd", "", "TEXT_INVALID"),
    ]


def test_a_source_or_a_collection_says_where_a_pair_comes_from_where_no_address_does(tmp_path):
    abouts = [
        {"source": "s", "collection": "c", "url": "u"},
        {"source": "s", "collection": "c"},
        {"collection": "c"},
        {"source": "", "url": None, "collection": "c"},
        {"source": ["s"]},
        {},
    ]
    pairs = read(
        tmp_path,
        [
            member
            for number, about in enumerate(abouts)
            for member in ((f"{number}.jpg", b"x"), (f"{number}.json", json.dumps({"caption": "t", **about}).encode()))
        ],
    )
    assert [pair.url for pair in pairs] == ["u", "s", "c", "c", "", ""]


def test_duplicate_keys_keep_their_rows(tmp_path):
    pairs = read(
        tmp_path,
        [
            ("a.jpg", b"1"),
            ("a.txt", b"one"),
            ("a.jpg", b"2"),
            ("a.txt", b"two"),
            ("b.jpg", b"3"),
            ("b.txt", b"three"),
            ("a.png", b"4"),
            ("a.txt", b"four"),
        ],
    )
    assert [(p.key, p.image, p.text, p.status.name) for p in pairs] == [
        ("a", b"1", "one", "OK"),
        ("a", b"2", "two", "DUPLICATE_KEY"),
        ("b", b"3", "three", "OK"),
        ("a", b"4", "four", "DUPLICATE_KEY"),
    ]


def test_other_components_and_several_images_of_a_key(tmp_path):
    pairs = read(
        tmp_path,
        [
            ("a.depth.png", b"D"),
            ("a.jpg", b"J"),
            ("a.png", b"P"),
            ("a.txt", b"t"),
            ("a.cls", b"7"),
            ("README", b"x"),
            (".hidden.jpg", b"x"),
            ("__MACOSX/._a.jpg", b"x"),
            ("b.cls", b"1"),
        ],
    )
    assert pairs == [Pair("a", b"J", "t")]


def test_names_with_dots_of_their_own_are_not_lost(tmp_path):
    members = [(f"IMG.2024.{n:04d}.{e}", f"{n}".encode()) for n in range(400) for e in ("jpg", "txt")]
    pairs = read(tmp_path, members)
    assert pairs == [Pair(f"IMG.2024.{n:04d}", f"{n}".encode(), f"{n}") for n in range(400)]


def test_names_that_escape_are_data_and_nothing_is_written(tmp_path):
    inside = tmp_path / "a/b/c"
    inside.mkdir(parents=True)
    before = set(tmp_path.rglob("*"))
    names = ["../../evil", "/tmp/openmofi-evil", "a/../../evil2", "..\\evil3", "C:\\evil4"]
    pairs = read(inside, [member for name in names for member in ((f"{name}.jpg", b"x"), (f"{name}.txt", b"t"))])
    assert pairs == [Pair(name, b"x", "t") for name in names]
    assert set(tmp_path.rglob("*")) - before == {inside / "x.tar"}
    assert not Path("/tmp/openmofi-evil.jpg").exists()


def test_links_and_devices_are_never_followed(tmp_path):
    (tmp_path / "secret.txt").write_text("secret")
    members = [("a.txt", b"t")]
    for number, kind in enumerate([tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE]):
        link = tarfile.TarInfo(f"k{number}.txt")
        link.type, link.linkname = kind, str(tmp_path / "secret.txt")
        members += [(f"k{number}.jpg", b"x"), (link.name, link)]
    image = tarfile.TarInfo("z.jpg")
    image.type, image.linkname = tarfile.SYMTYPE, "/etc/passwd"
    pairs = read(tmp_path, [*members, ("z.jpg", image), ("z.txt", b"t")])
    assert brief(pairs) == [
        ("a", "IMAGE_MISSING"),
        *((f"k{n}", "TEXT_MISSING") for n in range(4)),
        ("z", "IMAGE_MISSING"),
    ]
    assert not any("secret" in pair.text for pair in pairs)


def test_odd_strings_go_into_arrow(tmp_path):
    pairs = read(
        tmp_path,
        [
            (os.fsdecode(b"caf\xe9.jpg"), b"x"),
            (os.fsdecode(b"caf\xe9.txt"), b"a\0b"),
            (os.fsdecode(b"caf\xe8.jpg"), b"x"),
            (os.fsdecode(b"caf\xe8.txt"), b"\xef\xbb\xbfbom"),
        ],
    )
    assert [(pair.key, pair.text) for pair in pairs] == [("caf\\xe9", "a\0b"), ("caf\\xe8", "bom")]
    assert pa.array([pair.key + pair.text + pair.url for pair in pairs]).to_pylist()


@pytest.mark.parametrize(
    ("name", "mode"),
    [("x.tar.gz", "w:gz"), ("x.tgz", "w:gz"), ("x.tar.bz2", "w:bz2"), ("x.tar.xz", "w:xz"), ("x.tar", "w:gz")],
)
def test_compressed_tars(tmp_path, name, mode):
    assert brief(read_bytes(tmp_path, tar_bytes(THREE, mode), name)) == [("a", "OK"), ("b", "OK"), ("c", "OK")]


def test_remote_tars(tmp_path):
    with fsspec.open("memory://pairs/x.tar", "wb") as handle:
        handle.write(tar_bytes(THREE))
    assert brief(list(read_pairs(Shard("memory://pairs/x.tar", "x")))) == [("a", "OK"), ("b", "OK"), ("c", "OK")]


def end_of_members(whole: bytes) -> int:
    with tarfile.open(fileobj=io.BytesIO(whole)) as archive:
        last = archive.getmembers()[-1]
        return last.offset_data + -(-last.size // 512) * 512


def test_cut_at_any_place_the_pairs_before_come_and_then_one_sentence(tmp_path, caplog):
    whole = tar_bytes(THREE)
    end = end_of_members(whole)
    full = read_bytes(tmp_path, whole)
    for cut in range(0, end + 1, 128):
        before, error = pairs_and_error(tmp_path, whole[:cut])
        assert f"truncated or damaged after {len(before)} pairs" in error.message
        assert "--on-damage keep" in error.hint
        assert before == full[: len(before)]
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            kept = read_bytes(tmp_path, whole[:cut], on_damage="keep")
        assert "truncated or damaged" in caplog.text
        assert kept[: len(before)] == before
        assert len(before) <= len(kept) <= len(before) + 1
        whole_members = sum(1 for pair in kept if pair.status is PairStatus.OK)
        assert all(pair in full for pair in kept if pair.status is PairStatus.OK)
        assert whole_members >= cut // 3072
    # From the first block of the end marker on, nothing is missing.
    assert read_bytes(tmp_path, whole[: end + 512]) == full


def test_a_cut_image_is_kept_as_broken(tmp_path):
    whole = tar_bytes(THREE)
    assert brief(read_bytes(tmp_path, whole[: 512 + 300], on_damage="keep")) == [("a", "IMAGE_BROKEN")]


def test_a_cut_gzip_is_found_too(tmp_path):
    packed = gzip.compress(tar_bytes([(f"{n}.jpg", os.urandom(3000)) for n in range(40)]))
    for part in (0.02, 0.5, 0.97):
        with pytest.raises(OpenMofiError, match="truncated or damaged"):
            read_bytes(tmp_path, packed[: int(len(packed) * part)], "x.tar.gz")


def test_a_damaged_header_in_the_middle_is_no_silent_end(tmp_path):
    whole = bytearray(tar_bytes(THREE))
    position = bytes(whole).index(b"b.png")
    whole[position] ^= 0xFF
    with pytest.raises(OpenMofiError, match=r"after [01] pairs: bad checksum \(at byte 2,560\)"):
        read_bytes(tmp_path, bytes(whole))
    assert brief(read_bytes(tmp_path, bytes(whole), on_damage="keep")) == [
        ("a", "OK"),
        ("b", "IMAGE_MISSING"),
        ("c", "OK"),
    ]


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.GNUTYPE_SPARSE, tarfile.REGTYPE])
def test_headers_that_claim_petabytes_are_damage_at_once(tmp_path, kind):
    header = tarfile.TarInfo("a.jpg")
    header.type, header.size = kind, 1 << 60
    bomb = header.tobuf(tarfile.GNU_FORMAT) + b"\0" * 4096
    with pytest.raises(OpenMofiError, match="after 0 pairs: a header claims 1152921504606846976 bytes"):
        read_bytes(tmp_path, bomb)


def test_a_pax_header_that_claims_petabytes_is_damage_at_once(tmp_path):
    record = b"%d size=%d\n" % (len(b"00 size=%d\n" % (1 << 60)), 1 << 60)
    extended, member = tarfile.TarInfo("pax"), tarfile.TarInfo("a.jpg")
    extended.type, extended.size = tarfile.XHDTYPE, len(record)
    bomb = extended.tobuf() + record.ljust(512, b"\0") + member.tobuf() + b"\0" * 4096
    with pytest.raises(OpenMofiError, match="after 0 pairs: a header claims 1152921504606846976 bytes"):
        read_bytes(tmp_path, bomb)


@pytest.mark.parametrize(
    "content", [b"", b"not a tar", b"\0" * 100, os.urandom(5000)], ids=["none", "text", "zeros", "noise"]
)
def test_what_is_no_tar_is_one_sentence(tmp_path, content):
    with pytest.raises(OpenMofiError, match=r"x\.tar is truncated or damaged after 0 pairs"):
        read_bytes(tmp_path, content)


def test_an_empty_tar_has_no_pairs(tmp_path):
    assert read(tmp_path, []) == []


def test_a_missing_file_is_one_sentence(tmp_path):
    for name in ("x.tar", "x.parquet", "x.csv", "nothing"):
        with pytest.raises(OpenMofiError, match=name):
            list(read_pairs(Shard(str(tmp_path / name), "x")))
    (tmp_path / "folder.tar").mkdir()
    with pytest.raises(OpenMofiError, match="cannot be read"):
        list(read_pairs(Shard(str(tmp_path / "folder.tar"), "x")))


KEYS = st.sampled_from(["a", "b", "c", "d/a", "é", "x.v1", "x.v2", "../up", "A"])
EXTENSIONS = st.sampled_from(["jpg", "JPG", "png", "txt", "json", "cls", "mask.png", "TXT"])
CONTENTS = (
    st.binary(max_size=40)
    | st.just(b'{"caption": "c", "url": "u"}')
    | st.just("ünï".encode())
    | st.integers(0, 60).map(lambda n: b"w" * n)
)
MEMBERS = st.lists(st.tuples(KEYS, EXTENSIONS, CONTENTS).map(lambda t: (f"{t[0]}.{t[1]}", t[2])), max_size=25)


def oracle(members: list[tuple[str, bytes]]) -> list[tuple[str, bool]]:
    """Keys and whether they are duplicates, worked out on the whole list instead of a stream."""
    runs: list[tuple[str, list[str]]] = []
    for name, _ in members:
        folder, _, base = name.rpartition("/")
        stem, extension = base.split(".", 1)
        key, extension = (f"{folder}/{stem}" if folder else stem), extension.lower()
        if not runs or runs[-1][0] != key or extension in runs[-1][1]:
            runs.append((key, []))
        if extension.split(".")[-1] in ("jpg", "png", "txt", "json"):
            runs[-1][1].append(extension)
    keys = [f"{key}.{stem}".rstrip(".") for key, run in runs for stem in stems_of_pairs(run)]
    return [(key, key in keys[:place]) for place, key in enumerate(keys)]


def stems_of_pairs(extensions: list[str]) -> list[str]:
    """What names the pairs of a run of extensions, beside its key."""
    stems = [extension.rpartition(".")[0] for extension in extensions]
    lasts = [extension.split(".")[-1] for extension in extensions]
    of = {stem: {last for other, last in zip(stems, lasts, strict=True) if other == stem} for stem in stems}
    text = "txt" if "txt" in lasts else "json"
    whole = [stem for stem in of if text in of[stem] and of[stem] & {"jpg", "png"}]
    if not whole and ("" in of or (text in lasts and {"jpg", "png"} & set(lasts))):
        return [""] if extensions else []
    return list(
        dict.fromkeys(
            max((each for each in whole if f"{stem}.".startswith(f"{each}." if each else "")), key=len, default=stem)
            for stem in stems
        )
    )


@settings(max_examples=100, deadline=None)
@example([("a.mask.png", b""), ("a.txt", b"x"), ("a.TXT", b"y")])
@given(MEMBERS)
def test_rows_and_keys_are_as_the_oracle_says(tmp_path_factory, members):
    pairs = read(tmp_path_factory.getbasetemp(), members, max_text_chars=30, max_image_bytes=35)
    assert [(pair.key, pair.status is PairStatus.DUPLICATE_KEY) for pair in pairs] == oracle(members)
    for pair in pairs:
        assert len(pair.text) <= 30
        assert pair.image is None or len(pair.image) <= 35
        if pair.status is PairStatus.OK:
            assert pair.image is not None
            assert pair.text.strip()
    assert pa.array([pair.text for pair in pairs], pa.string()).to_pylist() == [pair.text for pair in pairs]


@settings(max_examples=120, deadline=None)
@given(
    MEMBERS,
    st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), max_size=6),
    st.integers(0, 1 << 16),
    st.sampled_from(["stop", "keep"]),
    st.sampled_from(["w", "w:gz", "w:xz"]),
)
def test_any_damage_gives_pairs_and_at_most_one_sentence(tmp_path_factory, members, flips, cut, mode, packing):
    content = bytearray(tar_bytes(members, packing))
    for position, value in flips:
        content[position % len(content)] = value
    content = content[: len(content) - cut % len(content)] if cut % 2 else content
    pairs, error = pairs_and_error(tmp_path_factory.getbasetemp(), bytes(content), on_damage=mode)
    assert error is None or (mode == "stop" and error.hint)
    assert len(pairs) <= len(members) + 1
    assert len(pa.array([pair.key + pair.text for pair in pairs], pa.string())) == len(pairs)
