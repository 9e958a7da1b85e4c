"""The n-grams of a shard are counted in blocks, whatever the batches that its pairs come in."""

import pytest

from openmofi.labeling.read import stage
from openmofi.mentions.repeats import RepeatMerge
from openmofi.storage.atomic import table_footer
from openmofi.storage.blocks import read_table_blocks
from openmofi.storage.two_pass import merged

ROWS = [(f"{number % 7} words of a text that {number % 3} repeats", f"{number:x}") for number in range(50)]


def counted(path, batch: int) -> bytes:
    with stage._counting(str(path)) as count:
        for start in range(0, len(ROWS), batch):
            count(ROWS[start:start + batch])
    return path.read_bytes()


def test_batches_do_not_matter(tmp_path, monkeypatch):
    monkeypatch.setattr(stage, "BLOCK_ROWS", 16)
    first = counted(tmp_path / "1.parquet", 1)
    assert table_footer(tmp_path / "1.parquet").notes["openmofi.usable"] == "50"
    assert all(counted(tmp_path / f"{batch}.parquet", batch) == first for batch in (3, 16, 40, 100))


@pytest.mark.parametrize("block", [1, 16, 1000])
def test_blocks_of_distinct_images_do_not_matter_to_what_is_repeated(tmp_path, monkeypatch, block):
    counted(tmp_path / "whole.parquet", 10)
    monkeypatch.setattr(stage, "BLOCK_ROWS", block)
    counted(tmp_path / "cut.parquet", 10)
    whole, cut = (merged(RepeatMerge(50, 10_000), lambda name=name: read_table_blocks(tmp_path / f"{name}.parquet"))
                  for name in ("whole", "cut"))
    assert len(whole)
    assert whole == cut


def test_a_shard_without_usable_texts_has_an_empty_table(tmp_path):
    with stage._counting(str(tmp_path / "none.parquet")):
        pass
    assert [len(table) for table in read_table_blocks(tmp_path / "none.parquet")] == [0]
