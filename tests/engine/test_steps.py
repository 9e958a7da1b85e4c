"""A step makes the files that are missing, and their footers add up."""

from functools import partial

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmofi.engine import LocalEngine, Quiet
from openmofi.engine.steps import Running, Step, Summary
from openmofi.errors import OpenMofiError
from openmofi.storage import Shard
from openmofi.storage.table_files import Footer, table_blocks

COUNTS = st.dictionaries(st.text(max_size=3), st.integers(1, 9), max_size=4)
SHARDS = [Shard("", f"{number}") for number in range(5)]


class Counted(Summary, frozen=True):
    NOTE = "test.counted"
    rows: int
    words: dict[str, int]
    bins: list[tuple[int, int, int]]


BINS = st.lists(st.tuples(*[st.integers(0, 9)] * 3), max_size=4, unique_by=lambda row: row[0]).map(sorted)
SUMMARIES = st.builds(Counted, st.integers(0, 9), COUNTS, BINS)


def write(folder, made, shard):
    made.append(shard.name)
    if shard.name == "3":
        raise OpenMofiError("It is broken.", "")
    notes = {}
    with table_blocks(f"{folder}/{shard.name}.parquet", pa.schema([("row", pa.int64())]), notes) as add:
        add(pa.table({"row": [1, 2]}))
        notes |= Counted(2, {shard.name: 1, "every": 1}, [(int(shard.name), 1, 2), (9, 1, 1)]).notes()
    return {"rows": 2}


def step(folder, made) -> Step[Counted]:
    return Step("count", lambda shard: f"{folder}/{shard.name}.parquet", lambda: partial(write, folder, made), Counted)


@given(SUMMARIES, SUMMARIES, SUMMARIES)
def test_summaries_add_up_in_any_order_and_come_back_from_their_notes(first, second, third):
    total = (first + second) + third
    assert total == third + (second + first)
    assert {row[0] for row in total.bins} == {row[0] for each in (first, second, third) for row in each.bins}
    assert Counted.of(Footer(0, total.notes())) == total
    assert total.rows == first.rows + second.rows + third.rows
    assert sum(total.words.values()) == sum(sum(each.words.values()) for each in (first, second, third))


@pytest.mark.parametrize("note", ["", "{}", "[]", '{"rows": "2", "words": {}, "bins": []}'])
def test_a_damaged_note_is_none(note):
    assert Counted.of(Footer(0, {"test.counted": note})) is None
    assert Counted.of(Footer(0, {})) is None
    assert Counted.of(None) is None


def test_what_is_missing_is_made_once_and_what_fails_is_set_aside(tmp_path):
    made, running = [], Running(LocalEngine(), Quiet())
    counted = list(running.complete(step(tmp_path, made), SHARDS))
    assert made == ["0", "1", "2", "3", "4"]
    total = sum(counted, Counted(0, {}, []))
    assert total == Counted(
        8, {"0": 1, "1": 1, "2": 1, "4": 1, "every": 4}, [(0, 1, 2), (1, 1, 2), (2, 1, 2), (4, 1, 2), (9, 4, 4)]
    )
    assert running.reasons() == {"3": "It is broken."}
    path = tmp_path / "1.parquet"
    path.write_bytes(path.read_bytes()[:-9])
    made.clear()
    assert step(tmp_path, made).missing(SHARDS) == [SHARDS[1], SHARDS[3]]
    list(running.complete(step(tmp_path, made), running.left(SHARDS)))
    assert made == ["1"]
    path.unlink()
    with pytest.raises(OpenMofiError, match=r"1\.parquet cannot be read"):
        list(step(tmp_path, made).finished(SHARDS[:3]))


def test_a_job_whose_shards_all_fail_ends_with_the_first_error(tmp_path):
    running = Running(LocalEngine(), Quiet())
    with pytest.raises(OpenMofiError, match="It is broken"):
        running.complete(step(tmp_path, []), SHARDS[3:4])
