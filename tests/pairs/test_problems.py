import csv

import pyarrow as pa
import pytest

from openmofi.pairs import problems
from openmofi.schema import LabelStatus, PairStatus
from openmofi.storage import Shard, write_table


def test_every_status_of_an_unusable_row_has_a_reason():
    assert set(problems.REASONS) == {*PairStatus} - {PairStatus.OK}
    assert not {*LabelStatus} & set(problems.REASONS)


@pytest.mark.parametrize("most", [1, 9])
def test_the_first_rows_of_each_shard_and_the_shards_that_failed(tmp_path, monkeypatch, most):
    monkeypatch.setattr(problems, "MOST_PROBLEMS", most)
    shards = [Shard(f"/x/{name}.tar", name) for name in "abc"]
    for name, statuses in {"a": ["labelled", "image_broken"], "c": ["text_empty", "rejected", "duplicate_key"]}.items():
        table = pa.table({"key": [f'{name}"{n}' for n in range(len(statuses))], "status": statuses})
        write_table(tmp_path / f"labels/{name}.parquet", table)
    counts = {"status": {"labelled": 1, "image_broken": 1, "text_empty": 1, "duplicate_key": 1, "rejected": 1}}
    problems.write_problems(
        str(tmp_path), problems.problems_of(str(tmp_path), "labels", shards, counts | {"failed": {"b": "cut off"}})
    )
    rows = list(csv.reader((tmp_path / "problems.csv").read_text().splitlines()))
    assert rows[0] == ["row", "key", "file", "status", "reason"]
    assert [row[:4] for row in rows[1:]] == [
        ["", "", "/x/b.tar", "failed"],
        ["2", 'a"1', "/x/a.tar", "image_broken"],
        ["1", 'c"0', "/x/c.tar", "text_empty"],
        ["3", 'c"2', "/x/c.tar", "duplicate_key"],
    ][: 1 + most]
    problems.write_problems(
        str(tmp_path), problems.problems_of(str(tmp_path), "labels", shards, {"status": {"labelled": 3}})
    )
    assert len((tmp_path / "problems.csv").read_text().splitlines()) == 1


def test_a_spreadsheet_computes_no_cell(tmp_path):
    keys = ["=HYPERLINK(1)", "+1", "-1", "@x", "\t=1", "a=1"]
    write_table(tmp_path / "labels/a.parquet", pa.table({"key": keys, "status": ["text_empty"] * len(keys)}))
    problems.write_problems(
        str(tmp_path),
        problems.problems_of(str(tmp_path), "labels", [Shard("=a.tar", "a")], {"status": {"text_empty": len(keys)}}),
    )
    _, *rows = csv.reader((tmp_path / "problems.csv").read_text().splitlines())
    assert [row[1] for row in rows] == ["'=HYPERLINK(1)", "'+1", "'-1", "'@x", "'\t=1", "a=1"]
    assert {row[2] for row in rows} == {"'=a.tar"}
