"""However the same pairs are cut into shards, they are labelled alike."""

from collections.abc import Mapping
from dataclasses import asdict, replace

import numpy as np
import pyarrow.parquet as pq
import pytest

import openmofi
from openmofi.labeling import label_job
from openmofi.labeling.calibrate import decoys
from openmofi.labeling.calibrate.calibration import Calibration
from openmofi.pairs import read_pairs, write_tar
from openmofi.storage import expand_shards
from small_world import OTHER_NAMES, SHAPES

pytestmark = pytest.mark.slow
BOILERPLATE = "brick and tent shop"
COLOURS = np.stack([np.array(colour, np.float32) for _, colour, _ in SHAPES.values()])


class Own:
    """An encoder without folds, and without a calibration of other pairs; its scale is fitted to the job's pairs."""

    @staticmethod
    def embed_images(images):
        rows = []
        for image in images:
            pixels = np.asarray(image.convert("RGB").resize((24, 20)), np.float32).reshape(-1, 1, 3)
            rows.append(np.exp(-((pixels - COLOURS) ** 2).sum(2) / 800).mean(0) + 1e-3)
        return np.stack(rows)

    @staticmethod
    def embed_texts(texts):
        names = [{name, OTHER_NAMES.get(entity, name)} for entity, (name, _, _) in SHAPES.items()]
        return np.stack([[any(name in text for name in called) + 1e-2 for called in names] for text in texts])


def labelled_in(folder, pairs, count, world):
    """Label the pairs, cut into `count` shards.

    Returns:
        key → (entity, probability, whether it is accepted) of its candidates, and the calibration.
    """
    for number, rows in enumerate(np.array_split(np.arange(len(pairs)), count)):
        write_tar(folder / f"shards/{number:05d}.tar", [pairs[row] for row in rows])
    encoder = (Own.embed_images, Own.embed_texts)
    openmofi.label(folder / "shards", kb=world.kb, encoder=encoder, out=folder / "labels", threshold=0.5)
    labels = {
        row["key"]: [(each["entity"], each["probability"], each["accepted"]) for each in row["entities"]]
        for path in sorted((folder / "labels/labels").glob("*.parquet"))
        for row in pq.read_table(path).to_pylist()
    }
    assert list(labels) == [pair.key for pair in pairs]
    return labels, Calibration.load(folder / "labels/calibration.json")


def numbers(value, name=""):
    """Every number and text of nested values, by its name."""
    if isinstance(value, Mapping):
        return {path: leaf for key, each in value.items() for path, leaf in numbers(each, f"{name}/{key}").items()}
    if isinstance(value, list | tuple):
        return numbers(dict(enumerate(value)), name)
    return {name: value}


@pytest.fixture(scope="module", params=["all pairs", "a sample"])
def uncut(request, small_world, tmp_path_factory):
    """The pairs, their labels and calibration in one shard; of all pairs or, as of a large corpus, of a sample."""
    pairs = [pair for shard in expand_shards([str(small_world.shards)]) for pair in read_pairs(shard)]
    assert len(pairs) == len(small_world.truth)
    # A text that repeats whatever is shown: a group with a factor.
    pairs = [replace(pair, text=BOILERPLATE) if row % 8 == 0 else pair for row, pair in enumerate(pairs)]
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "a sample":
            patch.setattr(label_job, "CALIBRATION_PAIRS", 250)
            patch.setattr(label_job, "FITTED_ON", 100)
            patch.setattr(decoys, "MOST_DECOYS", 300)
            patch.setattr(decoys, "_MOST_MEANT", 6)
        yield pairs, labelled_in(tmp_path_factory.mktemp("uncut"), pairs, 1, small_world)


@pytest.mark.parametrize("count", [7, 50])
def test_the_same_pairs_have_the_same_labels_in_any_number_of_shards(small_world, tmp_path, uncut, count):
    pairs, (whole, whole_calibration) = uncut
    cut, calibration = labelled_in(tmp_path, pairs, count, small_world)
    assert sum(accepted for of_pair in whole.values() for *_, accepted in of_pair) > 50
    assert whole_calibration.votes > 0
    assert [factor < 0.7 for factor in whole_calibration.naming.groups.values()] == [True]
    for key, of_pair in whole.items():
        assert [(entity, accepted) for entity, _, accepted in cut[key]] == [(e, accepted) for e, _, accepted in of_pair]
        np.testing.assert_allclose([p for _, p, _ in cut[key]], [p for _, p, _ in of_pair], atol=1e-4)
    # `corpus` names the pairs by their shards.
    expected, found = (numbers(asdict(replace(each, corpus=""))) for each in (whole_calibration, calibration))
    assert found.keys() == expected.keys()
    for name, value in found.items():
        same = pytest.approx(expected[name], abs=1e-4, rel=1e-4) if isinstance(value, float) else expected[name]
        assert value == same, name
