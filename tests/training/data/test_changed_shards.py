"""Shards that have changed since they were labelled are refused; copies and moved ones are not."""

import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import openmofi.training.data as data_module
from openmofi.dataset import DatasetSettings, build_dataset
from openmofi.dataset.origin import Origin
from openmofi.encoders import Preprocessing
from openmofi.engine import Quiet
from openmofi.errors import OpenMofiError
from openmofi.pairs import Record, read_pairs, write_tar
from openmofi.storage import Shard, write_table
from openmofi.training.data import open_data
from openmofi.training.model.towers import ModelInputs
from openmofi.training.recipe import DataSettings

from ...dataset.conftest import make_world

LIVE = ModelInputs(Preprocessing(16, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)))


@pytest.fixture
def labelled(tmp_path):
    """Two shards of pairs whose images are of one size, and the dataset of them."""
    world = make_world(tmp_path / "world", shards=2, rows=40, entities=4)
    build_dataset(world.labels, tmp_path / "dataset", DatasetSettings(1, None, None), report=False)
    return tmp_path / "dataset", [Path(shard.path) for shard in world.shards]


def opened(dataset, cache, inputs=LIVE):
    return open_data(DataSettings(str(dataset), batch_size=8, workers=0), inputs, seed=0, cache=cache, progress=Quiet())


def locked(encoder):
    return ModelInputs(None, image_encoder=encoder)


def permuted(tar: Path, seed: int = 1) -> None:
    """Other images under the same keys; sizes and times of the file stay."""
    before, pairs = tar.stat(), list(read_pairs(Shard(str(tar), tar.stem)))
    whole = np.flatnonzero([pair.image != b"broken" for pair in pairs])
    order = np.arange(len(pairs))
    order[whole] = np.random.default_rng(seed).permutation(whole)
    write_tar(
        tar, [Record(pair.key, pairs[other].image or b"", pair.text) for pair, other in zip(pairs, order, strict=True)]
    )
    os.utime(tar, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert tar.stat().st_size == before.st_size


@pytest.mark.parametrize("warm", [False, True])
def test_images_permuted_under_the_same_keys_are_refused(labelled, encoder, tmp_path, warm):
    dataset, tars = labelled
    if warm:
        opened(dataset, tmp_path / "cache")
    permuted(tars[1])
    with pytest.raises(OpenMofiError, match=r"pairs-001\.tar has changed since it was labelled.*Put the old"):
        opened(dataset, tmp_path / "cache")
    with pytest.raises(OpenMofiError, match=r"pairs-001\.tar has changed since it was labelled"):
        opened(dataset, tmp_path / "cache", locked(encoder))


def test_a_change_that_the_fingerprint_misses_is_seen_by_the_images(labelled, encoder, tmp_path, monkeypatch):
    """In the middle of a large shard: here everything is the middle."""
    dataset, tars = labelled
    monkeypatch.setattr(Origin, "is_same", lambda *_: True)
    opened(dataset, tmp_path / "cache")
    opened(dataset, tmp_path / "cache", locked(encoder))
    permuted(tars[0])
    with pytest.raises(OpenMofiError, match=r"pairs-000\.tar has other images than when it was labelled: .*'000"):
        opened(dataset, tmp_path / "cache")
    with pytest.raises(OpenMofiError, match=r"pairs-000\.tar has other images than when it was labelled"):
        opened(dataset, tmp_path / "locked", locked(encoder))


def test_a_copy_with_other_times_and_a_link_elsewhere_are_the_same_shard(labelled, encoder, tmp_path):
    dataset, tars = labelled
    first = next(opened(dataset, tmp_path / "cache").batches(0, 1))
    moved = tmp_path / "elsewhere.tar"
    shutil.copyfile(tars[0], moved)
    tars[0].unlink()
    tars[0].symlink_to(moved)
    os.utime(tars[1], ns=(1, 1))
    again = next(opened(dataset, tmp_path / "cache").batches(0, 1))
    assert all((first[name] == again[name]).all() for name in ("image", "labels", "row"))
    opened(dataset, tmp_path / "locked", locked(encoder))


def test_fingerprints_of_unchanged_shards_are_not_taken_again(labelled, tmp_path, monkeypatch):
    dataset, tars = labelled
    taken = []
    monkeypatch.setattr(
        data_module,
        "file_fingerprint",
        lambda path, take=data_module.file_fingerprint: taken.append(path) or take(path),
    )
    for expected in (2, 0):
        opened(dataset, tmp_path / "cache")
        assert len(taken) == expected
        taken.clear()
    tars[1].touch()
    opened(dataset, tmp_path / "cache")
    assert taken == [str(tars[1])]
    (tmp_path / "cache" / "shards.json").write_text("{")
    opened(dataset, tmp_path / "cache")


def test_a_dataset_that_does_not_know_its_shards_says_so(labelled, tmp_path):
    dataset, _ = labelled
    for path in (dataset / "images").iterdir():
        write_table(path, pq.read_table(path).replace_schema_metadata(None))
    said = []

    class Heard(Quiet):
        def say(self, message):
            said.append(message)

    open_data(
        DataSettings(str(dataset), batch_size=8, workers=0), LIVE, seed=0, cache=tmp_path / "cache", progress=Heard()
    )
    assert ["does not say which shards" in message for message in said] == [True]


def test_a_dataset_table_that_changed_after_it_was_cached_is_read_again(labelled, tmp_path):
    dataset, _ = labelled
    opened(dataset, tmp_path / "cache")
    path = dataset / "images" / "pairs-000.parquet"
    table = pq.read_table(path)
    rows = table.to_pylist()
    rows[3]["classes"][0] = 99999
    write_table(path, pa.Table.from_pylist(rows, table.schema))
    with pytest.raises(OpenMofiError, match=r"Row 3 .*pairs-000\.parquet has a class that is none of the 4 of"):
        opened(dataset, tmp_path / "cache")


def test_features_that_are_not_finite_are_refused(labelled, encoder, tmp_path, monkeypatch):
    dataset, _ = labelled
    features = type(encoder).image_features
    monkeypatch.setattr(type(encoder), "image_features", lambda self, pixels: 1e6 * features(self, pixels))
    with pytest.raises(OpenMofiError, match=r"features of row 0 of part 0 are not finite, or beyond 65,504"):
        opened(dataset, tmp_path / "cache", locked(encoder))
