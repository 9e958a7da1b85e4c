"""The shared loop, with workers and a clock that the tests move: who gets which task when, and which outcome counts."""

from __future__ import annotations

import pytest
from test_engines import Notes

from openmofi.engine.loop import LATE_SECONDS, RETRIES, NotBegun, WorkerDied, run_tasks
from openmofi.errors import OpenMofiError, UsageError


class Scripted:
    """Workers whose tries end when a script says: (seconds from the try's start, outcome) for each try of a task."""

    def __init__(self, count: int, script: dict[str, list]):
        self.count, self.script = count, {task: list(tries) for task, tries in script.items()}
        self.now, self.running, self.started, self.abandoned = 0.0, {}, [], None

    def clock(self) -> float:
        return self.now

    def idle(self) -> bool:
        return len(self.running) < self.count

    def submit(self, attempt, task):
        assert self.idle()
        seconds, outcome = self.script[task].pop(0)
        self.running[attempt] = (self.now + seconds, task, outcome)
        self.started.append((self.now, task))
        return f"worker {attempt}"

    def wait(self, seconds):
        first = min((until for until, _, _ in self.running.values()), default=float("inf"))
        until = first if seconds is None else min(first, self.now + max(seconds, 0.0))
        assert until < float("inf"), "nothing would ever happen"
        self.now = until
        ended = [(attempt, outcome) for attempt, (at, _, outcome) in self.running.items() if at <= self.now]
        for attempt, _ in ended:
            del self.running[attempt]
        return ended

    def abandon(self):
        self.abandoned = sorted(task for _, task, _ in self.running.values())


def does(count: int, script: dict[str, list], set_aside=None):
    workers, notes = Scripted(count, script), Notes()
    return workers, notes, run_tasks(workers, list(script), notes, set_aside, workers.clock)


def test_a_late_task_is_given_to_an_idle_worker_and_the_first_outcome_counts():
    script = {task: [(8.0, {"n": task})] for task in "abcd"} | {"e": [(1000.0, {"n": "slow"}), (7.0, {"n": "quick"})]}
    workers, notes, results = does(2, script)
    assert results == [{"n": "a"}, {"n": "b"}, {"n": "c"}, {"n": "d"}, {"n": "quick"}]
    # e began at 16; it is late when it has taken twice the median of 8.
    assert workers.started[-2:] == [(16.0, "e"), (32.0, "e")]
    assert (workers.now, workers.abandoned) == (39.0, ["e"])
    assert notes.said == ["e takes long: an idle worker does it too"]
    assert len(notes.advanced) == 5


def test_a_task_is_not_late_before_ten_seconds_and_it_runs_at_most_twice():
    script = {task: [(0.1, {})] for task in "abc"} | {"d": [(60.0, {"n": "first"}), (90.0, {})]}
    workers, _, results = does(3, script)
    assert results[3] == {"n": "first"}
    assert workers.started[-1] == (pytest.approx(LATE_SECONDS, abs=0.2), "d")
    assert [task for _, task in workers.started].count("d") == 2


def test_no_task_is_run_twice_while_others_wait_or_most_are_not_done():
    workers, _, _ = does(2, {"a": [(100.0, {}), (50.0, {})], **{task: [(30.0, {})] for task in "bcd"}})
    # a is late at 60, when d waited and took the worker.
    assert workers.started == [(0.0, "a"), (0.0, "b"), (30.0, "c"), (60.0, "d"), (90.0, "a")]
    assert workers.now == 100.0
    workers, _, _ = does(3, {"a": [(500.0, {})], "b": [(500.0, {})], "c": [(1.0, {})]})
    assert [task for _, task in workers.started] == ["a", "b", "c"]


class Exclusive(str):
    is_exclusive = True


def test_a_task_that_writes_under_a_lock_is_never_run_twice():
    workers, notes, _ = does(2, {**{task: [(8.0, {})] for task in "abcd"}, Exclusive("e"): [(1000.0, {})]})
    assert workers.started[-1] == (16.0, "e")
    assert (workers.now, notes.said) == (1016.0, [])


def test_a_late_task_whose_worker_dies_goes_on_at_the_other():
    script = {task: [(8.0, {})] for task in "abc"} | {"d": [(20.0, WorkerDied("it died")), (10.0, {"n": "other"})]}
    workers, notes, results = does(2, script)
    assert results[3] == {"n": "other"}
    assert "d: it died; another worker does it" in notes.said
    assert [task for _, task in workers.started].count("d") == 2


def test_the_failure_of_one_of_two_that_another_try_would_repeat_counts():
    aside = []
    script = {task: [(8.0, {})] for task in "abc"} | {"d": [(1000.0, {}), (1.0, OpenMofiError("It is broken."))]}
    workers, _, results = does(2, script, lambda *given: aside.append(given))
    assert (len(results), [task for task, _ in aside], workers.abandoned) == (3, ["d"], ["d"])


def test_a_late_outcome_of_the_other_is_ignored():
    script = {task: [(8.0, {})] for task in "abcde"} | {
        "f": [(40.0, {"n": "late"}), (5.0, {"n": "first"})],
        "g": [(50.0, {}), (5.0, {})],
    }
    _, notes, results = does(3, script)
    assert results[5] == {"n": "first"}
    assert len(notes.advanced) == len(results) == 7


def test_what_has_not_begun_is_no_try():
    lost = [(1.0, NotBegun("its node left"))] * (RETRIES + 5)
    workers, notes, results = does(1, {"a": [*lost, (1.0, {"n": 1})]})
    assert (results, notes.said, len(workers.started)) == ([{"n": 1}], [], RETRIES + 6)


def test_wrong_use_ends_the_run_and_what_still_runs():
    workers = Scripted(2, {"a": [(1.0, UsageError("No such device."))], "b": [(9.0, {})]})
    with pytest.raises(UsageError):
        run_tasks(workers, ["a", "b"], Notes(), None, workers.clock)
    assert workers.abandoned == ["b"]


class Watch(Notes):
    def __init__(self):
        super().__init__()
        self.seen = []

    def starts(self, worker, task):
        self.seen.append(("starts", task))

    def ends(self, worker):
        self.seen.append(("ends",))

    def fails(self, task, reason):
        self.seen.append(("fails", task, reason))


def test_a_progress_that_watches_is_told_who_does_what():
    watch = Watch()
    workers = Scripted(1, {"a": [(1.0, OSError("disk")), (1.0, {})], "b": [(1.0, ValueError("odd"))]})
    run_tasks(workers, ["a", "b"], watch, lambda *_: None, workers.clock)
    assert watch.seen == [
        ("starts", "a"),
        ("ends",),
        ("starts", "b"),
        ("ends",),
        ("fails", "b", "ValueError: odd"),
        ("starts", "a"),
        ("ends",),
    ]
