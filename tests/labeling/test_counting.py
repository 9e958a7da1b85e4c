"""The n-grams of a shard are counted in blocks, whatever the batches that its pairs come in."""

import pyarrow.parquet as pq
import pytest

from openmofi.engine.two_pass import merged
from openmofi.labeling import read as stage
from openmofi.labeling.summaries import TextSummary
from openmofi.mentions.repeats import RepeatMerge, ngram_blocks, summary
from openmofi.schema import Pair, PairStatus
from openmofi.storage import table_files as blocks
from openmofi.storage.table_files import table_footer

PAIRS = [
    Pair(
        f"{number}",
        b"",
        f"{number % 7} words of a text that {number % 3} repeats",
        PairStatus.TEXT_EMPTY if number % 9 == 4 else PairStatus.OK,
    )
    for number in range(50)
]
IMAGES = [f"{number:x}" for number in range(50)]
USABLE = [number for number, pair in enumerate(PAIRS) if pair.status == PairStatus.OK]


def written(path, batch: int, pairs=PAIRS, *, ngrams: bool = True) -> bytes:
    with stage.writing_texts(str(path), {}, ngrams=ngrams) as add:
        for start in range(0, len(pairs), batch):
            add(pairs[start : start + batch], IMAGES[start : start + batch])
    return path.read_bytes()


def test_batches_do_not_matter(tmp_path, monkeypatch):
    monkeypatch.setattr(stage, "BLOCK_ROWS", 16)
    first = written(tmp_path / "1.parquet", 1)
    assert TextSummary.of(table_footer(tmp_path / "1.parquet")).usable == len(USABLE)
    assert all(written(tmp_path / f"{batch}.parquet", batch) == first for batch in (3, 16, 40, 100))


def test_a_table_holds_the_pairs_and_the_ngrams_of_those_that_are_usable(tmp_path):
    written(tmp_path / "a.parquet", 7)
    table = pq.read_table(tmp_path / "a.parquet")
    assert table["text"].to_pylist() == [pair.text for pair in PAIRS]
    assert [len(row) > 0 for row in table["ngrams"].to_pylist()] == [True] + [False] * 49
    expected = summary([PAIRS[number].text for number in USABLE], [IMAGES[number] for number in USABLE])
    assert next(ngram_blocks([str(tmp_path / "a.parquet")])) == expected
    assert TextSummary.of(table_footer(tmp_path / "a.parquet")).ngrams == len(expected)
    written(tmp_path / "b.parquet", 7, ngrams=False)
    assert [len(block) for block in ngram_blocks([str(tmp_path / "b.parquet")])] == [0]


@pytest.mark.parametrize("block", [1, 16, 1000])
def test_blocks_of_distinct_images_do_not_matter_to_what_is_repeated(tmp_path, monkeypatch, block):
    written(tmp_path / "whole.parquet", 10)
    for module in (stage, blocks):
        monkeypatch.setattr(module, "BLOCK_ROWS", block)
    written(tmp_path / "cut.parquet", 10)
    assert pq.read_metadata(tmp_path / "cut.parquet").num_row_groups == -(-50 // block)
    whole, cut = (
        merged(RepeatMerge(50, 10_000), lambda name=name: ngram_blocks([str(tmp_path / f"{name}.parquet")]))
        for name in ("whole", "cut")
    )
    assert len(whole)
    assert whole == cut


@pytest.mark.parametrize("pairs", [[], [Pair("a", None, "", PairStatus.TEXT_EMPTY)]])
def test_a_shard_without_usable_texts_has_no_ngrams(tmp_path, pairs):
    written(tmp_path / "none.parquet", 1, pairs)
    assert [len(table) for table in ngram_blocks([str(tmp_path / "none.parquet")])] == [0]
