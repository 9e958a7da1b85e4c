"""A user's own truth: key and entity are enough, in the formats people have; what does not match is said."""

import csv
import json
import re

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from openmofi.dataset import DatasetSettings, build_dataset
from openmofi.errors import OpenMofiError
from openmofi.knowledge import KnowledgeBase, build_table
from openmofi.plugins.audit.audit import audit
from openmofi.plugins.audit.truth_table import read_truth_table
from openmofi.storage import write_table

from ...knowledge.kb_tables import write_source


def true_rows(world, *names):
    rows = [row for row in pq.read_table(world.truth).to_pylist() if row["entity"]]
    return [{name: row[name] for name in names} for row in rows]


def written(path, rows):
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        with open(path, "w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), delimiter="\t" if path.suffix == ".tsv" else ",")
            writer.writeheader()
            writer.writerows(rows)
    return path


@pytest.fixture(scope="module")
def full(world):
    return audit(world.labels, world.truth)


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet"])
def test_every_format_with_all_columns_gives_the_same_audit(world, full, tmp_path, kind):
    rows = true_rows(world, "shard", "key", "entity", "named", "ambiguous", "domain", "split")
    found = audit(world.labels, written(tmp_path / f"truth.{kind}", rows))
    assert found.overall == full.overall
    assert found.groups == full.groups


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_key_and_entity_are_enough(world, full, tmp_path, kind):
    found = audit(world.labels, written(tmp_path / f"truth.{kind}", true_rows(world, "key", "entity")))
    labels, expected = found.overall.labels, full.overall.labels
    assert (labels.accepted, labels.correct) == (expected.accepted, expected.correct)
    assert labels.precision == expected.precision
    # What the texts name is not said: recall is over all pairs.
    assert labels.named == labels.pairs == expected.pairs
    assert labels.found == expected.correct
    assert set(found.groups) == {"detector"}
    assert (found.keys_unmatched, found.unknown_entities) == (0, ())


def test_several_entities_a_key_come_as_rows_or_as_a_list(world, full, tmp_path):
    rows = true_rows(world, "key", "entity")
    more = [{**row, "entity": "e1"} for row in rows if row["entity"] != "e1"]
    as_rows = audit(world.labels, written(tmp_path / "rows.csv", rows + more))
    both = [{"key": row["key"], "entity": list(dict.fromkeys([row["entity"], "e1"]))} for row in rows]
    for kind in ("jsonl", "parquet"):
        as_lists = audit(world.labels, written(tmp_path / f"lists.{kind}", both))
        assert as_lists.overall == as_rows.overall
    labels = as_rows.overall.labels
    assert labels.pairs == full.overall.labels.pairs
    assert labels.named == len(rows) + len(more)
    assert full.overall.labels.correct < labels.correct == labels.found


def test_keys_that_match_nothing_are_counted_or_refused(world, tmp_path):
    rows = true_rows(world, "key", "entity")
    some = audit(
        world.labels,
        written(tmp_path / "some.csv", [*rows, {"key": "x1", "entity": "e1"}, {"key": "x2", "entity": "e1"}]),
    )
    assert (some.keys_unmatched, some.examples) == (2, ("x1", "x2"))
    assert some.as_dict()["keys_unmatched"] == 2
    path = written(tmp_path / "none.csv", [{"key": f"x{row['key']}", "entity": "e1"} for row in rows])
    with pytest.raises(OpenMofiError, match=r"None of the 228 keys of .*none\.csv is in .*: it has e\.g\. 'x000"):
        audit(world.labels, path)
    # Numbers for keys that have zeros in front.
    path = written(tmp_path / "numbers.parquet", [{"key": 7, "entity": "e1"}])
    with pytest.raises(OpenMofiError, match=r"it has e\.g\. '7', the labels '00000000'"):
        audit(world.labels, path)


def test_entities_that_nothing_knows_are_counted_or_refused(world, tmp_path):
    rows = true_rows(world, "key", "entity")
    some = audit(world.labels, written(tmp_path / "some.csv", [{**rows[0], "entity": "elephant"}, *rows[1:]]))
    assert some.unknown_entities == ("elephant",)
    path = written(tmp_path / "none.csv", [{**row, "entity": "elephant"} for row in rows])
    with pytest.raises(OpenMofiError, match=r"None of the 1 entities .*'elephant', the labels 'e\d+'.*--kb"):
        audit(world.labels, path)


def test_names_of_entities_stand_for_them(world, tmp_path):
    out = tmp_path / "dataset"
    build_dataset(world.labels, out, DatasetSettings(1, None, None), report=False)
    vocabulary = pq.read_table(out / "vocabulary.parquet")
    names = {identifier: f"Thing {identifier[1:]}" for identifier in vocabulary["id"].to_pylist()}
    write_table(out / "vocabulary.parquet", vocabulary.set_column(2, "name", pa.array(names.values())))
    rows = true_rows(world, "key", "entity")
    by_name = [{"key": row["key"], "entity": names[row["entity"]].lower()} for row in rows]
    found = audit(out, written(tmp_path / "names.csv", by_name))
    assert found.overall == audit(out, written(tmp_path / "ids.csv", rows)).overall
    assert found.unknown_entities == ()


def test_a_name_that_means_several_entities_is_refused(world, tmp_path):
    source = write_source(tmp_path / "source")
    build_table(source, tmp_path / "kb")
    kb = KnowledgeBase.open(tmp_path / "kb")
    ambiguous = next(name for name in list(kb.names) if len(kb.candidates(name)) > 1)
    path = written(tmp_path / "t.csv", [{**row, "entity": ambiguous} for row in true_rows(world, "key", "entity")])
    with pytest.raises(OpenMofiError, match=rf"The name {ambiguous!r} in the truth means \d+ entities: "):
        audit(world.labels, path, kb=kb)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("key,label\na,b\n", "it has no column 'entity' (it has: key, label)"),
        ("name,entity\na,b\n", "it has no column 'key' (it has: name, entity)"),
        ('key,entity\na,"b\nc,d\n', "unexpected end of data"),
        ("key,entity\na\n", "line 2 has not as many values as the header"),
        ("key,entity\na,b,c\n", "line 2 has not as many values as the header"),
        ("key,entity\n,b\n", "The key of row 0"),
        ("key,entity,named\na,b,maybe\n", "The column named of row 0"),
        ("", "it has no column 'key'"),
    ],
)
def test_a_table_that_is_none_is_said_in_the_users_words(tmp_path, content, says):
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises(OpenMofiError, match=re.escape(says)) as caught:
        read_truth_table(tmp_path / "t.csv")
    assert caught.value.hint


def test_a_table_of_a_spreadsheet_is_read(tmp_path):
    (tmp_path / "t.csv").write_bytes("key;entity\nKräne;Q1\n".encode("cp1252"))
    assert read_truth_table(tmp_path / "t.csv").to_pylist() == [{"key": "Kräne", "entity": "Q1"}]


def test_a_missing_table_is_said(tmp_path):
    with pytest.raises(OpenMofiError, match=r"none\.csv is missing"):
        read_truth_table(tmp_path / "none.csv")


def test_a_key_in_two_shards_needs_the_shard(world, rows, tmp_path, small_labels):
    judged = rows.judgement("a", 0, 0.9, True, "accepted")
    mention = [{"start": 0, "end": 5, "surface": "apple", "detector": "gazetteer"}]
    row = rows.label_row("k", "apple", "labelled", mention, [judged])
    labels = small_labels({"s0": [row], "s1": [row]})
    path = written(tmp_path / "t.csv", [{"key": "k", "entity": "a"}])
    with pytest.raises(OpenMofiError, match=r"The key 'k' of .* is in two shards: s0 and s1\. Add a column shard"):
        audit(labels, path)
    path = written(tmp_path / "s.csv", [{"key": "k", "entity": "a", "shard": "s1"}])
    assert audit(labels, path).overall.labels.correct == 1
