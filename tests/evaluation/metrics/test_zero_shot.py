import numpy as np
import pytest
from clusters import clusters, normalise, signs
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, balanced_accuracy_score, top_k_accuracy_score

from openmofi.errors import OpenMofiError, UsageError
from openmofi.evaluation import class_embeddings, evaluate_zero_shot

CLASSES = 20


def images_and_classes(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    images, labels = clusters([4] * CLASSES, spread=1.5, seed=seed)
    centres = np.stack([images[labels == c].mean(0) for c in range(CLASSES)])
    return images, labels, normalise(centres + np.random.default_rng(seed).normal(0, 0.3, centres.shape))


def embed(texts) -> np.ndarray:
    """Not normalised, and another row for every text."""
    return np.stack([np.random.default_rng(list(text.encode())).standard_normal(8) * len(text) for text in texts])


def test_class_embeddings_follow_the_definition():
    names, templates = ["cat", "dog {x}", "a%s"], ["a photo of a {}.", "{name}, drawn", "{}"]
    expected = []
    for name in names:
        each = [embed([text])[0] for text in (f"a photo of a {name}.", f"{name}, drawn", name)]
        mean = np.mean([vector / np.linalg.norm(vector) for vector in each], axis=0)
        expected.append(mean / np.linalg.norm(mean))
    np.testing.assert_allclose(class_embeddings(names, templates, embed), expected, atol=1e-6)


def test_texts_are_embedded_in_parts(monkeypatch):
    names, sizes = [f"name {number}" for number in range(50)], []

    def counted(texts):
        sizes.append(len(texts))
        return embed(texts)

    whole = class_embeddings(names, ["{}", "the {}"], embed)
    monkeypatch.setattr("openmofi.evaluation.metrics.zero_shot._TEXTS_PER_BLOCK", 15)
    np.testing.assert_array_equal(class_embeddings(names, ["{}", "the {}"], counted), whole)
    assert max(sizes) <= 15
    assert sum(sizes) == 100


@pytest.mark.parametrize("block_bytes", [1, 1 << 20])
def test_figures_are_scikit_learns(block_bytes):
    images, labels, classes = images_and_classes()
    scores = images @ classes.T
    result = evaluate_zero_shot(images, labels, classes, resamples=50, block_bytes=block_bytes)
    assert 0.2 < result.accuracy < 0.95
    assert result.accuracy == pytest.approx(accuracy_score(labels, scores.argmax(1)))
    assert result.accuracy_top5 == pytest.approx(top_k_accuracy_score(labels, scores, k=5))
    assert result.mean_class_accuracy == pytest.approx(balanced_accuracy_score(labels, scores.argmax(1)))
    assert result.class_accuracy[3] == pytest.approx((scores.argmax(1) == 3)[labels == 3].mean())
    low, high = result.accuracy_interval
    assert low < result.accuracy == result.correct.mean() < high


def test_ties_go_to_the_first_class():
    images, classes = signs(200, 1), signs(15, 2)
    labels = np.random.default_rng(0).integers(0, 15, 200)
    order = np.argsort(-(images @ classes.T), axis=1, kind="stable")
    expected = (order == labels[:, None]).argmax(1) + 1
    np.testing.assert_array_equal(evaluate_zero_shot(images, labels, classes, resamples=10).rank, expected)


def test_classes_of_one_name_never_share_a_rank():
    images, labels, classes = images_and_classes()
    doubled = np.concatenate([classes, classes])
    first = evaluate_zero_shot(images, labels, doubled, resamples=10)
    second = evaluate_zero_shot(images, labels + CLASSES, doubled, resamples=10)
    np.testing.assert_array_equal(second.rank, first.rank + 1)
    assert np.isnan(first.class_accuracy[CLASSES:]).all()
    assert second.accuracy == 0.0


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_the_order_of_images_and_classes_does_not_matter(seed):
    images, labels, classes = images_and_classes(seed)
    draw = np.random.default_rng(seed)
    rows, order = draw.permutation(len(labels)), draw.permutation(CLASSES)
    place = np.argsort(order)
    one = evaluate_zero_shot(images, labels, classes, resamples=10)
    other = evaluate_zero_shot(images[rows], place[labels[rows]], classes[order], resamples=10)
    np.testing.assert_array_equal(other.rank, one.rank[rows])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda i, y, c: (i, y, 3 * c), "text embeddings are not L2-normalised"),
        (lambda i, y, c: (i, y, normalise(c[:, :5])), "do not compare"),
        (lambda i, y, c: (i, y.astype(float), c), "one integer for each image"),
        (lambda i, y, c: (i, y - 1, c), "Labels run from -1 to 18"),
        (lambda i, y, c: (i, y, c[:4]), "Labels run from 0 to 19, and there are 4 classes"),
    ],
)
def test_bad_input_is_one_clear_sentence(change, message):
    with pytest.raises(OpenMofiError, match=message):
        evaluate_zero_shot(*change(*images_and_classes()))


@pytest.mark.parametrize("template", ["a photo", "{kind}", "{", "{0} {1}"])
def test_bad_templates(template):
    with pytest.raises(UsageError, match="template"):
        class_embeddings(["cat"], [template], embed)
    with pytest.raises(UsageError, match="at least one"):
        class_embeddings(["cat"], [], embed)
