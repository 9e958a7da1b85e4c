"""Tables with one wrong value: whoever reads them refuses, naming the file and the row."""

import re
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from openmofi.dataset import DatasetSettings, build_dataset, write_report
from openmofi.dataset.tables import Folder
from openmofi.errors import OpenMofiError
from openmofi.plugins.audit.audit import audit
from openmofi.schema import DATASET, LABELS, VOCABULARY
from openmofi.storage import write_table

SHARD = "pairs-001"


def judged(**values):
    def change(rows):
        row = next(number for number, row in enumerate(rows) if row["entities"])
        rows[row]["entities"][-1].update(values)
        return row

    return change


def row_with(row, **values):
    def change(rows):
        rows[row].update(values)
        return row

    return change


WRONG_LABELS = [
    (judged(probability=float("nan")), "has a probability that is not between 0 and 1"),
    (judged(probability=-0.5), "has a probability that is not between 0 and 1"),
    (judged(probability=1.5), "has a probability that is not between 0 and 1"),
    (judged(probability=float("inf")), "has a probability that is not between 0 and 1"),
    (judged(probability=None), "has a probability that is not between 0 and 1"),
    (judged(prior=float("nan")), "has a prior that is not"),
    (judged(link_score=-1.0), "has a link_score that is not"),
    (judged(image_score=float("inf")), "has an image_score that is not a number"),
    (judged(entity=None), "judges an entity without an identifier"),
    (judged(entity=""), "judges an entity without an identifier"),
    (judged(mention=7), "judges an entity of a mention that it does not have"),
    (judged(mention=-1), "judges an entity of a mention that it does not have"),
    (judged(accepted=None), "does not say whether an entity is accepted"),
    (judged(reason="because"), "has an unknown reason"),
    (row_with(3, status="fine"), "has an unknown status"),
    (row_with(3, status="ok"), "has an unknown status"),
    (row_with(3, status=None), "has an unknown status"),
    (row_with(5, key="00100002"), "repeats a key"),
    (row_with(3, key=None), "has no key"),
    (row_with(3, text=None), "has no text"),
    (row_with(3, phash=None), "has no phash"),
    (row_with(3, width=-4), "has no width"),
]


@pytest.mark.parametrize(("change", "says"), WRONG_LABELS)
def test_wrong_labels_are_refused_with_file_and_row(world, tmp_path, change, says):
    labels = shutil.copytree(world.labels, tmp_path / "labels")
    path = labels / "labels" / f"{SHARD}.parquet"
    rows = pq.read_table(path).to_pylist()
    row = change(rows)
    write_table(path, pa.Table.from_pylist(rows, LABELS))
    with pytest.raises(OpenMofiError, match=rf"^Row {row} .*{re.escape(str(path))} {says}.*: the labels are damaged"):
        build_dataset(labels, tmp_path / "dataset", DatasetSettings(1, None, None))
    assert {path.name for path in (tmp_path / "dataset").glob("*")} <= {"manifest.json", "collected"}
    assert not [path for path in (tmp_path / "dataset").rglob("*") if path.stem == SHARD]


def test_the_audit_and_the_report_refuse_them_as_well(world, tmp_path):
    build_dataset(world.labels, tmp_path / "dataset", DatasetSettings(1, None, None), report=False)
    labels = shutil.copytree(world.labels, tmp_path / "labels")
    path = labels / "labels" / f"{SHARD}.parquet"
    rows = pq.read_table(path).to_pylist()
    judged(probability=float("nan"))(rows)
    write_table(path, pa.Table.from_pylist(rows, LABELS))
    for read in (
        lambda: audit(labels, world.truth),
        lambda: write_report(tmp_path / "dataset", labels, tmp_path / "report.html"),
    ):
        with pytest.raises(OpenMofiError, match="probability that is not between 0 and 1"):
            read()


def test_a_repeated_key_that_says_so_is_no_fault(world, rows, small_labels, tmp_path):
    judged_rows = [rows.label_row("k", "apple", "no_mention"), rows.label_row("k", "apple", "duplicate_key")]
    folder = Folder.open(small_labels({"s0": judged_rows}))
    assert folder.read(folder.shards[0])["key"].to_pylist() == ["k", "k"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda table: table.drop_columns(["phash"]), "it has no column 'phash' (it has: key, text"),
        (
            lambda table: table.set_column(0, "key", pa.array([[1]] * len(table))),
            "its column 'key' holds lists of whole numbers, not text",
        ),
        (
            lambda table: table.set_column(4, "entities", pa.array(["x"] * len(table))),
            "its column 'entities' holds text, not lists of records",
        ),
    ],
)
def test_other_columns_are_named_and_not_arrows_types(world, tmp_path, change, says):
    labels = shutil.copytree(world.labels, tmp_path / "labels")
    path = labels / "labels" / f"{SHARD}.parquet"
    pq.write_table(change(pq.read_table(path)), path)
    with pytest.raises(OpenMofiError, match=re.escape(f"{path} cannot be read: {says}")):
        build_dataset(labels, tmp_path / "dataset")


@pytest.fixture(scope="module")
def dataset(world, tmp_path_factory):
    out = tmp_path_factory.mktemp("checked") / "dataset"
    build_dataset(world.labels, out, DatasetSettings(1, None, None), report=False)
    return out


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"classes": [99999]}, "has a class that is none of the 16 of the vocabulary"),
        ({"classes": [-1]}, "has a class that is none of the 16 of the vocabulary"),
        ({"classes": [None]}, "has a class that is none of the 16 of the vocabulary"),
        ({"entities": ["e99"]}, "has an entity that is not its class's"),
        ({"entities": [None]}, "has an entity that is not its class's"),
        ({"scores": [float("nan")]}, "has a score that is not between 0 and 1"),
        ({"scores": [2.0]}, "has a score that is not between 0 and 1"),
        ({"scores": [0.5, 0.5]}, "has not as many scores as classes"),
        ({"classes": [], "entities": [], "scores": []}, "has no classes"),
        ({"key": None}, "has no key"),
        ({"shard": "other"}, "is of another shard"),
    ],
)
def test_a_wrong_dataset_is_refused_with_file_and_row(dataset, tmp_path, values, says):
    copy = shutil.copytree(dataset, tmp_path / "dataset")
    path = copy / "images" / f"{SHARD}.parquet"
    rows = pq.read_table(path).to_pylist()
    row = next(number for number, row in enumerate(rows) if len(row["classes"]) == 1)
    rows[row].update(values)
    write_table(path, pa.Table.from_pylist(rows, DATASET))
    folder = Folder.open(copy, "dataset")
    with pytest.raises(OpenMofiError, match=rf"^Row {row} .*of {re.escape(str(path))} {says}: the dataset is damaged"):
        folder.read(folder.shards[1])


@pytest.mark.parametrize(
    ("column", "value", "says"),
    [
        ("class_id", 7, "is not the next class"),
        ("id", "e0", "has the entity of another class"),
        ("id", "", "has no entity"),
        ("name", None, "has no name"),
        ("images", -1, "has a negative count of images"),
    ],
)
def test_a_wrong_vocabulary_is_refused(dataset, tmp_path, column, value, says):
    copy = shutil.copytree(dataset, tmp_path / "dataset")
    rows = pq.read_table(copy / "vocabulary.parquet").to_pylist()
    row = next(number for number, row in reversed(list(enumerate(rows))) if row["id"] != "e0" and number != 7)
    rows[row][column] = value
    write_table(copy / "vocabulary.parquet", pa.Table.from_pylist(rows, VOCABULARY))
    with pytest.raises(OpenMofiError, match=rf"vocabulary\.parquet .*{says}.*damaged"):
        _ = Folder.open(copy, "dataset").vocabulary


def test_every_value_of_a_good_table_passes(world, dataset):
    for folder in (Folder.open(world.labels), Folder.open(dataset)):
        assert [len(folder.read(shard)) > 0 for shard in folder.shards] == [True] * 3
    assert np.array_equal(Folder.open(dataset).vocabulary["class_id"].to_numpy(), np.arange(16))


def test_a_knowledge_base_that_knows_no_entity_is_refused(world, lookup, tmp_path):
    lookup.count = 0
    with pytest.raises(OpenMofiError, match="has none of the 16 entities of the labels"):
        build_dataset(world.labels, tmp_path / "d", DatasetSettings(1, None, None), kb=lookup, report=False)
    assert {path.name for path in (tmp_path / "d").iterdir()} == {"manifest.json", "collected"}
