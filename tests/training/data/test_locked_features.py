"""Features of locked encoders: those of the encoder, computed once, the same bytes after a stop."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from openmofi.dataset.tables import Folder
from openmofi.engine import Quiet
from openmofi.errors import OpenMofiError
from openmofi.features.store import FeatureStore, PreparedImage
from openmofi.pairs import ReadSettings, decode_image, read_pairs
from openmofi.schema import PairStatus
from openmofi.training.data import open_data
from openmofi.training.inputs import ModelInputs
from openmofi.training.recipe.schema import DataSettings, TextSource


def opened(dataset, encoder, cache, progress=None):
    settings = DataSettings(str(dataset), batch_size=43, text=TextSource(1, 1, 0))
    inputs = ModelInputs(None, encoder, "features", encoder)
    return open_data(settings, inputs, seed=0, cache=cache, progress=progress or Quiet())


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
