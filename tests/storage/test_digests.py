import hashlib
import os
import threading
import time

import pytest
from mounts import read_only

from openmofi.errors import OpenMofiError
from openmofi.storage.digests import BLOCK, check_once, file_digest, file_stamp, let_settle, note_checked


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENMOFI_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


class Checks:
    """Counts how often it is called; fails where it is told to."""

    def __init__(self, fails=False, seconds=0.0):
        self.count, self.fails, self.seconds = 0, fails, seconds

    def __call__(self):
        self.count += 1
        time.sleep(self.seconds)
        if self.fails:
            raise OpenMofiError("damaged.")


def nothing():
    pass


@pytest.mark.parametrize(("size", "blocks"), [(0, 0), (5, 1), (BLOCK, 1), (BLOCK + 1, 2)])
def test_a_digest_is_that_of_the_whole_content(tmp_path, size, blocks):
    content = os.urandom(size)
    (tmp_path / "a").write_bytes(content)
    advanced = []
    assert (
        file_digest(tmp_path / "a", lambda: advanced.append(1)) == hashlib.blake2b(content, digest_size=16).hexdigest()
    )
    assert len(advanced) == blocks


def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path):
    with pytest.raises(OpenMofiError, match=r"nowhere cannot be read: No such file"):
        file_digest(tmp_path / "nowhere")


def test_the_stamp_changes_with_every_write_replacement_and_expectation(tmp_path):
    file = tmp_path / "a"
    file.write_bytes(b"12")
    stamps = [file_stamp(tmp_path, ["a"], 1)]
    assert file_stamp(tmp_path, ["a"], 1) == stamps[0]
    let_settle(tmp_path, ["a"])
    file.write_bytes(b"21")
    stamps.append(file_stamp(tmp_path, ["a"], 1))
    before = file.stat()
    (tmp_path / "b").write_bytes(b"99")
    os.utime(tmp_path / "b", ns=(before.st_atime_ns, before.st_mtime_ns))
    (tmp_path / "b").rename(file)
    stamps += [file_stamp(tmp_path, ["a"], 1), file_stamp(tmp_path, ["a"], 2)]
    assert len(set(stamps)) == 4


def test_what_passed_is_not_checked_again_and_what_failed_is():
    check, failing = Checks(), Checks(fails=True)
    for _ in range(3):
        check_once("one", check, nothing)
        with pytest.raises(OpenMofiError):
            check_once("two", failing, nothing)
    assert (check.count, failing.count) == (1, 3)
    note_checked("one", passed=False)
    check_once("one", check, nothing)
    assert check.count == 2


def test_of_several_at_once_one_checks_and_the_others_wait():
    check, waited = Checks(seconds=0.3), []
    threads = [threading.Thread(target=check_once, args=("one", check, lambda: waited.append(1))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert check.count == 1
    assert len(waited) <= 3


def test_without_a_cache_each_call_checks(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("OPENMOFI_HOME", str(tmp_path / "file"))
    check = Checks()
    check_once("one", check, nothing)
    check_once("one", check, nothing)
    assert check.count == 2


def test_a_cache_on_a_read_only_disk_is_no_error(home):
    home.mkdir()
    check = Checks()
    with read_only(home):
        check_once("one", check, nothing)
        check_once("one", check, nothing)
    assert check.count == 2


def test_old_notes_are_forgotten_once_a_day(home):
    def names():
        return {path.name for path in (home / "checked").iterdir()} - {".swept"}

    note_checked("old")
    os.utime(home / "checked" / "old", (0, 0))
    note_checked("new")
    assert names() == {"old", "new"}
    os.utime(home / "checked" / ".swept", (0, 0))
    note_checked("newer")
    assert names() == {"new", "newer"}
