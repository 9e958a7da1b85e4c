import numpy as np
import pytest
from scipy.optimize import check_grad
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import normalize

from openmofi.errors import OpenMofiError, UsageError
from openmofi.plugins.protocols.linear import LinearSettings, split_train
from openmofi.plugins.protocols.linear_probe import Split, _loss, choose_l2, fit_probe


@pytest.fixture(scope="module")
def digits():
    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.target))
    features = normalize(data.data).astype(np.float32)[order]
    return features, data.target[order].astype(np.int64)


@pytest.mark.slow
@pytest.mark.parametrize("l2", [0.01, 1.0, 100.0])
def test_it_is_scikit_learns_logistic_regression(digits, l2):
    features, labels = digits
    ours = fit_probe(features[:1000], labels[:1000], 10, l2, tolerance=1e-5)
    theirs = LogisticRegression(C=1 / l2, max_iter=2000, tol=1e-6).fit(features[:1000], labels[:1000])
    assert ours.converged
    agree = abs((ours.predict(features[1000:]) == labels[1000:]).mean() - theirs.score(features[1000:], labels[1000:]))
    assert agree <= 0.003
    # Probabilities, since weights are only fixed up to what all classes share.
    logits = ours.logits(features[1000:])
    ours_share = np.exp(logits - logits.max(1, keepdims=True))
    ours_share /= ours_share.sum(1, keepdims=True)
    np.testing.assert_allclose(ours_share, theirs.predict_proba(features[1000:]), atol=0.02)


@pytest.mark.slow
def test_the_search_is_as_good_as_scikit_learns_grid(digits):
    features, labels = digits
    train, validation, test = slice(0, 800), slice(800, 1200), slice(1200, None)
    sweep = choose_l2((features[train], labels[train]), (features[validation], labels[validation]), 10)
    grid = {
        c: LogisticRegression(C=c, max_iter=2000).fit(features[train], labels[train]) for c in 10.0 ** np.arange(-4, 6)
    }
    best = max(grid.values(), key=lambda model: model.score(features[validation], labels[validation]))
    assert max(sweep.tried.values()) >= best.score(features[validation], labels[validation]) - 0.003
    assert sweep.tried[sweep.best] == max(sweep.tried.values())
    assert len(sweep.tried) >= 7 + 2
    ours = fit_probe(features[:1200], labels[:1200], 10, sweep.best)
    theirs = LogisticRegression(C=1 / sweep.best, max_iter=5000).fit(features[:1200], labels[:1200])
    assert (
        abs((ours.predict(features[test]) == labels[test]).mean() - theirs.score(features[test], labels[test])) <= 0.003
    )


@pytest.mark.parametrize(("count", "seed"), [(40, 0), (200, 1), (800, 2)])
def test_each_step_of_the_search_is_as_good_as_a_fit_from_zeros(count, seed):
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, 5, 2 * count)
    features = normalize(draw.standard_normal((2 * count, 16)) + 0.8 * np.eye(5, 16)[labels]).astype(np.float32)
    train, held = (features[:count], labels[:count]), (features[count:], labels[count:])
    tried = choose_l2(train, held, 5).tried
    assert len(tried) > 10
    for l2, accuracy in tried.items():
        theirs = LogisticRegression(C=1 / l2, max_iter=5000).fit(*train)
        # One image, or a hundredth: where little holds the weights back, both stop somewhere in a flat valley.
        assert accuracy == pytest.approx(theirs.score(*held), abs=max(0.01, 1.01 / count)), l2


def test_the_gradient_is_the_losss():
    draw = np.random.default_rng(0)
    features, labels = draw.standard_normal((40, 5)).astype(np.float32), draw.integers(0, 3, 40)
    flat = draw.standard_normal(18)

    def loss(values):
        return _loss(values.reshape(6, 3), features, labels, 0.7)

    assert check_grad(lambda x: loss(x)[0], lambda x: loss(x)[1], flat, epsilon=1e-3) < 1e-2


def test_blocks_of_rows_change_nothing(digits, monkeypatch):
    features, labels = digits
    whole = fit_probe(features[:300], labels[:300], 10, 1.0)
    monkeypatch.setattr("openmofi.plugins.protocols.linear_probe._ROWS", 64)
    np.testing.assert_allclose(fit_probe(features[:300], labels[:300], 10, 1.0).weights, whole.weights, atol=2e-2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, y: (x, y[:-1]), "do not fit labels"),
        (lambda x, y: (x, y + 1), "Labels run from"),
        (lambda x, y: (x * np.nan, y), "not finite"),
    ],
)
def test_bad_input_is_one_clear_sentence(digits, change, message):
    with pytest.raises(OpenMofiError, match=message):
        fit_probe(*change(*digits), 10, 1.0)
    with pytest.raises(UsageError, match="shots"):
        LinearSettings(shots=-1)


def split(counts):
    labels = np.repeat(np.arange(len(counts)), counts)
    return Split(np.arange(len(labels), dtype=np.float32)[:, None], labels)


def test_validation_images_are_drawn_from_each_class_and_never_trained_on():
    train, validation = split_train(split([10, 20, 5]), None, LinearSettings())
    assert np.bincount(validation.labels).tolist() == [2, 4, 1]
    assert np.bincount(train.labels).tolist() == [8, 16, 4]
    assert not set(train.features[:, 0]) & set(validation.features[:, 0])
    again = split_train(split([10, 20, 5]), None, LinearSettings())[0]
    np.testing.assert_array_equal(again.features, train.features)
    other = split_train(split([10, 20, 5]), None, LinearSettings(seed=1))[0]
    assert not np.array_equal(other.features, train.features)


def test_few_shots():
    train, validation = split_train(split([10, 20]), None, LinearSettings(shots=2))
    assert np.bincount(train.labels).tolist() == np.bincount(validation.labels).tolist() == [2, 2]
    given = split([9, 9])
    train, validation = split_train(split([10, 20]), given, LinearSettings(shots=8))
    assert np.bincount(train.labels).tolist() == [8, 8]
    assert np.bincount(validation.labels).tolist() == [4, 4]
    train, validation = split_train(split([10, 20]), given, LinearSettings())
    assert (len(train.labels), validation) == (30, given)
    with pytest.raises(OpenMofiError, match="A class has 10 training images; training and validation need 12"):
        split_train(split([10, 20]), None, LinearSettings(shots=8))
