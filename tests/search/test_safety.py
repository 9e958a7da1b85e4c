"""Killed at any moment, two writers, damaged segments, readers during a write, a full disk."""

import errno
import os
import re
import select
import shutil
import signal
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
from mounts import read_only, small_disk
from refused import ADDRESSES, SAID, unasked
from search_world import ColourEncoder, colour_encoder, coloured, write_images

from openmofi.errors import OpenMofiError
from openmofi.search import Index, Query, Verdict, build, remove
from openmofi.search import writer as writer_module
from openmofi.search.store.database import (
    DATABASE,
    connect,
    content_of,
    last_commit,
    meta,
    only_writer,
    snapshot,
    transaction,
)
from openmofi.search.store.reading import FILE as THUMBNAILS
from openmofi.search.writer import drop_images
from openmofi.storage import fingerprint

KILLS = int(os.environ.get("OPENMOFI_INDEX_KILLS", "0"))
"""Random moments of each kind of write; `make fuzz` takes 100."""


@pytest.fixture(autouse=True)
def small_commits(monkeypatch):
    """Many commits of few images."""
    monkeypatch.setattr(writer_module, "COMMIT_ROWS", 6)
    monkeypatch.setattr(writer_module, "_BATCH", 3)


def _content(path):
    """What an index holds, whatever its ids: key → status, text and cosine with a query."""
    index = Index.open(path, ColourEncoder())
    hits = index.search(Query(text="red", limit=1000, fold=False)).hits
    return {hit.image.key: (hit.image.status, hit.image.text, round(hit.cosine, 4)) for hit in hits}


def _killed(work, after):
    """Do `work` in a child, which is killed after some seconds; whether it had ended before."""
    child = os.fork()
    if not child:
        try:
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    ended = os.pidfd_open(child)
    select.select([ended], [], [], after)
    os.close(ended)
    os.kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1] == 0


def _moments(work, count):
    """Moments within what `work` takes, the same ones each time but for how fast the machine is."""
    started = time.monotonic()
    work()
    return np.random.default_rng(0).uniform(0, 1.1 * (time.monotonic() - started), count)


def test_killed_while_adding_the_last_commit_opens_and_the_next_run_goes_on(tmp_path):
    images, encoder = write_images(tmp_path / "images", 6), colour_encoder()
    work = [tmp_path / "whole"]
    moments = _moments(lambda: build([str(images)], encoder, work[0]), KILLS or 12)
    expected = _content(work[0])
    seen = set()
    for number, moment in enumerate(moments):
        path = tmp_path / f"killed-{number}"
        _killed(lambda path=path: build([str(images)], encoder, path), moment)
        if (path / "index.db").exists():
            index = Index.open(path, ColourEncoder())
            assert not any(index.verify().values())
            info = index.info()
            seen.add(info.images)
            assert info.images == info.vectors
            assert _content(path).items() <= expected.items()
            index.close()
        changes = build([str(images)], encoder, path)
        assert changes.added + changes.unchanged == 36
        assert changes.embedded == changes.added
        assert _content(path) == expected
        assert not any(Index.open(path).verify().values())
    assert len(seen) > 1


@pytest.mark.parametrize("what", ["remove", "compact", "change"])
def test_killed_amid_other_writes(tmp_path, what):
    images, encoder, whole = write_images(tmp_path / "images", 4), colour_encoder(), tmp_path / "whole"
    build([str(images)], encoder, whole)
    gone = {f"red-{number}" for number in range(4)}
    if what == "compact":
        remove(whole, [str(images / f"{key}.png") for key in gone])
    if what == "change":
        for key in gone:
            (images / f"{key}.png").write_bytes(coloured("blue", 7))
    before = _content(whole)

    def work(path):
        if what == "remove":
            remove(path, [str(images / f"{key}.png") for key in sorted(gone) if key in _content(path)])
        elif what == "compact":
            Index.open(path, ColourEncoder()).compact()
        else:
            build([str(images)], encoder, path)

    def copied(name):
        shutil.copytree(whole, tmp_path / name)
        return tmp_path / name

    finished = copied("finished")
    moments = _moments(lambda: work(finished), KILLS or 8)
    after = _content(finished)
    assert (after == before) == (what == "compact")
    for number, moment in enumerate(moments):
        path = copied(f"killed-{number}")
        _killed(lambda path=path: work(path), moment)
        content = _content(path)
        assert not any(Index.open(path).verify().values())
        assert content.keys() >= before.keys() & after.keys()
        assert content.items() <= before.items() | after.items()
        work(path)
        assert _content(path) == after
        shutil.rmtree(path)


def test_a_second_writer_is_refused_and_says_who_writes(images, index):
    with only_writer(index.path):
        for write in (
            lambda: build([str(images)], index.encoder, index.path),
            lambda: remove(index.path, ["x"]),
            index.compact,
        ):
            with pytest.raises(OpenMofiError, match="is being written by process") as raised:
                write()
            assert "searching is possible" in raised.value.hint
        assert index.search(Query(text="red")).hits
    assert build([str(images)], index.encoder, index.path).unchanged == 30


def test_readers_see_the_old_or_the_new_state(images, index):
    old = _content(index.path)
    with closing(connect(index.path)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        drop_images(writer, [image for (image,) in writer.execute("SELECT id FROM images WHERE key LIKE 'red%'")])
        assert _content(index.path) == old
        writer.execute("INSERT INTO commits (made, what, changes) VALUES ('', 'test', '{}')")
        writer.execute("COMMIT")
    assert index.search(Query(text="red", limit=1000, fold=False)).total == 25


def test_readers_beside_a_busy_writer_see_whole_states(tmp_path):
    """Images of another folder come and go in one commit each, and segments are compacted, while three threads ask."""
    kept, others = write_images(tmp_path / "kept", 5), write_images(tmp_path / "others", 1)
    path, encoder = tmp_path / "index", colour_encoder()
    build([str(kept)], encoder, path)

    def work():
        while True:
            build([str(others)], encoder, path)
            Index.open(path, ColourEncoder()).compact()
            remove(path, [str(others)])

    child = os.fork()
    if not child:
        try:
            work()
        finally:
            os._exit(1)
    try:
        index, end = Index.open(path, colour_encoder()), time.monotonic() + 2

        def ask(colour):
            totals = []
            while time.monotonic() < end:
                hits = index.search(Query(text=colour, keywords=False, limit=1000, fold=False)).hits
                keys = {
                    hit.image.source: len([each for each in hits if each.image.source == hit.image.source])
                    for hit in hits
                }
                assert keys in ({str(kept): 30}, {str(kept): 30, str(others): 6})
                totals.append(len(hits))
            return totals

        with ThreadPoolExecutor(3) as threads:
            seen = [total for totals in threads.map(ask, ("red", "green", "blue")) for total in totals]
        assert os.waitpid(child, os.WNOHANG) == (0, 0)  # it still writes
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert set(seen) == {30, 36}


def test_an_index_compacted_between_a_snapshot_and_its_reading_is_read_again(images, index, tmp_path, monkeypatch):
    others, real = write_images(tmp_path / "others", 1), snapshot
    seen = index.search(Query(text="green", keywords=False, limit=1000, fold=False)).hits

    @contextmanager
    def late(connection):
        monkeypatch.setattr("openmofi.search.index.snapshot", real)
        build([str(others)], colour_encoder(), index.path)
        with real(connection):
            assert last_commit(connection)  # SQLite's snapshot begins with the first read
            Index.open(index.path, ColourEncoder()).compact()
            yield

    monkeypatch.setattr("openmofi.search.index.snapshot", late)
    now = index.search(Query(text="green", keywords=False, limit=1000, fold=False)).hits
    assert len(now) == len(seen) + 6


def test_a_reader_goes_on_while_segments_are_compacted(images, index):
    remove(index.path, [str(images / "red-1.png")])
    before = index.search(Query(text="green", fold=False)).hits
    assert len(list((index.path / "vectors").iterdir())) > 2
    Index.open(index.path, ColourEncoder()).compact()
    after = index.search(Query(text="green", fold=False)).hits
    assert [hit.image.key for hit in after] == [hit.image.key for hit in before]
    info = index.info()
    assert (info.dead, info.segments, info.vectors) == (0, 1, 29)


@pytest.mark.parametrize("damage", ["truncated", "missing", "flipped"])
def test_a_damaged_segment_is_named_and_mended_from_the_images(images, index, damage):
    expected = _content(index.path)
    (row,) = index.connection.execute("SELECT file FROM segments ORDER BY id LIMIT 1").fetchall()
    path = index.path / "vectors" / row[0]
    data = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(data[:-20] if damage == "truncated" else data[:-2] + bytes([data[-2] ^ 0x55, data[-1]]))
    problems = {name for name, problem in Index.open(index.path).verify().items() if problem}
    assert problems == {f"vectors/{row[0]}"}
    if damage != "flipped":
        with pytest.raises(OpenMofiError, match=r"are damaged") as raised:
            Index.open(index.path, ColourEncoder()).search(Query(text="red"))
        assert "index compact" in raised.value.hint
    (images / "blue-0.png").unlink()  # may or may not have been in that segment
    changes = Index.open(index.path, ColourEncoder()).compact()
    assert 0 < changes.embedded <= 6
    assert not any(Index.open(index.path).verify().values())
    mended = _content(index.path)
    assert {key: value for key, value in mended.items() if key != "blue-0"} == {
        key: value for key, value in expected.items() if key != "blue-0"
    }


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE images SET row = -1 WHERE id = 1",
        "UPDATE images SET row = 99 WHERE id = 1",
        "UPDATE segments SET rows = -1 WHERE id = 1",
    ],
)
def test_rows_outside_of_segments_are_damage(index, change):
    index.connection.execute(change)
    index.close()
    with pytest.raises(OpenMofiError, match="are damaged"):
        Index.open(index.path, ColourEncoder()).search(Query(text="red"))


def test_a_pipe_in_place_of_a_segment_holds_nobody(index):
    path = next((index.path / "vectors").iterdir())
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(OpenMofiError, match="it is no file"):
        Index.open(index.path, ColourEncoder()).search(Query(text="red"))


def test_a_damaged_database_is_one_sentence(index):
    index.close()
    for file in index.path.glob("index.db*"):
        file.write_bytes(b"not a database" * 1000)
    with pytest.raises(OpenMofiError, match="cannot be read"):
        Index.open(index.path)


def test_no_index(tmp_path):
    with pytest.raises(OpenMofiError, match="is not an index") as raised:
        Index.open(tmp_path)
    assert "openmofi index build" in raised.value.hint


def test_a_full_disk_keeps_what_was_committed(images, index, monkeypatch):
    before = _content(index.path)
    write_images(images, 9)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("openmofi.storage.atomic.os.fsync", full)
        with pytest.raises(OpenMofiError, match=r"No space|full"):
            build([str(images)], index.encoder, index.path)
    assert _content(index.path).items() >= before.items()
    build([str(images)], index.encoder, index.path)
    assert Index.open(index.path).info().images == 54


def test_a_disk_that_is_really_full_keeps_what_was_committed_and_the_same_command_goes_on(tmp_path):
    images, encoder = write_images(tmp_path / "images", 1), colour_encoder()
    with small_disk(tmp_path / "disk", "2m") as disk:
        path = disk / "index"
        build([str(images)], encoder, path)
        write_images(images, 6)
        build([str(images)], encoder, tmp_path / "whole")
        expected, seen, said = _content(tmp_path / "whole"), set(), []
        used = sum(file.stat().st_blocks for file in path.rglob("*")) // 2
        for room in range(used + 8, 2_048, 88):
            subprocess.run(["mount", "-o", f"remount,size={room}k", str(disk)], check=True)
            for step in (lambda: build([str(images)], encoder, path), lambda: seen.add(len(_content(path)))):
                try:
                    step()
                except OpenMofiError as error:
                    said.append(str(error))
            if max(seen, default=0) == 36:
                break
            with suppress(OpenMofiError):
                assert not any(Index.open(path).verify().values())
                assert _content(path).items() <= expected.items()
        assert _content(path) == expected
    assert len(seen) > 2
    assert all(re.search("No space left|disk is full", each) for each in said), said


def test_a_read_only_index_can_be_searched(index):
    index.close()
    for path in (index.path, *index.path.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        assert Index.open(index.path, ColourEncoder()).search(Query(text="red")).hits
    finally:
        for path in (index.path, *index.path.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("mode", [0o644, 0o600])
def test_an_index_of_another_user_is_read_where_he_lets_and_never_called_damaged(index, mode):
    images = index.info().images
    index.close()
    with tempfile.TemporaryDirectory() as outside:  # pytest's own folders are closed to others
        Path(outside).chmod(0o755)
        place = Path(outside, "index")
        shutil.copytree(index.path, place)
        (place / DATABASE).chmod(mode)

        def work():
            os.setgroups([])
            os.setresuid(65534, 65534, 65534)
            if mode == 0o644:
                assert Index.open(place, ColourEncoder()).info().images == images
            else:
                with pytest.raises(OpenMofiError) as raised:
                    Index.open(place, ColourEncoder())
                assert "remove" not in raised.value.hint

        assert _killed(work, 60)


def _copied_after_a_kill(tmp_path):
    """A copy of an index whose writer was killed: 36 images and 20 verdicts, of which most are in the log alone."""
    images, path = write_images(tmp_path / "images", 3), tmp_path / "index"
    build([str(images)], colour_encoder(), path)
    write_images(images, 6)

    def work():
        index = Index.open(path, colour_encoder())  # as long as it is open, the log is not taken into the database
        build([str(images)], colour_encoder(), path)
        for number in range(20):
            index.add_verdict(Verdict("images", f"red-{number}", "c:red", "n"))
        shutil.copytree(path, tmp_path / "copy")
        os.kill(os.getpid(), signal.SIGKILL)

    assert not _killed(work, 60)
    return tmp_path / "copy", _content(path)


@pytest.mark.parametrize("shared_memory", [True, False])
def test_a_read_only_copy_has_all_that_was_committed(tmp_path, shared_memory):
    copy, expected = _copied_after_a_kill(tmp_path)
    assert (copy / f"{DATABASE}-wal").stat().st_size > 100_000
    if not shared_memory:
        for name in (DATABASE, THUMBNAILS):
            (copy / f"{name}-shm").unlink(missing_ok=True)
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    with read_only(copy):
        assert _content(copy) == expected
        index = Index.open(copy, ColourEncoder())
        assert index.info().images == 36
        assert len(index.verdicts()) == 20
        assert not any(index.verify().values())
        assert all(index.thumbnail(image) for image in range(1, 37))
        with ThreadPoolExecutor(4) as threads:  # each has a connection of its own
            assert set(threads.map(lambda _: index.info().images, range(40))) == {36}
        with pytest.raises(OpenMofiError, match="readonly") as raised:
            index.add_verdict(Verdict("images", "red-1", "c:red", "y"))
        assert "allow writing" in raised.value.hint
        assert "room" not in raised.value.hint
        index.close()
    assert {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()} == before
    assert _content(copy) == expected


def test_thumbnails_of_a_read_only_folder_without_any_are_made_of_the_images(tmp_path, index):
    index.close()
    for file in index.path.glob(f"{THUMBNAILS}*"):
        file.unlink()
    with read_only(index.path):
        assert Index.open(index.path, ColourEncoder()).thumbnail(1)
    (index.path / THUMBNAILS).write_bytes(b"not a database" * 1000)
    assert Index.open(index.path, ColourEncoder()).thumbnail(1)


def test_a_reader_that_may_not_write_sees_what_others_commit(tmp_path):
    """A folder that is read-only here and is written from elsewhere: while somebody has it open, and afterwards."""
    images, path = write_images(tmp_path / "images", 1), tmp_path / "index"
    build([str(images)], colour_encoder(), path)
    (tmp_path / "seen").mkdir()
    with read_only(path, tmp_path / "seen") as seen:
        index = Index.open(seen, ColourEncoder())
        assert index.info().images == 6
        write_images(images, 2)
        build([str(images)], colour_encoder(), path)  # opens and closes it: there is no log before and after
        assert index.info().images == 12
        with closing(connect(path)):
            write_images(images, 3)
            build([str(images)], colour_encoder(), path)
            assert index.info().images == 18
            write_images(images, 4)
            build([str(images)], colour_encoder(), path)
            assert index.info().images == 24
        write_images(images, 5)
        build([str(images)], colour_encoder(), path)
        assert len(index.search(Query(text="red", limit=1000, fold=False)).hits) == 30
        index.close()


@pytest.mark.parametrize("spec", ["hf:stranger/model", "timm:resnet18", "run:http://127.0.0.1:9/model"])
def test_what_an_index_names_is_not_fetched(index, monkeypatch, spec):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    with closing(connect(index.path)) as connection, connection:
        connection.execute("UPDATE meta SET value = ? WHERE name = 'encoder'", (spec,))
    with pytest.raises(OpenMofiError, match="because a file names it") as raised:
        _ = Index.open(index.path).encoder
    assert "--encoder" in raised.value.hint


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_address_that_an_index_names_is_refused_and_nobody_is_asked(index, address):
    with unasked() as host:
        with closing(connect(index.path)) as connection, connection:
            connection.execute("UPDATE images SET file = ?", (address.replace("HOST", host).encode(),))
        opened = Index.open(index.path, ColourEncoder())
        with pytest.raises(OpenMofiError, match=SAID):
            opened.image_bytes(opened.search(Query()).hits[0].image.id)


def test_an_index_of_before_commits_had_names_keeps_its_own(index):
    connection = index.connection
    named = content_of(connection)
    with transaction(connection):
        connection.execute("DELETE FROM meta WHERE name = 'content'")
    row = connection.execute(
        "SELECT id, made, what, changes FROM commits WHERE what <> 'map' ORDER BY id DESC LIMIT 1"
    ).fetchone()
    assert content_of(connection) == fingerprint([meta(connection)["fingerprint"], row]) != named
