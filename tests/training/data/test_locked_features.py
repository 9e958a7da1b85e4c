"""Features of locked encoders: those of the encoder, computed once, the same bytes after a stop."""

import shutil
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch

from openmofi.dataset.tables import Folder
from openmofi.engine import Quiet
from openmofi.errors import OpenMofiError
from openmofi.features.store import FeatureStore, PreparedImage
from openmofi.pairs import ReadSettings, decode_image, read_pairs
from openmofi.schema import PairStatus
from openmofi.training.data import open_data
from openmofi.training.data.plan import GREY
from openmofi.training.model.towers import ModelInputs
from openmofi.training.recipe import DataSettings, EvaluateSettings, TextSource

from ..small_runs import break_first


@dataclass
class Said(Quiet):
    say: Any


def opened(dataset, encoder, cache, progress=None, evaluate=None, **more):
    settings = DataSettings(str(dataset), text=TextSource(1, 1, 0), **{"batch_size": 43} | more)
    inputs = ModelInputs(None, encoder, "features", encoder)
    return open_data(settings, inputs, seed=0, cache=cache, progress=progress or Quiet(), evaluate=evaluate)


def expected_features(dataset, encoder):
    folder, parts = Folder.open(dataset), []
    for shard in folder.shards:
        images = {pair.key: pair.image for pair in read_pairs(shard)}
        keys = folder.read(shard)["key"].to_pylist()
        parts += [encoder.preprocess(decode_image(images[key], size_hint=16)) for key in keys]
    return encoder.image_features(np.stack(parts))


def stored(cache, kind):
    (path,) = (cache / kind).glob("*.npy")
    return path.read_bytes()


def test_features_are_the_encoders_and_are_computed_once(dataset, encoder, tmp_path):
    expected = expected_features(dataset, encoder)
    data = opened(dataset, encoder, tmp_path)
    (batch,) = data.batches(0, 1)
    found = batch["image_features"].numpy()[np.argsort(batch["row"].numpy())]
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=1e-3)
    assert found.dtype == np.float32
    calls = len(encoder.seen)
    opened(dataset, encoder, tmp_path)
    assert len(encoder.seen) == calls
    assert not list(tmp_path.glob("*/*.parts"))


def test_a_stopped_computation_goes_on_and_ends_in_the_same_bytes(dataset, encoder, tmp_path):
    opened(dataset, encoder, tmp_path / "whole")
    calls = len(encoder.seen)
    encoder.stop_after = len(encoder.seen) + 2
    with pytest.raises(KeyboardInterrupt):
        opened(dataset, encoder, tmp_path / "parts")
    encoder.stop_after = 1 << 30
    before = len(encoder.seen)
    opened(dataset, encoder, tmp_path / "parts")
    assert len(encoder.seen) - before == calls - 2
    for kind in ("image_features", "text_features"):
        assert stored(tmp_path / "parts", kind) == stored(tmp_path / "whole", kind)


def test_features_of_the_datasets_own_label_job_are_found_wherever_they_are(dataset, encoder, tmp_path):
    dataset = shutil.copytree(dataset, tmp_path / "dataset")
    folder, calls = Folder.open(dataset), len(encoder.seen)
    # Settings of its own: another key than the usual one.
    store = FeatureStore(str(tmp_path / "labels"), encoder, ReadSettings(on_damage="keep"), batch_size=5)
    assert store.folder != FeatureStore(str(tmp_path / "labels"), encoder).folder
    for shard in folder.shards:
        keys = [pair.key for pair in read_pairs(shard)]
        with store.writing(shard.name, shard.fingerprint) as add:
            add([PreparedImage(key, PairStatus.OK, 1, 1, 1) for key in keys], np.full((len(keys), 7), 3.0, np.float32))
    store.note(dataset)
    assert FeatureStore.noted(dataset, encoder) == replace(store, cache=str((tmp_path / "labels").absolute()))
    (batch,) = opened(dataset, encoder, tmp_path / "run").batches(0, 1)
    assert (batch["image_features"].numpy() == 3.0).all()
    assert len(encoder.seen) == calls
    (dataset / "features.json").write_text("{}")
    with pytest.raises(OpenMofiError, match=r"features\.json cannot be read"):
        opened(dataset, encoder, tmp_path / "other")
    (dataset / "features.json").unlink()
    assert FeatureStore.noted(dataset, encoder) is None


def test_a_label_jobs_features_are_taken(dataset, encoder, tmp_path):
    folder = Folder.open(dataset)
    store = FeatureStore(str(tmp_path), encoder)
    marks = {}
    for shard in folder.shards[:3]:
        keys = [pair.key for pair in read_pairs(shard)]
        values = np.arange(len(keys) * 7, dtype=np.float32).reshape(-1, 7)
        # The last one's are of another version of the shard.
        stamp = shard.fingerprint if shard is not folder.shards[2] else "other"
        with store.writing(shard.name, stamp) as add:
            add([PreparedImage(key, PairStatus.OK, 1, 1, 1) for key in keys], values)
        marks[shard.name] = dict(zip(keys, values, strict=True))
    data = opened(dataset, encoder, tmp_path)
    (batch,) = data.batches(0, 1)
    found = batch["image_features"].numpy()[np.argsort(batch["row"].numpy())]
    expected = expected_features(dataset, encoder)
    keys = folder.read(folder.shards[0])["key"].to_pylist()
    np.testing.assert_array_equal(found[: len(keys)], [marks["00000"][key] for key in keys])
    np.testing.assert_allclose(found[len(keys) :], expected[len(keys) :], rtol=2e-3, atol=1e-3)


def test_a_changed_shard_is_an_error(dataset_maker, encoder, tmp_path):
    own = dataset_maker(tmp_path / "own", sizes=(3, 3))
    tars = tmp_path / "own" / "pairs"
    (tars / "00001.tar").write_bytes((tars / "00000.tar").read_bytes())
    with pytest.raises(OpenMofiError, match=r"00001\.tar has no image of the key 01"):
        opened(own, encoder, tmp_path / "cache")


def refused_pixels(encoder):
    return encoder.preprocess(decode_image(GREY))


def test_another_row_stands_for_an_image_that_broke_since(dataset_maker, encoder, tmp_path):
    own = dataset_maker(tmp_path / "own", sizes=(20, 9), extra=0)
    whole = opened(own, encoder, tmp_path / "whole", batch_size=10)
    break_first(tmp_path / "own")
    said = []
    for _ in range(2):  # computed, and from the cache
        data = opened(own, encoder, tmp_path / "broken", Said(said.append), batch_size=10)
        before, after = (each.sources.image_features.values for each in (whole, data))
        np.testing.assert_array_equal(after[1:], before[1:])
        np.testing.assert_array_equal(after[0], encoder.image_features(refused_pixels(encoder)[None])[0].astype("f2"))
        for one, other in zip(whole.batches(0, 6), data.batches(0, 6), strict=True):
            bad = one["row"] == 0
            assert torch.equal(other["undecodable"], bad)
            assert torch.equal(one["row"] != other["row"], bad)
            assert torch.equal(other["image_features"], torch.from_numpy(before[other["row"]].astype(np.float32)))
        assert (data.faults.replaced, list(data.faults.why)) == (2, [0])
        assert data.faults.write(tmp_path, 0) == 1
    assert sum("1 of 29 images can no longer be decoded, 000000 of" in message for message in said) == 2


def test_a_held_out_row_whose_image_broke_is_grey(dataset_maker, encoder, tmp_path):
    own = dataset_maker(tmp_path / "own", sizes=(20,), extra=0)
    break_first(tmp_path / "own")
    data = opened(own, encoder, tmp_path, batch_size=10, evaluate=EvaluateSettings(every=1, loss=True, held_out=0.7))
    batch = next(iter(data.held_out_batches(images_only=True, rank=0, world=1, workers=0)))
    assert batch["row"][0] == 0
    np.testing.assert_allclose(
        batch["image_features"][0], encoder.image_features(refused_pixels(encoder)[None])[0], rtol=2e-3, atol=1e-3
    )
    assert list(data.faults.why) == [0]


def test_too_many_broken_images_stop_and_whole_ones_go_on(dataset_maker, encoder, tmp_path):
    own = dataset_maker(tmp_path / "own", sizes=(9, 20), extra=0)
    shards = sorted((tmp_path / "own/pairs").iterdir())
    good = [path.read_bytes() for path in shards]
    break_first(tmp_path / "own")
    shards[1].write_bytes(good[1].replace(b"\xff\xd8\xff", b"\0\0\0"))
    with pytest.raises(
        OpenMofiError,
        match=rf"The image 01\d+ of {shards[1]} cannot be decoded: image_broken. 8 of 29 "
        r"images cannot, more than data.undecodable = 0.005 allows",
    ):
        opened(own, encoder, tmp_path / "cache", undecodable=0.005)
    for path, data in zip(shards, good, strict=True):
        path.write_bytes(data)
    # The first shard, whose features had been kept, is looked at again.
    assert not opened(own, encoder, tmp_path / "cache").sources.image_features.refused
    assert not list((tmp_path / "cache/image_features").glob("*.json"))
