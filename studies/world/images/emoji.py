"""Emoji concepts: what emojibase lists, with near-identical variants folded into one, and the icons that show them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studies.world.images.icons import IconSet, read_json

LANGUAGES = (
    "bn",
    "da",
    "de",
    "es",
    "et",
    "fi",
    "fr",
    "hi",
    "hu",
    "it",
    "ja",
    "ko",
    "lt",
    "nb",
    "nl",
    "pl",
    "pt",
    "ru",
    "sv",
    "th",
    "uk",
    "vi",
    "zh",
)
"""Languages of emojibase that are used beside English (regional doublets are left out)."""

_PRESENTATION = "fe0f"
_TONES = frozenset(("1f3fb", "1f3fc", "1f3fd", "1f3fe", "1f3ff"))
_GENDERS = frozenset(("2640", "2642"))
_PERSON = "1f9d1"
_GENDERED_PEOPLE = frozenset(("1f468", "1f469", _PERSON))
_RIGHTWARDS = "27a1"
_JOINER = "200d"
_CLOCKS = frozenset(f"{code:x}" for code in range(0x1F550, 0x1F568))
_FAMILIES = (("family", "1f46a"), ("couple with heart", "1f491"), ("kiss", "1f48f"))
_UNUSED_SUBGROUPS = frozenset(("skin-tone", "hair-style", "country-flag"))


@dataclass(frozen=True)
class Concept:
    """What one or several emoji depict.

    Attributes:
        code: code points of the emoji that stands for it, `"1f34e"`.
        label: CLDR's English name.
        tags: CLDR's English keywords.
        subgroup: Unicode's subgroup, e.g. `"animal-mammal"`.
        group: Unicode's group, e.g. `"animals-nature"`.
        members: code points of all emoji that are folded into it.
        labels: language → names, English left out.
    """

    code: str
    label: str
    tags: tuple[str, ...]
    subgroup: str
    group: str
    members: tuple[str, ...]
    labels: Mapping[str, tuple[str, ...]]


def plain_code(hexcode: str) -> str:
    """Code points as the icon sets write them: lower case, without variation selectors."""
    return "-".join(part for part in hexcode.lower().split("-") if part != _PRESENTATION)


def fold(code: str, label: str) -> str:
    """The code points of the concept that an emoji belongs to.

    Skin tones, gender, direction, the hour of a clock face, and who is in a family make no concept of their own.
    """
    for start, target in _FAMILIES:
        if label == start or label.startswith(start + ":"):
            return target
    if code in _CLOCKS:
        return min(_CLOCKS)
    parts = [part for part in code.split("-") if part not in _TONES]
    head = [_PERSON] if len(parts) > 2 and parts[0] in _GENDERED_PEOPLE else parts[:1]
    rest = [part for part in parts[1:] if part not in _GENDERS and part != _RIGHTWARDS]
    while rest and rest[-1] == _JOINER:
        rest.pop()
    return "-".join(head + rest)


def emoji_rows(sources: Path, language: str) -> list[dict[str, Any]]:
    """All emoji as a language of emojibase lists them."""
    return read_json(sources / "emojibase-data" / language / "data.json")


def read_concepts(sources: Path) -> list[Concept]:
    """All emoji concepts in Unicode's order; country flags are left out (they are countries)."""
    messages = read_json(sources / "emojibase-data" / "en" / "messages.json")
    # Two subgroups share an order number in emojibase 17; the last one listed is the one that has emoji.
    groups, subgroups = ({entry["order"]: entry["key"] for entry in messages[name]} for name in ("groups", "subgroups"))
    rows = [
        row
        for row in emoji_rows(sources, "en")
        if subgroups.get(row.get("subgroup"), "country-flag") not in _UNUSED_SUBGROUPS
    ]
    members: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: row["order"]):
        members[fold(plain_code(row["hexcode"]), row["label"])].append(row)
    foreign = {
        language: {plain_code(row["hexcode"]): row["label"] for row in emoji_rows(sources, language)}
        for language in LANGUAGES
    }
    return [_concept(code, group, groups, subgroups, foreign) for code, group in members.items()]


def _concept(
    code: str,
    rows: list[dict[str, Any]],
    groups: Mapping[int, str],
    subgroups: Mapping[int, str],
    foreign: Mapping[str, Mapping[str, str]],
) -> Concept:
    # A folded concept is named by the emoji that stands for it; where only gendered ones exist, by the first.
    head = next((row for row in rows if plain_code(row["hexcode"]) == code), rows[0])
    own = plain_code(head["hexcode"])
    if code in _CLOCKS:
        label, labels = "clock face", {}
    else:
        label = re.sub(r"^(person|man|woman): ", "", head["label"])
        labels = {language: (table[own],) for language, table in foreign.items() if table.get(own)}
    return Concept(
        code,
        label,
        tuple(head.get("tags", ())),
        subgroups[head["subgroup"]],
        groups[head["group"]],
        tuple(plain_code(row["hexcode"]) for row in rows),
        labels,
    )


def code_of_names(sets: Iterable[IconSet], concepts: Iterable[Concept]) -> dict[str, str]:
    """Icon name → code points, from the sets' own tables, their aliases, and the labels of emojibase."""
    sets = list(sets)
    codes: dict[str, str] = {}
    for icons in sets:
        for code, icon in icons.chars.items():
            codes.setdefault(icon, plain_code(code))
    for concept in concepts:
        if len(concept.members) == 1:
            codes.setdefault(re.sub(r"[^a-z0-9]+", "-", concept.label.lower()).strip("-"), concept.code)
    for icons in sets:
        for alias, icon in icons.aliases.items():
            if icon in codes:
                codes.setdefault(alias, codes[icon])
            elif alias in codes:
                codes.setdefault(icon, codes[alias])
    return codes


def icons_of_codes(icons: IconSet, codes: Mapping[str, str]) -> dict[str, str]:
    """Code points → icon of this set: its own table first, names for the rest. Icons with a skin tone are left out."""
    by_code = {plain_code(code): icon for code, icon in icons.chars.items() if icon in icons.icons}
    for icon in icons.icons:
        if icon in codes:
            by_code.setdefault(codes[icon], icon)
    return {code: icon for code, icon in by_code.items() if not _TONES & set(code.split("-"))}
