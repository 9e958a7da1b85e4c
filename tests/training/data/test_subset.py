"""Fewer rows, and surer labels."""

import pickle
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from openmofi.engine import Quiet
from openmofi.errors import UsageError
from openmofi.training.data import open_data
from openmofi.training.data.plan import RepeatPlan, members_of, members_of_classes
from openmofi.training.model.towers import ModelInputs
from openmofi.training.recipe import DataSettings, EvaluateSettings


@pytest.fixture
def opened(dataset, encoder, tmp_path):
    def open_with(seed=0, evaluate=None, **changes):
        settings = replace(DataSettings(str(dataset), batch_size=8), **changes)
        return open_data(
            settings, ModelInputs(None, encoder), seed=seed, cache=tmp_path, progress=Quiet(), evaluate=evaluate
        )

    return open_with


def rows_of(data, steps=30):
    return np.concatenate([batch["row"].numpy() for batch in data.batches(0, steps)])


def test_fewer_rows_are_a_part_of_more_and_each_comes_once_an_epoch(opened):
    whole = opened()
    assert whole.trained == whole.rows == 43
    seen = [set(rows_of(data).tolist()) for data in (opened(limit=5), opened(limit=20), opened(limit=43), whole)]
    assert [len(rows) for rows in seen] == [5, 20, 43, 43]
    assert seen[0] < seen[1] < seen[2]
    assert seen[1] != set(rows_of(opened(seed=1, limit=20)).tolist())
    few = opened(limit=20)
    assert few.trained == 20
    assert sorted(rows_of(few, 5)[:20].tolist()) == sorted(seen[1])


@pytest.mark.parametrize("sampler", ["instance", "class-balanced", "repeat-factor"])
def test_labels_that_are_not_sure_enough_are_as_if_they_were_not_there(opened, sampler):
    least = 0.6
    everything = opened().sources.rows.take(np.arange(43), ["classes", "scores"])
    sure = [
        [label for label, score in zip(*row, strict=True) if np.float32(score) >= np.float32(least)]
        for row in zip(everything["classes"].to_pylist(), everything["scores"].to_pylist(), strict=True)
    ]
    data = opened(min_probability=least, sampler=sampler, max_labels=3)
    assert data.class_counts.tolist() == np.bincount([label for row in sure for label in row], minlength=6).tolist()
    assert data.trained == sum(map(bool, sure))
    for batch in data.batches(0, 40):
        for row, labels, weights in zip(batch["row"], batch["labels"], batch["label_weights"], strict=True):
            assert [label for label in labels.tolist() if label >= 0] == sure[row]
            assert sure[row]
            assert all(weights[: len(sure[row])] >= np.float32(least))
    assert set(rows_of(data, 200).tolist()) == {row for row, labels in enumerate(sure) if labels}


def test_what_is_held_out_may_stay_when_the_seed_of_the_run_changes(opened):
    evaluate = EvaluateSettings(every=1, loss=True, held_out=0.3)
    first, second = (opened(seed=seed, evaluate=replace(evaluate, seed=7)) for seed in (0, 1))
    assert first.held_out.rows.tolist() == second.held_out.rows.tolist()
    assert opened(seed=1, evaluate=evaluate).held_out.rows.tolist() != first.held_out.rows.tolist()
    limited = opened(seed=1, evaluate=replace(evaluate, seed=7), limit=9, min_probability=0.4)
    assert set(rows_of(limited).tolist()).isdisjoint(limited.held_out.rows.tolist())
    assert limited.trained == 9


def test_what_leaves_nothing_is_refused(opened):
    with pytest.raises(UsageError, match="min_probability is 1, which leaves no row"):
        opened(min_probability=1.0)
    with pytest.raises(UsageError, match="limit is 44, and there are 43 rows"):
        opened(limit=44)


@pytest.mark.parametrize("sampler", ["instance", "sqrt", "repeat-factor"])
@pytest.mark.parametrize("held_out_by", ["row", "class"])
def test_rows_are_found_once_and_mapped_afterwards(opened, tmp_path, monkeypatch, sampler, held_out_by):
    evaluate = EvaluateSettings(every=1, loss=True, held_out=0.4, held_out_by=held_out_by)
    first = opened(evaluate=evaluate, sampler=sampler, min_probability=0.3)
    made = sorted((tmp_path / "subsets").glob("*.arrow"))
    assert len(made) == 3
    with monkeypatch.context() as patch:
        patch.setattr("openmofi.training.data.subset.labels_of", None)
        patch.setattr("openmofi.training.data.subset._lowest", None)
        patch.setattr("openmofi.training.data.rows.DatasetRows.batch", None)
        again = opened(evaluate=evaluate, sampler=sampler, min_probability=0.3)
        again.sources.plan.rows(0)
    assert np.array_equal(again.held_out.rows, first.held_out.rows)
    assert np.array_equal(rows_of(again), rows_of(first))
    assert not np.isin(rows_of(again), again.held_out.rows).any()
    assert (again.trained, again.class_counts.tolist()) == (first.trained, first.class_counts.tolist())
    # Workers get the path, and no array.
    assert len(pickle.dumps(again.sources.plan)) < 2000
    assert np.array_equal(pickle.loads(pickle.dumps(again.sources.plan)).rows(5), first.sources.plan.rows(5))
    for changes in ({"seed": 1}, {"min_probability": 0.2}, {"evaluate": replace(evaluate, held_out=0.5)}):
        before = set((tmp_path / "subsets").glob("*.arrow"))
        opened(**{"evaluate": evaluate, "sampler": sampler, "min_probability": 0.3, **changes})
        assert set((tmp_path / "subsets").glob("*.arrow")) > before


def test_labels_in_parts_are_those_of_the_whole():
    draw = np.random.default_rng(0)
    rows, classes = np.sort(draw.integers(0, 50, 200)), draw.integers(0, 9, 200)
    cuts = [0, *np.searchsorted(rows, [11, 11, 40]).tolist(), 200]
    parts = [(rows[start:stop], classes[start:stop]) for start, stop in pairwise(cuts)]
    counts = np.bincount(classes, minlength=10)
    for one, other in zip(members_of(parts, counts), members_of_classes(rows, classes, 10), strict=True):
        assert np.array_equal(one, other)
    offsets, members = members_of(parts, counts)
    assert all(
        members[offsets[number] : offsets[number + 1]].tolist() == rows[classes == number].tolist()
        for number in range(10)
    )
    plans = [RepeatPlan.of(labels, counts, 50, 0.3, 8, 0) for labels in (parts, [(rows, classes)])]
    assert np.array_equal(plans[0].edges, plans[1].edges)
    assert np.array_equal(plans[0].numbers, plans[1].numbers)
