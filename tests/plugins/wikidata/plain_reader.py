"""What a reader without any haste makes of items: plain rows, and the tables of a base by pandas."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
from item_dumps import Entity, values_of

from openmofi.plugins.wikidata.items import RELATIONS
from openmofi.plugins.wikidata.select import TYPES, Selected

FALLBACKS = {"zh-hant": ["zh-tw", "zh-hk", "zh", "zh-hans"], "de-at": ["de"], "nb": ["no", "nn"], "pt-br": ["pt"]}
WIKIS = {"zh-hant": "zh", "de-at": "de", "nb": "no", "pt-br": "pt"}


def named_by(labels: dict[str, Any], languages: Sequence[str]) -> tuple[str, str] | None:
    """The code of the label that names an item, by Wikidata's rule, and the language that it stands for."""
    for language in languages:
        for code in (language, *FALLBACKS.get(language, ())):
            if code in labels:
                return code, code if code in languages else language
        if "mul" in labels:
            return "mul", "mul"
    return None


def plain_row(entity: Entity, languages: Sequence[str], external: Sequence[str]) -> dict[str, Any]:
    """The row of an item, as `openmofi.plugins.wikidata.items.ITEMS` has it."""
    order = sorted([*languages, "mul"], key=[languages[0], *FALLBACKS.get(languages[0], ()), "mul", *languages].index)
    labels = entity["labels"] or {}
    descriptions, aliases, links = entity["descriptions"] or {}, entity["aliases"] or {}, entity["sitelinks"] or {}
    named = named_by(labels, languages)
    shown = [named] if named else []
    shown += [(language, language) for language in order if language in labels and (language, language) not in shown]
    called = [(" ".join(labels[code]["value"].split()), language) for code, language in shown]
    for language in order:
        called += [(" ".join(alias["value"].split()), language) for alias in aliases.get(language, [])]
    names = list(dict.fromkeys(name for name, _ in called))
    return {
        "id": int(entity["id"][1:]),
        "revision": entity["lastrevid"],
        "name": names[0] if named else "",
        "description": descriptions[described[0]]["value"] if (described := named_by(descriptions, languages)) else "",
        "aliases": names[1:] if named else names,
        "languages": [" ".join(code for name, code in called if name == each) for each in names],
        "kinds": values_of(entity, "P31"),
        "parents": values_of(entity, "P279"),
        "relations": [
            {"property": int(prop[1:]), "item": value} for prop in RELATIONS for value in values_of(entity, prop)
        ],
        "unread": False,
        "sitelinks": len(links),
        "image": next(iter(values_of(entity, "P18")), None),
        "titles": [
            {"language": code, "title": links[f"{code}wiki"]["title"]}
            for code in dict.fromkeys(WIKIS.get(each, each) for each in languages)
            if f"{code}wiki" in links
        ],
        "external": [
            {"property": int(prop[1:]), "value": value} for prop in external for value in values_of(entity, prop)
        ],
    }


def differing_tables(
    lines: Iterable[bytes], selected: Selected, drop: set[int], languages: Sequence[str], external: Sequence[str] = ()
) -> list[str]:
    """Tables of a base that are not what `json.loads` and pandas make of a dump's lines, where only `drop` goes."""
    rows = [plain_row(json.loads(text), languages, external) for line in lines if len(text := line.rstrip(b",\n")) > 1]
    items = pd.DataFrame(rows).set_index("id", drop=False).sort_index()
    items["classes"] = [
        list(dict.fromkeys([*kinds, *parents])) for kinds, parents in zip(items.kinds, items.parents, strict=True)
    ]
    below = items.parents.explode().dropna()
    while more := set(below.index[below.isin(drop)]) - drop:
        drop = drop | more
    classes = items.classes.explode().dropna()
    gone = classes.isin(drop).groupby(level=0).all()
    kept = items[(items.name != "") & ~items.index.isin(gone.index[gone])]
    named = items.name[items.name != ""].to_dict()
    weights = (kept.sitelinks + 1).astype(float)
    there = set(kept.index)
    expected: dict[str, list[tuple[Any, ...]]] = {
        "source/entities": [
            (
                f"Q{row.id}",
                row.name_,
                row.description,
                [named[each] for each in row.classes if each in named][:TYPES],
                float(row.sitelinks),
            )
            for row in kept.rename(columns={"name": "name_"}).itertuples(index=False)
        ],
        "source/names": sorted(
            {
                (name, f"Q{number}", weights[number])
                for number, name, aliases in zip(kept.index, kept.name, kept.aliases, strict=True)
                for name in (name, *aliases)
                if name
            }
        ),
        "source/relations": sorted(
            (f"Q{row.id}", relation, f"Q{tail}")
            for row in kept[["id", "kinds", "parents", "relations"]].itertuples(index=False)
            for relation, tails in (
                ("instance of", row.kinds),
                ("subclass of", row.parents),
                *((RELATIONS[f"P{each['property']}"], [each["item"]]) for each in row.relations),
            )
            for tail in tails
            if tail in there
        ),
        "titles": sorted(
            (each["language"], each["title"], f"Q{number}") for number, titles in kept.titles.items() for each in titles
        ),
        "details": [(image,) for image in kept.image.astype(object).where(kept.image.notna(), None)],
        "external_ids": sorted(
            (f"Q{number}", f"P{each['property']}", each["value"])
            for number, values in kept.external.items()
            for each in values
        ),
    }
    differing = []
    for name, wanted in expected.items():
        table = pq.read_table(selected.details.parent / f"{name}.parquet")
        if name == "details":
            table = table.select(["image"])
        found = [tuple(row.values()) for row in table.to_pylist()]
        if (found if name in ("source/entities", "details") else sorted(found)) != wanted:
            differing.append(name)
    return differing
