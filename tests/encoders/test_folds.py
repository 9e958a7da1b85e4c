"""Which pairs are of which fold: written down by pair."""

import json

import pyarrow as pa
import pytest

from openmofi.encoders.companions import FITTED, Folds
from openmofi.errors import OpenMofiError


def table(*rows):
    return pa.Table.from_pylist([dict(zip(FITTED.names, row, strict=True)) for row in rows], schema=FITTED)


def test_folds_are_read_back_and_are_of_shard_and_key(tmp_path):
    Folds(3, table(("s", "a", 0), ("s", "b", 2), ("t", "a", 1))).save(tmp_path)
    folds = Folds.beside(tmp_path)
    assert folds.count == 3
    assert folds.of("s", ["b", "new", "a"]).tolist() == [2, -1, 0]
    assert folds.of("t", ["b", "a"]).tolist() == [-1, 1]
    assert folds.of("u", ["a"]).tolist() == [-1]
    assert folds.of("s", []).tolist() == folds.of("u", []).tolist() == []
    assert Folds.beside(tmp_path / "elsewhere") is None


@pytest.mark.parametrize("damage", [None, b"", b"no table"])
def test_folds_without_their_table_are_refused(tmp_path, damage):
    Folds(2, table(("s", "a", 0))).save(tmp_path)
    assert json.loads((tmp_path / "folds.json").read_text()) == {"count": 2}
    (tmp_path / "folds.parquet").unlink()
    if damage is not None:
        (tmp_path / "folds.parquet").write_bytes(damage)
    with pytest.raises(OpenMofiError, match=r"folds\.parquet (is missing|cannot be read).*again"):
        Folds.beside(tmp_path)
