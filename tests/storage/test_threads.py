import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmofi.errors import OpenMofiError
from openmofi.storage import Shard, file_fingerprint
from openmofi.storage.shards import take_fingerprints
from openmofi.storage.threads import in_threads


@given(st.lists(st.integers(), max_size=3000))
def test_results_come_in_order(items):
    assert list(in_threads(lambda item: item + 1, iter(items))) == [item + 1 for item in items]


def test_several_are_in_work_at_once():
    together = threading.Barrier(4, timeout=60)
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
