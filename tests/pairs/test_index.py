"""The index of a shard leads to the very bytes that `read_pairs` gives."""

import gzip
import io
import os
import tarfile

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openmofi.errors import OpenMofiError
from openmofi.pairs import ReadSettings, index, read_pairs
from openmofi.pairs.index import ImageBytes, copy_of_images, index_images, places_of, writing_index
from openmofi.schema import PairStatus
from openmofi.storage import Shard, atomic, write_table


def by_reading(shard):
    return {
        pair.key: pair.image
        for pair in read_pairs(shard, ReadSettings(on_damage="keep"))
        if pair.image is not None and pair.status != PairStatus.DUPLICATE_KEY
    }


def by_index(shard, cache, fetch=None, labelled=""):
    table = index_images(shard, cache, labelled=labelled)
    found = (fetch or ImageBytes()).fetch(
        shard, table["file"].to_pylist(), table["offset"].to_numpy(), table["size"].to_numpy()
    )
    return dict(zip(table["key"].to_pylist(), found, strict=True))


def tar_of(members, form=tarfile.GNU_FORMAT):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for name, content in members:
            header = tarfile.TarInfo(name)
            if content is None:
                header.type, header.linkname = tarfile.SYMTYPE, "elsewhere"
                archive.addfile(header)
            else:
                header.size = len(content)
                archive.addfile(header, io.BytesIO(content))
    return out.getvalue()


NAMES = st.builds(
    "{}{}{}".format,
    st.sampled_from(["", "a/", "../", "/", "d.e/", "x" * 120 + "/"]),
    st.sampled_from(["1", "2", "ü", "IMG.2024", ".hidden", "\udcff"]),
    st.sampled_from([".jpg", ".PNG", ".txt", ".json", ".cls", ".mask.png", ".webp", ""]),
)
MEMBERS = st.lists(
    st.tuples(NAMES, st.none() | st.binary(max_size=700) | st.just(b'{"caption": "x", "url": "u"}')), max_size=14
)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(MEMBERS, st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]), st.none() | st.floats(0, 1))
def test_the_index_leads_to_the_bytes_that_reading_gives(tmp_path, members, form, cut):
    path = tmp_path / "x.tar"
    content = tar_of(members, form)
    path.write_bytes(content if cut is None else content[: int(cut * len(content))])
    shard = Shard(str(path), "x")
    try:
        expected = by_reading(shard)
    except OpenMofiError:
        return
    assert by_index(shard, tmp_path / os.urandom(6).hex()) == expected
    assert by_index(shard, tmp_path / os.urandom(6).hex(), labelled=read_with_index(shard, tmp_path)) == expected


def read_with_index(shard, folder):
    cache, read = str(folder / os.urandom(6).hex()), ReadSettings(on_damage="keep")
    with writing_index(shard, cache, read) as add:
        for pair in read_pairs(shard, read):
            add([pair])
    return cache


def test_an_index_that_was_written_while_labelling_spares_the_scan(tmp_path, monkeypatch):
    path = tmp_path / "x.tar"
    path.write_bytes(tar_of([("a.jpg", b"11"), ("b.jpg", b"22"), ("a.txt", b"t")]))
    cache = read_with_index(Shard(str(path), "x"), tmp_path)
    monkeypatch.setattr(index, "locate_images", None)
    assert by_index(Shard(str(path), "x"), tmp_path / "new", labelled=cache) == {"a": b"11", "b": b"22"}
    path.write_bytes(tar_of([("b.jpg", b"33"), ("a.jpg", b"44")]))
    monkeypatch.undo()
    # Of a changed shard it is not used.
    assert by_index(Shard(str(path), "x"), tmp_path / "new", labelled=cache) == {"b": b"33", "a": b"44"}
    packed = Shard(str(tmp_path / "y.tar.gz"), "y")
    (tmp_path / "y.tar.gz").write_bytes(gzip.compress(path.read_bytes()))
    assert not list((tmp_path / read_with_index(packed, tmp_path)).rglob("*.parquet"))


@pytest.mark.parametrize(
    "wrong",
    [{"file": b"/etc/hostname"}, {"file": b"http://127.0.0.1:9/x"}, {"offset": -1}, {"size": -1}, {"size": 2**45}]
    + [{"offset": 2**62}, {"size": None}],
)
def test_a_written_index_leads_nowhere_but_into_its_shard(tmp_path, wrong):
    """Which cache has it may be what a dataset of others notes."""
    path = tmp_path / "x.tar"
    path.write_bytes(tar_of([("a.jpg", b"11")]))
    shard = Shard(str(path), "x")
    row = {"key": "a", "file": b"", "offset": 512, "size": 2} | wrong
    written = index.index_path(shard, str(tmp_path / "theirs"), ReadSettings())
    write_table(written, pa.Table.from_pylist([row], index.INDEX))
    assert by_index(shard, tmp_path / "ours", labelled=str(tmp_path / "theirs")) == {"a": b"11"}


def test_folders(tmp_path):
    for name, text in (("a", "one"), ("b", "two")):
        (tmp_path / "beside").mkdir(exist_ok=True)
        (tmp_path / "beside" / f"{name}.jpg").write_bytes(name.encode() * 9)
        (tmp_path / "beside" / f"{name}.txt").write_text(text)
    table = tmp_path / "table"
    (table / "images").mkdir(parents=True)
    (table / "images" / "1.png").write_bytes(b"first")
    (table / "metadata.csv").write_text("file_name,text\nimages/1.png,x\n../beside/a.jpg,y\nimages/1.png,again\n")
    for place in ("beside", "table", "table/metadata.csv"):
        shard = Shard(str(tmp_path / place), "x")
        found = by_index(shard, tmp_path / "cache")
        assert found == by_reading(shard)
        assert found


def test_remote_shards(tmp_path):
    filesystem = fsspec.filesystem("memory")
    filesystem.pipe_file("/shards/x.tar", tar_of([("a.jpg", b"11"), ("a.txt", b"t"), ("b.png", b"222")]))
    shard = Shard("memory://shards/x.tar", "x")
    assert by_index(shard, tmp_path) == by_reading(shard) == {"a": b"11", "b": b"222"}


def test_a_changed_shard_is_indexed_anew(tmp_path):
    path = tmp_path / "x.tar"
    shard, cache = Shard(str(path), "x"), tmp_path / "cache"
    path.write_bytes(tar_of([("a.jpg", b"11")]))
    assert by_index(shard, cache) == {"a": b"11"}
    made = next(cache.glob("index/*")).stat().st_mtime_ns
    assert by_index(shard, cache) == {"a": b"11"}
    assert next(cache.glob("index/*")).stat().st_mtime_ns == made
    path.write_bytes(tar_of([("b.jpg", b"22"), ("a.jpg", b"33")]))
    assert by_index(shard, cache) == {"b": b"22", "a": b"33"}
    found = places_of(shard, pa.chunked_array([["a", "b", "a"]]), cache)
    assert np.diff(found["offset"].to_numpy()).tolist() == [-1024, 1024]
    with pytest.raises(OpenMofiError, match="no image of the key c"):
        places_of(shard, pa.chunked_array([["a", "c"]]), cache)


IMAGES = [("a", b"11"), ("b", b"222" * 999), ("c", None), ("a", b"again"), ("d", b"")]


def parquet_of(path, form, **columns):
    """A Parquet file of `IMAGES`, whose column of images has one of the usual forms."""
    images = [image for _, image in IMAGES]
    if form == "struct":
        images = [None if image is None else {"bytes": image, "path": "x.png"} for image in images]
    elif form == "path":
        for number, image in enumerate(images):
            if image is not None:
                path.with_name(f"{number}.png").write_bytes(image)
        images = [None if image is None else f"{number}.png" for number, image in enumerate(images)]
    names = {"key": "key", "image": "image", "text": "text"} | columns
    pq.write_table(
        pa.table(
            {names["key"]: [key for key, _ in IMAGES], names["image"]: images, names["text"]: ["t"] * len(IMAGES)}
        ),
        path,
        row_group_size=2,
    )


@pytest.mark.parametrize("form", ["bytes", "struct", "path"])
def test_parquet(tmp_path, form):
    parquet_of(tmp_path / "x.parquet", form)
    shard, cache = Shard(str(tmp_path / "x.parquet"), "x"), tmp_path / "cache"
    assert by_index(shard, cache) == by_reading(shard) == {"a": b"11", "b": b"222" * 999, "d": b""}
    copies = [path.stat().st_size for path in cache.glob("images/*.bin")]
    assert copies == ([] if form == "path" else [2 + 2997])
    assert (copy_of_images(shard, cache) is None) == (form == "path")


def test_columns_are_those_that_the_pairs_were_read_by(tmp_path):
    parquet_of(tmp_path / "x.parquet", "bytes", image="photo", key="number")
    shard = Shard(str(tmp_path / "x.parquet"), "x")
    table = index_images(shard, tmp_path, ReadSettings(image_column="photo", key_column="number"))
    assert table["key"].to_pylist() == ["a", "b", "d"]
    assert index_images(shard, tmp_path, ReadSettings(image_column="photo"))["key"].to_pylist() == [
        "000000000",
        "000000001",
        "000000003",
        "000000004",
    ]


@pytest.mark.parametrize(
    ("name", "mode"), [("x.tar.gz", "w:gz"), ("x.tar", "w:gz"), ("x.tar.bz2", "w:bz2"), ("x.tar", "w:xz")]
)
def test_compressed_tars_are_copied_once_and_again_where_the_copy_is_gone(tmp_path, name, mode, caplog):
    with tarfile.open(tmp_path / name, mode) as archive:
        for key, content in (("a.jpg", b"11"), ("a.txt", b"t"), ("b.png", os.urandom(70_000))):
            header = tarfile.TarInfo(key)
            header.size = len(content)
            archive.addfile(header, io.BytesIO(content))
    shard, cache = Shard(str(tmp_path / name), "x"), tmp_path / "cache"
    assert by_index(shard, cache) == by_reading(shard)
    (copy,) = cache.glob("images/*.bin")
    assert copy == copy_of_images(shard, cache)
    made = copy.stat().st_mtime_ns
    assert by_index(shard, cache) == by_reading(shard)
    assert copy.stat().st_mtime_ns == made
    # A process that was killed while it copied has left this; no process has such a number.
    half = copy.with_name(f"{atomic._TEMPORARY}{atomic._HOST}-{1 << 30}-0.bin")
    half.write_bytes(b"half")
    copy.unlink()
    assert by_index(shard, cache) == by_reading(shard)
    assert not caplog.text
    assert not half.exists()


def test_a_packed_remote_shard_is_copied_to_this_machine(tmp_path):
    filesystem = fsspec.filesystem("memory")
    filesystem.pipe_file("/packed/x.tar.gz", gzip.compress(tar_of([("a.jpg", b"11"), ("b.png", b"222")])))
    shard = Shard("memory://packed/x.tar.gz", "x")
    assert by_index(shard, tmp_path) == by_reading(shard) == {"a": b"11", "b": b"222"}


def test_damage_in_the_middle_costs_no_image_behind_it(tmp_path):
    content = bytearray(tar_of([(f"{number}.jpg", bytes([number + 1]) * 700) for number in range(6)]))
    content[1536 * 2] ^= 1
    for packed in (bytes, gzip.compress):
        (tmp_path / "x.tar").write_bytes(packed(bytes(content)))
        shard = Shard(str(tmp_path / "x.tar"), "x")
        assert list(by_index(shard, tmp_path / packed.__name__)) == ["0", "1", "3", "4", "5"]


def test_a_shard_that_went_away_is_named(tmp_path):
    path = tmp_path / "x.tar"
    path.write_bytes(tar_of([("a.jpg", b"11")]))
    shard = Shard(str(path), "x")
    index_images(shard, tmp_path / "cache")
    path.unlink()
    with pytest.raises(OpenMofiError, match=r"x\.tar"):
        ImageBytes().fetch(shard, [b""], np.array([512]), np.array([2]))
