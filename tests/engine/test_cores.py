import os

import pytest

from openmofi.engine.engines import ProcessEngine
from openmofi.engine.protocol import Quiet, cores


@pytest.mark.parametrize(("share", "expected"), [("3", 3), ("0", None), ("many", None), ("", None)])
def test_a_share_is_taken_where_one_is_given(share, expected, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", share)
    assert cores() == (expected or len(os.sched_getaffinity(0)))


def test_cores_are_those_of_this_process(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 3, 5})
    assert cores() == 3
    monkeypatch.delattr("os.sched_getaffinity")
    monkeypatch.setattr("os.cpu_count", lambda: None)
    assert cores() == 1


def _work():
    return lambda task: {"cores": cores()}


def test_workers_share_the_cores(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "6")
    # The variable is the machine's here and the worker's there: a worker that inherits it would take all six.
    assert [found["cores"] for found in ProcessEngine(3).run(_work, [1, 2], Quiet())] == [2, 2]
