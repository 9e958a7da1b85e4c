"""Edits applied to a base: the bytes are those of a dump of today; what is not known is said."""

from __future__ import annotations

import copy
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

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
    changed = copy.deepcopy(entity) | {"lastrevid": revision}
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
    entities = {
        entity["id"]: entity | {"lastrevid": 10} for entity in random_items(60, seed=data.draw(st.integers(0, 9)))
    }
    merged: dict[str, str] = {"Q900": "Q1"}
    write_redirects(folder / "redirects.csv", merged)
    dump = write_dump(folder / "old.json.gz", entities.values())
    build_wikidata([dump], folder / "kb0", SETTINGS, extras=Extras.of(redirects=folder / "redirects.csv"), workers=1)
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
        gone = data.draw(st.lists(st.sampled_from([*ids, "Q55555"]), unique=True, max_size=5))
        targets = data.draw(st.lists(st.sampled_from(ids), min_size=len(gone), max_size=len(gone)))
        now = {old: new for old, new in zip(gone, targets, strict=True) if data.draw(st.booleans()) and old != new}
        changed.setdefault("Q1", edited_again(entities.get("Q1", item(1, {"en": "one"})), revision, data))
        entities = {id_: entity for id_, entity in (entities | changed).items() if id_ not in gone}
        merged = {old: new for old, new in merged.items() if old not in changed} | now
        deleted = [id_ for id_ in gone if id_ not in now]
        apply_edits(
            last,
            [write_dump(folder / f"changed{week}.json.gz", changed.values())],
            folder / f"kb{week}",
            deleted=written(folder / f"deleted{week}.txt", deleted),
            extras=Extras.of(redirects=write_redirects(folder / f"merged{week}.csv", now)),
            workers=1,
        )
        shutil.rmtree(f"{last}.work")  # the newer base does without
        last = folder / f"kb{week}"
        build_wikidata(
            [write_dump(folder / f"today{week}.json.gz", entities.values())],
            folder / f"anew{week}",
            SETTINGS,
            extras=Extras.of(redirects=write_redirects(folder / f"all{week}.csv", merged)),
            workers=1,
        )
        new, anew = content(last), content(folder / f"anew{week}")
        if not merged:  # then one knows of no redirects, and the other of none that leads to an entity
            new["counts"].pop("redirects", None)
            anew["counts"].pop("redirects", None)
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
