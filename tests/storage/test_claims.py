"""One process writes a folder, with one set of settings; what has written nothing has claimed nothing."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
import time
from contextlib import ExitStack, contextmanager

import pytest
from mounts import read_only

from openmofi.errors import OpenMofiError, UsageError
from openmofi.storage import Outputs, claimed, finish_manifest, read_manifest, write_text
from openmofi.storage.locks import LOCK_FILE, FolderLock

OUTPUTS = Outputs(("rows/*.txt", "summary.txt"), other=("cache/*.txt",))


def claim(folder, settings=(("a", 1),), *, kind="labels", restart=False):
    return claimed(folder, kind, dict(settings), outputs=OUTPUTS, restart=restart)


def hold(folder, settings, connection):
    """In another process: claim, write, and do what is told."""
    with claim(folder, settings) as manifest:
        write_text(folder / "rows/0.txt", "first")
        connection.send("held")
        if connection.recv() == "finish":
            finish_manifest(folder, manifest, {"rows": 1})


@contextmanager
def holder(folder, settings=(("a", 1),)):
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=hold, args=(folder, settings, theirs))
    process.start()
    assert ours.recv() == "held"
    try:
        yield process, ours
    finally:
        if process.is_alive():
            ours.send("end")
        process.join()


@contextmanager
def failing(folder, settings=(("a", 1),), error=ZeroDivisionError):
    """A claim whose block ends with an error."""
    with pytest.raises(error), claim(folder, settings) as manifest:  # noqa: PT012
        yield manifest
        raise error


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_other_settings_are_refused_at_once_with_the_difference_and_the_holder(tmp_path):
    with (
        holder(tmp_path / "out") as (process, _),
        pytest.raises(OpenMofiError) as caught,
        claim(tmp_path / "out", (("a", 2),)),
    ):
        raise AssertionError("claimed")
    assert f"is being written with other settings (a: 1 → 2) by process {process.pid} on " in caught.value.message
    assert files(tmp_path / "out") == ["manifest.json", "rows/0.txt"]


def test_another_kind_is_refused_at_once(tmp_path):
    with (
        holder(tmp_path / "out"),
        pytest.raises(OpenMofiError, match="holds 'labels', not 'dataset'"),
        claim(tmp_path / "out", kind="dataset"),
    ):
        raise AssertionError("claimed")


def test_equal_settings_wait_with_a_notice_and_find_it_finished(tmp_path, caplog):
    out = tmp_path / "out"
    with holder(out) as (process, connection), ExitStack() as stack:
        timer = threading.Timer(0.5, connection.send, ["finish"])
        timer.start()
        with caplog.at_level(logging.WARNING):
            manifest = stack.enter_context(claim(out))
        assert manifest.finished
        assert manifest.counts == {"rows": 1}
        timer.join()
    assert len(caplog.messages) == 1
    assert f"is being written by process {process.pid} on " in caplog.text
    assert "Waiting for it" in caplog.text
    assert files(out) == ["manifest.json", "rows/0.txt"]


def test_a_killed_holder_frees_its_claim(tmp_path):
    out = tmp_path / "out"
    with holder(out) as (process, _):
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        assert LOCK_FILE in files(out)
        with claim(out) as manifest:
            assert not manifest.finished
    assert files(out) == ["manifest.json", "rows/0.txt"]


def test_a_forked_child_does_not_keep_the_lock_of_a_dead_parent(tmp_path):
    reading, writing = os.pipe()
    parent = os.fork()
    if not parent:
        FolderLock(tmp_path / "out").acquire()
        if not os.fork():
            os.write(writing, str(os.getpid()).encode())
            time.sleep(60)
        os._exit(0)
    os.waitpid(parent, 0)
    child = int(os.read(reading, 20))
    try:
        os.kill(child, 0)
        lock = FolderLock(tmp_path / "out")
        assert lock.acquire()
        lock.release()
    finally:
        os.kill(child, signal.SIGKILL)


def test_threads_exclude_each_other_and_a_claim_inside_a_claim_is_part_of_it(tmp_path):
    out, inside, most = tmp_path / "out", [], []

    def work():
        with claim(out) as outer, claim(out) as inner:
            assert outer == inner
            inside.append(threading.get_ident())
            most.append(len(inside))
            write_text(out / "rows/0.txt", "first")
            inside.remove(threading.get_ident())

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 8
    with claim(out), pytest.raises(OpenMofiError, match="a: 1 → 2"), claim(out, (("a", 2),)):
        raise AssertionError("claimed")


def test_what_has_written_nothing_claims_nothing(tmp_path):
    with failing(tmp_path / "new/out", error=OSError):
        (tmp_path / "new/out/rows").mkdir()
    assert not (tmp_path / "new").exists()
    (tmp_path / "out").mkdir()
    (tmp_path / "out/.gitkeep").write_text("")
    with failing(tmp_path / "out", error=KeyboardInterrupt):
        pass
    assert files(tmp_path / "out") == [".gitkeep"]


def test_until_something_depends_on_the_settings_others_may_replace_them(tmp_path):
    out = tmp_path / "out"
    with failing(out):
        write_text(out / "cache/key.txt", "kept by key")
    with failing(out, (("a", 2),)) as manifest:
        assert manifest.settings == {"a": 2}
        write_text(out / "rows/0.txt", "second")
    assert files(out) == ["cache/key.txt", "manifest.json", "rows/0.txt"]
    with pytest.raises(OpenMofiError, match=r"was made with other settings \(a: 2 → 1\)") as caught, claim(out):
        raise AssertionError("claimed")
    assert "--restart" in caught.value.hint


def test_a_finished_folder_is_never_withdrawn(tmp_path):
    with failing(tmp_path / "out") as manifest:
        finish_manifest(tmp_path / "out", manifest, {})
    for error, settings in ((ZeroDivisionError, {"a": 1}), (OpenMofiError, {"a": 2})):
        with pytest.raises(error), claim(tmp_path / "out", settings.items()):
            raise ZeroDivisionError
    assert read_manifest(tmp_path / "out").finished


def test_restart_removes_what_the_stage_wrote_and_nothing_else(tmp_path):
    out = tmp_path / "out"
    with claim(out) as manifest:
        for name in ("rows/0.txt", "rows/1.txt", "summary.txt", "cache/key.txt"):
            write_text(out / name, "first")
        finish_manifest(out, manifest, {"rows": 2})
    foreign = {"rows/mine.csv": "x", "notes.md": "y", ".hidden": "z", "empty/.keep": ""}
    for name, content in foreign.items():
        write_text(out / name, content)
    (out / "empty/.keep").unlink()
    with claim(out, (("a", 2),), restart=True) as manifest:
        assert (manifest.finished, manifest.settings, manifest.counts) == (False, {"a": 2}, {})
        assert files(out) == sorted([".hidden", LOCK_FILE, "manifest.json", "notes.md", "rows/mine.csv"])
    assert (out / "empty").is_dir()
    assert not (out / "cache").exists()


def test_restart_of_a_new_folder_is_a_start(tmp_path):
    with claim(tmp_path / "out", restart=True) as manifest:
        assert not manifest.finished


@pytest.mark.parametrize("content", [None, "{}", '{"kind": "dataset"}'])
def test_restart_touches_no_folder_that_is_not_of_its_kind(tmp_path, content):
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows/0.txt").write_text("a diary")
    if content:
        (tmp_path / "manifest.json").write_text(content)
    before = files(tmp_path)
    with pytest.raises(OpenMofiError), claim(tmp_path, restart=True):
        raise AssertionError("claimed")
    assert files(tmp_path) == before


def test_restart_waits_for_nobody(tmp_path):
    with (
        holder(tmp_path / "out"),
        pytest.raises(OpenMofiError, match="is being written by process"),
        claim(tmp_path / "out", restart=True),
    ):
        raise AssertionError("claimed")
    assert "rows/0.txt" in files(tmp_path / "out")


def test_a_restart_that_is_killed_amid_removing_leaves_no_finished_folder(tmp_path, monkeypatch):
    out = tmp_path / "out"
    with claim(out) as manifest:
        write_text(out / "rows/0.txt", "first")
        write_text(out / "summary.txt", "first")
        finish_manifest(out, manifest, {"rows": 1})

    def die(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("pathlib.Path.unlink", die)
        with pytest.raises(KeyboardInterrupt), claim(out, (("a", 2),), restart=True):
            raise AssertionError("claimed")
    kept = read_manifest(out)
    assert (kept.finished, kept.settings) == (False, {"a": 1})


def test_finished_work_opens_where_nothing_can_be_written(tmp_path):
    for name, finish in (("done", True), ("half", False)):
        with claim(tmp_path / name) as manifest:
            write_text(tmp_path / name / "summary.txt", "first")
            if finish:
                finish_manifest(tmp_path / name, manifest, {})
    with read_only(tmp_path / "done") as folder, claim(folder) as manifest:
        assert manifest.finished
    for name, settings in (("done", (("a", 2),)), ("half", (("a", 1),))):
        with (
            read_only(tmp_path / name) as folder,
            pytest.raises(OpenMofiError, match="cannot be written"),
            claim(folder, settings),
        ):
            raise AssertionError("claimed")


@pytest.mark.parametrize("address", ["s3://bucket/out", "memory://out", "https://example.com/out"])
def test_a_store_is_refused_in_a_sentence_and_no_folder_appears(tmp_path, monkeypatch, address):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=f"{address} cannot be written: outputs are local"), claim(address):
        raise AssertionError("claimed")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_a_file(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(OpenMofiError, match="a file exists where a folder is needed"), claim(tmp_path / "out"):
        raise AssertionError("claimed")
