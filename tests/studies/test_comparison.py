from __future__ import annotations

import json
import shlex
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import typer
from scipy import stats
from typer.testing import CliRunner

from openmofi.engine import LocalEngine, Quiet
from openmofi.plugins.benchmarks.compare import compare_results
from studies import paper
from studies.comparison import (
    BASELINE,
    BEST,
    GOALS,
    RECIPES,
    ROWS,
    UNTRAINED,
    RetrievalValues,
    compare_encoders,
    full_section,
    gain_sentence,
    print_comparison,
    run_comparison,
)
from studies.training import ProgressWatcher
from studies.world.demo import page_command

OVERRIDES = ("run.steps=4", "data.batch_size=32", "optimizer.warmup=1", "model.dim=16", "model.nested=[]")


class Counting(Quiet):
    def __init__(self) -> None:
        self.stages: list[tuple[str, int]] = []
        self.steps = 0

    def begin(self, stage: str, total: int) -> None:
        self.stages.append((stage, total))

    def advance(self, counts: dict) -> None:
        self.steps += 1


def test_seeds_are_joined_and_their_spread_is_in_the_interval() -> None:
    entities = np.array(["a", "a", "b", "b"])
    runs = [
        RetrievalValues(
            {
                "map_incl_query": np.full((1, 4), x),
                "map_excl_query": np.array([[x, np.nan, x, x]]),
                "zero_shot": np.full((1, 4), x > 0.5, float),
            },
            entities,
        )
        for x in (0.2, 0.6)
    ]
    joined = RetrievalValues.joined(runs)
    assert joined.values["map_incl_query"] == pytest.approx(np.repeat([[0.2], [0.6]], 4, axis=1))
    means = joined.figures()
    assert means["map_excl_query"] == pytest.approx(0.4)
    assert means["zero_shot"] == pytest.approx(0.5)
    expected = stats.ttest_1samp([0.2, 0.6], 0.0).confidence_interval()
    assert means["map_excl_query_interval"] == pytest.approx(list(expected))


def test_without_texts_there_is_no_zero_shot_figure() -> None:
    run = RetrievalValues({"map_incl_query": np.ones((1, 2)), "map_excl_query": np.ones((1, 2))}, np.array(["a", "b"]))
    assert RetrievalValues.joined([run, run]).figures()["zero_shot"] is None


def test_a_resumed_run_counts_the_steps_that_are_left() -> None:
    progress = Counting()
    watcher = ProgressWatcher(progress, "multi-task 0")
    watcher.begin(100, 40)
    watcher.log(70, {})
    watcher.log(100, {})
    assert progress.stages == [("multi-task 0", 60)]
    assert progress.steps == 60


def figures(value: float) -> dict:
    edges = [value - 0.01, value + 0.01]
    return {
        "map_excl_query": value,
        "map_excl_query_interval": edges,
        "map_incl_query": value,
        "map_incl_query_interval": edges,
        "zero_shot": None,
        "zero_shot_interval": None,
    }


@pytest.mark.parametrize(("gain", "verdict"), [(0.151, "met"), (0.149, "missed")])
def test_the_report_says_whether_the_goal_is_met(gain: float, verdict: str) -> None:
    retrieval = {name: figures(0.3 + 0.05 * number) for number, name in enumerate(ROWS)}
    retrieval["gain"] = {BEST: {"gain": gain, "gain_interval": (gain - 0.02, gain + 0.02)}}
    assert gain_sentence(retrieval).endswith(f"{verdict}).")
    section = full_section(retrieval)
    assert "<svg" in str(section.body)
    assert "0.350" in str(section.body)


def test_the_terminal_shows_labels_beside_their_goals_and_encoders(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    retrieval = {name: figures(0.3) for name in ROWS} | {"gain": {BEST: {"gain": 0.2, "gain_interval": (0.1, 0.3)}}}
    labels = {name.removeprefix("labels."): 0.85 for name in GOALS} | {"heldout_ambiguous_precision": None}
    monkeypatch.setattr("studies.comparison.print_paper", lambda metrics: print(metrics["runs"], "runs"))
    metrics = {"labels": labels, "paper": {"runs": 56}, "retrieval_full": retrieval, "seconds": {"total": 61.0}}
    print_comparison(Path("demo"), metrics)
    lines = capsys.readouterr().out.splitlines()
    rows = {line.split()[0]: line.split()[1:] for line in lines if line.startswith("labels.")}
    assert rows["labels.precision"] == ["0.850", "≥", "0.90", "missed"]
    assert rows["labels.recall"] == ["0.850", "≥", "0.75", "met"]
    assert rows["labels.heldout_ambiguous_precision"] == ["–", "≥", "0.80", "missed"]
    assert "56 runs" in lines
    assert any("multi-task (MOFI)" in line and "0.300" in line for line in lines)
    assert lines[-2] == "61 s in all; report: demo/report.html"
    assert lines[-1] == f"search, review and look at it: {page_command(Path('demo'))}"


def check_page_command(shown: str, root: Path) -> None:
    """What it names is there, it builds an index of the demo's labels, and that is what is served."""
    from openmofi.cli.main import app
    from openmofi.search import Index

    build, serve = (shlex.split(part) for part in shown.split("&&"))
    assert build[1:4] == ["index", "build", str(root / "labels")]
    assert Path(build[3]).is_dir()
    assert Path(build[build.index("--encoder") + 1].removeprefix("run:")).is_dir()
    done = CliRunner().invoke(app, build[1:])
    assert done.exit_code == 0, done.output
    assert serve[1:] == ["serve", build[-1], "--open"]
    assert Index.open(serve[2]).info().labels > 0
    # All of its options are known.
    command = typer.main.get_command(app).get_command(None, "serve")
    assert command.make_context("serve", serve[2:]).params["index"] == serve[2]


@pytest.mark.slow
@pytest.mark.xdist_group("demo")
def test_the_comparison_trains_each_method_once(lent_demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from studies.world.demo import run_demo
    from studies.world.world_settings import world_settings

    monkeypatch.setattr(paper, "METHODS", {name: paper.METHODS[name] for name in (BASELINE, "head_start")})
    monkeypatch.setattr(paper, "RATES", paper.RATES[:1])
    monkeypatch.setattr(paper, "SEEDS", (0, 1))
    demo = run_demo(lent_demo, Quiet(), settings=world_settings(None, 60))
    check_page_command(page_command(lent_demo), lent_demo)
    assert "Figures and goals" not in (lent_demo / "report.html").read_text("utf-8")
    metrics = run_comparison(lent_demo, Quiet(), engine=LocalEngine(), overrides=OVERRIDES)
    figures = metrics["paper"]
    assert (figures["runs"], figures["seeds"], figures["changes"]) == (2 * (2 + 2), [0, 1], list(OVERRIDES))
    assert all(0 < row["map"]["mean"] < 1 and 0 <= row["zero_shot"]["mean"] <= 1 for row in figures["methods"].values())
    assert [(row["over"], row["method"]) for row in figures["pairs"]["map"]] == [*combinations(paper.METHODS, 2)]
    tables = {path: path.stat().st_mtime_ns for path in (lent_demo / "paper/runs").iterdir()}
    assert len(tables) == 2 * (2 + 2)
    again = run_comparison(lent_demo, Quiet(), engine=LocalEngine(), overrides=OVERRIDES)
    assert json.dumps(again["paper"]) == json.dumps(figures)
    assert tables == {path: path.stat().st_mtime_ns for path in (lent_demo / "paper/runs").iterdir()}
    written = json.loads((lent_demo / "metrics.json").read_text("utf-8"))
    assert written == json.loads(json.dumps(again))
    assert {name: value for name, value in again.items() if name != "seconds"} == json.loads(
        json.dumps({name: value for name, value in demo.items() if name != "seconds"} | {"paper": figures})
    )
    assert set(metrics["seconds"]) == {*demo["seconds"], "training"}
    page = (lent_demo / "report.html").read_text("utf-8")
    titles = (
        "Against the truth",
        "Methods, tuned alike",
        "Every pair: mAP",
        "How each",
        "Figures and goals",
        "Seconds",
    )
    assert sorted(titles, key=page.index) == list(titles)
    assert "seconds.training" in page


@pytest.mark.slow
@pytest.mark.xdist_group("demo")
def test_encoders_that_are_trained_end_to_end_are_trained_once(
    lent_demo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("studies.comparison.SEEDS", (0,))
    monkeypatch.setattr("studies.comparison.RECIPES", {name: RECIPES[name] for name in (BASELINE, BEST)})
    overrides = ("run.steps=4", "data.batch_size=32", "optimizer.warmup=1", "model.dim=16")
    progress = Counting()
    retrieval = compare_encoders(lent_demo, progress, overrides=overrides)
    assert ("train", 4 * 2) in progress.stages
    assert set(retrieval) == {UNTRAINED, BASELINE, BEST, "gain"}
    assert all(
        0 < retrieval[name]["map_excl_query"] < retrieval[name]["map_incl_query"] < 1
        for name in (UNTRAINED, BASELINE, BEST)
    )
    assert 0 <= retrieval[BASELINE]["zero_shot"] <= 1
    weights = lent_demo / "training-full/multi_task/seed-0/encoder"
    before = {path: path.stat().st_mtime_ns for path in weights.iterdir()}
    again = Counting()
    assert json.dumps(compare_encoders(lent_demo, again, overrides=overrides)) == json.dumps(retrieval)
    assert ("train", 0) in again.stages
    assert before == {path: path.stat().st_mtime_ns for path in weights.iterdir()}
    compared = compare_results(sorted(lent_demo.glob("evaluation-full/*/*.json")))
    assert [len(one.results) for one in compared] == [3]
    headline = {result.encoder["spec"]: result.metrics[result.headline] for result in compared[0].results}
    assert headline[f"run:{weights}"] == retrieval[BEST]["map_excl_query"]
