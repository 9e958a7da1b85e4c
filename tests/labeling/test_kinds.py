"""The label job over pairs of several texts: which of them a mention was found in."""

import re
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import openmofi
from openmofi.labeling.label_settings import TextSettings
from openmofi.labeling.link import TextLinker
from openmofi.pairs import read_pairs
from openmofi.schema import LABELS, with_kinds
from openmofi.storage import expand_shards
from small_world import SHAPES

DOCS = Path(__file__).parents[2] / "docs"
NAMES = [name for name, _, _ in SHAPES.values()]


@pytest.fixture(scope="module")
def table(small_world, tmp_path_factory):
    """The pairs of a shard with tags beside their texts: none, others, the same, over two lines."""
    first, *_ = expand_shards([str(small_world.shards)])
    rows = [
        {
            "key": pair.key,
            "image": pair.image,
            "title": pair.text,
            "tags": ["", f"{NAMES[number % 8]}\n{NAMES[number % 5]}", pair.text, None][number % 4],
        }
        for number, pair in enumerate(read_pairs(first))
    ]
    path = tmp_path_factory.mktemp("kinds") / "pairs.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def label(table, labelled, small_world, small_encoder, out, columns):
    return openmofi.label(
        table,
        kb=small_world.kb,
        encoder=small_encoder,
        out=out,
        text_column=columns,
        progress=False,
        calibration=labelled / "calibration.json",
        boilerplate=False,
    )


@pytest.fixture(scope="module")
def labels(table, labelled, small_world, small_encoder, tmp_path_factory):
    return label(
        table, labelled, small_world, small_encoder, tmp_path_factory.mktemp("of-kinds") / "labels", ["title", "tags"]
    )


def test_a_mention_has_the_kind_of_the_text_that_it_is_found_in_alone(labels, table, small_world):
    linker = TextLinker(openmofi.KnowledgeBase.open(small_world.kb), TextSettings())

    def surfaces(texts):
        return [[mention.surface for mention in row.mentions] for row in linker.link([text or "" for text in texts])]

    pairs, rows = pq.read_table(table), labels.to_arrow().to_pylist()
    title, tags = (surfaces(pairs[name].to_pylist()) for name in ("title", "tags"))
    seen = set()
    for row, pair, of_title, of_tags in zip(rows, pairs.to_pylist(), title, tags, strict=True):
        same = pair["title"] == pair["tags"]
        expected = {"title+tags": of_title} if same else {"title": of_title, "tags": of_tags}
        found = {
            kind: [mention["surface"] for mention in row["mentions"] if mention["kind"] == kind] for kind in expected
        }
        assert found == expected
        assert sum(map(len, found.values())) == len(row["mentions"])
        seen |= {kind for kind, of_kind in found.items() if of_kind}
    assert seen == {"title", "tags", "title+tags"}


def test_the_file_has_kinds_where_several_columns_are_named_and_nowhere_else(
    labels, table, labelled, small_world, small_encoder, tmp_path
):
    def schema(folder):
        return pq.read_schema(folder / "labels/pairs.parquet").remove_metadata()

    assert schema(labels.path) == with_kinds(LABELS)
    one = label(table, labelled, small_world, small_encoder, tmp_path / "labels", "title")
    assert schema(one.path) == LABELS
    assert one.to_arrow().schema.remove(0) == LABELS


def test_the_query_of_the_documentation_and_the_audit_count_the_same(labels, small_world, tmp_path, monkeypatch):
    monkeypatch.chdir(labels.path.parent)
    (query,) = re.findall(r"```sql\n(.*?)```", (DOCS / "pairs.md").read_text("utf-8"), re.S)
    counted = dict(duckdb.sql(query).fetchall())
    assert set(counted) == {"title", "tags", "title+tags"}
    truth = [{"key": key, "entity": entity} for (shard, key), entity in small_world.truth.items() if shard == "00000"]
    pq.write_table(pa.Table.from_pylist(truth), tmp_path / "truth.parquet")
    groups = openmofi.audit(labels.path, tmp_path / "truth.parquet", kb=small_world.kb).groups
    assert {kind: beside.labels.accepted for kind, beside in groups["kind"].items()} == counted
