"""The log of a run: JSON lines and TensorBoard's events, and what is cut away when a run goes on."""

import json
import math
import sys

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.summary.writer import event_file_writer

from openmofi.errors import MissingExtraError
from openmofi.training.log import LOG, TENSORBOARD, RunLog, Tracked, Unwatched, read_log
from openmofi.training.loop import Meter


@pytest.fixture(autouse=True)
def uid(monkeypatch):
    """TensorBoard sorts files of one second and process by a count, as text: from 9 to 10 the order would turn."""
    monkeypatch.setattr(event_file_writer, "_global_uid", event_file_writer.AtomicCounter(0))


def logged(folder, steps, *, resume_step=0, offset=0.0):
    log = RunLog(Tracked(folder, resume_step=resume_step))
    for step in steps:
        log.log(step, {"loss": step + offset, "loss/contrastive": 1.0})
    log.close()


def events(folder, tag="loss"):
    accumulator = EventAccumulator(str(folder / TENSORBOARD))
    accumulator.Reload()
    return [(event.step, event.value) for event in accumulator.Scalars(tag)]


def test_lines_and_events_hold_the_scalars(tmp_path):
    logged(tmp_path, [10, 20])
    assert (tmp_path / LOG).read_text() == (
        '{"step": 10, "loss": 10.0, "loss/contrastive": 1.0}\n{"step": 20, "loss": 20.0, "loss/contrastive": 1.0}\n'
    )
    assert events(tmp_path) == [(10, 10.0), (20, 20.0)]
    assert events(tmp_path, "loss/contrastive") == [(10, 1.0), (20, 1.0)]


def test_a_resumed_run_replaces_what_came_after_its_checkpoint(tmp_path):
    logged(tmp_path, [10, 20, 30])
    logged(tmp_path, [30, 40], resume_step=20, offset=0.5)
    assert [(line["step"], line["loss"]) for line in read_log(tmp_path)] == [(10, 10), (20, 20), (30, 30.5), (40, 40.5)]
    assert events(tmp_path) == [(10, 10.0), (20, 20.0), (30, 30.5), (40, 40.5)]


def test_a_run_from_the_start_has_a_new_log(tmp_path):
    logged(tmp_path, [10, 20])
    logged(tmp_path, [10], offset=0.5)
    assert [(line["step"], line["loss"]) for line in read_log(tmp_path)] == [(10, 10.5)]
    assert events(tmp_path) == [(10, 10.5)]


def test_a_line_that_a_crash_cut_off_is_left_out(tmp_path):
    logged(tmp_path, [10])
    with open(tmp_path / LOG, "a") as file:
        file.write('{"step": 20, "lo')
    assert [line["step"] for line in read_log(tmp_path)] == [10]
    logged(tmp_path, [20], resume_step=15)
    assert [line["step"] for line in read_log(tmp_path)] == [10, 20]


def test_what_is_not_finite_is_null(tmp_path):
    log = RunLog(Tracked(tmp_path))
    log.log(1, {"loss": math.nan, "norm": math.inf, "lr": 0.5})
    assert json.loads((tmp_path / LOG).read_text()) == {"step": 1, "loss": None, "norm": None, "lr": 0.5}
    log.close()


def test_lines_are_there_before_the_log_is_closed(tmp_path):
    log = RunLog(Tracked(tmp_path))
    log.log(5, {"loss": 1.0})
    assert [line["step"] for line in read_log(tmp_path)] == [5]
    log.close()


def test_no_log_has_no_lines(tmp_path):
    assert read_log(tmp_path) == []


def test_without_tensorboard_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingExtraError, match=r"\[train\]"):
        RunLog(Tracked(tmp_path))


def test_unwatched_says_nothing(capsys):
    watcher = Unwatched()
    watcher.begin(10, 0)
    watcher.log(1, {"loss": 1.0})
    watcher.say("hello")
    assert capsys.readouterr() == ("", "")


def scalars(**values):
    return {name: torch.tensor(value) for name, value in values.items()}


def test_each_metric_is_the_mean_over_the_steps_that_have_it():
    meter = Meter(8)
    for step in (
        scalars(loss=1.0, tail=0.5),
        scalars(loss=2.0),
        scalars(loss=6.0, tail=float("nan")),
        scalars(loss=3.0, tail=1.0),
    ):
        meter.add(step)
    found = meter.take()
    assert found["loss"] == pytest.approx(np.mean([1, 2, 6, 3]))
    assert found["tail"] == pytest.approx(np.mean([0.5, 1.0]))
    assert found["skipped"] == 0


def test_losses_that_are_not_finite_are_skipped_and_counted():
    meter = Meter(8)
    for loss in (1.0, float("nan"), float("inf"), 3.0):
        meter.add(scalars(loss=loss))
    found = meter.take()
    assert (found["loss"], found["skipped"]) == (2.0, 2.0)
    meter.add(scalars(loss=float("nan")))
    found = meter.take()
    assert "loss" not in found
    assert found["skipped"] == 1.0


def test_pace_and_waiting(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("openmofi.training.loop.time.perf_counter", lambda: now[0])
    meter = Meter(8, _started=now[0])
    meter.add(scalars(loss=1.0))
    meter.add(scalars(loss=1.0))
    meter.waited, now[0] = 1.0, 104.0
    found = meter.take()
    assert (found["images_per_s"], found["data_wait"]) == (4.0, 0.25)
    assert found["memory_mib"] > 1
    # Everything starts anew.
    meter.add(scalars(other=1.0))
    now[0] = 106.0
    found = meter.take()
    assert (found["images_per_s"], found["data_wait"]) == (4.0, 0.0)
    assert "loss" not in found


def test_evaluations_do_not_count_as_time_of_the_training(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("openmofi.training.loop.time.perf_counter", lambda: now[0])
    meter = Meter(8, _started=now[0])
    meter.add(scalars(loss=1.0))
    meter.paused, now[0] = 6.0, 108.0
    assert meter.take()["images_per_s"] == 4.0
    meter.add(scalars(loss=1.0))
    now[0] = 110.0
    assert meter.take()["images_per_s"] == 4.0
