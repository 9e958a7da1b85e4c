"""Trackers, with the real libraries where they are installed: what they read back is what a run logged."""

import json
import math
import sys
from types import ModuleType, SimpleNamespace

import pytest

from openmofi.errors import MissingExtraError, UsageError
from openmofi.training import log as tracking
from openmofi.training.log import NUMBERS, RunLog, Tracked, read_log
from openmofi.training.recipe.rules import load_recipe

SETTINGS = {"optimizer.lr": 0.5, "run.steps": 3}


def logged(folder, tracker, steps, *, resume_step=0, offset=0.0):
    said = []
    log = RunLog(Tracked(folder, "small", settings=SETTINGS, resume_step=resume_step), [tracker], said.append)
    for step in steps:
        log.log(step, {"loss": step + offset, "held_out/loss/a": 1.0, "norm": math.nan})
    log.close(finished=steps[-1] == 40)
    assert not said


def test_mlflow_reads_back_a_run_that_was_resumed(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    mlflow = pytest.importorskip("mlflow")
    logged(tmp_path, "mlflow", [10, 20])
    client = mlflow.MlflowClient(tracking_uri=(tmp_path / "mlflow").as_uri())
    experiment = client.get_experiment_by_name("openmofi").experiment_id
    assert [run.info.status for run in client.search_runs(experiment)] == ["KILLED"]
    logged(tmp_path, "mlflow", [30, 40], resume_step=20)
    (run,) = client.search_runs(experiment)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "small")
    assert run.data.params == {"optimizer.lr": "0.5", "run.steps": "3"}
    history = client.get_metric_history(run.info.run_id, "loss")
    assert sorted((one.step, one.value) for one in history) == [(10, 10), (20, 20), (30, 30), (40, 40)]
    assert "norm" not in run.data.metrics
    assert run.data.metrics["held_out/loss/a"] == 1.0
    logged(tmp_path, "mlflow", [10])
    assert len(client.search_runs(experiment)) == 2


@pytest.mark.slow
def test_wandb_offline_holds_what_was_logged(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    logged(tmp_path, "wandb", [10, 20])
    wandb.teardown()  # its service writes on after a run has ended
    number = json.loads((tmp_path / NUMBERS).read_text())["wandb"]
    (path,) = (tmp_path / "wandb").glob(f"offline-run-*-{number}/*.wandb")
    data = path.read_bytes()
    assert b"held_out/loss/a" in data
    assert b"optimizer.lr" in data
    assert b"norm" not in data


def test_trackio_is_told_everything_under_one_name(tmp_path, monkeypatch):
    calls = []
    module = ModuleType("trackio")
    module.init = lambda **named: (
        calls.append(named)
        or SimpleNamespace(log=lambda values, step: calls.append((step, values)), finish=lambda: calls.append("end"))
    )
    monkeypatch.setitem(sys.modules, "trackio", module)
    logged(tmp_path, "trackio", [10])
    logged(tmp_path, "trackio", [20], resume_step=10)
    assert [call for call in calls if isinstance(call, tuple)] == [
        (10, {"loss": 10, "held_out/loss/a": 1}),
        (20, {"loss": 20, "held_out/loss/a": 1}),
    ]
    first, second = (call for call in calls if isinstance(call, dict))
    assert first == second
    assert first["config"] == SETTINGS
    assert calls.count("end") == 2


@pytest.mark.parametrize("name", ["mlflow", "trackio", "wandb"])
def test_one_that_is_not_installed_is_named_with_its_extra(tmp_path, monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match=rf"\[{name}\]"):
        RunLog(Tracked(tmp_path), [name])


def test_one_that_fails_does_not_end_the_run(tmp_path, monkeypatch):
    class Gone:
        def __init__(self, run):
            self.closed = 0

        def log(self, step, scalars):
            raise ConnectionError("no route to the server")

        def close(self, *, finished):
            raise AssertionError("it is not asked again")

    monkeypatch.setattr(tracking, "extension", lambda group, name: Gone)
    said = []
    log = RunLog(Tracked(tmp_path), ["mlflow"], said.append)
    for step in (1, 2):
        log.log(step, {"loss": 1.0})
    log.close()
    assert said == ["The tracker mlflow failed and gets no more: no route to the server. log.jsonl has everything."]
    assert [line["step"] for line in read_log(tmp_path)] == [1, 2]


def test_one_that_nobody_adds_is_refused_before_a_run_begins():
    with pytest.raises(UsageError, match=r"Unknown tracker 'neptune'.*Use tensorboard, mlflow, trackio, wandb"):
        load_recipe("clip_vit_b16", ["run.trackers=[neptune]"])
