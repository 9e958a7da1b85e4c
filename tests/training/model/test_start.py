"""Heads that begin at what least squares says, beside the definitions."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from torch import nn

from openmofi.encoders import Head
from openmofi.errors import UsageError
from openmofi.plugins.closed_form_start import RIDGE, SHRINKAGE, discriminants, regression, start_from_labels
from openmofi.training.model.towers import DualEncoder, Tower, TrainedHead

FEATURES, TEXTS, DIM, CLASSES = 12, 7, 6, 5


@pytest.fixture
def rows():
    """Features, texts' features and labels of four of five classes, which differ along some directions."""
    draw = np.random.default_rng(0)
    labels = draw.permutation(np.repeat([0, 1, 3, 4], [40, 30, 20, 10]))
    centres, texts = draw.standard_normal((CLASSES, FEATURES)), draw.standard_normal((CLASSES, TEXTS))
    spread = draw.standard_normal((FEATURES, FEATURES))
    features = 3 + 2 * centres[labels] + 0.5 * draw.standard_normal((100, FEATURES)) @ spread
    return features.astype(np.float32), texts[labels].astype(np.float32), labels


def model_of():
    standard = {"mean": np.full(FEATURES, 3, np.float32), "std": np.full(FEATURES, 2, np.float32)}
    image, text = Head.initial(FEATURES, DIM, seed=0, **standard), Head.initial(TEXTS, DIM, seed=1)
    return DualEncoder(*(Tower(nn.Identity(), TrainedHead(head), None) for head in (image, text)))


def batches_of(features, texts, labels):
    columns = {"image_features": features, "text_features": texts, "labels": np.c_[labels, np.full(len(labels), -1)]}
    return [
        {name: torch.from_numpy(part) for name, part in zip(columns, parts, strict=True)}
        for parts in zip(*(np.array_split(values, 3) for values in columns.values()), strict=True)
    ]


def test_directions_are_those_of_the_definition(rows):
    features, _, labels = rows
    features = features - features.mean(0)
    found = discriminants(features, labels, FEATURES)
    assert found.shape == (3, FEATURES)
    between, within = np.zeros((2, FEATURES, FEATURES))
    for label in np.unique(labels):
        mean = features[labels == label].astype(np.float64).mean(0)
        for row in features[labels == label].astype(np.float64):
            between += np.outer(mean, mean) / 100
            within += np.outer(row - mean, row - mean) / (100 - 4)
    within += SHRINKAGE * features.var(0).mean() * np.eye(FEATURES)
    values, vectors = np.linalg.eig(np.linalg.solve(within, between))
    expected = vectors.real[:, np.argsort(-values.real)[:3]].T
    cosines = (found * expected).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(expected, axis=1)
    np.testing.assert_allclose(np.abs(cosines), 1, atol=1e-4)
    np.testing.assert_allclose(discriminants(features, labels, 2), found[:2], atol=1e-5)


def test_a_direction_weighs_by_how_much_classes_differ_along_it(rows):
    features, _, labels = rows
    features = features - features.mean(0)
    projected = features @ discriminants(features, labels, DIM).T
    means = np.stack([projected[labels == label].mean(0) for label in labels])
    between = (means**2).mean(0)
    shrunk = ((projected - means) ** 2).sum(0) / (len(features) - 4) + SHRINKAGE * features.var(0).mean() * (
        discriminants(features, labels, DIM) ** 2
    ).sum(1)
    ratio = between / shrunk
    np.testing.assert_allclose(between, ratio**2 / (1 + ratio), rtol=1e-3)


def test_regression_is_scikit_learns(rows):
    features, texts, _ = rows
    weight, bias = regression(texts, features)
    oracle = Ridge(RIDGE * len(texts) * texts.var(0).mean()).fit(texts, features)
    np.testing.assert_allclose(weight, oracle.coef_, atol=1e-4)
    np.testing.assert_allclose(bias, oracle.intercept_, atol=1e-4)


def test_images_texts_and_class_vectors_begin_together(rows):
    features, texts, labels = rows
    model = model_of()
    vectors = start_from_labels(model, batches_of(*rows), CLASSES)
    found = model.eval()({"image_features": torch.from_numpy(features), "text_features": torch.from_numpy(texts)})
    assert not vectors[2].any()
    images, of_texts = found["image"].detach(), found["text"].detach()
    for label in (0, 1, 3, 4):
        mean = images[labels == label].mean(0)
        np.testing.assert_allclose(vectors[label], mean / mean.norm(), atol=1e-5)
    assert ((images @ vectors.T).argmax(1).numpy() == labels).mean() > 0.95
    assert ((of_texts @ vectors.T).argmax(1).numpy() == labels).all()
    length = (model.image.head(torch.from_numpy(features)).square().sum(1)).mean().item()
    assert 0.1 * DIM < length < 2 * DIM
    # Three discriminants tell four classes apart; the other dimensions can still learn.
    lengths = model.image.head.weight.detach().norm(dim=1)
    assert lengths[3:].max() < lengths[:3].min()
    assert lengths.all()


def test_rows_without_a_label_do_not_count(rows):
    features, texts, labels = rows
    twice = np.r_[labels, np.full(100, -1)]
    alone, more = model_of(), model_of()
    start_from_labels(alone, batches_of(features, texts, labels), CLASSES)
    start_from_labels(more, batches_of(np.r_[features, features + 9], np.r_[texts, texts + 1], twice), CLASSES)
    for name, value in alone.state_dict().items():
        torch.testing.assert_close(more.state_dict()[name], value, rtol=1e-3, atol=1e-4)


def test_a_single_class_is_refused(rows):
    features, texts, labels = rows
    with pytest.raises(UsageError, match="fewer than two classes"):
        start_from_labels(model_of(), batches_of(features, texts, np.zeros_like(labels)), CLASSES)
