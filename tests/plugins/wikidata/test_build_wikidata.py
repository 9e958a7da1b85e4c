"""From dumps to a knowledge base: which items stay, what they are called, and that nothing is half-made."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from item_dumps import Entity, item, lines_of, random_items, statement, write_dump
from plain_reader import differing_tables
from typer.testing import CliRunner

from forked import Fork
from openmofi.cli.command import CHECK_VARIABLE
from openmofi.cli.main import app
from openmofi.engine import Quiet
from openmofi.errors import OpenMofiError, UsageError
from openmofi.knowledge import KnowledgeBase, verify
from openmofi.mentions import open_detector
from openmofi.plugins.wikidata.build import WikidataSettings, build_wikidata
from openmofi.plugins.wikidata.parts import read_parts
from openmofi.plugins.wikidata.select import Selected, class_rules, known_classes, select_tables


def bird_world() -> list[Entity]:
    """Cranes of both kinds, a class hierarchy, and what is no thing."""
    return [
        item(
            1,
            {"en": "Grey crane", "de": "Graukranich"},
            descriptions={"en": "a wading bird"},
            aliases={"en": ["crane"]},
            claims={"P31": [statement("P31", 10)]},
            sitelinks=["enwiki", "dewiki"],
        ),
        item(
            2,
            {"en": "tower crane"},
            descriptions={"en": "a machine that lifts"},
            aliases={"en": ["crane"]},
            claims={"P279": [statement("P279", 11)], "P361": [statement("P361", 3)]},
            sitelinks=["enwiki", "dewiki", "frwiki", "svwiki"],
        ),
        item(3, {"en": "Port of Hamburg"}, claims={"P31": [statement("P31", 12)]}, sitelinks=["enwiki"]),
        item(4, {"en": "Crane"}, claims={"P31": [statement("P31", 4167410)]}),
        item(5, {"fr": "grue"}, claims={"P31": [statement("P31", 10)]}),
        item(6, {"en": "Cranes in spring"}, claims={"P31": [statement("P31", 13442814)]}),
        item(7, {"en": "Review of cranes"}, claims={"P31": [statement("P31", 13)]}),
        item(8, {"en": "An untyped thing"}),
        item(10, {"en": "bird species"}, claims={"P279": [statement("P279", 14)]}),
        item(11, {"en": "machine"}),
        item(12, {"en": "port"}),
        item(13, {"en": "review article"}, claims={"P279": [statement("P279", 13442814)]}),
        item(14, {"en": "animal"}, claims={"P279": [statement("P279", 10)]}),  # a circle
    ]


def test_a_base_of_a_dump_knows_its_items(tmp_path: Path) -> None:
    dump = write_dump(tmp_path / "all.json.gz", bird_world())
    build_wikidata([dump], tmp_path / "kb", WikidataSettings(languages=("en", "de")))
    meanings = KnowledgeBase.open(tmp_path / "kb").lookup("cranes", 5)["candidates"]
    assert [(row["id"], round(row["prior"], 3)) for row in meanings] == [("Q2", 0.625), ("Q1", 0.375)]
    assert meanings[1]["types"] == ["bird species"]
    assert meanings[1]["description"] == "a wading bird"
    assert [row["id"] for row in KnowledgeBase.open(tmp_path / "kb").lookup("Graukranich", 5)["candidates"]] == ["Q1"]
    assert not any(verify(tmp_path / "kb").values())
    counts = KnowledgeBase.open(tmp_path / "kb").manifest.counts
    assert (counts["entities"], counts["relations"]) == (11, 7)


def test_names_in_latin_letters_are_found_and_are_of_their_language(tmp_path: Path) -> None:
    dump = write_dump(
        tmp_path / "all.json", [item(649, {"en": "Moscow", "ru": "Москва"}), item(1899, {"en": "Kyiv", "uk": "Київ"})]
    )
    languages = ("en", "ru", "uk")
    build_wikidata([dump], tmp_path / "kb", WikidataSettings(languages=languages, transliterate=("ru",)))
    kb = KnowledgeBase.open(tmp_path / "kb")
    assert kb["Q649"].name == "Moscow"
    (found,) = open_detector("gazetteer", kb).detect(["Moskva and Kyiv, in winter"])
    assert [(mention.surface, kb.lookup(mention.surface)["candidates"][0]["id"]) for mention in found] == [
        ("Moskva", "Q649"),
        ("Kyiv", "Q1899"),
    ]
    assert {name: kb.lookup(name)["languages"] for name in kb.names} == {
        "moscow": ["en"],
        "москва": ["ru"],
        "moskva": ["ru"],
        "kyiv": ["en"],
        "київ": ["uk"],
    }
    with pytest.raises(UsageError, match=r"'el' is none of the languages \(en, ru\)"):
        build_wikidata([dump], tmp_path / "no", WikidataSettings(languages=("en", "ru"), transliterate=("el",)))
    assert not (tmp_path / "no").exists()


def test_names_of_a_dump_know_their_languages(tmp_path: Path) -> None:
    crane = item(
        1,
        {"en": "Grey crane", "de": "Graukranich", "fr": "Grue", "mul": "Grus grus"},
        aliases={"en": ["crane"], "nl": ["crane", "kraan"]},
    )
    build_wikidata(
        [write_dump(tmp_path / "all.json", [crane])], tmp_path / "kb", WikidataSettings(languages=("en", "nl", "de"))
    )
    kb = KnowledgeBase.open(tmp_path / "kb")
    assert {name: kb.lookup(name)["languages"] for name in kb.names} == {
        "grey crane": ["en"],
        "graukranich": ["de"],
        "crane": ["en", "nl"],
        "kraan": ["nl"],
        "grus grus": ["de", "en", "nl"],
    }
    build_wikidata([tmp_path / "all.json"], tmp_path / "one", WikidataSettings(languages=("en",)))
    assert KnowledgeBase.open(tmp_path / "one").languages is None


@pytest.mark.parametrize(
    ("settings", "gone"),
    [
        ({}, {4, 5}),
        ({"visual_only": True}, {4, 5, 6, 7, 13}),
        ({"drop": ("Q10",)}, {1, 4, 5, 10, 14}),
        ({"kinds": ("Q14",)}, {2, 3, 4, 5, 6, 7, 8, 11, 12, 13}),
        ({"languages": ("fr",)}, set(range(15)) - {5}),
    ],
)
def test_rules_follow_subclasses(tmp_path: Path, settings: dict, gone: set[int]) -> None:
    dump = write_dump(tmp_path / "all.json", bird_world())
    manifest = build_wikidata([dump], tmp_path / "kb", WikidataSettings(**settings))
    there = {int(entity["id"][1:]) for entity in bird_world()}
    assert manifest.counts["entities"] == len(there - gone)
    entities = pq.read_table(next((tmp_path / "kb.work").glob("tables-*/source/entities.parquet")))
    assert [int(each[1:]) for each in entities.column("id").to_pylist()] == sorted(there - gone)


def test_people_and_films_are_what_images_show(tmp_path: Path) -> None:
    kinds = {5: "human", 11424: "film", 215627: "person", 202444: "given name", 12308941: "male given name"}
    above = {5: 215627, 12308941: 202444}
    named = {101: ("Ada Lovelace", 5), 102: ("Metropolis", 11424), 103: ("Ada", 202444), 104: ("Adam", 12308941)}
    entities = [
        *(
            item(kind, {"en": name}, claims={"P279": [statement("P279", above[kind])]} if kind in above else {})
            for kind, name in kinds.items()
        ),
        *(item(q, {"en": name}, claims={"P31": [statement("P31", kind)]}) for q, (name, kind) in named.items()),
    ]
    dump = write_dump(tmp_path / "all.json", entities)
    build_wikidata([dump], tmp_path / "kb", WikidataSettings(visual_only=True))
    kept = KnowledgeBase.open(tmp_path / "kb")
    assert {"ada lovelace", "metropolis", "human", "film"} <= set(kept.names)
    assert not {"ada", "adam"} & set(kept.names)


def selected(entities: list[Entity], folder: Path, **rules: Any) -> Selected:
    dump = write_dump(folder / "all.json.zst", entities)
    parts = read_parts({"all": dump}, folder / "parts", ("en", "de"), Quiet(), workers=1, size=100_000)
    assert parts.items == len(entities)
    assert len(parts.paths) > 1
    return select_tables(parts.paths, class_rules(**rules), folder / "tables", memory=500_000_000)


def test_an_item_that_stands_there_twice_is_one_in_whatever_order(tmp_path: Path) -> None:
    """Answers of the API, which say no revision, repeat an item that others were merged into."""
    one, two = (
        item(1, {"en": "crane"}, aliases={"en": [alias]}, claims={"P31": [statement("P31", kind)]}, revision=0)
        for alias, kind in (("lifter", 11), ("hoist", 12))
    )
    others = bird_world()[1:]
    for name, entities in {"a": [one, *others, two], "b": [two, one, *others]}.items():
        write_dump(tmp_path / f"{name}.json", entities)
        build_wikidata([tmp_path / f"{name}.json"], tmp_path / name, workers=1)
    assert sorted(KnowledgeBase.open(tmp_path / "a").names_of("Q1")) == ["crane", "hoist"]
    assert content(tmp_path / "a") == content(tmp_path / "b")


def test_types_are_in_the_order_of_the_statements_kinds_first(tmp_path: Path) -> None:
    several = item(
        20,
        {"en": "a floating crane"},
        claims={
            "P31": [statement("P31", 12), statement("P31", 11), statement("P31", 10)],
            "P279": [statement("P279", 10), statement("P279", 14)],
        },
    )
    dump = write_dump(tmp_path / "all.json", [*bird_world(), several])
    build_wikidata([dump], tmp_path / "kb")
    (found,) = KnowledgeBase.open(tmp_path / "kb").lookup("a floating crane", 5)["candidates"]
    assert found["types"] == ["port", "machine", "bird species", "animal"]


@pytest.mark.slow
def test_tables_are_those_of_pandas(tmp_path: Path) -> None:
    entities = random_items(5000, seed=5)
    found = selected(entities, tmp_path, drop=["Q5"], visual_only=True)
    drop = {5, *(int(name[1:]) for name in known_classes())}
    assert differing_tables(lines_of(entities), found, drop, ("en", "de")) == []


def content(folder: Path) -> dict[str, bytes]:
    return {
        path.name: path.read_bytes()
        for path in sorted(folder.iterdir())
        if path.suffix in (".npy", ".arrow", ".marisa")
    }


def test_parts_in_another_order_give_the_same_bytes(tmp_path: Path) -> None:
    entities = random_items(600, seed=6)
    stale = [entity | {"lastrevid": 0, "labels": {}} for entity in entities[:50]]
    one = [
        write_dump(tmp_path / "a.json.gz", entities[:300]),
        write_dump(tmp_path / "b.json.bz2", entities[300:]),
        write_dump(tmp_path / "c.json", stale),
    ]
    order = np.random.default_rng(0).permutation(len(entities))
    (tmp_path / "other").mkdir()
    two = [write_dump(tmp_path / "other/b.json", [entities[number] for number in order])]
    for name, dumps in {"one": one, "again": one[::-1], "two": two}.items():
        build_wikidata(dumps, tmp_path / name, workers=2 if name == "again" else 1)
    assert content(tmp_path / "one") == content(tmp_path / "again") == content(tmp_path / "two")
    assert content(tmp_path / "one")


SCRIPT = """
import sys
from openmofi.plugins.wikidata.build import build_wikidata
from openmofi.plugins.wikidata import parts
parts.BLOCK = parts.read_parts.__kwdefaults__["size"] = 60_000
if __name__ == "__main__":
    build_wikidata([sys.argv[1]], sys.argv[2], workers=2)
"""


@pytest.mark.slow
def test_files_that_workers_read_by_themselves_give_the_same_parts(tmp_path: Path) -> None:
    entities = random_items(90, seed=8)
    cuts = {"0.json.gz": entities[:30], "1.json.zst": entities[30:75], "2.json": entities[75:]}
    dumps = {name[0]: write_dump(tmp_path / name, some) for name, some in cuts.items()}
    dumps["2"].write_bytes(dumps["2"].read_bytes().replace(b'"type":"item"', b'"type":item', 1))
    told: dict[str, int] = {}

    class Told(Quiet):
        def advance(self, counts: Any) -> None:
            told[str(folder)] = told.get(str(folder), 0) + 1

    for workers in (1, 2):
        folder = tmp_path / str(workers)
        parts = read_parts(dumps, folder, ("en",), Told(), workers=workers, size=40_000, max_broken=1.0)
        assert [Path(path).name for path in parts.paths] == sorted(path.name for path in folder.glob("*.parquet"))
        assert (parts.items, parts.broken) == (89, 1)
        assert len(parts.paths) > 3
    one, two = ({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in "12")
    assert one == two
    assert told[str(tmp_path / "1")] == told[str(tmp_path / "2")] == 3
    (tmp_path / "2" / Path(parts.paths[1]).name).unlink()
    assert read_parts(dumps, tmp_path / "2", ("en",), Quiet(), workers=2, size=40_000, max_broken=1.0).items == 89
    for number in "01":
        dumps[number].write_bytes(dumps[number].read_bytes()[:-20])
    with pytest.raises(OpenMofiError, match=r"[01]\.json\.(gz|zst) is cut off"):
        read_parts(dumps, tmp_path / "cut", ("en",), Quiet(), workers=2, size=40_000, max_broken=1.0)


def test_a_build_that_is_killed_twenty_times_gives_the_same_bytes(tmp_path: Path) -> None:
    dump = write_dump(tmp_path / "all.json.gz", random_items(3000, seed=7))
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    build_wikidata([dump], tmp_path / "whole", workers=1)
    draw, killed = random.Random(0), 0
    command = [sys.executable, str(script), str(dump), str(tmp_path / "killed")]
    for number in range(200):
        process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.PIPE, text=True)
        try:
            process.wait(draw.uniform(1.0, 5.0) if killed < 20 else None)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            killed += 1
            continue
        assert process.returncode == 0, process.communicate()[1]
        if killed >= 20:
            break
        # It was done before it was killed: anew, from what was read on in two of three cases.
        shutil.rmtree(tmp_path / "killed")
        if number % 3 == 0:
            shutil.rmtree(tmp_path / "killed.work")
    assert killed >= 20
    assert content(tmp_path / "killed") == content(tmp_path / "whole")


def test_few_broken_lines_are_kept_aside_and_many_are_refused(tmp_path: Path) -> None:
    dump = write_dump(tmp_path / "all.json", random_items(400, seed=8))
    lines = dump.read_bytes().split(b"\n")
    lines[5] = lines[5][:100]
    dump.write_bytes(b"\n".join(lines))
    with pytest.raises(OpenMofiError, match=r"1 of 400 lines cannot be read \(.+\)") as refused:
        build_wikidata([dump], tmp_path / "kb", WikidataSettings(max_broken=0.001))
    assert "more than 0.10%" in str(refused.value)
    assert not (tmp_path / "kb/entities.arrow").exists()
    build_wikidata([dump], tmp_path / "kb", WikidataSettings(max_broken=0.01), restart=True)
    aside = next((tmp_path / "kb.work").glob("parts-*/*.broken.jsonl")).read_text()
    assert '"line": 5' in aside
    assert KnowledgeBase.open(tmp_path / "kb").manifest.finished


@pytest.mark.parametrize(
    ("settings", "error", "match"),
    [
        ({"languages": ("English",)}, UsageError, "'English' is no language code"),
        ({"kinds": ("bird",)}, UsageError, "'bird' is no item's id"),
        ({"kinds": ("Q5",), "drop": ("Q5",)}, UsageError, "Q5 is both wanted and dropped"),
        ({"languages": ("sv",)}, OpenMofiError, "Of 13 items none is left: 13 have no name in the languages"),
        (
            {"kinds": ("Q999",)},
            OpenMofiError,
            "Of 13 items none is left: 1 have no name in the languages and 12 are of",
        ),
    ],
)
def test_what_leaves_nothing_is_said(tmp_path: Path, settings: dict, error: type, match: str) -> None:
    dump = write_dump(tmp_path / "all.json", bird_world())
    with pytest.raises(error, match=match):
        build_wikidata([dump], tmp_path / "kb", WikidataSettings(**settings))
    assert not (tmp_path / "kb/entities.arrow").exists()


def test_dumps_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(OpenMofiError, match=r"all\.json is no file"):
        build_wikidata([tmp_path / "all.json"], tmp_path / "kb")
    (tmp_path / "empty").mkdir()
    with pytest.raises(OpenMofiError, match="empty has no dump"):
        build_wikidata([tmp_path / "empty"], tmp_path / "kb")


def test_the_command_builds_a_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CHECK_VARIABLE, "1")
    (tmp_path / "dumps").mkdir()
    write_dump(tmp_path / "dumps/all.json.bz2", bird_world())
    built = CliRunner().invoke(
        app,
        [
            "kb",
            "build",
            "wikidata",
            str(tmp_path / "dumps"),
            "-o",
            str(tmp_path / "kb"),
            "--languages",
            "de, en",
            "--kinds",
            "Q10",
            "--json",
        ],
    )
    assert built.exit_code == 0, built.output
    assert json.loads(built.stdout)["entities"] == 3
    shown = CliRunner().invoke(app, ["kb", "lookup", str(tmp_path / "kb"), "Graukranich", "--json"])
    assert json.loads(shown.stdout)["candidates"][0]["name"] == "Graukranich"


def test_two_builds_that_share_what_was_read_wait_for_each_other(tmp_path: Path) -> None:
    dump = write_dump(tmp_path / "all.json", random_items(400, seed=9))
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.replace("sys.argv[2], workers=2)", "sys.argv[2], workers=1, work=sys.argv[3])"))
    both = [Fork(script, dump, tmp_path / name, tmp_path / "work") for name in ("one", "two")]
    assert [process.finish().returncode for process in both] == [0, 0]
    assert content(tmp_path / "one") == content(tmp_path / "two")
    assert content(tmp_path / "one")
