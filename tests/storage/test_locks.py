"""One process works, the other waits; a dead one is no hindrance."""

import multiprocessing
import os
import signal
import stat

import pytest

from openmofi.errors import OpenMofiError
from openmofi.storage import locked


def hold(path, connection):
    with locked(path, lambda: None):
        connection.send("held")
        connection.recv()


def other(path):
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=hold, args=(path, theirs))
    process.start()
    assert ours.recv() == "held"
    return process, ours


def test_a_second_process_waits_until_the_first_is_done(tmp_path):
    path = tmp_path / "deep/x.npy"
    process, connection = other(path)
    waited = []

    def wait():
        waited.append(True)
        connection.send("go")

    with locked(path, wait):
        assert waited == [True]
    process.join()
    with locked(path, wait):
        assert waited == [True]


def test_a_killed_process_gives_its_lock_back(tmp_path):
    process, _ = other(tmp_path / "x")
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    waited = []
    with locked(tmp_path / "x", lambda: waited.append(True)):
        assert not waited


def test_a_folder_that_is_a_file_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(OpenMofiError, match="cannot be written: a file exists where a folder is needed"),
        locked(tmp_path / "file/x", lambda: None),
    ):
        raise AssertionError("locked")
    assert stat.S_ISREG((tmp_path / "file").stat().st_mode)
