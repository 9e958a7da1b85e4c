"""The comparison of methods, without training: what is tried, chosen, tested and shown."""

from __future__ import annotations

from itertools import chain, combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmofi.plugins.benchmarks.by_t import difference_by_t
from studies import paper
from studies.size.values import Values
from studies.world.demo import demo_settings


def values(mean: float, seed: int) -> Values:
    draw = np.random.default_rng(seed)
    of = {
        "map": np.clip(mean + 0.05 * draw.standard_normal((3, 120)), 0, 1),
        "zero_shot": (draw.random((3, 120)) < mean).astype(float),
    }
    return Values(of, np.repeat([f"e{number}" for number in range(30)], 4), {"cpu_seconds": 1.0, "pairs": 9})


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list:
    """Stands in for training: every run is recorded, and has values by its method and rate."""
    asked: list = []

    def do(given, engine, progress) -> list[Values]:
        asked.extend(given)
        names = [run.name.removeprefix("tune-").rpartition("-")[0] for run in given]
        return [
            values(0.3 + 0.05 * list(paper.METHODS).index(name) + 150 * run.recipe.optimizer.lr, number)
            for number, (name, run) in enumerate(zip(names, given, strict=True))
        ]

    monkeypatch.setattr(paper, "do_runs", do)
    return asked


def test_methods_are_tuned_alike_and_every_pair_is_tested(runs, tmp_path: Path, capsys) -> None:
    metrics = paper.run_paper(tmp_path, tmp_path / "demo", None, engine=None, overrides=["run.steps=60"])
    tuning = [run for run in runs if run.name.startswith("tune-")]
    final = [run for run in runs if not run.name.startswith("tune-")]
    assert len(tuning) == 4 * len(paper.METHODS)
    assert len(final) == 3 * len(paper.METHODS)
    # No choice sees what is reported; what is reported trains on all training entities.
    assert all(run.benchmark is None and run.recipe.run.evaluate.held_out_by == "class" for run in tuning)
    assert len({(run.recipe.run.evaluate.seed, run.recipe.run.evaluate.held_out) for run in tuning}) == 1
    assert all(run.benchmark is not None and not run.recipe.run.evaluate.every for run in final)
    assert {run.recipe.run.steps for run in runs} == {60}
    assert all(found["chosen"][0] == "optimizer.lr=2e-3" for found in metrics["tuning"].values())
    assert {run.recipe.optimizer.lr for run in final} == {2e-3}
    for metric in ("map", "zero_shot"):
        rows = metrics["pairs"][metric]
        assert [(row["over"], row["method"]) for row in rows] == list(combinations(paper.METHODS, 2))
        assert [row["p_holm"] for row in rows] == paper.holm([row["p_value"] for row in rows])
        assert all(row["p_holm"] >= row["p_value"] for row in rows)
    page = (tmp_path / "report.html").read_text()
    assert page.count("<table") == 4
    assert f"{metrics['methods']['multi_task_mixed']['map']['mean']:.3f}" in page
    assert "run.steps=60" in page
    paper.print_paper(metrics)
    assert "56 runs" in capsys.readouterr().out


def test_a_pair_is_compared_image_by_image_over_the_same_seeds() -> None:
    ours, theirs = values(0.5, 0), values(0.45, 1)
    (row,) = paper.tested({"b": theirs, "a": ours}, "map")
    expected = difference_by_t(ours.of["map"], theirs.of["map"], ours.entity)
    assert (row["method"], row["over"]) == ("a", "b")
    assert row["difference_interval"] == list(expected.difference_interval)


@pytest.mark.parametrize("name", paper.METHODS)
def test_each_point_of_a_grid_is_a_recipe_of_its_own_with_a_text_side(name: str, tmp_path: Path) -> None:
    shared = demo_settings(tmp_path)
    recipes = [paper.recipe_of(name, [*shared, *point], 2) for point in paper.METHODS[name].grid]
    assert len({(recipe.optimizer.lr, recipe.model, recipe.objectives) for recipe in recipes}) == 4
    assert all(recipe.run.seed == 2 and recipe.model.text.spec.startswith("encoder:") for recipe in recipes)
    assert {recipe.data.batch_size for recipe in recipes} == {512}


@given(st.lists(st.sampled_from([0.001, 0.004, 0.01, 0.013, 0.02, 0.04, 0.05, 0.3, 1.0]), max_size=6))
def test_holms_p_values_are_those_of_the_closed_test(p_values):
    """A hypothesis falls when every set that it is in falls by Bonferroni (Marcus, Peritz and Gabriel 1976)."""
    rows = range(len(p_values))
    sets = list(chain.from_iterable(combinations(rows, size) for size in range(1, len(p_values) + 1)))
    expected = [
        max(min(1.0, len(each) * min(p_values[i] for i in each)) for each in sets if row in each) for row in rows
    ]
    assert paper.holm(p_values) == pytest.approx(expected)
