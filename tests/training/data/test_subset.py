"""Fewer rows, and surer labels."""

from dataclasses import replace

import numpy as np
import pytest

from openmofi.engine import Quiet
from openmofi.errors import UsageError
from openmofi.training.data import open_data
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
