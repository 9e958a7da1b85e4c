"""Edits applied to a base: the bytes are those of a dump of today; what is not known is said."""

from __future__ import annotations

import copy
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from item_dumps import Entity, item, random_items, statement, write_dump
from typer.testing import CliRunner

from openmofi.cli import kb as kb_cli
from openmofi.errors import OpenMofiError, UsageError
from openmofi.knowledge import KnowledgeBase, build_table, verify
from openmofi.plugins.wikidata import parts, slots
from openmofi.plugins.wikidata.build import Extras, WikidataSettings, build_wikidata
from openmofi.plugins.wikidata.update import apply_edits

SETTINGS = WikidataSettings(languages=("en", "de"), external_ids=("P214",), visual_only=True)


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parse in this process: a worker takes longer to start than these dumps to read."""

    class Here(slots.Here):
        def __enter__(self) -> Here:
            return self

        def __exit__(self, *_: object) -> None:
            pass

    def begun(_: Path, __: int, begin: Callable[..., None], arguments: tuple[Any, ...]) -> Here:
        begin(*arguments)
        return Here()

    monkeypatch.setattr(parts, "slots", begun)


def content(base: Path) -> dict[str, bytes | dict[str, Any]]:
    """All that a base holds; of its manifest what is not about where it comes from."""
    files: dict[str, bytes | dict[str, Any]] = {
        str(path.relative_to(base)): path.read_bytes()
        for path in base.rglob("*")
        if path.is_file() and path.name != "manifest.json" and not path.name.startswith(".")
    }
    counts = json.loads((base / "manifest.json").read_text())["counts"]
    del counts["digests"]  # of these bytes, and of the manifest
    counts.pop("edits", None)
    return files | {"counts": counts}


def edited_again(entity: Entity, revision: int, draw: st.DataObject) -> Entity:
    """An item with another name, class, superclass, rank, pages; each by chance."""
    changed = copy.deepcopy(entity) | {"lastrevid": revision, "claims": dict(entity["claims"])}
    if draw.draw(st.booleans()):
        changed["labels"] = {"en": {"language": "en", "value": f"edited {revision % 7}"}}
    if draw.draw(st.booleans()):
        changed["labels"] = []
    if draw.draw(st.booleans()):
        changed["sitelinks"] = {"dewiki": {"site": "dewiki", "title": f"Neu {revision}", "badges": []}}
    for prop in ("P31", "P279"):
        if draw.draw(st.booleans()):
            target = draw.draw(st.sampled_from([4167410, 13442814, 318, *range(1, 30)]))
            changed["claims"][prop] = [statement(prop, target)]
    return changed


@pytest.mark.slow
@examples(
    max_examples=12,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),  # an example takes seconds, a smaller one for ever
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_edits_give_the_bytes_of_a_dump_of_today(
    tmp_path_factory: pytest.TempPathFactory, alone: None, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("edits")
    seed = data.draw(st.integers(0, 9))
    entities = {entity["id"]: entity | {"lastrevid": 10} for entity in random_items(60, seed)}
    ever = dict(entities)
    merged: dict[str, str] = {"Q900": "Q1"}
    views = written(
        folder / "views.csv", ["Entity,QRank", *(f"Q{number},{number * 37 % 100}" for number in range(1, 68, 2))]
    )
    write_redirects(folder / "redirects.csv", merged)
    dump = write_dump(folder / "old.json.gz", entities.values())
    build_wikidata(
        [dump],
        folder / "kb0",
        SETTINGS,
        extras=Extras.of(pageviews=views, redirects=folder / "redirects.csv"),
        workers=1,
    )
    dump.unlink()
    last = folder / "kb0"
    for week in (1, 2):
        ids, revision = [*entities], 10 * week + 10
        changed = {
            id_: edited_again(entities[id_], revision, data)
            for id_ in data.draw(st.lists(st.sampled_from(ids), unique=True, max_size=6))
        }
        for number in data.draw(st.lists(st.integers(61, 70), unique=True, max_size=3)):
            changed[f"Q{number}"] = edited_again(random_items(number, seed=week)[-1], revision, data)
        if restored := sorted(ever.keys() - entities.keys()):  # by an administrator, with the revision that it had
            changed |= {id_: ever[id_] for id_ in data.draw(st.lists(st.sampled_from(restored), unique=True))}
        gone = data.draw(st.lists(st.sampled_from([*ids, "Q55555"]), unique=True, max_size=5))
        targets = data.draw(st.lists(st.sampled_from(ids), min_size=len(gone), max_size=len(gone)))
        now = {old: new for old, new in zip(gone, targets, strict=True) if data.draw(st.booleans()) and old != new}
        changed.setdefault("Q1", edited_again(entities.get("Q1", item(1, {"en": "one"})), revision, data))
        ever |= changed
        entities = {id_: entity for id_, entity in (entities | changed).items() if id_ not in gone}
        merged = {old: new for old, new in merged.items() if old not in changed} | now
        deleted = [id_ for id_ in gone if id_ not in now]
        apply_edits(
            last,
            [write_dump(folder / f"changed{week}.json.gz", changed.values())],
            folder / f"kb{week}",
            deleted=written(folder / f"deleted{week}.txt", deleted),
            extras=Extras.of(pageviews=views, redirects=write_redirects(folder / f"merged{week}.csv", now)),
            workers=1,
        )
        shutil.rmtree(f"{last}.work")  # the newer base does without
        last = folder / f"kb{week}"
        build_wikidata(
            [write_dump(folder / f"today{week}.json.gz", entities.values())],
            folder / f"anew{week}",
            SETTINGS,
            extras=Extras.of(pageviews=views, redirects=write_redirects(folder / f"all{week}.csv", merged)),
            workers=1,
        )
        new, anew = content(last), content(folder / f"anew{week}")
        assert new.keys() == anew.keys()
        assert [name for name in new if new[name] != anew[name]] == []
        assert not any(verify(last).values())


def write_redirects(path: Path, redirects: dict[str, str]) -> Path | None:
    return written(path, [f"{old},{new}" for old, new in redirects.items()])


def written(path: Path, lines: Iterable[str]) -> Path | None:
    if not (text := "\n".join(lines)):
        return None
    path.write_text(text + "\n")
    return path


def thing(number: int, name: str, revision: int = 1, **more: Any) -> Entity:
    return item(number, {"en": name}, claims={"P31": [statement("P31", 50)]}, revision=revision, **more)


@pytest.fixture
def base(tmp_path: Path, alone: None) -> Path:
    """A base of four things, whose dump is gone."""
    items = [thing(1, "Grey crane"), thing(2, "Tower crane", 9), thing(3, "Crane twin"), item(50, {"en": "thing"})]
    dump = write_dump(tmp_path / "old.json.gz", items)
    build_wikidata([dump], tmp_path / "kb", WikidataSettings(candidates=7), workers=1)
    dump.unlink()
    return tmp_path / "kb"


def names(base: Path) -> dict[str, str]:
    kb = KnowledgeBase.open(base)
    return {id_: kb[id_].name for id_ in kb}


def test_what_is_changed_deleted_and_merged_is_said(base: Path, tmp_path: Path) -> None:
    changed = write_dump(
        tmp_path / "changed.jsonl", [thing(1, "Common crane", 5), thing(7, "Stork"), thing(2, "Old", 3)]
    )
    differences = apply_edits(
        base,
        [changed],
        tmp_path / "new",
        deleted=written(tmp_path / "gone.txt", ["Q3", "Q404"]),
        extras=Extras.of(redirects=written(tmp_path / "merged.csv", ["Q60,Q7"])),
        workers=1,
    )
    assert differences.counts == {"added": 1, "removed": 1, "merged": 0, "renamed": 1, "described": 0}
    # Of Q2 the dump had a later revision.
    assert names(tmp_path / "new") == {"Q1": "Common crane", "Q2": "Tower crane", "Q7": "Stork", "Q50": "thing"}
    new = KnowledgeBase.open(tmp_path / "new")
    assert new["Q60"].name == "Stork"
    assert new.manifest.settings["candidates"] == 7
    assert new.manifest.counts["edits"] == {"changed": 3, "gone": 1, "revision": 5}
    assert new.manifest.inputs["base/older"] == KnowledgeBase.open(base).fingerprint
    assert {*new.manifest.inputs} == {
        "old.json.gz",
        "changed.jsonl",
        "deleted/gone.txt",
        "redirects/merged.csv",
        "base/older",
    }
    assert names(base)["Q3"] == "Crane twin"


def test_a_class_that_was_dropped_for_want_of_a_name_is_known_again(tmp_path: Path, alone: None) -> None:
    """The hierarchy leads over an item that the base does not have."""
    items = [
        thing(1, "Q1"),
        item(50, {"fr": "chose"}, claims={"P279": [statement("P279", 51)]}),
        item(51, {"en": "top"}),
    ]
    build_wikidata(
        [write_dump(tmp_path / "old.json", items)], tmp_path / "kb", WikidataSettings(drop=("Q51",)), workers=1
    )
    assert names(tmp_path / "kb") == {"Q51": "top"}
    moved = item(50, {"fr": "chose"}, revision=2)
    apply_edits(tmp_path / "kb", [write_dump(tmp_path / "new.json", [moved])], tmp_path / "new", workers=1)
    assert names(tmp_path / "new") == {"Q1": "Q1", "Q51": "top"}


@pytest.mark.parametrize(
    ("edits", "match"),
    [
        ({}, "There are no edits"),
        ({"changed": [thing(1, "a", 0), thing(8, "b", 0)]}, r"2 of 2 changed items have no revision \(Q1, Q8\)"),
        ({"changed": []}, r"There is no item in .*changed\.json"),
        ({"changed": [{"id": "P31", "type": "property"}]}, "There is no item in"),
        ({"gone": "Q3\nP31\n"}, "gone.txt cannot be read as ids of items: 'P31' is no item's id"),
        ({"gone": "\n"}, "gone.txt has no id"),
        ({"work": "nowhere"}, "nowhere lacks what was read of old.json.gz"),
        ({"out": "kb"}, "is the base that is brought up to date"),
        ({"name": "old.json.gz"}, "Another file named old.json.gz was read"),
    ],
)
def test_what_cannot_be_applied_is_said(base: Path, tmp_path: Path, edits: dict[str, Any], match: str) -> None:
    given = edits.get("changed", [thing(1, "Common crane", 5)] if edits else None)
    changed = [] if given is None else [write_dump(tmp_path / edits.get("name", "changed.json"), given)]
    gone = tmp_path / "gone.txt"
    gone.write_text(edits.get("gone", "Q3\n"))
    with pytest.raises((UsageError, OpenMofiError), match=match):
        apply_edits(
            base,
            changed,
            tmp_path / edits.get("out", "new"),
            deleted=gone if edits else None,
            work=tmp_path / edits["work"] if "work" in edits else None,
            workers=1,
        )
    assert names(base)["Q1"] == "Grey crane"
    with pytest.raises(OpenMofiError):
        KnowledgeBase.open(tmp_path / "new")


def test_bases_of_other_things_are_refused(base: Path, tmp_path: Path) -> None:
    changed = [write_dump(tmp_path / "changed.json", [thing(1, "a", 5)])]
    (tmp_path / "entities.csv").write_text("id,name\n1,a\n")
    build_table(tmp_path / "entities.csv", tmp_path / "table")
    with pytest.raises(UsageError, match="is not of Wikidata: its builder is 'table'"):
        apply_edits(tmp_path / "table", changed, tmp_path / "new")
    rows = [{"id": "Q1", "labels": {"en": "a"}}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    build_wikidata([tmp_path / "rows.parquet"], tmp_path / "published", workers=1)
    with pytest.raises(UsageError, match=r"was built of rows\.parquet"):
        apply_edits(tmp_path / "published", changed, tmp_path / "new")
    with pytest.raises(UsageError, match="Parquet was given"):
        apply_edits(base, [tmp_path / "rows.parquet"], tmp_path / "new")


def test_the_command_takes_dumps_or_edits(base: Path, tmp_path: Path) -> None:
    changed = write_dump(tmp_path / "changed.json", [thing(1, "Common crane", 5)])
    arguments = ["update", str(base), "-o", str(tmp_path / "new"), "--changed", str(changed), "--workers", "1"]
    shown = CliRunner().invoke(kb_cli.app, [*arguments, "--json"])
    assert shown.exit_code == 0, shown.output
    assert json.loads(shown.stdout)["counts"]["renamed"] == 1
    with pytest.raises(UsageError, match="Dumps have all items"):
        CliRunner().invoke(kb_cli.app, [*arguments, str(changed)], catch_exceptions=False)


@pytest.mark.slow
def test_killed_at_any_time_the_old_base_is_whole_and_the_new_one_comes_out(base: Path, tmp_path: Path) -> None:
    changed = write_dump(tmp_path / "changed.json", [thing(number, f"new {number}", 5) for number in range(1, 400)])
    before = content(base)
    apply_edits(base, [changed], tmp_path / "expected", workers=1)
    command = [sys.executable, "-m", "openmofi", "kb", "update", base, "--changed", changed, "-o", tmp_path / "new"]
    draw, seconds = random.Random(0), 0.5
    for _ in range(20):
        process = subprocess.Popen([*command, "--workers", "1"], start_new_session=True, stdout=subprocess.DEVNULL)
        try:
            assert process.wait(seconds) == 0
            break
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        assert content(base) == before
        manifest = tmp_path / "new/manifest.json"
        if not (manifest.exists() and json.loads(manifest.read_text())["finished"]):
            with pytest.raises(OpenMofiError):
                KnowledgeBase.open(tmp_path / "new")
        seconds *= draw.uniform(1.1, 1.6)
    assert content(tmp_path / "new") == content(tmp_path / "expected")
