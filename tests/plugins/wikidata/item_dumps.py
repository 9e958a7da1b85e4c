"""Dumps of Wikidata's format, written by hand and at random, and what a plain reader makes of them.

The format: https://doc.wikimedia.org/Wikibase/master/php/docs_topics_json.html.
"""

from __future__ import annotations

import bz2
import gzip
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Entity = dict[str, Any]
LANGUAGES = ("en", "de", "fr", "zh-hant", "zh-hk", "mul")
RELATED = ("P361", "P17", "P170", "P106", "P641")
CLASSES = (4167410, 5, 35120, 13442814, 318)


def text(language: str, value: str) -> dict[str, str]:
    return {"language": language, "value": value}


def statement(prop: str, value: Any, *, rank: str = "normal", snaktype: str = "value") -> Entity:
    """A statement with what real ones have beside it: hashes, qualifiers, references."""
    if isinstance(value, int):
        datavalue: Entity = {
            "type": "wikibase-entityid",
            "value": {"entity-type": "item", "numeric-id": value, "id": f"Q{value}"},
        }
    else:
        datavalue = {"type": "string", "value": value}
    snak: Entity = {"snaktype": snaktype, "property": prop, "hash": "b" * 40, "datatype": "wikibase-item"}
    if snaktype == "value":
        snak["datavalue"] = datavalue
    time = {
        "snaktype": "value",
        "property": "P580",
        "datavalue": {
            "type": "time",
            "value": {"time": "+2001-12-31T00:00:00Z", "precision": 11, "timezone": 0, "calendarmodel": "…/Q1985727"},
        },
    }
    return {
        "mainsnak": snak,
        "type": "statement",
        "id": f"Q1${prop}",
        "rank": rank,
        "qualifiers": {"P580": [time]},
        "qualifiers-order": ["P580"],
        "references": [{"hash": "a" * 40, "snaks": {"P813": [time]}}],
    }


def item(
    number: int,
    labels: dict[str, str],
    *,
    descriptions: dict[str, str] | None = None,
    aliases: dict[str, list[str]] | None = None,
    claims: dict[str, list[Entity]] | None = None,
    sitelinks: Sequence[str] = (),
    revision: int = 1,
) -> Entity:
    """An item as a dump has it; empty maps are empty lists, as PHP writes them."""
    return {
        "type": "item",
        "id": f"Q{number}",
        "ns": 0,
        "title": f"Q{number}",
        "pageid": number,
        "labels": {each: text(each, value) for each, value in labels.items()} or [],
        "descriptions": {each: text(each, value) for each, value in (descriptions or {}).items()} or [],
        "aliases": {each: [text(each, value) for value in values] for each, values in (aliases or {}).items()} or [],
        "claims": claims or [],
        "sitelinks": {wiki: {"site": wiki, "title": f"{wiki} {number}", "badges": []} for wiki in sitelinks} or [],
        "lastrevid": revision,
        "modified": "2026-01-01T00:00:00Z",
    }


def random_items(count: int, seed: int) -> list[Entity]:
    """Items with names that are shared (Zipf), languages with a long tail, ranks, unknown values, cycles of classes."""
    draw = np.random.default_rng(seed)
    entities: list[Entity] = []
    for number in range(1, count + 1):
        word = f"thing {min(int(draw.zipf(1.6)), 10**6)}"
        known = [language for language in LANGUAGES if draw.random() < 0.6]
        claims: dict[str, list[Entity]] = {"P569": [statement("P569", "a date")]}
        if number % 3 == 0:
            claims["P18"] = [statement("P18", f"Thing {number}.jpg")]
            claims["P214"] = [statement("P214", f"viaf-{number % 1000}"), statement("P214", f"viaf-{number}")]
        for prop in ("P31", "P279", *RELATED):
            if draw.random() < (0.8 if prop == "P31" else 0.25):
                pool = CLASSES if prop == "P31" and draw.random() < 0.3 else range(1, count + 1)
                claims[prop] = [
                    statement(
                        prop,
                        int(draw.choice(pool)),
                        rank=str(draw.choice(["normal", "normal", "preferred", "deprecated"])),
                        snaktype=str(draw.choice(["value"] * 8 + ["somevalue", "novalue"])),
                    )
                    for _ in range(draw.integers(1, 4))
                ]
        entities.append(
            item(
                number,
                {each: word if draw.random() < 0.7 else f"{word}  in {each} " for each in known},
                descriptions={each: f"a thing of {each} «{number}»" for each in known if draw.random() < 0.8},
                aliases={
                    each: [f"alias {draw.integers(100)}" for _ in range(draw.integers(1, 4))]
                    for each in known
                    if draw.random() < 0.4
                },
                claims=claims,
                sitelinks=[wiki for wiki in ("enwiki", "dewiki", "zhwiki", "frwikiquote") if draw.random() < 0.5],
                revision=int(draw.integers(1, 10**9)),
            )
        )
    return entities


def lines_of(entities: Iterable[Entity]) -> list[bytes]:
    """The lines of the array that a dump is."""
    written = [
        json.dumps(entity, ensure_ascii=bool(number % 2), separators=(",", ":")).encode()
        for number, entity in enumerate(entities)
    ]
    return [b"[", *(line + b"," for line in written[:-1]), *written[-1:], b"]"]


def write_dump(path: Path, entities: Iterable[Entity]) -> Path:
    """A dump, compressed as its name says."""
    content = b"\n".join(lines_of(entities)) + b"\n"
    if path.suffix == ".gz":
        content = gzip.compress(content, 1)
    elif path.suffix == ".bz2":
        half = content.index(b"\n", len(content) // 2) + 1
        content = bz2.compress(content[:half]) + bz2.compress(content[half:])  # several streams, as pbzip2 writes
    elif path.suffix == ".zst":
        import zstandard

        content = zstandard.compress(content)
    path.write_bytes(content)
    return path


def values_of(entity: Entity, prop: str) -> list[Any]:
    """A plain reading of a property: the best rank's known values, each once."""
    statements = entity["claims"].get(prop, []) if entity["claims"] else []
    ranked = [each for each in statements if each["rank"] == "preferred"] or [
        each for each in statements if each["rank"] == "normal"
    ]
    values = [each["mainsnak"]["datavalue"]["value"] for each in ranked if each["mainsnak"]["snaktype"] == "value"]
    return list(dict.fromkeys(value["numeric-id"] if isinstance(value, dict) else value for value in values))
