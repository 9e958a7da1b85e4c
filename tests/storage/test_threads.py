import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmofi.engine import LocalEngine, Quiet
from openmofi.errors import OpenMofiError
from openmofi.storage import Shard, file_fingerprint
from openmofi.storage.addresses import in_threads
from openmofi.storage.digests import content_fingerprint
from openmofi.storage.shards import take_fingerprints
from terminal import PATIENCE


@given(st.lists(st.integers(), max_size=3000))
def test_results_come_in_order(items):
    assert list(in_threads(lambda item: item + 1, iter(items))) == [item + 1 for item in items]


def test_several_are_in_work_at_once():
    together = threading.Barrier(4, timeout=PATIENCE)
    waited = in_threads(lambda item: together.wait() if item % 16 == 0 else -1, range(64))
    assert sorted(number for number in waited if number >= 0) == [0, 1, 2, 3]


def test_an_error_is_raised_in_its_turn():
    def positive(item):
        if item < 0:
            raise ValueError(item)
        return item

    results = in_threads(positive, [*range(40), -1])
    assert [next(results) for _ in range(32)] == list(range(32))
    with pytest.raises(ValueError, match="-1"):
        list(results)


def test_only_what_is_needed_is_begun():
    begun = []
    results = in_threads(lambda item: begun.append(item) or item, range(100_000))
    assert next(results) == 0
    results.close()
    assert len(begun) <= 2000


def test_fingerprints_are_those_that_each_shard_would_take(tmp_path):
    shards = []
    for number in range(40):
        (tmp_path / f"{number}.tar").write_bytes(bytes([number]) * (number * 1000))
        shards.append(Shard(str(tmp_path / f"{number}.tar"), str(number)))
    vars(shards[3])["fingerprint"] = "known"
    take_fingerprints(shards)
    for path in tmp_path.iterdir():
        path.unlink()
    assert shards[3].fingerprint == "known"
    assert len({shard.fingerprint for shard in shards}) == 40
    (tmp_path / "7.tar").write_bytes(bytes([7]) * 7000)
    assert shards[7].fingerprint == file_fingerprint(tmp_path / "7.tar")
    with pytest.raises(OpenMofiError, match="cannot be read"):
        take_fingerprints([Shard(str(tmp_path / "none.tar"), "none")])


def test_fingerprints_of_many_shards_are_taken_in_tasks(tmp_path):
    (tmp_path / "a.tar").write_bytes(b"a" * 10)
    (tmp_path / "b.tar").write_bytes(b"b" * (3 << 20))
    shards = [Shard(str(tmp_path / f"{'ab'[number % 2]}.tar"), str(number)) for number in range(1500)]
    begun = []

    def run(factory, tasks):
        begun.append(len(tasks))
        return LocalEngine().run(factory, tasks, Quiet())

    take_fingerprints(shards, run)
    assert begun == [6]
    assert {(shard.path, vars(shard)["fingerprint"]) for shard in shards} == {
        (str(path), file_fingerprint(path)) for path in tmp_path.iterdir()
    }
    missing = [Shard(str(tmp_path / "none.tar"), str(number)) for number in range(1500)]
    with pytest.raises(OpenMofiError, match=r"none\.tar cannot be read"):
        take_fingerprints(missing, run)


def test_a_large_file_is_read_again_only_where_it_has_changed(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENMOFI_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    path, read = tmp_path / "a.tar", []
    monkeypatch.setattr(
        "openmofi.storage.shards.content_fingerprint", lambda path: read.append(path) or content_fingerprint(path)
    )

    def taken(name, content, age):
        if content:
            path.write_bytes(content)
        monkeypatch.setattr("time.time", lambda: path.stat().st_ctime + age)
        shard = Shard(name, "a")
        take_fingerprints([shard])
        times = len(read)
        assert shard.fingerprint == file_fingerprint(path)
        del read[times:]  # that one was the test's
        return times

    large = b"a" * (3 << 20)
    assert taken("a.tar", large, age=10) == 1
    assert taken("a.tar", b"", age=10) == 1
    assert taken(str(path), b"", age=10) == 1, "it is known by where it is"
    # Another content of that size, which nothing but the times and the inode tell.
    assert taken("a.tar", large[:-1] + b"b", age=10) == 2
    assert taken("a.tar", large, age=1) == 3, "it may be changed again within a tick of the clock"
    assert taken("a.tar", b"", age=1) == 4
    assert taken("a.tar", b"small", age=10) == 5
    assert taken("a.tar", b"", age=10) == 6


@pytest.mark.slow
def test_reading_more_than_a_gib_is_shown(tmp_path):
    (tmp_path / "small.tar").write_bytes(b"a")
    with open(tmp_path / "large.tar", "wb") as file:
        file.truncate(1 << 30)
    shown = []

    def watch(fingerprints, total):
        for value in fingerprints:
            shown.append(total)
            yield value

    take_fingerprints([Shard(str(tmp_path / "small.tar"), "small")], watch=watch)
    assert shown == []
    shards = [Shard(str(tmp_path / f"{name}.tar"), name) for name in ("small", "large")]
    take_fingerprints(shards, watch=watch)
    assert shown == [2, 2]
    assert [shard.fingerprint for shard in shards] == [file_fingerprint(shard.path) for shard in shards]
