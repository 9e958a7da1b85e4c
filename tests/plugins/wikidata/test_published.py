"""Parquet as others publish it: what is read of it is what is read of the dump of the same items."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from item_dumps import Entity, item, lines_of, random_items, statement, write_dump
from typer.testing import CliRunner

from openmofi.cli.main import app
from openmofi.engine.protocol import Quiet
from openmofi.errors import OpenMofiError, UsageError
from openmofi.knowledge import KnowledgeBase
from openmofi.plugins.wikidata import published
from openmofi.plugins.wikidata.build import Extras, WikidataSettings, build_wikidata
from openmofi.plugins.wikidata.items import ItemReader
from openmofi.plugins.wikidata.parts import read_parts
from openmofi.plugins.wikidata.published import PublishedColumns

TEXTS = pa.map_(pa.string(), pa.string())
NESTED = pa.schema(
    [
        ("qid", pa.string()),
        ("label", TEXTS),
        ("descriptions", TEXTS),
        ("aliases", pa.map_(pa.string(), pa.list_(pa.string()))),
        ("sitelinks", pa.list_(pa.struct([("site", pa.string()), ("title", pa.string())]))),
        ("claims", pa.map_(pa.string(), pa.list_(pa.struct([("value", pa.string()), ("rank", pa.string())])))),
        ("lastrevid", pa.int64()),
        ("unused", pa.int8()),
    ]
)
NESTED_COLUMNS = """
id = "qid"
labels = "label"
descriptions = "descriptions"
aliases = "aliases"
sitelinks = "sitelinks"
claims = "claims"
revision = "lastrevid"
"""
FLAT_COLUMNS = """
id = "item"
sitelinks = "pages"
labels = {en = "label_en", de = "label_de"}
descriptions.en = "about"
aliases.en = "also"
[claims]
P31 = "instance_of"
P279 = "subclass_of"
P18 = "image"
P214 = "viaf"
"""


def value_of(each: Entity) -> str | None:
    value = each["mainsnak"].get("datavalue", {}).get("value")
    return value["id"] if isinstance(value, dict) and "id" in value else value if isinstance(value, str) else None


def nested(entity: Entity) -> dict[str, Any]:
    return {
        "qid": entity["id"],
        "lastrevid": entity["lastrevid"],
        "unused": 1,
        **{
            column: {key: text["value"] for key, text in (entity[field] or {}).items()}
            for column, field in (("label", "labels"), ("descriptions", "descriptions"))
        },
        "aliases": {key: [text["value"] for text in texts] for key, texts in (entity["aliases"] or {}).items()},
        "sitelinks": [{"site": link["site"], "title": link["title"]} for link in (entity["sitelinks"] or {}).values()],
        "claims": {
            prop: [{"value": value_of(each), "rank": each["rank"]} for each in statements]
            for prop, statements in (entity["claims"] or {}).items()
        },
    }


def as_json(entity: Entity) -> dict[str, Any]:
    """Every field as JSON text, in the dumps' form."""
    return {
        "id": entity["id"],
        "revision": entity["lastrevid"],
        **{field: json.dumps(entity[field]) for field in ("labels", "descriptions", "aliases", "sitelinks", "claims")},
    }


def write(path: Path, rows: list[dict[str, Any]], schema: pa.Schema | None = None) -> Path:
    rows = [
        {
            key: list(value.items()) if schema and pa.types.is_map(schema.field(key).type) else value
            for key, value in row.items()
        }
        for row in rows
    ]
    path.parent.mkdir(exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema), path, row_group_size=100)
    return path


@pytest.mark.parametrize(("columns", "form", "schema"), [(NESTED_COLUMNS, nested, NESTED), (None, as_json, None)])
def test_items_are_those_of_the_dump(
    tmp_path: Path,
    columns: str | None,
    form: Callable[[Entity], dict[str, Any]],
    schema: pa.Schema | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(published, "ROWS", 70)
    entities = random_items(200, seed=8)
    path = write(tmp_path / "parts/0.parquet", [form(entity) for entity in entities], schema)
    (tmp_path / "columns.toml").write_text(columns or "")
    mapping = PublishedColumns.read(tmp_path / "columns.toml" if columns else None)
    parts = read_parts(
        {"own": path}, tmp_path / "work", ("de", "en"), Quiet(), external=("P214",), columns=mapping, workers=1
    )
    assert (len(parts.paths), parts.broken, parts.others) == (3, 0, 0)
    items, _, _ = ItemReader(("de", "en"), ("P214",)).read(lines_of(entities))
    assert pa.concat_tables([pq.read_table(part) for part in parts.paths]).to_pylist() == items.to_pylist()


def birds() -> list[Entity]:
    return [
        item(
            1,
            {"en": "Grey crane", "de": "Kranich"},
            descriptions={"en": "a wading bird"},
            aliases={"en": ["crane", "common crane"]},
            sitelinks=("enwiki", "dewiki"),
            claims={
                "P31": [statement("P31", 10)],
                "P18": [statement("P18", "Crane.jpg")],
                "P214": [statement("P214", "7"), statement("P214", "8")],
            },
        ),
        item(10, {"en": "bird"}, claims={"P279": [statement("P279", 11)]}),
        item(11, {"en": "animal"}),
        item(4, {"en": "Crane (disambiguation)"}, claims={"P31": [statement("P31", 4167410)]}),
    ]


def flat() -> list[dict[str, Any]]:
    there = {
        "label_de": None,
        "about": None,
        "also": None,
        "pages": 0,
        "instance_of": None,
        "subclass_of": None,
        "image": None,
        "viaf": None,
    }
    return [
        {
            "item": 1,
            "label_en": "Grey crane",
            **there,
            "label_de": "Kranich",
            "about": "a wading bird",
            "also": ["crane", "common crane"],
            "pages": 2,
            "instance_of": ["http://www.wikidata.org/entity/Q10"],
            "image": "Crane.jpg",
            "viaf": ["7", "8"],
        },
        {"item": 10, "label_en": "bird", **there, "subclass_of": [11]},
        {"item": 11, "label_en": "animal", **there},
        {"item": 4, "label_en": "Crane (disambiguation)", **there, "instance_of": ["Q4167410"]},
    ]


def test_flat_columns_give_the_base_of_the_dump_in_whatever_parts(tmp_path: Path) -> None:
    (tmp_path / "columns.toml").write_text(FLAT_COLUMNS)
    write(tmp_path / "parquet/a.parquet", flat()[2:])
    write(tmp_path / "parquet/b.parquet", flat()[:2])
    settings = WikidataSettings(languages=("en", "de"), external_ids=("P214",))
    build_wikidata(
        [tmp_path / "parquet"],
        tmp_path / "kb",
        settings,
        workers=1,
        extras=Extras.of(columns=tmp_path / "columns.toml"),
    )
    build_wikidata([write_dump(tmp_path / "all.json", birds())], tmp_path / "dump", settings, workers=1)
    kb = KnowledgeBase.open(tmp_path / "kb")
    assert [*kb] == ["Q1", "Q10", "Q11"]
    assert kb["Q1"].image == "Crane.jpg"
    assert kb.ancestors("Q1") == ["Q10", "Q11"]
    files = sorted(kb.manifest.counts["files"])
    assert files == sorted(KnowledgeBase.open(tmp_path / "dump").manifest.counts["files"])
    for name in files:
        assert (kb.path / name).read_bytes() == (tmp_path / "dump" / name).read_bytes(), name


def test_claims_of_an_unknown_layout_are_refused(tmp_path: Path) -> None:
    """Not one relation would be left, and nobody would see that."""
    rows = [
        {"id": "Q1", "labels": '{"en": "crane"}', "claims": '{"P31": [{"value": {"qid": "Q2"}}], "P18": ["A.jpg"]}'},
        {"id": "Q2", "labels": '{"en": "bird"}', "claims": '{"P18": ["B.jpg"]}'},
    ]
    with pytest.raises(OpenMofiError, match=r"1 items have some of classes and relations, and none could be read"):
        build_wikidata([write(tmp_path / "a.parquet", rows)], tmp_path / "kb", workers=1)
    assert not (tmp_path / "kb/entities.arrow").exists()
    build_wikidata([write(tmp_path / "b.parquet", rows[1:])], tmp_path / "other", workers=1)
    assert KnowledgeBase.open(tmp_path / "other")["Q2"].image == "B.jpg"
    rows[1]["claims"] = '{"instance of": ["Q3"]}'
    with pytest.raises(OpenMofiError, match=r"'instance of' is no property's id"):
        build_wikidata([write(tmp_path / "c.parquet", rows[1:])], tmp_path / "kb", workers=1)


def test_a_missing_column_is_one_sentence_with_the_columns_that_are_there(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", [{"item": 1, "label_en": "crane", "abuot": "x"}])
    (tmp_path / "columns.toml").write_text('id = "item"\nlabels.en = "label_en"\ndescriptions.en = "about"\n')
    done = CliRunner().invoke(
        app,
        ["kb", "build", "wikidata", str(path), "-o", str(tmp_path / "kb"), "--columns", str(tmp_path / "columns.toml")],
    )
    assert isinstance(done.exception, OpenMofiError)
    assert done.exception.message == (
        f"{path} has no column 'about' for descriptions.en; its columns are item, label_en, abuot. "
        "Did you mean 'abuot'?"
    )
    with pytest.raises(OpenMofiError, match="has no column 'id' for id; its columns are item, label_en, abuot"):
        build_wikidata([path], tmp_path / "kb")
    assert not (tmp_path / "kb").exists()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("id = ", "cannot be read as TOML"),
        ('id = "a"', "names no column for 'labels'"),
        ('lables = "a"', "names columns for 'lables'. Did you mean 'labels'?"),
        ('id = 3\nlabels = "b"', "names no column for 'id'"),
        ('id = "a"\nlabels = "b"\nclaims.instance = "c"', "'instance' is no property's id"),
    ],
)
def test_a_wrong_file_of_columns_is_one_sentence(tmp_path: Path, content: str, says: str) -> None:
    (tmp_path / "columns.toml").write_text(content)
    with pytest.raises((OpenMofiError, UsageError)) as raised:
        PublishedColumns.read(tmp_path / "columns.toml")
    assert says in raised.value.message


def test_what_is_no_item_and_what_cannot_be_read_is_counted(tmp_path: Path) -> None:
    rows = [
        {"id": "Q1", "labels": '{"en": "crane"}'},
        {"id": "P31", "labels": '{"en": "instance of"}'},
        {"id": "Q2", "labels": "just a name"},
        {"id": None, "labels": "{}"},
    ]
    path = write(tmp_path / "a.parquet", rows)
    parts = read_parts({"own": path}, tmp_path / "work", ("en",), Quiet(), workers=1, max_broken=1)
    assert (parts.items, parts.others, parts.broken) == (1, 1, 2)
    with pytest.raises(
        OpenMofiError,
        match=r"2 of 4 lines cannot be read \(labels is text and no JSON: name a "
        r"column a language; None is no id",
    ):
        build_wikidata([path], tmp_path / "kb", workers=1)


def test_a_damaged_file_and_columns_without_parquet_are_one_sentence(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", [{"id": "Q1", "labels": "{}"}])
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(OpenMofiError, match=r"a\.parquet cannot be read as Parquet"):
        build_wikidata([path], tmp_path / "kb")
    (tmp_path / "columns.toml").write_text(FLAT_COLUMNS)
    with pytest.raises(UsageError, match="names columns, and no dump is a Parquet file"):
        build_wikidata(
            [write_dump(tmp_path / "all.json", birds())],
            tmp_path / "kb",
            extras=Extras.of(columns=tmp_path / "columns.toml"),
        )
