"""A base of newer dumps: what is not read again, what changed, and labels of the older one read with it."""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from item_dumps import Entity, item, statement, write_dump
from page_dumps import page, write
from typer.testing import CliRunner

import openmofi
from openmofi.cli import kb as kb_cli
from openmofi.errors import OpenMofiError, UsageError
from openmofi.knowledge import KnowledgeBase, build_table, verify
from openmofi.plugins.bases.diff import diff_kb
from openmofi.plugins.wikidata import parts
from openmofi.plugins.wikidata.anchors import build_anchors
from openmofi.plugins.wikidata.build import Extras, WikidataSettings, build_wikidata
from openmofi.plugins.wikidata.update import update_kb
from openmofi.schema import JUDGEMENT, LABELS
from openmofi.storage import Shard, claim_folder, finish_manifest, write_table


def thing(number: int, name: str, **more: Any) -> Entity:
    return item(number, {"en": name}, claims={"P31": [statement("P31", 50)]}, **more)


OLD = [
    thing(1, "Grey crane"),
    thing(2, "Tower crane"),
    thing(3, "Crane twin", sitelinks=["enwiki"]),
    thing(4, "Hoax"),
    item(50, {"en": "thing"}),
]
OLD[2]["sitelinks"]["enwiki"]["title"] = "Twin"
STAYS = [thing(number, f"Same {number}") for number in range(100, 160)]
NEW = [thing(1, "Common crane", revision=2), thing(2, "Tower crane"), thing(5, "Stork"), item(50, {"en": "thing"})]


@pytest.fixture
def dumps(tmp_path: Path) -> Path:
    for name, entities in {"old": OLD, "new": NEW}.items():
        (tmp_path / name).mkdir()
        write_dump(tmp_path / name / "a.json.gz", entities)
        write_dump(tmp_path / name / "b.json.gz", STAYS)
    (tmp_path / "redirects.csv").write_text("Q3,Q1\n")
    build_wikidata(
        [tmp_path / "old"], tmp_path / "kb", WikidataSettings(external_ids=("P214",), candidates=7), workers=1
    )
    return tmp_path


def test_what_changed_is_said_and_settings_are_kept(dumps: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = list[str]()
    monkeypatch.setattr(parts, "pieces", lambda dump, size: read.append(dump.name) or _pieces(dump, size))
    differences = update_kb(
        dumps / "kb", [dumps / "new"], dumps / "next", extras=Extras.of(redirects=dumps / "redirects.csv"), workers=1
    )
    assert read == ["a.json.gz"]  # b is the same file, and was read before
    assert differences.counts == {"added": 1, "removed": 1, "merged": 1, "renamed": 1, "described": 0}
    assert [row["name"] for row in differences.first("removed")] == ["Hoax"]
    assert [(row["id"], row["after"]) for row in differences.first("merged")] == [("Q3", "Q1")]
    base = KnowledgeBase.open(dumps / "next")
    assert (base.manifest.settings["candidates"], base.manifest.settings["external_ids"]) == (7, ["P214"])
    assert not any(verify(base.path).values())
    build_wikidata(
        [dumps / "new"],
        dumps / "anew",
        WikidataSettings(external_ids=("P214",), candidates=7),
        extras=Extras.of(redirects=dumps / "redirects.csv"),
        workers=1,
    )
    assert (dumps / "anew/manifest.json").read_text() == (dumps / "next/manifest.json").read_text()
    # The older one is as it was.
    assert KnowledgeBase.open(dumps / "kb")["Q4"].name == "Hoax"


_pieces = parts.pieces


def judgement(entity: str) -> dict:
    return {field.name: None for field in JUDGEMENT} | {
        "entity": entity,
        "mention": 0,
        "prior": 0.5,
        "link_score": 0.5,
        "image_score": 1.0,
        "probability": 0.9,
        "accepted": True,
        "reason": "accepted",
    }


@pytest.fixture
def labels(dumps: Path) -> Path:
    """A folder of labels that the older base made: each of its entities in some images."""
    entities = ["Q1", "Q3", "Q2", "Q4", "Q100"]
    rows = [
        {
            "key": f"k{number}",
            "text": "a crane",
            "status": "labelled",
            "mentions": [{"start": 2, "end": 7, "surface": "crane", "detector": "gazetteer", "reason": ""}],
            "entities": [judgement(each)] if number % 7 else [judgement("Q1"), judgement("Q3")],
            "width": 8,
            "height": 8,
            "phash": 1 << number,
        }
        for number, each in enumerate(entities * 3)
    ]
    shard, folder = Shard(str(dumps / "pairs/s.tar"), "s"), dumps / "labels"
    manifest = claim_folder(
        folder,
        "labels",
        {"encoder": "drawn", "shards": [asdict(shard)], "kb": str(dumps / "kb")},
        {"/kb": KnowledgeBase.open(dumps / "kb").fingerprint},
    )
    write_table(folder / "labels/s.parquet", pa.Table.from_pylist(rows, LABELS))
    finish_manifest(folder, manifest, {"rows": len(rows)})
    return folder


def test_labels_of_the_older_base_are_read_with_the_newer(
    dumps: Path, labels: Path, caplog: pytest.LogCaptureFixture
) -> None:
    old = openmofi.build_dataset(
        labels, out=dumps / "old-dataset", kb=dumps / "kb", min_images=1, near_duplicates=None, report=False
    )
    update_kb(
        dumps / "kb", [dumps / "new"], dumps / "next", extras=Extras.of(redirects=dumps / "redirects.csv"), workers=1
    )
    with caplog.at_level(logging.WARNING):
        new = openmofi.build_dataset(
            labels, out=dumps / "new-dataset", kb=dumps / "next", min_images=1, near_duplicates=None, report=False
        )
    before, after = ({row["id"]: row for row in dataset.vocabulary().to_pylist()} for dataset in (old, new))
    assert set(before) == {"Q1", "Q2", "Q3", "Q4", "Q100"}
    assert set(after) == {"Q1", "Q2", "Q4", "Q100"}
    assert "1 of 4 entities are not in" in caplog.text
    assert "Q4" in caplog.text.partition("identifiers: ")[2]
    assert after["Q4"]["images"] == before["Q4"]["images"]
    assert after["Q1"]["name"] == "Common crane"
    # Images of both are counted once, none is lost.
    rows = pq.read_table(next((dumps / "new-dataset/images").iterdir())).to_pylist()
    assert len(rows) == old.summary["images"] == new.summary["images"] == 15
    assert after["Q1"]["images"] == sum("Q1" in row["entities"] for row in rows) == 8
    assert {entity for row in rows for entity in row["entities"]} == set(after)


def test_what_became_of_the_entities_of_labels(dumps: Path, labels: Path) -> None:
    update_kb(
        dumps / "kb", [dumps / "new"], dumps / "next", extras=Extras.of(redirects=dumps / "redirects.csv"), workers=1
    )
    shown = CliRunner().invoke(
        kb_cli.app, ["diff", str(dumps / "kb"), str(dumps / "next"), "--labels", str(labels), "--json"]
    )
    assert shown.exit_code == 0, shown.output
    found = json.loads(shown.stdout)
    assert found["counts"] == {"added": 0, "removed": 1, "merged": 1, "renamed": 1, "described": 0}
    assert found["unchanged"] == 2  # Q2 and Q100
    assert found["first"]["removed"][0]["name"] == "Hoax"
    assert diff_kb(dumps / "kb", dumps / "next", ids=[]).counts["removed"] == 0


def test_files_that_the_older_base_had_are_asked_for(dumps: Path) -> None:
    build_anchors([write(dumps / "en.xml", [page("Twin", "a [[twin]]")])], dumps / "en.parquet")
    build_wikidata([dumps / "old"], dumps / "with", extras=Extras.of([dumps / "en.parquet"]), workers=1)
    with pytest.raises(UsageError, match=r"was built with --anchors en\.parquet, and none is given"):
        update_kb(dumps / "with", [dumps / "new"], dumps / "next")
    with pytest.raises(UsageError, match="is the base that is brought up to date"):
        update_kb(dumps / "kb", [dumps / "new"], dumps / "kb")
    with pytest.raises(OpenMofiError, match="is no file"):
        update_kb(dumps / "kb", [dumps / "nowhere.json"], dumps / "next")
    (dumps / "entities.csv").write_text("id,name\n1,a\n")
    build_table(dumps / "entities.csv", dumps / "table")
    with pytest.raises(UsageError, match="is not of Wikidata: its builder is 'table'"):
        update_kb(dumps / "table", [dumps / "new"], dumps / "next")
    assert not (dumps / "next").exists()


def test_parts_that_are_missing_are_read_again(dumps: Path) -> None:
    for path in (dumps / "kb.work").glob("parts-*/*.parquet"):
        path.unlink()
    build_wikidata(
        [dumps / "old"],
        dumps / "again",
        WikidataSettings(external_ids=("P214",), candidates=7),
        work=dumps / "kb.work",
        workers=1,
    )
    assert (dumps / "again/manifest.json").read_text() == (dumps / "kb/manifest.json").read_text()
    shutil.rmtree(dumps / "kb.work")
    assert update_kb(dumps / "kb", [dumps / "old"], dumps / "same", workers=1).unchanged == len(OLD) + len(STAYS)


def test_the_commands_print_what_changed_and_what_is_there(dumps: Path) -> None:
    def run(*arguments: object) -> str:
        done = CliRunner().invoke(kb_cli.app, [*map(str, arguments)])
        assert done.exit_code == 0, done.output
        return done.stdout

    arguments = ("update", dumps / "kb", dumps / "new", "-o", dumps / "next", "--redirects", dumps / "redirects.csv")
    shown = run(*arguments)
    assert all(part in shown for part in ("unchanged", "Common crane", "Hoax", "merged"))
    assert json.loads(run(*arguments, "--json"))["counts"]["merged"] == 1  # it is finished, and compared again
    facts = json.loads(run("info", dumps / "next", "--json"))
    assert facts["types"] == {"thing": 63}
    assert facts["priors"] == {"sitelinks": 64}
    assert facts["redirects"] == 1
    assert facts["files"]["details.arrow"] == (dumps / "next/details.arrow").stat().st_size
    assert all(part in run("info", dumps / "next") for part in ("details.arrow", "MiB", "thing 63", "redirects/"))
