"""What a head has learned of each class: neighbours by brute force, collapsed classes, bands."""

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from openmofi.evaluation.bands import by_band, thirds_of
from openmofi.objectives.margin_softmax import MarginSoftmax
from openmofi.objectives.objective_settings import MarginSoftmaxSettings
from openmofi.training.evaluators import class_vectors, described


def test_neighbours_are_those_of_all_pairs_and_collapsed_classes_are_named():
    draw = np.random.default_rng(0)
    vectors = draw.standard_normal((12, 8))
    vectors[7] = vectors[3] + 0.01 * draw.standard_normal(8)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    counts = np.array([9, 4, 0, 30, 2, 2, 1, 5, 8, 20, 3, 6])
    accuracy = np.full(12, 0.5, np.float32)
    accuracy[9], accuracy[6] = 0.01, np.nan
    names = [f"c{number}" for number in range(12)]
    found = described(class_vectors(torch.tensor(vectors), 8), accuracy, counts, names)
    assert {row["class"] for row in found["collapsed"]} == {3, 7, 9}
    assert found["collapsed_classes"] == 3
    assert [row["images"] for row in found["collapsed"]] == [30, 20, 5]
    assert [row["class"] for row in found["neighbours"]] == [3, 9, 0, 8, 11, 7, 1, 10, 4, 5, 6]
    for row in found["neighbours"]:
        others = sorted(
            ((unit[row["class"]] @ unit[other], other) for other in range(12) if other not in (row["class"], 2)),
            reverse=True,
        )[:5]
        assert [one["name"] for one in row["nearest"]] == [f"c{other}" for _, other in others]
        assert [one["cosine"] for one in row["nearest"]] == pytest.approx([cosine for cosine, _ in others], abs=1e-4)
    bands = found["bands"]
    assert [bands[name]["classes"] for name in ("head", "middle", "tail")] == [4, 4, 3]
    assert (bands["head"]["images"], bands["head"]["collapsed"]) == (30 + 20 + 9 + 8, 2)
    assert bands["head"]["accuracy"] == pytest.approx((0.5 * 3 + 0.01) / 4, abs=1e-4)
    assert bands["tail"]["accuracy"] == 0.5


def test_too_many_classes_to_compare_have_bands_alone():
    found = described(None, np.full(3, 0.5, np.float32), np.array([3, 2, 1]), ["a", "b", "c"])
    assert (found["compared"], found["neighbours"], found["collapsed"]) == (0, [], [])
    assert described(torch.eye(1), np.zeros(1, np.float32), np.array([3]), ["a"])["collapsed_classes"] == 1


def test_sub_centres_are_one_direction():
    rows = torch.randn(3, 2 * 5, generator=torch.Generator().manual_seed(1))
    for row, vector in zip(rows, class_vectors(rows, 5), strict=True):
        centres = [normalize(row[start : start + 5], dim=0) for start in (0, 5)]
        assert torch.allclose(vector, normalize(centres[0] + centres[1], dim=0))


def test_recent_accuracy_is_a_moving_mean_of_answers():
    head = MarginSoftmax(
        3, 2, MarginSoftmaxSettings(implementation="exact", margin=0.0), seed=0, counts=torch.tensor([5, 5, 5])
    )
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]))
    image = torch.tensor([[1.0, 0.0], [1.0, 0.1], [1.0, 0.0]])
    labels = torch.tensor([[0], [0], [1]])
    head({"image": normalize(image, dim=1)}, {"labels": labels})
    assert head.recent[:2].tolist() == [1.0, 0.0]
    assert head.recent[2].isnan()
    head({"image": normalize(-image, dim=1)}, {"labels": labels})
    # Two images of class 0, each with a tenth of the weight.
    assert head.recent[0] == pytest.approx(0.9 * 0.9)
    head.eval()
    head({"image": normalize(image, dim=1)}, {"labels": labels})
    assert head.recent[0] == pytest.approx(0.9 * 0.9)
    assert torch.equal(head.state_dict()["recent"].nan_to_num(-1), head.recent.nan_to_num(-1))


def test_bands_of_rows():
    bands = thirds_of(np.array([7, 7, 1, 4]), np.array([0, 5, 0, 0, 2, 99, 0, 9]))
    assert bands.tolist() == [0, 0, 1, 2]
    assert by_band(np.array([1.0, np.nan, 0.5, np.nan]), bands) == {"head": 1.0, "middle": 0.5}
    assert by_band(np.array([True, False, True, False]), bands) == {"head": 0.5, "middle": 1.0, "tail": 0.0}
