import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import average_precision_score

from openmofi.dataset import DatasetSettings, build_dataset
from openmofi.errors import OpenMofiError
from openmofi.plugins.audit.audit import audit
from openmofi.schema import TRUTH
from openmofi.storage import write_table


def truth_rows(world):
    return {(row["shard"], row["key"]): row for row in pq.read_table(world.truth).to_pylist() if row["entity"]}


def label_rows(world):
    for shard in world.shards:
        for row in pq.read_table(world.labels / "labels" / f"{shard.name}.parquet").to_pylist():
            yield (shard.name, row["key"]), row


def best_of_mentions(row):
    best = {}
    for entity in row["entities"]:
        score = (entity["link_score"], entity["prior"])
        if entity["mention"] not in best or score > best[entity["mention"]][0]:
            best[entity["mention"]] = (score, entity["entity"])
    return {entity for _, entity in best.values()}


def figures(world, chosen, wanted=lambda truth: True):
    """accepted, correct, named, found by dictionaries; `chosen(row)` gives a row's labels."""
    rows, truth = dict(label_rows(world)), truth_rows(world)
    counts = [0, 0, 0, 0]
    for pair, known in truth.items():
        if wanted(known):
            labels = chosen(rows[pair])
            counts[0] += len(labels)
            counts[1] += known["entity"] in labels
            counts[2] += known["named"]
            counts[3] += known["named"] and known["entity"] in labels
    return counts


def accepted(row):
    return {entity["entity"] for entity in row["entities"] if entity["accepted"]}


def four(found):
    return [found.accepted, found.correct, found.named, found.found]


@pytest.fixture(scope="module")
def result(world):
    return audit(world.labels, world.truth)


def test_overall_and_groups_equal_the_plain_way(world, result):
    assert four(result.overall.labels) == figures(world, accepted)
    assert four(result.overall.text_only) == figures(world, best_of_mentions)
    assert result.overall.labels.precision == result.overall.labels.correct / result.overall.labels.accepted
    assert set(result.groups) == {"domain", "ambiguous", "split", "detector"}
    for group in ("domain", "ambiguous", "split"):
        for value, beside in result.groups[group].items():

            def wanted(truth, group=group, value=value):
                return str(truth[group]).lower() == value

            assert four(beside.labels) == figures(world, accepted, wanted)
            assert four(beside.text_only) == figures(world, best_of_mentions, wanted)


def test_by_detector_counts_the_labels_that_it_found(world, result):
    assert set(result.groups["detector"]) == {"gazetteer", "spacy"}
    for detector, beside in result.groups["detector"].items():

        def of_detector(row, detector=detector):
            return {
                entity["entity"]
                for entity in row["entities"]
                if entity["accepted"] and row["mentions"][entity["mention"]]["detector"] == detector
            }

        assert four(beside.labels) == figures(world, of_detector)


@pytest.mark.parametrize(("curve", "score"), [("curve", "probability"), ("text_only_curve", "link_score")])
def test_curves_equal_the_plain_way(world, result, curve, score):
    truth, found, correct, scores = truth_rows(world), 0, [], []
    for pair, row in label_rows(world):
        best = {}
        for entity in row["entities"]:
            best[entity["entity"]] = max(best.get(entity["entity"], 0), entity[score])
        if pair in truth:
            correct += [entity == truth[pair]["entity"] for entity in best]
            scores += list(best.values())
            found += truth[pair]["named"] and truth[pair]["entity"] in best
    named = sum(row["named"] for row in truth.values())
    measured = getattr(result, curve)
    assert measured.recall[-1] == pytest.approx(found / named)
    # Every correct entity of this world is named, so scikit-learn's figure differs by the recall that can be reached.
    assert sum(correct) == found
    assert measured.average_precision == pytest.approx(average_precision_score(correct, scores) * found / named)


def test_the_jobs_own_point_lies_on_the_curve_where_only_the_threshold_decided(result):
    precision, threshold = result.curve.at_recall(result.overall.labels.recall)
    assert precision == pytest.approx(result.overall.labels.precision, abs=0.01)
    assert threshold == pytest.approx(0.5, abs=0.01)


def test_another_selector_stands_beside_at_the_same_recall(world, result, tmp_path):
    other = audit(world.labels, world.truth, split="train")
    rows = result.compare({"other": other})
    assert list(rows) == ["labels", "text_only", "other"]
    assert rows["labels"]["at_recall"] == result.at_recall()["labels"] == result.curve.at_recall(0.75)[0]
    assert rows["other"]["at_own_recall"] == other.curve.at_recall(result.overall.labels.recall)[0]
    assert rows["text_only"]["at_recall"] < rows["labels"]["at_recall"]


def test_a_split_is_audited_alone(world, result):
    found = audit(world.labels, world.truth, split="train")
    assert four(found.overall.labels) == four(result.groups["split"]["train"].labels)
    assert list(found.groups["split"]) == ["train"]
    with pytest.raises(OpenMofiError, match="no pair of the split 'test'"):
        audit(world.labels, world.truth, split="test")


def test_pairs_of_unknown_truth_are_counted_apart(world, result):
    assert (result.rows, result.unmatched) == (240, 12)
    assert result.overall.labels.pairs == 228


def test_a_dataset_is_audited_by_what_it_keeps(world, result, tmp_path):
    build_dataset(world.labels, tmp_path / "all", DatasetSettings(1, None, None), report=False)
    found = audit(tmp_path / "all", world.truth)
    assert found.overall.labels == result.overall.labels
    assert (found.curve, found.calibration, found.overall.text_only) == (None, None, None)
    build_dataset(world.labels, tmp_path / "some", DatasetSettings(20, None, None), report=False)
    some = audit(tmp_path / "some", world.truth).overall.labels
    assert some.recall < result.overall.labels.recall
    assert some.named == result.overall.labels.named


def test_the_result_is_plain_json_and_repeatable(world, result):
    plain = json.loads(json.dumps(result.as_dict(), allow_nan=False))
    assert plain["overall"]["labels"]["precision"] == result.overall.labels.precision
    assert plain == json.loads(json.dumps(audit(world.labels, world.truth).as_dict()))


def edited(world, tmp_path, change):
    table = pq.read_table(world.truth)
    write_table(tmp_path / "truth.parquet", pa.Table.from_pylist(change(table.to_pylist()), TRUTH))
    return tmp_path / "truth.parquet"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda rows: [{**row, "shard": "x"} for row in rows], "knows none of the labelled shards: it has e.g. 'x'"),
        (lambda rows: rows + rows[:1], "names a pair twice"),
    ],
)
def test_a_truth_that_does_not_fit_is_said(world, tmp_path, change, said):
    with pytest.raises(OpenMofiError, match=said):
        audit(world.labels, edited(world, tmp_path, change))


def test_a_file_that_is_no_truth_is_said(world, tmp_path):
    (tmp_path / "t.parquet").write_text("key,entity")
    with pytest.raises(OpenMofiError, match=r"cannot be read.*the truth has the columns"):
        audit(world.labels, tmp_path / "t.parquet")
    with pytest.raises(OpenMofiError, match=r"cannot be read.*the truth has the columns"):
        audit(world.labels, world.labels / "labels" / f"{world.shards[0].name}.parquet")


def test_a_mention_that_the_row_does_not_have_is_damage(rows, small_labels, world, tmp_path):
    bad = rows.label_row("k", "apple", "labelled", [], [rows.judgement("a", 3, 0.9, True, "accepted")])
    labels = small_labels({"pairs-000": [bad]})
    with pytest.raises(OpenMofiError, match="the labels are damaged"):
        audit(labels, world.truth)
