"""A running job says where it is; what it says goes with it, unless it is killed."""

from itertools import count
from pathlib import Path

import pytest
from test_engines import Notes

from openmofi.engine import Quiet
from openmofi.engine.status import COMMAND_FILE, STATUS_FILE, JobStatus, StartedCommand, recorded


def test_a_job_says_where_it_is(tmp_path):
    notes = Notes()
    with recorded(notes, tmp_path, lambda clock=count(100): float(next(clock)), None) as progress:
        assert JobStatus.read(tmp_path) is None
        progress.begin("read", 4)
        assert JobStatus.read(tmp_path).seconds_left is None
        progress.advance({"rows": 30})
        progress.advance({"rows": 50})
        progress.say("7: the store is away; trying again")
        status = JobStatus.read(tmp_path)
        assert (status.stage, status.done, status.total, status.rows) == ("read", 2, 4, 80)
        assert status.messages == notes.said == ["7: the store is away; trying again"]
        assert status.seconds_left == pytest.approx(status.at - status.began)
        assert status.rows_per_second == pytest.approx(80 / (status.at - status.began))
        progress.begin("link", 9)
        assert (JobStatus.read(tmp_path).stage, JobStatus.read(tmp_path).done) == ("link", 0)
    assert not list(tmp_path.iterdir())
    assert [counts["rows"] for counts in notes.advanced] == [30, 50]


def test_it_writes_once_a_second_and_keeps_twenty_messages(tmp_path):
    time = 100.0
    with recorded(Quiet(), tmp_path, lambda: time, None) as progress:
        progress.begin("read", 100)
        for number in range(30):
            progress.advance({})
            assert JobStatus.read(tmp_path).done == 0
            progress.say(f"message {number}")
            time += 0.01
            progress.begin("read", 100)
        assert JobStatus.read(tmp_path).messages == [f"message {number}" for number in range(10, 30)]


def test_it_says_what_each_worker_does_what_failed_and_what_was_slowest(tmp_path):
    time = 100.0
    with recorded(Quiet(), tmp_path, lambda: time, None) as progress:
        progress.begin("read", 20)
        for number in range(8):
            progress.starts("process 1", f"{number}.tar")
            time += 10 + number
            progress.ends("process 1")
        progress.fails("7.tar", "it is damaged")
        progress.begin("link", 2)
        progress.starts("process 1", "a.tar")
        time += 30
        progress.starts("process 2", "b.tar")
        status = JobStatus.read(tmp_path)
        assert status.workers == {"process 1": ("a.tar", 236.0 - 28), "process 2": ("b.tar", 238.0)}
        assert status.failed == {"7.tar": "it is damaged"}
        assert status.slowest == [(10.0 + number, "read", f"{number}.tar") for number in (7, 6, 5, 4, 3)]


def test_a_change_is_written_though_nothing_else_happens(tmp_path):
    with recorded(Quiet(), tmp_path, every=0.01) as progress:
        progress.begin("read", 1)
        progress.starts("process 1", "a.tar")
        while not (workers := JobStatus.read(tmp_path).workers):
            pass
        assert [task for task, _ in workers.values()] == ["a.tar"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["/bin/openmofi", "label", "a b", "--restart", "-o", "out"], ["label", "a b", "-o", "out"]),
        (["/lib/openmofi/__main__.py", "label", "\udcff"], ["label", "\udcff"]),
        (["/bin/pytest", "label"], None),
        (["/tests/__main__.py", "label"], None),
    ],
)
def test_the_command_is_kept_beyond_the_end_where_it_is_ours(tmp_path, monkeypatch, arguments, expected):
    monkeypatch.setattr("sys.argv", arguments)
    (tmp_path / COMMAND_FILE).write_text("of another time")
    with recorded(Quiet(), tmp_path) as progress:
        assert (tmp_path / COMMAND_FILE).read_text() == "of another time"
        progress.begin("read", 1)
    command = StartedCommand.read(tmp_path)
    assert (command and command.arguments) == expected
    assert [path.name for path in tmp_path.iterdir()] == [COMMAND_FILE] * bool(expected)
    assert command is None or command.folder == str(Path.cwd())


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        '{"arguments": [], "folder": "/", "version": "1"}',
        '{"arguments": [1], "folder": "/", "version": "1"}',
        '{"arguments": ["label"]}',
    ],
)
def test_a_damaged_command_is_none(tmp_path, content):
    (tmp_path / COMMAND_FILE).write_text(content)
    assert StartedCommand.read(tmp_path) is None


@pytest.mark.parametrize("content", ["", "[]", '{"stage": 1, "other": 2}'])
def test_a_damaged_status_is_none(tmp_path, content):
    (tmp_path / STATUS_FILE).write_text(content)
    assert JobStatus.read(tmp_path) is None


def test_a_folder_that_is_gone_ends_no_job(tmp_path):
    notes = Notes()
    with recorded(notes, tmp_path / "file" / "none") as progress:
        (tmp_path / "file").write_text("no folder")
        progress.begin("read", 1)
        progress.advance({"rows": 1})
        progress.say("on it goes")
    assert (notes.advanced, notes.said) == ([{"rows": 1}], ["on it goes"])
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
