import numpy as np
import pytest
import torch
from clusters import clusters, normalise

from openmofi.errors import OpenMofiError, UsageError
from openmofi.evaluation.metrics.ranking import nearest_neighbours

CLASSES = 12


def reference(train, labels, queries, ks, temperature):
    """dinov2/eval/knn.py, KnnModule.forward, written as a loop: top max(k), softmax over them, sums of the first k."""
    answers = {k: [] for k in ks}
    one_hot = torch.nn.functional.one_hot(labels, CLASSES).float()
    for query in queries:
        similarities, places = (train @ query).topk(max(ks), largest=True, sorted=True)
        votes = one_hot[places] * torch.softmax(similarities / temperature, 0)[:, None]
        for k in ks:
            answers[k].append(int(votes[:k].sum(0).argmax()))
    return answers


@pytest.mark.parametrize(("ks", "temperature"), [((10, 20, 100, 200), 0.07), ((1, 3), 1.0), ((50,), 0.01)])
@pytest.mark.parametrize("block_bytes", [1, 1 << 20])
def test_it_is_dinov2s(ks, temperature, block_bytes):
    embeddings, labels = clusters([30] * CLASSES, spread=2.0)
    train, queries, of = embeddings[:260], embeddings[260:], labels[:260]
    found = nearest_neighbours(train, of, queries, k=ks, temperature=temperature, block_bytes=block_bytes)
    expected = reference(torch.from_numpy(train), torch.from_numpy(of), torch.from_numpy(queries), ks, temperature)
    assert {k: answers.tolist() for k, answers in found.answers.items()} == expected
    accuracy = [(answers == labels[260:]).mean() for answers in found.answers.values()]
    assert 0.2 < min(accuracy) <= max(accuracy) < 1
    assert found.rows.shape == found.similarities.shape == (100, max(ks))


def test_equal_votes_go_to_the_first_class():
    train = normalise(np.ones((4, 3)))
    assert nearest_neighbours(train, [2, 1, 1, 2], train[:1], k=(4,)).answers[4].tolist() == [1]


def test_bad_input():
    train = normalise(np.random.default_rng(0).standard_normal((50, 8)))
    with pytest.raises(UsageError, match=r"k=200 neighbours is more than the 50 training images.*k=10,20"):
        nearest_neighbours(train, np.zeros(50), train)
    with pytest.raises(OpenMofiError, match="query embeddings are not L2-normalised"):
        nearest_neighbours(train, np.zeros(50), 2 * train, k=(5,))
    with pytest.raises(UsageError, match="temperature above 0"):
        nearest_neighbours(train, np.zeros(50), train, k=(5,), temperature=0.0)
