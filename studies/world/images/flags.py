"""Countries by ISO code: their names, their flags, and the WordNet synset that is the same thing."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from studies.world.images.emoji import LANGUAGES, emoji_rows, plain_code
from studies.world.images.entities import DROP, Artwork, DepictedEntity, unique
from studies.world.images.icons import IconSet, read_json
from studies.world.images.rules import Nouns

_REGIONAL_A = 0x1F1E6
_TAG_BASE = 0xE0000
_THREE_LETTERS = {
    "deu": "de",
    "est": "et",
    "fin": "fi",
    "fra": "fr",
    "hun": "hu",
    "ita": "it",
    "jpn": "ja",
    "kor": "ko",
    "nld": "nl",
    "pol": "pl",
    "por": "pt",
    "rus": "ru",
    "spa": "es",
    "swe": "sv",
    "zho": "zh",
}
_CONTINENTS = {
    "Africa": "Africa",
    "Americas": "America",
    "Asia": "Asia",
    "Europe": "Europe",
    "Oceania": "Oceania",
    "Antarctic": "Antarctica",
}


def iso_code(hexcode: str) -> str | None:
    """`FR` for the regional indicators of a flag, `GB-ENG` for a tag sequence, else `None`."""
    points = [int(part, 16) for part in hexcode.split("-")]
    if len(points) == 2 and all(0 <= point - _REGIONAL_A < 26 for point in points):
        return "".join(chr(ord("A") + point - _REGIONAL_A) for point in points)
    letters = "".join(chr(point - _TAG_BASE) for point in points[1:-1] if 0x20 < point - _TAG_BASE < 0x7F)
    return f"{letters[:2]}-{letters[2:]}".upper() if points[0] == 0x1F3F4 and len(letters) > 2 else None


def _flag_labels(sources: Path, language: str) -> dict[str, str]:
    # "flag: France", "drapeau : France", "旗: 法国": the name stands after the colon.
    return {
        code: re.split(r"[:：]\s*", row["label"])[-1].strip()
        for row in emoji_rows(sources, language)
        if (code := iso_code(plain_code(row["hexcode"])))
    }


def _names(code: str, row: Mapping[str, Any], labels: Mapping[str, Mapping[str, str]]) -> dict[str, tuple[str, ...]]:
    common = row.get("name", {}).get("common")
    label = labels["en"].get(code)
    name = common or label or code
    demonym = row.get("demonyms", {}).get("eng", {}).get("m", "")
    english = [
        name,
        label or name,
        row.get("name", {}).get("official", name),
        *(spelling for spelling in row.get("altSpellings", ()) if len(spelling) > 3 and spelling.isascii()),
        f"flag of {name}",
        *([f"{demonym} flag"] if demonym else []),
    ]
    names = {"en": unique(english)}
    for language in LANGUAGES:
        spellings = [labels[language].get(code)]
        spellings += [
            entry["common"] for key, entry in row.get("translations", {}).items() if _THREE_LETTERS.get(key) == language
        ]
        if kept := unique([spelling for spelling in spellings if spelling]):
            names[language] = kept
    return names


def synset_of_country(nouns: Nouns, names: Iterable[str]) -> str | None:
    """The WordNet synset of a country: of the places so named the one that is a country, else an island or region."""
    names = list(names)
    senses = [
        sense for file in ("noun.location", "noun.object") for name in names for sense in nouns.all_senses(name, file)
    ]
    countries = (sense for sense in senses if nouns.is_a(sense, ("country", "noun.location")))
    lands = (
        sense
        for sense in senses
        if (nouns.is_a(sense, ("island", "noun.object")) or nouns.is_a(sense, ("district", "noun.location")))
        and not nouns.is_a(sense, ("American state", "noun.location"))
    )
    return next(chain(countries, lands), None)


def read_countries(
    sources: Path,
    emoji_sets: Iterable[tuple[IconSet, Mapping[str, str]]],
    flag_sets: Iterable[IconSet],
    nouns: Nouns,
    corrections: Mapping[str, str],
) -> tuple[list[DepictedEntity], dict[str, str]]:
    """Countries with their flags, and WordNet synset → country id for those that WordNet has too.

    Args:
        sources: the fetched packages.
        emoji_sets: emoji sets with their icons by code points.
        flag_sets: the flag sets.
        nouns: WordNet.
        corrections: `country:XX` → `drop` for flags that are another's, or the synset of the country.
    """
    labels = {language: _flag_labels(sources, language) for language in ("en", *LANGUAGES)}
    rows = {row["cca2"]: row for row in read_json(sources / "world-countries" / "countries.json")}
    artworks = _flag_artworks(emoji_sets, flag_sets)
    countries, same = [], {}
    for code in unique([*rows, *labels["en"]]):
        identifier = f"country:{code}"
        if corrections.get(identifier) == DROP:
            continue
        row = rows.get(code, {})
        names = _names(code, row, labels)
        synset = corrections.get(identifier) or synset_of_country(
            nouns, [name for name in names["en"] if "flag" not in name.split()]
        )
        if synset and synset not in same:
            same[synset] = identifier
            names["en"] = unique([*names["en"], *(lemma for lemma, _ in nouns.by_id[synset].lemmas)])
        region = ", ".join(filter(None, (row.get("subregion"), row.get("region"))))
        description = f"{'country or territory' if row else 'place'}{region and f' in {region}'}; shown by its flag"
        continent = nouns.within(_CONTINENTS.get(row.get("region", ""), ""), ("noun.object", "noun.location"))
        relations = ((("part_holonym", continent),) if continent else ()) + _kind(nouns)
        countries.append(
            DepictedEntity(
                identifier, names["en"][0], "country", description, names, relations, tuple(artworks.get(code, ()))
            )
        )
    return countries, same


def _kind(nouns: Nouns) -> tuple[tuple[str, str], ...]:
    country = nouns.commonest("country", "noun.location")
    return (("instance_hypernym", country),) if country else ()


def _flag_artworks(
    emoji_sets: Iterable[tuple[IconSet, Mapping[str, str]]], flag_sets: Iterable[IconSet]
) -> dict[str, list[Artwork]]:
    artworks: defaultdict[str, list[Artwork]] = defaultdict(list)
    for icons, by_code in emoji_sets:
        for hexcode, icon in by_code.items():
            if code := iso_code(hexcode):
                artworks[code].append(Artwork(icons.name, icon, "iso"))
    for icons in flag_sets:
        # The set `flag` draws each flag in two shapes.
        shape = "-4x3" if icons.name == "flag" else ""
        for icon, entry in icons.icons.items():
            if icon.endswith(shape) and not entry.get("hidden"):
                artworks[icon.removesuffix(shape).upper()].append(Artwork(icons.name, icon, "iso"))
    return artworks
