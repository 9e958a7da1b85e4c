"""Wikidata as two others publish it, with what is odd there: the base is that of the dump of the same items."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from item_dumps import Entity, item, random_items, statement, write_dump
from typer.testing import CliRunner

from openmofi.cli.main import app
from openmofi.errors import OpenMofiError
from openmofi.knowledge import KnowledgeBase
from openmofi.plugins.wikidata import long_tables
from openmofi.plugins.wikidata.build import Extras, WikidataSettings, build_wikidata

SETTINGS = WikidataSettings(languages=("de", "en"), external_ids=("P214",))
Row = dict[str, Any]


def wmde_statement(prop: str, each: Entity) -> Row:
    """As WikidataJSONCleaner has it: no `snaktype`, values without `value`, items with all of their labels."""
    snak: Row = {"property": prop, "datatype": "wikibase-item", "property-labels": {"en": "a property"}}
    value = each["mainsnak"].get("datavalue", {}).get("value")
    if each["mainsnak"]["snaktype"] == "novalue":  # what has one field is replaced by its content
        return {"mainsnak": prop, "rank": each["rank"]}
    if isinstance(value, dict):
        snak["datavalue"] = {"id": value["id"], "labels": {"en": "an item"}}
    elif value is not None:
        snak |= {"datavalue": value, "datatype": "string"}
    return {"mainsnak": snak, "rank": each["rank"], "qualifiers": {}, "references": []}


def wmde(entity: Entity, *, texts: bool) -> Row:
    """A row: JSON text of each field; labels are texts today, and were objects (`language`, `value`)."""

    def text(each: Entity) -> Any:
        return each["value"] if texts else each

    return {
        "id": entity["id"],
        **{
            field: json.dumps({key: text(each) for key, each in (entity[field] or {}).items()})
            for field in ("labels", "descriptions")
        },
        "aliases": json.dumps({key: [*map(text, each)] for key, each in (entity["aliases"] or {}).items()}),
        "sitelinks": json.dumps(
            {key: {"site": key, "title": each["title"]} for key, each in (entity["sitelinks"] or {}).items()}
        ),
        "claims": json.dumps(
            {prop: [wmde_statement(prop, each) for each in group] for prop, group in (entity["claims"] or {}).items()}
        ),
    }


DATAVALUE = pa.struct(
    [("id", pa.string()), ("entity-type", pa.string()), ("numeric-id", pa.int64()), ("datavalue__string", pa.string())]
)
CLAIMS = pa.schema(
    [
        ("id", pa.string()),
        ("snaktype", pa.string()),
        ("property", pa.string()),
        ("datavalue", DATAVALUE),
        ("rank", pa.string()),
    ]
)


def long_rows(entity: Entity) -> Iterator[tuple[str, str, Row]]:
    """Tables, their subsets and the rows of an item there."""
    own = {"id": entity["id"]}
    yield "entities", "all", {**own, "type": "item", "lastrevid": entity["lastrevid"]}
    for field in ("labels", "descriptions"):
        for text in (entity[field] or {}).values():
            yield field, text["language"], own | text
    for texts in (entity["aliases"] or {}).values():
        for text in texts:
            yield "aliases", text["language"], own | text
    for site, link in (entity["sitelinks"] or {}).items():
        yield "links", site, {**own, "site": site, "title": link["title"]}
    for prop, group in (entity["claims"] or {}).items():
        yield "claims_labels", "en", {"field": "property-labels", "ref": prop, "language": "en", "label": "a property"}
        for each in group:
            value = each["mainsnak"].get("datavalue", {}).get("value")
            held = value if isinstance(value, dict) or value is None else {"datavalue__string": value}
            said = {"snaktype": each["mainsnak"]["snaktype"], "property": prop, "datavalue": held}
            yield "claims", "all", {**own, **said, "rank": each["rank"]}


def write_long(folder: Path, entities: list[Entity]) -> Path:
    """The folders of a download; rows ascend by id as text, and an item's may end in the next of eleven files."""
    rows: dict[tuple[str, str], list[Row]] = {}
    for entity in sorted(entities, key=lambda each: each["id"]):
        for table, subset, row in long_rows(entity):
            rows.setdefault((table, subset), []).append(row)
    for (table, subset), held in rows.items():
        place = folder / f"wikidata-{table}" / subset
        place.mkdir(parents=True)
        files = min(11, len(held)) if subset == "all" else 1
        for number in range(files):
            begin, end = (len(held) * each // files for each in (number, number + 1))
            part = pa.Table.from_pylist(held[begin:end], CLAIMS if table == "claims" else None)
            pq.write_table(part, place / f"part-{number}-of-{files}.parquet")
    return folder


def content(base: Path) -> dict[str, bytes]:
    files = [*KnowledgeBase.open(base).manifest.counts["files"]]
    return {name: (base / name).read_bytes() for name in files}


@pytest.fixture(scope="module")
def entities() -> list[Entity]:
    return [entity | {"lastrevid": 0} for entity in random_items(300, seed=4)]


@pytest.fixture(scope="module")
def of_dump(tmp_path_factory: pytest.TempPathFactory, entities: list[Entity]) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("dump")
    build_wikidata([write_dump(folder / "all.json", entities)], folder / "kb", SETTINGS, workers=1)
    assert KnowledgeBase.open(folder / "kb").manifest.counts["relations"] > 50
    return content(folder / "kb")


@pytest.mark.parametrize(("texts", "packed"), [(True, False), (False, True)])
def test_the_layout_of_wikimedia_germany(
    tmp_path: Path, entities: list[Entity], of_dump: dict[str, bytes], texts: bool, packed: bool
) -> None:
    table = pa.Table.from_pylist([wmde(entity, texts=texts) for entity in entities])
    if packed:
        table = table.cast(
            pa.schema([(name, pa.binary() if name != "id" else pa.string()) for name in table.column_names])
        )
    pq.write_table(table, tmp_path / "chunk_0.parquet")
    build_wikidata(
        [tmp_path / "chunk_0.parquet"], tmp_path / "kb", SETTINGS, extras=Extras.of(columns="wmde"), workers=1
    )
    assert content(tmp_path / "kb") == of_dump


@pytest.mark.parametrize("rows", [40, 1_000_000])
def test_long_tables(
    tmp_path: Path, entities: list[Entity], of_dump: dict[str, bytes], rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(long_tables, "_ROW", 2_000_000_000 // rows)
    write_long(tmp_path / "hub", entities)
    labels = tmp_path / "hub/wikidata-labels/en"
    (labels / "chunk_0-part-0-of-1.parquet").write_bytes((labels / "part-0-of-1.parquet").read_bytes())  # rows repeat
    extras = Extras.of(columns="permutans")
    manifest = build_wikidata([tmp_path / "hub"], tmp_path / "kb", SETTINGS, extras=extras, workers=1)
    assert content(tmp_path / "kb") == of_dump
    (joined,) = (tmp_path / "kb.work").glob("joined-*.parquet")
    assert (pq.read_metadata(joined).num_row_groups > 5) == (rows == 40)
    assert {"columns/permutans", "claims:all/part-10-of-11.parquet", "links:enwiki/part-0-of-1.parquet"} < {
        *manifest.inputs
    }


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        ("labels", r"there is no table of labels"),
        ("claims", r"part-0-of-1\.parquet has no column 'datavalue' for datavalue; its columns are id, property"),
        ("links", r"part-0-of-1\.parquet cannot be read as Parquet"),
    ],
)
def test_long_tables_are_checked_before_they_are_read(tmp_path: Path, broken: str, says: str) -> None:
    claims = {"P31": [statement("P31", 8)]}
    write_long(tmp_path / "hub", [item(7, {"en": "crane"}, claims=claims, sitelinks=["enwiki"])])
    (path,) = (tmp_path / f"hub/wikidata-{broken}").rglob("*.parquet")
    if broken == "labels":
        path.unlink()
    elif broken == "claims":
        pq.write_table(pa.table({"id": ["Q1"], "property": ["P31"], "rank": ["normal"]}), path)
    else:
        path.write_bytes(b"PAR1")
    done = CliRunner().invoke(
        app, ["kb", "build", "wikidata", str(tmp_path / "hub"), "-o", str(tmp_path / "kb"), "--columns", "permutans"]
    )
    with pytest.raises(OpenMofiError, match=says):
        raise done.exception or AssertionError
    assert not (tmp_path / "kb.work").exists()
