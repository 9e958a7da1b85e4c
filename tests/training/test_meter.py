"""Means over the steps of an interval."""

import numpy as np
import pytest
import torch

from openmofi.training.log import Meter


def scalars(**values):
    return {name: torch.tensor(value) for name, value in values.items()}


def test_each_metric_is_the_mean_over_the_steps_that_have_it():
    meter = Meter(8)
    for step in (scalars(loss=1.0, tail=0.5), scalars(loss=2.0), scalars(loss=6.0, tail=float("nan")),
                 scalars(loss=3.0, tail=1.0)):
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
    monkeypatch.setattr("openmofi.training.log.time.perf_counter", lambda: now[0])
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
