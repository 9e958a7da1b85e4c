"""Brands: of shops and restaurants by name-suggestion-index, of software and industry by Simple Icons."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from openmofi.plugins.starter.packages import read_member
from openmofi.plugins.starter.things import Thing, context_of, keys_of

BRAND = keys_of(
    (
        "brand",
        "company",
        "business",
        "organization",
        "corporation",
        "firm",
        "enterprise",
        "manufacturer",
        "chain",
        "retailer",
        "conglomerate",
        "website",
        "web site",
        "software",
        "application",
        "computer program",
        "service",
        "programming language",
        "operating system",
        "search engine",
        "automaker",
        "airline",
        "bank",
        "marque",
        "web browser",
    )
)
"""Kinds of what has a brand's name; a fruit and a river have none of them."""

_TYPES = ("noun.group", "brand")
_SECOND_LEVEL = frozenset(("co", "com", "org", "net", "ac", "gov"))
_NAMES = ("brand", "brand:en", "name", "name:en")
_ENTRY = 0.2
"""Of the counts: an entry of the index is a fifth, and a brand with five and more is 1, as one that has a logo."""


def read_shops(index: Path) -> list[Thing]:
    """Brands of name-suggestion-index that Wikidata knows, by its identifiers."""
    described = json.loads(read_member(index, "dist/wikidata/wikidata.min.json"))["wikidata"]
    trees = json.loads(read_member(index, "dist/json/nsi.min.json"))["nsi"]
    items: dict[str, list[tuple[str, dict[str, Any]]]] = {}
    for path, category in trees.items():
        if path.startswith("brands/"):
            for item in category["items"]:
                if re.fullmatch(r"Q\d+", known := item["tags"].get("brand:wikidata", "")):
                    items.setdefault(known, []).append((path.rpartition("/")[2], item))
    return [_shop(known, items[known], described.get(known, {})) for known in sorted(items, key=lambda q: int(q[1:]))]


def _shop(known: str, items: list[tuple[str, dict[str, Any]]], described: dict[str, Any]) -> Thing:
    names = dict.fromkeys(
        filter(
            None,
            (
                described.get("label"),
                *(name for _, item in items for name in (item["displayName"], *map(item["tags"].get, _NAMES))),
            ),
        )
    )
    kinds = ", ".join(dict.fromkeys(kind.replace("_", " ") for kind, _ in items))
    description = described.get("description") or f"brand ({kinds})"
    sites = [*described.get("officialWebsites", ()), described.get("identities", {}).get("website", "")]
    name, *aliases = names
    return Thing(
        known,
        name,
        description,
        _TYPES,
        min(1.0, _ENTRY * len(items)),
        tuple(aliases),
        kinds=BRAND,
        context=context_of(description, kinds, *map(_site, sites)),
    )


def _site(address: str) -> str:
    """`example.com` of an address there, `example.co.uk` of one there; `""` where it has no host."""
    labels = (urlsplit(address).hostname or "").split(".")
    return ".".join(labels[-3 if labels[-2:-1] and labels[-2] in _SECOND_LEVEL else -2 :])


def read_icons(icons: Path) -> list[Thing]:
    """Brands of Simple Icons with their other names; one that shops have too is of the same site."""
    things = []
    for row in json.loads(read_member(icons, "data/simple-icons.json")):
        aliases = row.get("aliases", {})
        names = [*aliases.get("aka", ()), *aliases.get("old", ()), *aliases.get("loc", {}).values()]
        slug = row.get("slug") or re.sub(r"[^a-z0-9]", "", row["title"].lower())
        site = _site(row.get("source", ""))
        things.append(
            Thing(
                f"simple-icons:{slug}",
                row["title"],
                "brand with a logo",
                _TYPES,
                place=keys_of((site,)),
                aliases=tuple(dict.fromkeys(name for name in names if name != row["title"])),
                kinds=BRAND,
                context=context_of("brand"),
            )
        )
    return things
