import numpy as np
import pytest
from clusters import clusters, naive_precisions, normalise, signs
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from openmofi.errors import OpenMofiError
from openmofi.evaluation import evaluate_retrieval
from openmofi.evaluation.metrics.ranking import CosineIndex

SIZES = [1, 1, 2, 3, 5, 8, 10, 10, 10, 40]


@pytest.mark.parametrize("seed", range(3))
def test_both_conventions_equal_their_definitions(seed):
    embeddings, labels = clusters(SIZES, seed=seed)
    incl, excl = naive_precisions(embeddings, labels)
    result = evaluate_retrieval(embeddings, labels, resamples=10)
    np.testing.assert_allclose(result.ap_incl_query, incl, atol=1e-9)
    np.testing.assert_allclose(result.ap_excl_query, excl, atol=1e-9)
    assert result.map_incl_query == pytest.approx(incl.mean(), abs=1e-9)
    assert result.map_excl_query == pytest.approx(np.nanmean(excl), abs=1e-9)
    assert result.queries_without_positives == np.isnan(excl).sum() == 2
    assert (result.images, result.classes) == (90, 10)


def test_official_gpr1200_formula_on_classes_of_ten():
    embeddings, labels = clusters([10] * 30, spread=2.0)
    total = 0.0
    for query in range(300):
        order = np.argsort(-(embeddings @ embeddings[query]), kind="stable")
        ranks = [rank for rank, row in enumerate(order, 1) if labels[row] == labels[query]]
        total += sum(i / rank for i, rank in enumerate(ranks, 1)) / 10
    assert evaluate_retrieval(embeddings, labels, resamples=10).map_incl_query == pytest.approx(total / 300, abs=1e-9)


def test_worked_example():
    # Angles on a circle: from 0° the order is 0, 10 (other), 25, 60 (other).
    angles = np.deg2rad([0, 10, 25, 60])
    embeddings = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    result = evaluate_retrieval(embeddings, ["a", "b", "a", "b"], resamples=10)
    np.testing.assert_allclose(result.ap_incl_query, [5 / 6, 3 / 4, 5 / 6, 5 / 6])
    np.testing.assert_allclose(result.ap_excl_query, [1 / 2, 1 / 3, 1 / 2, 1 / 2])
    assert dict(result.recall_at_excl_query) == {1: 0.0, 5: 1.0, 10: 1.0}


@pytest.mark.parametrize("seed", range(3))
def test_ties_go_by_index_order(seed):
    embeddings, labels = signs(150, seed), np.random.default_rng(seed).integers(0, 12, 150)
    incl, excl = naive_precisions(embeddings, labels)
    result = evaluate_retrieval(embeddings, labels, resamples=10, block_bytes=4 * 150 * 7)
    np.testing.assert_allclose(result.ap_incl_query, incl, atol=1e-12)
    np.testing.assert_allclose(result.ap_excl_query, excl, atol=1e-12)


def test_equal_embeddings_get_equal_scores_wherever_they_stand():
    draw = np.random.default_rng(0)
    embeddings = normalise(draw.standard_normal((1003, 512)))
    twins = draw.choice(1003, 300, replace=False)
    embeddings[twins] = embeddings[twins[0]]
    for _, scores in CosineIndex.of(embeddings).blocks(embeddings, 4 * 1003 * 77):
        assert (scores[:, twins] == scores[:, twins[:1]]).all()


def test_a_collapsed_encoder_ranks_by_index():
    embeddings, labels = np.tile(normalise(np.ones((1, 24))), (90, 1)), clusters(SIZES)[1]
    result = evaluate_retrieval(embeddings, labels, resamples=10)
    for query, label in enumerate(labels):
        ranks = np.flatnonzero(labels == label) + 1
        assert result.ap_incl_query[query] == pytest.approx(np.mean(np.arange(1, len(ranks) + 1) / ranks))


@pytest.mark.parametrize("block_bytes", [1, 4 * 90 * 7, 1 << 30])
def test_the_block_size_changes_nothing(block_bytes):
    embeddings, labels = clusters(SIZES)
    one, other = (
        evaluate_retrieval(embeddings, labels, block_bytes=size, resamples=50) for size in (4 * 90 * 16, block_bytes)
    )
    np.testing.assert_array_equal(one.ap_incl_query, other.ap_incl_query)
    assert one.as_dict() == other.as_dict()


def test_without_the_query_it_is_scikit_learns_average_precision():
    embeddings, labels = clusters(SIZES)
    result = evaluate_retrieval(embeddings, labels, resamples=10)
    for query in np.flatnonzero(~np.isnan(result.ap_excl_query)):
        others = np.arange(90) != query
        expected = average_precision_score(labels[others] == labels[query], embeddings[others] @ embeddings[query])
        assert result.ap_excl_query[query] == pytest.approx(expected, abs=1e-9)


def test_torchmetrics_agrees_where_all_scores_are_positive():
    # torchmetrics counts scores ≤ 0 as not relevant, so cosines are moved above 0; queries without positives: skip.
    import torch
    from torchmetrics.retrieval import RetrievalMAP

    embeddings, labels = clusters(SIZES)
    scores = torch.from_numpy(embeddings @ embeddings.T) + 2
    same = torch.from_numpy(labels[:, None] == labels)
    query = torch.arange(90)[:, None].expand(90, 90)
    result = evaluate_retrieval(embeddings, labels, resamples=10)
    incl = RetrievalMAP()(scores.flatten(), same.flatten(), indexes=query.flatten())
    others = ~torch.eye(90, dtype=torch.bool)
    excl = RetrievalMAP(empty_target_action="skip")(scores[others], same[others], indexes=query[others])
    assert result.map_incl_query == pytest.approx(float(incl), abs=1e-6)
    assert result.map_excl_query == pytest.approx(float(excl), abs=1e-6)


def test_pytorch_metric_learning_agrees():
    # `mean_average_precision` with k = all leaves the query out and divides by its positives; lone ones are skipped.
    import torch
    from pytorch_metric_learning.distances import CosineSimilarity
    from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
    from pytorch_metric_learning.utils.inference import CustomKNN

    embeddings, labels = clusters(SIZES)
    calculator = AccuracyCalculator(
        include=("mean_average_precision", "precision_at_1"), k=89, knn_func=CustomKNN(CosineSimilarity())
    )
    found = calculator.get_accuracy(torch.from_numpy(embeddings), torch.from_numpy(labels))
    result = evaluate_retrieval(embeddings, labels, resamples=10)
    assert result.map_excl_query == pytest.approx(found["mean_average_precision"], abs=1e-6)
    assert result.recall_at_excl_query[1] == pytest.approx(found["precision_at_1"], abs=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.lists(st.integers(1, 6), min_size=2, max_size=8).filter(lambda sizes: max(sizes) > 1))
def test_neither_order_nor_rotation_nor_names_change_the_figures(seed, sizes):
    embeddings, labels = clusters(sizes, dim=8, seed=seed)
    draw = np.random.default_rng(seed)
    order, turn = draw.permutation(len(labels)), np.linalg.qr(draw.standard_normal((8, 8)))[0]
    names = np.array([f"class {7 * label % 11}" for label in labels])
    one = evaluate_retrieval(embeddings, labels, resamples=10)
    other = evaluate_retrieval(normalise(embeddings[order] @ turn), names[order], resamples=10)
    np.testing.assert_allclose(other.ap_incl_query, one.ap_incl_query[order], atol=1e-12)
    np.testing.assert_allclose(other.ap_excl_query, one.ap_excl_query[order], atol=1e-12)
    assert 0 < one.map_excl_query <= 1


def test_chance_level_is_that_of_the_reference():
    # About .11 with the query in the index and .01 without; here on a fourth of GPR1200's size.
    embeddings = normalise(np.random.default_rng(0).standard_normal((3000, 64)))
    result = evaluate_retrieval(embeddings, np.arange(3000) // 10, resamples=10)
    assert 0.10 < result.map_incl_query < 0.13
    assert 0.003 < result.map_excl_query < 0.02


def test_the_matrix_of_scores_is_never_held():
    import tracemalloc

    embeddings, labels = clusters([10] * 200)
    tracemalloc.start()
    evaluate_retrieval(embeddings, labels, resamples=10, block_bytes=1 << 20)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5 << 20 < 2000 * 2000 * 4


def test_perfect_embeddings():
    labels = np.arange(60) // 6
    result = evaluate_retrieval(np.eye(10, dtype=np.float32)[labels], labels, resamples=10)
    assert result.map_incl_query == result.map_excl_query == result.recall_at_excl_query[1] == 1.0
    assert result.map_excl_query_interval == (1.0, 1.0)


def test_figures_are_plain_values():
    import json

    embeddings, labels = clusters(SIZES)
    figures = evaluate_retrieval(embeddings, labels, recall_at=(4, 1)).as_dict()
    assert json.loads(json.dumps(figures)) == figures
    assert {"map_incl_query", "map_excl_query", "recall_at_1_excl_query", "recall_at_4_excl_query"} < set(figures)
    low, high = figures["map_excl_query_interval"]
    assert low < figures["map_excl_query"] < high


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda e, y: (2 * e, y), "90 of 90 embeddings are not L2-normalised: row 0 has the length 2"),
        (lambda e, y: (np.where(np.arange(90)[:, None] == 3, np.nan, e), y), "row 3 has the length nan"),
        (lambda e, y: (e, y[:-1]), "90 embeddings, and labels of the shape"),
        (lambda e, y: (e, np.arange(90)), "No class has two images"),
        (lambda e, y: (e[:0], y[:0]), "must be"),
        (lambda e, y: (e[0], y), "must be"),
    ],
)
def test_bad_input_is_one_clear_sentence(change, message):
    with pytest.raises(OpenMofiError, match=message):
        evaluate_retrieval(*change(*clusters(SIZES)))
