"""When progress shows: on a terminal and in a notebook by itself, elsewhere where asked for, never where turned off."""

import io

import pytest
from rich.console import Console

from openmofi import progress
from openmofi.engine import Quiet
from openmofi.progress import ConsoleProgress, ConsoleWatcher, shown_progress, shown_training, watched_progress


@pytest.fixture(params=["terminal", "notebook", "pipe"])
def console(request, monkeypatch):
    options = {"terminal": {"force_terminal": True}, "notebook": {"force_jupyter": True}, "pipe": {}}[request.param]
    made = Console(file=io.StringIO(), width=80, **options)
    monkeypatch.setattr(progress, "_console", lambda: made)
    return request.param


def test_by_itself_it_shows_on_a_terminal_and_in_a_notebook(console):
    with shown_progress(None) as shown:
        assert isinstance(shown, Quiet if console == "pipe" else ConsoleProgress)


def test_it_can_be_turned_off_and_on(console):
    with shown_progress(False) as shown:
        assert isinstance(shown, Quiet)
    with shown_progress(True) as shown:
        assert isinstance(shown, ConsoleProgress)
    with shown_training(False) as (watcher, shown):
        assert isinstance(shown, Quiet)
        assert not isinstance(watcher, ConsoleWatcher)


def test_an_object_of_ones_own_is_used_as_it_is(console):
    own = Quiet()
    with shown_progress(own) as shown:
        assert shown is own


def test_what_is_drawn_ends_with_the_work(console, capsys):
    with shown_progress(True) as shown:
        shown.begin("read", 2)
        shown.advance({"rows": 10})
    assert shown._task is None


def test_a_pipe_gets_plain_lines(monkeypatch, capsys):
    monkeypatch.setattr(progress, "_console", lambda: Console(file=io.StringIO()))
    with shown_progress(True) as shown:
        shown.begin("read", 1)
        shown.advance({"rows": 10})
    assert capsys.readouterr().err.startswith("read: 1/1, ")


def test_who_watches_sees_some_labels_in_a_line_each(monkeypatch):
    made = Console(file=io.StringIO(), width=80, markup=False, highlight=False)
    monkeypatch.setattr(progress, "_console", lambda: made)
    examples = [{"key": "7", "text": "The moon\x1b[2J\nabove [a] tent", "name": "moon", "probability": 0.974}]
    with watched_progress() as shown:
        shown.begin("judge", 2)
        shown.advance({"rows": 10, "labelled": 1, "examples": examples})
        shown.advance({"rows": 10, "labelled": 0, "examples": []})
    with shown_progress(True) as unwatched:
        unwatched.begin("judge", 1)
        unwatched.advance({"rows": 1, "labelled": 1, "examples": examples})
    assert made.file.getvalue().splitlines() == ["0.97  moon  ←  The moon [2J above [a] tent  [7]"]
