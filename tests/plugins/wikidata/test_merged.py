"""Ids that are gone, images and ids elsewhere: what lies beside a base, in slices and exports too."""

from __future__ import annotations

import bz2
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from item_dumps import Entity, item, random_items, statement, values_of, write_dump

import openmofi
from openmofi.errors import OpenMofiError, UnknownEntityError, UsageError
from openmofi.knowledge import KnowledgeBase, verify
from openmofi.plugins.bases.sample import sample_kb
from openmofi.plugins.wikidata.build import Extras, WikidataSettings, build_wikidata
from openmofi.plugins.wikidata.select import read_redirects

REDIRECTS = "old,new\nQ90,Q1\nQ91,Q92\nQ92,Q93\nQ93,Q2\nQ94,Q95\nQ95,Q94\nQ96,Q77\nQ3,Q1\nQ98,Q10\n"


def items() -> list[Entity]:
    """A bird whose class was merged into another, a machine, and a class."""
    return [
        item(
            1,
            {"en": "Grey crane"},
            claims={
                "P31": [statement("P31", 98)],
                "P361": [statement("P361", 91)],
                "P18": [statement("P18", "Crane.jpg")],
                "P214": [statement("P214", "7"), statement("P214", "8")],
                "P227": [statement("P227", "x", rank="deprecated")],
            },
        ),
        item(2, {"en": "Tower crane"}, claims={"P227": [statement("P227", "4-1")]}),
        item(3, {"en": "Stork"}),
        item(10, {"en": "bird"}),
    ]


def built(folder: Path, redirects: str | None = REDIRECTS, **chosen: Any) -> KnowledgeBase:
    dump = write_dump(folder / "all.json.gz", items())
    path = folder / "redirects.csv"
    path.write_text(redirects or "")
    build_wikidata(
        [dump],
        folder / "kb",
        WikidataSettings(external_ids=("P214", "P227"), **chosen),
        extras=Extras.of(redirects=path if redirects else None),
        workers=1,
    )
    return KnowledgeBase.open(folder / "kb")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> KnowledgeBase:
    return built(tmp_path_factory.mktemp("merged"))


def test_ids_that_are_gone_are_what_they_were_merged_into(base: KnowledgeBase) -> None:
    assert (base["Q90"].id, base["Q91"].id, base["Q93"].id) == ("Q1", "Q2", "Q2")
    assert base["Q3"].name == "Stork"  # it is there, whatever the redirects say
    assert base.rows(["Q1", "Q90", "Q94", "Q96", "Q92"]).tolist() == [0, 0, -1, -1, 1]
    assert "Q90" in base
    assert all(gone not in base for gone in ("Q94", "Q96", "Q89", ""))
    assert [*base] == ["Q1", "Q2", "Q3", "Q10"]
    with pytest.raises(UnknownEntityError):
        base["Q94"]
    assert base.manifest.counts["redirects"] == 5
    assert base.row("Q98") == 3
    with pytest.raises(KeyError):
        base.row("Q94")


def test_statements_follow_redirects(base: KnowledgeBase) -> None:
    assert base["Q1"].types == ("bird",)
    assert {near.entity.id for near in base.neighbours("Q1")} >= {"Q2"}


def test_classes_that_were_merged_are_dropped_by_their_new_id(tmp_path: Path) -> None:
    assert [*built(tmp_path, drop=("Q10",))] == ["Q2", "Q3", "Q10"]


def test_without_redirects_nothing_is_followed(tmp_path: Path) -> None:
    base = built(tmp_path, None)
    assert "Q90" not in base
    assert base["Q1"].types == ()
    assert "redirects.arrow" not in base.manifest.counts["files"]
    assert not any(verify(base.path).values())


def test_images_and_ids_elsewhere(base: KnowledgeBase) -> None:
    assert (base["Q1"].image, base["Q2"].image) == ("Crane.jpg", "")
    assert pq.read_table(base.path / "external_ids.parquet").to_pylist() == [
        {"id": "Q1", "property": "P214", "value": "7"},
        {"id": "Q1", "property": "P214", "value": "8"},
        {"id": "Q2", "property": "P227", "value": "4-1"},
    ]
    assert base.manifest.counts["external_ids"] == {"P214": 2, "P227": 1}
    assert base.manifest.counts["images"] == 1


def test_ids_elsewhere_and_images_are_those_of_a_plain_reader(tmp_path: Path) -> None:
    entities = random_items(400, seed=3)
    build_wikidata(
        [write_dump(tmp_path / "all.json", entities)],
        tmp_path / "kb",
        WikidataSettings(external_ids=("P214",)),
        workers=1,
    )
    kb = KnowledgeBase.open(tmp_path / "kb")
    there = [entity for entity in entities if entity["id"] in kb]
    expected = sorted((int(entity["id"][1:]), value) for entity in there for value in values_of(entity, "P214"))
    rows = pq.read_table(tmp_path / "kb/external_ids.parquet").to_pylist()
    assert [(int(row["id"][1:]), row["value"]) for row in rows] == expected
    assert len(expected) > 50
    for entity in there:
        assert kb[entity["id"]].image == next(iter(values_of(entity, "P18")), "")


def test_damage_beside_is_seen(tmp_path: Path) -> None:
    kb = built(tmp_path)
    for name in ("details.arrow", "redirects.arrow", "external_ids.parquet"):
        content = bytearray((kb.path / name).read_bytes())
        content[len(content) // 2] ^= 1
        (kb.path / name).write_bytes(content)
    assert {name for name, problem in verify(kb.path).items() if problem} == {
        "details.arrow",
        "redirects.arrow",
        "external_ids.parquet",
    }
    with pytest.raises(OpenMofiError, match="is not what was built"):
        KnowledgeBase.open(kb.path)


def test_slices_and_exports_keep_them(base: KnowledgeBase, tmp_path: Path) -> None:
    sample_kb(base, tmp_path / "slice", entities=["Q91", "Q10"])
    piece = KnowledgeBase.open(tmp_path / "slice")
    assert [*piece] == ["Q2", "Q10"]
    assert (piece["Q93"].id, "Q90" in piece, piece["Q2"].image) == ("Q2", False, "")
    assert [row["id"] for row in pq.read_table(tmp_path / "slice/external_ids.parquet").to_pylist()] == ["Q2"]
    assert not any(verify(tmp_path / "slice").values())
    openmofi.export_kb(base, tmp_path / "tables")
    rows = pq.read_table(tmp_path / "tables/entities.parquet").to_pylist()
    assert [row["image"] for row in rows] == ["Crane.jpg", None, None, None]
    assert len(pq.read_table(tmp_path / "tables/external_ids.parquet")) == 3


WD, SAME = "http://www.wikidata.org/entity/", "<http://www.w3.org/2002/07/owl#sameAs>"


@pytest.mark.parametrize(
    "lines",
    [
        "Q90,Q1\nQ91,Q2\n",
        "old\tnew\nQ90\tQ1\r\nQ91\tQ2",
        "wd:Q90 owl:sameAs wd:Q1 .\nwd:Q91 owl:sameAs wd:Q2 .\n",
        f"# redirects\n@prefix wd: <{WD}> .\n\nwd:Q90 owl:sameAs wd:Q1 .\nwd:Q91 owl:sameAs wd:Q2 .",
        f"<{WD}Q90> {SAME} <{WD}Q1> .\n<{WD}P7> {SAME} <{WD}P8> .\n<{WD}Q91> {SAME} <{WD}Q2> .\n",
        f'?a\t?b\n<{WD}Q90>\t<{WD}Q1>\n"Q91"\t"Q2"\n',
    ],
)
def test_every_form_of_redirects_is_read(tmp_path: Path, lines: str) -> None:
    (tmp_path / "a").write_text(lines)
    (tmp_path / "b").write_bytes(bz2.compress(lines.encode()))
    expected = [{"old": 90, "new": 1}, {"old": 91, "new": 2}]
    assert read_redirects(tmp_path / "a").to_pylist() == read_redirects(tmp_path / "b").to_pylist() == expected


@settings(derandomize=True, max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 10**9)), min_size=1))
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[int, int]]) -> None:
    path = tmp_path_factory.mktemp("pairs") / "r.tsv"
    path.write_text("".join(f"Q{old}\tQ{new}\n" for old, new in pairs))
    assert [(row["old"], row["new"]) for row in read_redirects(path).to_pylist()] == pairs


@pytest.mark.parametrize(
    ("lines", "match"),
    [
        ("", "is empty"),
        ("<!DOCTYPE html>\n<html>\n", r"line 2: '<html>' is no redirect"),
        ("-- MySQL dump\nINSERT INTO `redirect` VALUES (1,0,'Q2');", "line 2: .*INSERT INTO .*is no redirect"),
        ("Q1,Q2\nQ3\n", r"line 2: 'Q3' is no redirect"),
        ("old,new\n", "has no redirect of an item"),
    ],
)
def test_what_is_no_table_of_redirects_is_said(tmp_path: Path, lines: str, match: str) -> None:
    with pytest.raises(OpenMofiError, match=match):
        built(tmp_path, lines or None) if lines else read_redirects(empty(tmp_path))
    assert not (tmp_path / "kb/entities.arrow").exists()


def empty(folder: Path) -> Path:
    (folder / "empty.csv").touch()
    return folder / "empty.csv"


def test_a_property_that_is_none_is_refused(tmp_path: Path) -> None:
    dump = write_dump(tmp_path / "all.json", items())
    with pytest.raises(UsageError, match="'VIAF' is no property's id"):
        build_wikidata([dump], tmp_path / "kb", WikidataSettings(external_ids=("VIAF",)))


def test_a_union_keeps_images_what_priors_are_known_by_and_ids_elsewhere(base: KnowledgeBase, tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text("id,name\nown:1,My crane\nQ3,Stork\nown:2,Tower crane\n")
    (tmp_path / "same.csv").write_text("id,same_as\nown:1,Q1\nQ3,Q2\n")
    kb = openmofi.union_kb([tmp_path / "own.csv", base.path], tmp_path / "union", same_as=tmp_path / "same.csv")
    again = openmofi.union_kb([base.path, tmp_path / "own.csv"], tmp_path / "again", same_as=tmp_path / "same.csv")
    assert [*kb] == [*again]
    assert {entity: kb[entity].image for entity in kb} == {"own:1": "Crane.jpg", "Q3": "", "Q10": "", "own:2": ""}
    assert kb.lookup("My crane")["candidates"][0]["prior_from"] == "sitelinks"
    assert [row["prior_from"] for row in kb.lookup("Tower crane")["candidates"] if row["id"] == "own:2"] == [""]
    assert [tuple(row.values()) for table in kb.beside.external_ids() for row in table.to_pylist()] == [
        ("Q3", "P227", "4-1"),
        ("own:1", "P214", "7"),
        ("own:1", "P214", "8"),
    ]
    for name in ("details.arrow", "external_ids.parquet", "relations/tails.npy"):
        assert (kb.path / name).read_bytes() == (again.path / name).read_bytes()
    assert not any(verify(kb.path).values())
    assert kb["Q90"].id == "own:1"
