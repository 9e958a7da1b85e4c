"""Which rows a start in closed form is computed of: all, or so many that are drawn by class."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy.stats import chisquare

import openmofi.plugins.closed_form_start as start_module
import openmofi.training.run as run_module

from .small_runs import trained

ROWS, CLASSES = 43, 6


@pytest.fixture
def started(make, monkeypatch, tmp_path):
    """The rows that the start of a run of these settings sees."""
    true = start_module.start_from_labels

    def rows(batch_size=12):
        seen = []

        def watched(model, batches, classes):
            kept = list(batches)
            seen.extend(np.concatenate([batch["row"].numpy() for batch in kept]).tolist())
            return true(model, kept, classes)

        monkeypatch.setattr(start_module, "start_from_labels", watched)
        recipe = make("exact", locked=True, run={"steps": 1, "checkpoint_every": 1})
        data = replace(recipe.data, batch_size=batch_size)
        recipe = replace(recipe, data=data, model=replace(recipe.model, start="labels"))
        out = tmp_path / f"run-{len(list(tmp_path.iterdir()))}"
        trained(recipe, out)
        counted = list(seen)
        trained(recipe, out, resume=True)
        assert seen == counted  # once a run
        return counted

    return rows


def test_few_rows_are_all_seen(started):
    assert set(started()) == set(range(ROWS))


def test_of_many_rows_those_of_rare_classes_are_as_likely_as_by_the_root_of_their_count(started, dataset, monkeypatch):
    monkeypatch.setattr(run_module, "_STARTED_ON", 40)
    rows = started(batch_size=4000)
    shards = sorted(Path(dataset, "images").glob("*.parquet"))
    labels = [row for shard in shards for row in pq.read_table(shard, columns=["classes"])["classes"].to_pylist()]
    counts = np.bincount([label for row in labels for label in row], minlength=CLASSES)
    weights = np.sqrt(counts[counts > 0])
    of_class = np.zeros(CLASSES)
    of_class[counts > 0] = weights / weights.sum() / counts[counts > 0]
    expected = np.array([of_class[row].sum() for row in labels]) * len(rows)
    found = np.bincount(rows, minlength=ROWS)
    assert len(rows) == 4000
    assert chisquare(found, expected).pvalue > 0.01
    assert chisquare(found, np.full(ROWS, len(rows) / ROWS)).pvalue < 1e-6
