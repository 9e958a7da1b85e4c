from __future__ import annotations

import multiprocessing
import os
import re
import signal
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from jobs import Counted, Factory, Unopenable

from openmofi.engine import Quiet, engine_named
from openmofi.engine.engines import LocalEngine, ProcessEngine, _Process, _Processes
from openmofi.engine.loop import ALIVE_SECONDS, RETRIES, Pulse, thread_seconds
from openmofi.errors import OpenMofiError

TASKS = [str(number) for number in range(12)]
SQUARES = [number**2 for number in range(12)]


class Notes(Quiet):
    def __init__(self):
        self.said, self.advanced = [], []

    def say(self, message):
        self.said.append(message)

    def advance(self, counts):
        self.advanced.append(counts)


def tries(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in folder.iterdir()}


@pytest.fixture(params=["local", pytest.param("processes:2", marks=pytest.mark.slow)])
def engine(request):
    return engine_named(request.param)


@pytest.fixture
def spawned():
    """Workers start from nothing, as they do for users."""


@pytest.fixture(autouse=True)
def _forked(request):
    if "spawned" not in request.fixturenames:
        request.getfixturevalue("forked_workers")


def test_results_come_in_the_order_of_tasks_and_each_is_told_once(engine, tmp_path, spawned):
    notes = Notes()
    results = engine.run(Factory("square", str(tmp_path)), TASKS, notes)
    assert [result["square"] for result in results] == SQUARES
    assert sorted(counts["square"] for counts in notes.advanced) == SQUARES
    assert tries(tmp_path) == dict.fromkeys(TASKS, 1)


def test_no_tasks_open_no_work(engine, tmp_path):
    assert engine.run(Factory("no_knowledge_base", str(tmp_path)), [], Notes()) == []


def test_an_error_while_opening_the_work_keeps_its_sentence_and_hint(engine, tmp_path):
    with pytest.raises(OpenMofiError) as caught:
        engine.run(Factory("no_knowledge_base", str(tmp_path)), TASKS, Notes())
    assert (caught.value.message, caught.value.hint) == ("There is no knowledge base.", "Build it.")


def test_an_input_error_is_tried_again(engine, tmp_path):
    notes = Notes()
    results = engine.run(Factory("disk_fails_once", str(tmp_path)), TASKS[:4], notes)
    assert [result["square"] for result in results] == SQUARES[:4]
    assert tries(tmp_path) == dict.fromkeys(TASKS[:4], 2)
    assert len(notes.said) == 4


def test_an_input_error_that_stays_is_one_sentence(engine, tmp_path):
    with pytest.raises(OpenMofiError, match=r"3.*Input/output error") as caught:
        engine.run(Factory("disk_fails_always", str(tmp_path)), ["3"], Notes())
    assert "start the same command again" in caught.value.hint.lower()
    assert tries(tmp_path) == {"3": RETRIES + 1}


def test_a_lack_of_memory_is_tried_again(engine, tmp_path):
    assert engine.run(Factory("memory_is_short_once", str(tmp_path)), ["3"], Notes()) == [{"square": 9}]
    assert tries(tmp_path) == {"3": 2}


def test_a_factory_is_pickled_once_and_unpickled_once_a_worker(tmp_path):
    factory = Counted(str(tmp_path))
    results = ProcessEngine(2).run(factory, TASKS, Notes())
    assert factory.pickled == 1
    assert tries(tmp_path) == {str(process): 1 for process in {result["process"] for result in results}}


def test_an_error_while_unpickling_the_factory_keeps_its_sentence_and_hint():
    with pytest.raises(OpenMofiError) as caught:
        ProcessEngine(2).run(Unopenable(), TASKS, Notes())
    assert (caught.value.message, caught.value.hint) == ("The knowledge base has changed.", "Build it again.")


def test_an_unexpected_error_shows_the_traceback_of_its_worker(tmp_path):
    with pytest.raises(KeyError) as caught:
        ProcessEngine(1).run(Factory("has_a_bug", str(tmp_path)), ["3"], Notes())
    assert "in has_a_bug" in str(caught.value.__cause__)


def test_a_bug_is_not_tried_again(engine, tmp_path):
    with pytest.raises(KeyError):
        engine.run(Factory("has_a_bug", str(tmp_path)), ["3"], Notes())
    assert tries(tmp_path) == {"3": 1}


def test_a_task_that_fails_for_good_stops_no_other(engine, tmp_path):
    notes = Notes()
    with pytest.raises(OpenMofiError) as caught:
        engine.run(Factory("three_is_broken", str(tmp_path)), TASKS, notes)
    assert (caught.value.message, caught.value.hint) == ("Shard 3 is broken.", "Fetch it again.")
    assert len(notes.advanced) == len(TASKS) - 1
    assert notes.said == ["3 is set aside: Shard 3 is broken."]


def test_what_is_set_aside_is_no_error(engine, tmp_path):
    aside = []
    results = engine.run(Factory("three_is_broken", str(tmp_path)), TASKS, Notes(), lambda *given: aside.append(given))
    assert [result["square"] for result in results] == [square for square in SQUARES if square != 9]
    ((task, error),) = aside
    assert (task, error.message) == ("3", "Shard 3 is broken.")
    everything = []
    engine.run(Factory("three_is_broken", str(tmp_path)), ["3"], Notes(), lambda task, _: everything.append(task))
    assert everything == ["3"]


def test_ten_failures_in_a_row_stop_what_has_not_begun(engine, tmp_path):
    many = [str(number) for number in range(200)]
    with pytest.raises(ValueError, match="is odd"):
        engine.run(Factory("all_but_two_are_broken", str(tmp_path)), many, Notes(), lambda *_: None)
    assert 12 <= len(tries(tmp_path)) < 40


def test_a_worker_that_hangs_is_replaced(tmp_path, monkeypatch):
    monkeypatch.setattr("openmofi.engine.loop.LATE_SECONDS", float("inf"))
    notes = Notes()
    results = ProcessEngine(2, patience=3).run(Factory("hangs_once", str(tmp_path)), TASKS[:4], notes)
    assert [result["square"] for result in results] == SQUARES[:4]
    (message,) = notes.said
    assert re.fullmatch(r"2: its worker did nothing for \d+ seconds and was ended; trying again", message)


def test_a_worker_that_computes_may_take_its_time(monkeypatch):
    used, clock = SimpleNamespace(value=0.0), iter(range(0, 10_000, 4))
    monkeypatch.setattr("openmofi.engine.engines.time", SimpleNamespace(monotonic=lambda: next(clock)))
    monkeypatch.setattr("openmofi.engine.engines.wait", lambda handles, seconds: [])
    killed = []
    connection = Mock(close=lambda: killed.append(1))
    workers = _Processes(1, 10)
    workers.started = [_Process(Mock(), connection, used, Pulse(0), attempt=1)]
    for _ in range(9):
        used.value += ALIVE_SECONDS
        assert workers.wait(None) == []
    assert not killed
    used.value += ALIVE_SECONDS / 2
    ((attempt, outcome),) = workers.wait(None) or workers.wait(None) or workers.wait(None)
    assert (attempt, str(outcome), killed) == (1, "its worker did nothing for 10 seconds and was ended", [1])


def test_the_cpu_seconds_of_a_thread_are_its_own():
    seconds = thread_seconds()
    before = seconds()
    while seconds() - before < ALIVE_SECONDS:
        pass
    heard = []
    other = threading.Thread(target=lambda: heard.extend([thread_seconds()(), seconds()]))
    other.start()
    other.join()
    assert heard[0] < ALIVE_SECONDS <= heard[1]


def test_a_worker_that_is_killed_costs_only_its_task_a_try(tmp_path, spawned):
    notes = Notes()
    results = ProcessEngine(2).run(Factory("dies_once", str(tmp_path)), TASKS[:6], notes)
    assert [result["square"] for result in results] == SQUARES[:6]
    assert tries(tmp_path) == dict.fromkeys(TASKS[:6], 2)
    assert all("SIGKILL" in message for message in notes.said)
    assert len(notes.said) == 6


def test_a_task_that_always_kills_its_worker_is_named_and_the_others_are_done(tmp_path):
    with pytest.raises(OpenMofiError, match=r"^7 failed 3 times: its worker process was killed by SIGKILL"):
        ProcessEngine(2).run(Factory("seven_always_dies", str(tmp_path)), TASKS, Notes())
    assert tries(tmp_path) == {**dict.fromkeys(TASKS, 1), "7": RETRIES + 1}


def test_a_worker_that_ends_by_itself_is_reported_with_its_code(tmp_path):
    with pytest.raises(OpenMofiError, match="ended with code 3"):
        ProcessEngine(1).run(Factory("leaves_by_exit", str(tmp_path)), ["1"], Notes())


@pytest.mark.parametrize("kind", ["raises_what_cannot_be_unpacked", "returns_what_cannot_be_packed"])
def test_what_cannot_travel_between_processes_is_an_error_not_a_hang(kind, tmp_path):
    with pytest.raises(RuntimeError):
        ProcessEngine(1).run(Factory(kind, str(tmp_path)), ["1"], Notes())


def test_a_task_that_cannot_be_pickled_is_an_error_not_a_hang(tmp_path):
    with pytest.raises(Exception, match="pickle"):
        ProcessEngine(1).run(Factory("square", str(tmp_path)), [lambda: 1], Notes())


def test_work_is_spread_and_no_process_is_left(tmp_path):
    results = ProcessEngine(2).run(Factory("square", str(tmp_path)), TASKS, Notes())
    workers = {result["process"] for result in results}
    assert os.getpid() not in workers
    assert len(workers) == 2
    for worker in workers:
        with pytest.raises(ProcessLookupError):
            os.kill(worker, 0)


def test_workers_of_a_session_live_from_run_to_run_and_end_with_it(tmp_path):
    with ProcessEngine(2).session() as session:
        runs = [session.run(Factory("square", str(tmp_path)), TASKS, Notes()) for _ in range(3)]
        assert [[result["square"] for result in results] for results in runs] == [SQUARES] * 3
        workers = [{result["process"] for result in results} for results in runs]
        assert len(set.union(*workers)) == 2
    for worker in set.union(*workers):
        with pytest.raises(ProcessLookupError):
            os.kill(worker, 0)


def test_a_session_goes_on_after_a_run_that_failed(tmp_path):
    with ProcessEngine(2).session() as session:
        with pytest.raises(OpenMofiError, match="Shard 0 is broken"):
            session.run(Factory("refuses", str(tmp_path)), TASKS, Notes())
        results = session.run(Factory("square", str(tmp_path)), TASKS, Notes())
    assert [result["square"] for result in results] == SQUARES


def test_each_run_of_a_session_has_its_own_factory_in_every_worker(tmp_path):
    factories = [Counted(str(tmp_path)) for _ in range(2)]
    with ProcessEngine(1).session() as session:
        workers = {result["process"] for factory in factories for result in session.run(factory, TASKS, Notes())}
    assert [factory.pickled for factory in factories] == [1, 1]
    assert tries(tmp_path) == {str(worker): 2 for worker in workers}


def test_other_engines_have_sessions_too(tmp_path):
    with LocalEngine().session() as session:
        assert session.run(Factory("square", str(tmp_path)), TASKS[:2], Notes())[1]["square"] == 1
    assert ProcessEngine.few > 1000


def test_a_late_task_is_done_twice_and_counts_once(tmp_path, monkeypatch):
    monkeypatch.setattr("openmofi.engine.loop.LATE_SECONDS", 0.0)
    notes = Notes()
    with ProcessEngine(2).session() as session:
        results = session.run(Factory("hangs_once", str(tmp_path)), TASKS[:4], notes)
        assert [result["square"] for result in results] == SQUARES[:4]
        assert sorted(counts["square"] for counts in notes.advanced) == SQUARES[:4]
        assert "2 takes long: an idle worker does it too" in notes.said
        # The one that hangs is gone, and nothing of it comes into the next run.
        again = session.run(Factory("square", str(tmp_path)), TASKS, Notes())
    assert [result["square"] for result in again] == SQUARES


def test_what_is_abandoned_removes_what_it_has_half_written(tmp_path, monkeypatch):
    monkeypatch.setattr("openmofi.engine.loop.LATE_SECONDS", 0.0)
    results = ProcessEngine(2).run(Factory("hangs_once_while_it_writes", str(tmp_path)), TASKS[:4], Notes())
    assert [result["square"] for result in results] == SQUARES[:4]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2", "2.done"]


def test_a_worker_that_died_idle_costs_no_try(tmp_path, spawned):
    notes = Notes()
    with ProcessEngine(1).session() as session:
        (first,) = session.run(Factory("square", str(tmp_path)), TASKS[:1], Notes())
        os.kill(first["process"], signal.SIGKILL)
        os.waitid(os.P_PID, first["process"], os.WEXITED | os.WNOWAIT)
        (second,) = session.run(Factory("square", str(tmp_path)), TASKS[:1], notes)
    assert (second["square"], second["process"] != first["process"], notes.said) == (0, True, [])


def test_workers_end_with_their_parent_amid_a_task(tmp_path):
    """What they write stands under its claim, which ends with it."""
    context = multiprocessing.get_context("spawn")
    parent = context.Process(target=ProcessEngine(2).run, args=(Factory("sleeps", str(tmp_path)), ["0", "1"], Quiet()))
    parent.start()
    while not all((tmp_path / task).exists() and (tmp_path / task).read_text() for task in "01"):
        time.sleep(0.05)
    os.kill(parent.pid, signal.SIGKILL)
    parent.join()
    for task in "01":
        worker = int((tmp_path / task).read_text())
        for _ in range(600):
            if not alive(worker):
                break
            time.sleep(0.05)
        assert not alive(worker)


def alive(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
