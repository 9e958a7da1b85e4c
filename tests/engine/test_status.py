"""A running job says where it is; what it says goes with it, unless it is killed."""

from itertools import count

import pytest
from test_engines import Notes

from openmofi.engine import Quiet
from openmofi.engine.status import STATUS_FILE, JobStatus, recorded


def test_a_job_says_where_it_is(tmp_path):
    notes = Notes()
    with recorded(notes, tmp_path, lambda clock=count(100): float(next(clock))) as progress:
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
    with recorded(Quiet(), tmp_path, lambda: time) as progress:
        progress.begin("read", 100)
        for number in range(30):
            progress.advance({})
            assert JobStatus.read(tmp_path).done == 0
            progress.say(f"message {number}")
            time += 0.01
            progress.begin("read", 100)
        assert JobStatus.read(tmp_path).messages == [f"message {number}" for number in range(10, 30)]


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
