import numpy as np
import pyarrow as pa
import pytest

from openmofi.encoders import Head, open_encoder
from openmofi.encoders.companions import ClassVectors, Folds
from openmofi.engine import Quiet
from openmofi.errors import OpenMofiError, UsageError
from openmofi.features.entities import EntityFeatures
from openmofi.labeling.adapt.bags import Bags
from openmofi.labeling.adapt.fit import fit_heads
from openmofi.labeling.adapt.inputs import HeadSettings, Inputs
from openmofi.labeling.adapt.loop import train

ENTITIES, FEATURES = 12, 24


def pages(count: int, seed: int = 0) -> tuple[Bags, EntityFeatures, np.ndarray]:
    """Images of 12 things; the bag holds the thing shown (4 of 5 pages) and two others at random."""
    draw = np.random.default_rng(seed)
    prototypes = np.random.default_rng(99).standard_normal((ENTITIES, FEATURES))
    shown = draw.integers(0, ENTITIES, count)
    features = prototypes[shown] + 0.3 * draw.standard_normal((count, FEATURES))
    bag = draw.integers(0, ENTITIES, (count, 3))
    bag[:, 0] = np.where(draw.random(count) < 0.8, shown, bag[:, 0])
    bags = Bags(features.astype(np.float16), bag, np.full(bag.shape, 0.9, np.float32), ["text"] * count,
                [f"{number:06d}" for number in range(count)])
    texts = np.random.default_rng(98).standard_normal((ENTITIES, 8)).astype(np.float32)
    return bags, EntityFeatures(pa.array([f"e{n:02d}" for n in range(ENTITIES)]), texts), shown


def inputs(bags: Bags, known: EntityFeatures) -> Inputs:
    return Inputs(bags.features, known.features, None, bags, Head.initial(FEATURES, 16, seed=0),
                  Head.initial(8, 16, seed=1), adapter=False)


SETTINGS = HeadSettings(dim=16, batch_size=64, epochs=15, feature_dropout=0.1, learning_rate=1e-2, folds=0)


def test_the_entity_that_keeps_coming_back_is_learned_without_truth():
    bags, known, shown = pages(1500)
    trained = train(inputs(bags, known), np.arange(1000), SETTINGS, 0, Quiet())
    image = bags.features.astype(np.float32) @ trained.image.parameters["weight"].T + trained.image.parameters["bias"]
    text = known.features @ trained.text.parameters["weight"].T + trained.text.parameters["bias"]
    classes = text / np.linalg.norm(text, axis=1, keepdims=True) + trained.classes
    classes /= np.linalg.norm(classes, axis=1, keepdims=True)
    assert trained.loss < trained.first_loss
    assert ((image @ classes.T).argmax(axis=1) == shown)[1000:].mean() > 0.95


def test_the_same_seed_gives_the_same_bits_and_another_does_not():
    bags, known, _ = pages(300)
    first, again, other = (train(inputs(bags, known), np.arange(300), SETTINGS, seed, Quiet()) for seed in (0, 0, 1))
    for name, values in first.image.parameters.items():
        assert (values == again.image.parameters[name]).all()
    assert (first.image.parameters["weight"] != other.image.parameters["weight"]).any()


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """Heads over the frozen backbones, fitted for one epoch on random features: folder, pages, entities."""
    base = open_encoder("backbone:efficientnet-lite0+minilm")
    draw = np.random.default_rng(0)
    bags, _, _ = pages(200)
    bags = Bags(draw.standard_normal((200, base.feature_dim)).astype(np.float16), bags.bag, bags.weight, bags.texts,
                bags.keys)
    known = EntityFeatures(pa.array([f"e{n:02d}" for n in range(ENTITIES)]),
                           draw.standard_normal((ENTITIES, base.text_feature_dim)).astype(np.float32))
    folder = tmp_path_factory.mktemp("fitted")
    settings = HeadSettings(dim=16, batch_size=50, epochs=1, folds=3)
    fit_heads(base, bags, known, settings, folder, adapter=False, seen=["shard-fingerprint"], progress=Quiet())
    return folder, bags, known


def test_heads_classes_and_folds_are_written_and_open(fitted):
    folder, _, known = fitted
    assert Folds.beside(folder) == Folds(3, ("shard-fingerprint",))
    prints = {open_encoder(f"run:{place}").fingerprint
              for place in (folder, *(folder / "folds" / str(fold) for fold in range(3)))}
    assert len(prints) == 4
    assert ClassVectors.beside(folder).ids.equals(known.ids)


def test_an_adapter_that_was_not_trained_changes_nothing(fitted, tmp_path):
    folder, bags, known = fitted
    base = open_encoder(f"run:{folder}")
    settings = HeadSettings(batch_size=50, epochs=1, folds=0, learning_rate=1e-12, class_vectors=False)
    fit_heads(base, bags, known, settings, tmp_path, adapter=True, seen=[], progress=Quiet())
    adapted = open_encoder(f"run:{tmp_path}")
    features = bags.features[:5].astype(np.float32)
    np.testing.assert_allclose(adapted.project_images(features), base.project_images(features), atol=1e-5)
    assert adapted.feature_fingerprint == base.feature_fingerprint


def test_too_few_pairs_and_unknown_objectives_are_refused(fitted, tmp_path):
    folder, bags, known = fitted
    empty = Bags(bags.features, np.full_like(bags.bag, -1), bags.weight, bags.texts, bags.keys)
    with pytest.raises(OpenMofiError, match="nothing can be fitted"):
        fit_heads(open_encoder(f"run:{folder}"), empty, known, SETTINGS, tmp_path, adapter=True, seen=[],
                  progress=Quiet())
    with pytest.raises(UsageError, match="unknown value 'magic' for objective"):
        HeadSettings(objective="magic")
