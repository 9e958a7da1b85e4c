"""The index of a shard leads to the very bytes that `read_pairs` gives."""

import io
import os
import tarfile

import fsspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openmofi.errors import OpenMofiError, UsageError
from openmofi.pairs import ReadSettings, read_pairs
from openmofi.pairs.formats.index import ImageBytes, index_images, places_of
from openmofi.schema import PairStatus
from openmofi.storage import Shard


def by_reading(shard):
    return {pair.key: pair.image for pair in read_pairs(shard, ReadSettings(on_damage="keep"))
            if pair.image is not None and pair.status != PairStatus.DUPLICATE_KEY}


def by_index(shard, cache, fetch=None):
    table = index_images(shard, cache)
    found = (fetch or ImageBytes()).fetch(shard, table["file"].to_pylist(), table["offset"].to_numpy(),
                                          table["size"].to_numpy())
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


NAMES = st.builds("{}{}{}".format, st.sampled_from(["", "a/", "../", "/", "d.e/", "x" * 120 + "/"]),
                  st.sampled_from(["1", "2", "ü", "IMG.2024", ".hidden", "\udcff"]),
                  st.sampled_from([".jpg", ".PNG", ".txt", ".json", ".cls", ".mask.png", ".webp", ""]))
MEMBERS = st.lists(st.tuples(NAMES, st.none() | st.binary(max_size=700) | st.just(b'{"caption": "x", "url": "u"}')),
                   max_size=14)


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


@pytest.mark.parametrize(("name", "mode"), [("x.tar.gz", "w:gz"), ("x.tar", "w:gz"), ("x.tar", "w:xz"),
                                            ("x.parquet", "w")])
def test_shards_without_places_say_what_to_do(tmp_path, name, mode):
    with tarfile.open(tmp_path / name, mode):
        pass
    with pytest.raises(UsageError, match=r"write_tar"):
        index_images(Shard(str(tmp_path / name), "x"), tmp_path / "cache")


def test_a_shard_that_went_away_is_named(tmp_path):
    path = tmp_path / "x.tar"
    path.write_bytes(tar_of([("a.jpg", b"11")]))
    shard = Shard(str(path), "x")
    index_images(shard, tmp_path / "cache")
    path.unlink()
    with pytest.raises(OpenMofiError, match=r"x\.tar"):
        ImageBytes().fetch(shard, [b""], np.array([512]), np.array([2]))
