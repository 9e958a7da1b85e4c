"""What is merged in tasks is what one process merges, in whatever parts."""

from collections import Counter
from itertools import chain

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmofi.engine import LocalEngine, Quiet, engine_named, two_pass
from openmofi.engine.steps import Running
from openmofi.engine.two_pass import merged, merged_in_tasks
from openmofi.storage import Shard


class Repeated:
    """The numbers that occur at least three times, by a sketch of eight cells."""

    def sketch(self, blocks):
        cells = np.zeros(8, np.int64)
        for block in blocks:
            np.add.at(cells, np.array(block, np.int64) % 8, 1)
        return cells

    def combined(self, first, second):
        return first + second

    def counted(self, blocks, sketch):
        counts = Counter(number for block in blocks for number in block if sketch[number % 8] >= 3)
        return pa.table({"number": pa.array(list(counts), pa.int64()), "count": pa.array(counts.values(), pa.int64())})

    def joined(self, parts):
        counts = Counter()
        for part in parts:
            counts.update(dict(zip(part["number"].to_pylist(), part["count"].to_pylist(), strict=True)))
        return pa.table({"number": pa.array(sorted(n for n, count in counts.items() if count >= 3), pa.int64())})


def numbers_of(shards):
    """A shard's name holds its numbers."""
    return [[int(number) for number in shard.name.split()] for shard in shards]


@given(st.lists(st.lists(st.integers(0, 30), min_size=1, max_size=8), min_size=1, max_size=20), st.integers(1, 5))
def test_parts_do_not_matter(tmp_path_factory, corpus, size):
    shards = [Shard("", " ".join(map(str, row))) for row in corpus]
    expected = sorted(number for number, count in Counter(chain.from_iterable(corpus)).items() if count >= 3)
    folder = tmp_path_factory.mktemp("parts")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(two_pass, "PART", size)
        found = merged_in_tasks(
            Repeated(),
            numbers_of,
            shards,
            str(folder / "x"),
            Running(LocalEngine(), Quiet()),
        )
    assert found["number"].to_pylist() == expected == merged(Repeated(), lambda: corpus)["number"].to_pylist()
    assert not list(folder.iterdir())


@pytest.mark.slow
def test_many_shards_are_few_tasks_of_an_engine(tmp_path, forked_workers):
    shards = [Shard("", f"{number} {number % 7}") for number in range(1000)]
    begun = []

    class Begun(Quiet):
        def begin(self, stage, total):
            begun.append((stage, total))

    running = Running(engine_named("processes:2"), Begun())
    found = merged_in_tasks(Repeated(), numbers_of, shards, str(tmp_path / "x"), running)
    assert found["number"].to_pylist() == list(range(7))
    assert begun == [("count", 16), ("combine", 1), ("collect", 16)]
