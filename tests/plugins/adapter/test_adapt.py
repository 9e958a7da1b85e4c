from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from openmofi.encoders import Head, open_encoder
from openmofi.encoders.companions import ClassVectors, Folds
from openmofi.encoders.heads import head_on_arrays
from openmofi.engine import Quiet
from openmofi.errors import OpenMofiError, UsageError
from openmofi.features.entity_table import EntityFeatures
from openmofi.plugins.adapter.adapt import fit_heads
from openmofi.plugins.adapter.bags import Bags, HeadSettings, Inputs
from openmofi.plugins.adapter.loop import train

ENTITIES, FEATURES = 12, 24


def pages(count: int, seed: int = 0) -> tuple[Bags, EntityFeatures, np.ndarray]:
    """Images of 12 things; the bag holds the thing shown (4 of 5 pages) and two others at random."""
    draw = np.random.default_rng(seed)
    prototypes = np.random.default_rng(99).standard_normal((ENTITIES, FEATURES))
    shown = draw.integers(0, ENTITIES, count)
    features = prototypes[shown] + 0.3 * draw.standard_normal((count, FEATURES))
    bag = draw.integers(0, ENTITIES, (count, 3))
    bag[:, 0] = np.where(draw.random(count) < 0.8, shown, bag[:, 0])
    bags = Bags(
        features.astype(np.float16),
        bag,
        np.full(bag.shape, 0.9, np.float32),
        ["text"] * count,
        [f"{number:06d}" for number in range(count)],
        ["shard-fingerprint"] * count,
        np.arange(count, dtype=np.uint64) // 4,
    )
    texts = np.random.default_rng(98).standard_normal((ENTITIES, 8)).astype(np.float32)
    return bags, EntityFeatures.of(pa.array([f"e{n:02d}" for n in range(ENTITIES)]), texts), shown


def inputs(bags: Bags, known: EntityFeatures) -> Inputs:
    return Inputs(
        bags.features,
        known.features,
        None,
        bags,
        Head.initial(FEATURES, 16, seed=0),
        Head.initial(8, 16, seed=1),
        adapter=False,
    )


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
    bags = replace(bags, features=draw.standard_normal((200, base.feature_dim)).astype(np.float16))
    known = EntityFeatures.of(
        pa.array([f"e{n:02d}" for n in range(ENTITIES)]),
        draw.standard_normal((ENTITIES, base.text_feature_dim)).astype(np.float32),
    )
    folder = tmp_path_factory.mktemp("fitted")
    settings = HeadSettings(dim=16, batch_size=50, epochs=1, folds=3)
    fit_heads(base, bags, known, settings, folder, adapter=False, progress=Quiet())
    return folder, bags, known


def test_heads_classes_and_folds_are_written_and_open(fitted):
    folder, bags, known = fitted
    folds = Folds.beside(folder)
    fold = folds.of("shard-fingerprint", bags.keys)
    assert folds.count == 3
    assert sorted(np.bincount(fold)) == [64, 68, 68]
    assert (fold.reshape(-1, 4) == fold[::4, None]).all()
    prints = {
        open_encoder(f"run:{place}").fingerprint
        for place in (folder, *(folder / "folds" / str(fold) for fold in range(3)))
    }
    assert len(prints) == 4
    assert ClassVectors.beside(folder).ids.equals(known.ids)


def test_an_adapter_that_was_not_trained_changes_nothing(fitted, tmp_path):
    folder, bags, known = fitted
    base = open_encoder(f"run:{folder}")
    settings = HeadSettings(batch_size=50, epochs=1, folds=0, learning_rate=1e-12, class_vectors=False)
    fit_heads(base, bags, known, settings, tmp_path, adapter=True, progress=Quiet())
    adapted = open_encoder(f"run:{tmp_path}")
    features = bags.features[:5].astype(np.float32)
    np.testing.assert_allclose(adapted.project_images(features), base.project_images(features), atol=1e-5)
    assert adapted.feature_fingerprint == base.feature_fingerprint


def test_too_few_pairs_and_unknown_objectives_are_refused(fitted, tmp_path):
    folder, bags, known = fitted
    empty = replace(bags, bag=np.full_like(bags.bag, -1))
    with pytest.raises(OpenMofiError, match="nothing can be fitted"):
        fit_heads(open_encoder(f"run:{folder}"), empty, known, SETTINGS, tmp_path, adapter=True, progress=Quiet())
    with pytest.raises(UsageError, match="unknown value 'magic' for objective"):
        HeadSettings(objective="magic")


def test_heads_are_not_cross_fitted_over_pairs_of_one_group(fitted, tmp_path):
    folder, bags, known = fitted
    alike = replace(bags, groups=np.append(np.full(199, 5, np.uint64), np.uint64(6)))
    with pytest.raises(OpenMofiError, match="200 pairs to fit on share a template"):
        fit_heads(
            open_encoder(f"run:{folder}"), alike, known, HeadSettings(folds=4), tmp_path, adapter=True, progress=Quiet()
        )
    assert not list(tmp_path.iterdir())


def cosines_to_the_base(bags, known, stay):
    """Of the images after an adapter was fitted over their normalised features."""
    unit = [
        values / np.linalg.norm(values, axis=1, keepdims=True)
        for values in (bags.features.astype(np.float32), np.pad(known.features, [(0, 0), (0, FEATURES - 8)]))
    ]
    heads = [Head.initial(FEATURES, FEATURES, seed=side, zero=True) for side in (0, 1)]
    trained = train(
        Inputs(unit[0], unit[1], None, bags, heads[0], heads[1], adapter=True),
        np.arange(len(bags)),
        replace(SETTINGS, stay=stay),
        0,
        Quiet(),
    )
    moved = unit[0] + head_on_arrays(trained.image)(unit[0])
    return (moved * unit[0]).sum(axis=1) / np.linalg.norm(moved, axis=1), trained


def test_an_adapter_is_kept_near_its_base():
    bags, known, _ = pages(600)
    (free, first), (kept, second), (fixed, _) = (cosines_to_the_base(bags, known, stay) for stay in (0.0, 10.0, 1000.0))
    assert free.mean() < kept.mean() - 0.02 < fixed.mean() - 0.02
    assert fixed.mean() > 0.99
    assert first.first_loss > first.loss
    assert second.first_loss > second.loss


def test_heads_over_backbones_are_kept_near_nothing():
    bags, known, _ = pages(300)
    first, second = (
        train(inputs(bags, known), np.arange(300), replace(SETTINGS, stay=stay), 0, Quiet()) for stay in (0.0, 100.0)
    )
    assert all((values == second.image.parameters[name]).all() for name, values in first.image.parameters.items())
