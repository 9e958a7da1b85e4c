from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from openmofi.engine import LocalEngine, Quiet
from openmofi.storage import expand_shards
from openmofi.training.log import Unwatched
from openmofi.training.recipe.rules import load_recipe
from openmofi.training.run import train
from studies import recipe_path
from studies.comparison import BEST, RetrievalValues, compared_run
from studies.reinforced import CONTRASTIVE, MULTI_TASK, REINFORCED, STUDENTS, reinforced_metrics, run_reinforced
from studies.reinforced_figures import (
    TEACHER_ROWS,
    ReplayedSample,
    goal_cells,
    reinforced_report,
    replayed_samples,
)
from studies.training import TrainingRun
from studies.world.encoder import PARTIAL_LABELS
from studies.world.world_settings import world_settings

ENTITIES = np.repeat([f"e{number}" for number in range(20)], 3)


def measured(value: float) -> RetrievalValues:
    precision = np.full((1, len(ENTITIES)), value)
    return RetrievalValues(
        {
            "map_incl_query": precision,
            "map_excl_query": precision,
            "zero_shot": (np.arange(len(ENTITIES)) < value * len(ENTITIES)).astype(float)[None],
        },
        ENTITIES,
    )


def metrics_of(**values: float) -> dict:
    scores = {CONTRASTIVE: 0.3, MULTI_TASK: 0.35, REINFORCED: 0.4, "reinforced_contrastive": 0.45} | values
    return reinforced_metrics(
        {name: measured(value) for name, value in scores.items()},
        {name: measured(0.5) for name in (BEST, PARTIAL_LABELS)},
    )


def test_students_differ_in_objectives_and_texts_alone() -> None:
    recipes = {name: load_recipe(recipe_path(recipe)) for name, recipe in STUDENTS.items()}
    plain = recipes[CONTRASTIVE]
    for recipe in recipes.values():
        assert (recipe.model, recipe.optimizer, recipe.run) == (plain.model, plain.optimizer, plain.run)
        assert recipe.data.batch_size == plain.data.batch_size
        assert recipe.data.augment == plain.data.augment
        assert recipe.data.sampler == plain.data.sampler


@pytest.mark.parametrize(
    ("reinforced", "met"),
    [(0.361, (True, True)), (0.359, (False, True)), (0.35, (False, False)), (0.2, (False, False))],
)
def test_goals_are_a_fifth_above_contrastive_and_more_than_multi_task(reinforced: float, met: tuple) -> None:
    metrics = metrics_of(reinforced=reinforced)
    assert tuple(goal["met"] for goal in metrics["goals"].values()) == met
    assert metrics["relative"] == metrics["goals"]["over_contrastive"]["found"] == pytest.approx(reinforced / 0.3 - 1)
    assert metrics["goals"]["over_multi_task"]["found"] == pytest.approx(reinforced - 0.35)
    assert [row[-1] == "met" for row in goal_cells(metrics)] == list(met)


def test_every_student_has_its_figures_and_is_compared() -> None:
    metrics = metrics_of()
    assert metrics[REINFORCED]["map_excl_query"] == pytest.approx(0.4)
    assert metrics[REINFORCED]["zero_shot"] == pytest.approx(0.4)
    assert set(metrics["differences"]) == {
        f"{ours}_over_{theirs}"
        for ours in (REINFORCED, "reinforced_contrastive")
        for theirs in (CONTRASTIVE, MULTI_TASK)
    }
    differences = metrics["differences"]["reinforced_contrastive_over_contrastive"]
    assert differences["map_excl_query"]["gain"] == pytest.approx(0.5)
    assert differences["zero_shot"]["difference"] == pytest.approx(0.15)
    assert metrics["teachers"][BEST]["map_excl_query"] == pytest.approx(0.5)


def test_the_report_holds_goals_students_teachers_and_samples() -> None:
    scale = {
        "spec": "run:x",
        "scale": 14.7,
        "scale_from": "tuned",
        "own_scale": 22.8,
        "tuned": {"cross_entropy": 4.6, "accuracy": 0.17, "pairs": 99},
    }
    metrics = metrics_of()
    metrics["teachers"] = {name: figures | scale for name, figures in metrics["teachers"].items()}
    metrics["training"] = {
        name: {"steps": 9, "images_seen": 1152, "lr": 2e-3, "images_per_s": 99.0, "known": None} for name in STUDENTS
    }
    fidelity = {"fp16": {"kl": 1e-7, "absolute": 2e-6}, "int8": {"kl": 1e-4, "absolute": 2e-4}}
    metrics["store"] = {
        "precision": "fp16",
        "rows": 1234,
        "status": {"ok": 1230, "not_in_dataset": 4},
        "bytes_per_sample": 8526,
        "own_texts": 7,
        "fidelity_samples": 64,
        "settings": {"augmentations": 5, "captions": 2, "size": 64},
        "fidelity": dict.fromkeys(TEACHER_ROWS, fidelity),
    }
    metrics["seconds"] = {"students": 61.0, "total": 61.0}
    sample = ReplayedSample(
        "a <b> text", ("a photo of a sun",), "data:image/jpeg;base64,AA", ("data:image/png;base64,B",)
    )
    page = reinforced_report(metrics, [sample])
    assert page == reinforced_report(metrics, [sample])
    for wanted in (
        "≥ +20.0%",
        "above 0",
        "met",
        "+33.3%",
        "1,152",
        "14.7",
        "fp16 (stored)",
        "1.00e-04",
        "8,526",
        "1,230 of 1,234 pages",
        "a &lt;b&gt; text",
        "data:image/png;base64,B",
        "img-src data:",
        "<svg",
    ):
        assert wanted in page


def train_here(runs: Sequence[TrainingRun], progress: Quiet) -> None:
    """One after the other in this process; how they are trained side by side has tests of its own."""
    for run in runs:
        train(run.recipe, run.out, resume=True, watcher=Unwatched(), progress=progress)


@pytest.mark.slow
@pytest.mark.xdist_group("demo")
def test_the_whole_benchmark_runs_once(
    sources: Path, lent_demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("studies.reinforced.train_side_by_side", train_here)
    monkeypatch.setattr("studies.reinforced.engine_named", lambda name: LocalEngine())
    monkeypatch.setattr("studies.reinforced.AUGMENTATIONS", 2)
    monkeypatch.setattr("studies.reinforced._PAIRS", 64)
    few = ("optimizer.warmup=1", "model.dim=16")
    train_here([compared_run(lent_demo, BEST, overrides=("run.steps=4", "data.batch_size=32", *few))], Quiet())
    overrides = ("run.steps=2", "data.batch_size=16", "data.workers=0", "model.image.size=32", *few)

    def run() -> dict:
        return json.loads(
            json.dumps(
                run_reinforced(tmp_path, lent_demo, Quiet(), overrides=overrides, settings=world_settings(None, 60))
            )
        )

    metrics = run()
    assert set(STUDENTS) <= set(metrics)
    assert {run["images_seen"] for run in metrics["training"].values()} == {32}
    assert all(0 < metrics[name]["map_excl_query"] < 1 and 0 <= metrics[name]["zero_shot"] <= 1 for name in STUDENTS)
    assert set(metrics["teachers"]) == set(metrics["store"]["fidelity"]) == set(TEACHER_ROWS)
    assert all(teacher["scale"] >= 5 for teacher in metrics["teachers"].values())
    assert metrics["training"][REINFORCED]["known"] == 1.0
    assert metrics["training"][CONTRASTIVE]["known"] is None
    samples = replayed_samples(tmp_path / "store", expand_shards([str(lent_demo / "world/pages/train")]), 2)
    assert len(samples) == 2
    for sample in samples:
        assert len(sample.augmentations) == 2
        assert sample.texts not in ((), (sample.text,))
        assert sample.image.startswith("data:image/jpeg")
    page = (tmp_path / "report.html").read_text("utf-8")
    assert page.count("data:image/png") == 2 * page.count("data:image/jpeg") > 0
    made = sorted(tmp_path.glob("students/*/encoder/*")) + sorted(tmp_path.glob("store/samples/*"))
    before = [path.stat().st_mtime_ns for path in made]
    again = run()
    assert {**again, "seconds": 0} == {**metrics, "seconds": 0}
    assert [path.stat().st_mtime_ns for path in made] == before
