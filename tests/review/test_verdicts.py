import json

import numpy as np
import pytest

from openmofi.errors import OpenMofiError
from openmofi.review.verdicts import probability_basis, read_verdicts, require_same_basis

STRATA = [
    {"name": "below", "accepted": False, "labels": 100},
    {"name": "low", "accepted": True, "labels": 60},
    {"name": "high", "accepted": True, "labels": 40},
]
STEP = {"threshold": 0.5, "labels": 100, "earlier": [{"judged": 5, "right": 4}]}
PLAN = {"target": 0.9, "confidence": 0.9, "steps": [STEP], "least": 0.5, "top_k": 5, "sibling_margin": 0.0}
SETTINGS = {"encoder": "x", "kb": "y", "shards": [], "adapt": False, "selection": {"threshold": 0.8, "template": "t"}}
INPUTS = {"00000": "abc", "/kb": "k", "/encoder": "e"}


def content(said, **changes):
    rows = [
        {
            "shard": "00000",
            "key": f"{number}",
            "entity": "e",
            "probability": 0.9,
            "verdict": verdict,
            "stratum": stratum,
        }
        for number, (verdict, stratum) in enumerate(said)
    ]
    return {
        "kind": "openmofi-verdicts",
        "version": 1,
        "labels": "l",
        "basis": probability_basis(SETTINGS, INPUTS),
        "encoder": "e",
        "kb": "k",
        "by": ["probability"],
        "seed": 0,
        "sample": 200,
        "strata": STRATA,
        "verdicts": rows,
        **changes,
    }


@pytest.fixture
def read(tmp_path):
    def read(value):
        path = tmp_path / "verdicts.json"
        path.write_text(value if isinstance(value, str) else json.dumps(value))
        return read_verdicts(path)

    return read


def test_a_verdict_stands_for_the_labels_of_its_stratum(read):
    verdicts = read(content([("y", 0), ("n", 0), ("y", 1), ("y", 1), ("u", 1), ("n", 1), ("y", 2), ("n", 2)]))
    np.testing.assert_array_equal(verdicts.weights, [50, 50, 20, 20, 20, 20, 20])
    np.testing.assert_array_equal(verdicts.right, [True, False, True, True, False, True, False])
    assert verdicts.unsure == 1


@pytest.mark.parametrize(
    ("said", "weights"),
    [
        ([("y", 0), ("y", 0), ("y", 1), ("y", 1), ("n", 2)], [50, 50, 100 / 3, 100 / 3, 100 / 3]),
        ([("y", 0), ("y", 1), ("n", 2)], [100, 50, 50]),
        ([("y", 2)], [100]),
    ],
)
def test_a_stratum_of_one_verdict_is_joined_to_its_neighbour_of_the_same_side(read, said, weights):
    np.testing.assert_allclose(read(content(said)).weights, weights)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("", "cannot be read as verdicts"),
        (json.dumps(content([("y", 0)]))[:-30], "cannot be read as verdicts"),
        ("[1, 2]", "cannot be read as verdicts"),
        ("{}", "missing required field `kind`"),
        (content([("y", 0)], kind="other"), "cannot be read as verdicts"),
        (content([("maybe", 0)]), "Invalid enum value 'maybe'"),
        (content([]), "no verdict yes or no"),
        (content([("u", 0)]), r"no verdict yes or no \(1 unsure\)"),
        (content([("y", 3)]), "a verdict of the stratum 3"),
        (content([("y", 0)], verdicts=2 * content([("y", 0)])["verdicts"]), "judged twice"),
        (
            content([("y", 0)], verdicts=[{**content([(word, 0)])["verdicts"][0]} for word in "yn"]),
            "the entity 'e' of the key '0' in the shard '00000' twice, 'y' and 'n'",
        ),
        (content([("y", 0)] * 101), "more verdicts than labels"),
        (content([("y", 0)], plan={**PLAN, "steps": []}), "length >= 1"),
        (content([("y", 0)], plan={**PLAN, "steps": [STEP, {**STEP, "earlier": []}]}), "earlier looks saw"),
        (content([("y", 0)], plan={**PLAN, "steps": [{**STEP, "labels": 2}]}), "earlier looks saw"),
    ],
)
def test_a_damaged_file_is_refused_in_a_sentence(read, value, says):
    with pytest.raises(OpenMofiError, match=says) as error:
        read(value)
    assert "verdicts.json" in error.value.message
    assert error.value.hint


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(OpenMofiError, match="cannot be read as verdicts"):
        read_verdicts(tmp_path / "nothing.json")


@pytest.mark.parametrize(
    ("settings", "inputs", "says"),
    [
        ({}, {"/encoder": "f"}, r"another encoder \(e, here f\)"),
        ({}, {"/kb": "z"}, r"another knowledge base"),
        ({"adapt": True}, {}, "other pairs or other settings"),
        ({}, {"00000": "abd"}, "other pairs or other settings"),
        ({"selection": {"threshold": 0.8, "template": "u"}}, {}, "other pairs or other settings"),
    ],
)
def test_verdicts_of_other_labels_are_refused(read, settings, inputs, says):
    with pytest.raises(OpenMofiError, match=says):
        require_same_basis(read(content([("y", 0)])), SETTINGS | settings, INPUTS | inputs)


def test_another_threshold_or_place_leaves_probabilities_as_they_are(read):
    moved = SETTINGS | {
        "shards": [{"name": "00000", "path": "/elsewhere"}],
        "kb": "z",
        "selection": {"template": "t", "threshold": 0.5, "target_precision": 0.95},
    }
    # Nothing is raised.
    assert require_same_basis(read(content([("y", 0)])), moved, INPUTS | {"/verdicts": "v"}) is None
