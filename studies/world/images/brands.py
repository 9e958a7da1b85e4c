"""Brands by slug: which icons of five sets show the same brand, and how it is called."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from studies.world.images.entities import DROP, Artwork, DepictedEntity, unique
from studies.world.images.icons import IconSet, read_json
from studies.world.images.rules import Nouns

_ENDS = ("icon", "wordmark", "dark", "light", "original", "plain", "official", "alt", "logo", "line", "text")
_FILE_PREFIX = "file-type-"
_FOLDER = re.compile(r"^(?:folder|default)-")
_VERSION = re.compile(r"(?<=[a-z])-?\d+$")
_LIST_OF_BRANDS = frozenset(("logos", "devicon", "skill-icons"))
"""Sets that hold nothing but brands; in the others a name is a brand only if one of these or simple-icons has it."""


def key_of(slug: str) -> str:
    """The key under which spellings of a brand meet: `active-campaign-icon` and `activecampaign` are one."""
    return re.sub(r"[^a-z0-9+#.]", "", "".join(_stem(slug.lower())))


def _stem(slug: str) -> list[str]:
    parts = slug.split("-")
    while len(parts) > 1 and parts[-1] in _ENDS:
        parts.pop()
    return parts


def _title_key(title: str) -> str:
    return re.sub(r"[^a-z0-9+#]", "", title.lower().replace("&", "and"))


def _candidates(icons: IconSet) -> Iterable[tuple[str, str]]:
    """(icon, slug) of the icons of a set that may show a brand."""
    for icon, entry in icons.icons.items():
        if entry.get("hidden"):
            continue
        slug = icon
        if icons.name == "vscode-icons":
            if not icon.startswith(_FILE_PREFIX):
                continue
            slug = _VERSION.sub("", icon.removeprefix(_FILE_PREFIX).removeprefix("light-"))
        if _FOLDER.match(slug):
            continue
        yield icon, slug


class Titles:
    """Titles and aliases of brands, from simple-icons."""

    def __init__(self, sources: Path) -> None:
        rows = read_json(sources / "simple-icons" / "data" / "simple-icons.json")
        self._names: dict[str, tuple[str, ...]] = {}
        self._canonical: dict[str, str] = {}
        for row in rows:
            names = _titles(row)
            key = _title_key(row["title"])
            self._names.setdefault(key, names)
            for other in (row.get("slug", ""), *names):
                self._canonical.setdefault(_title_key(other), key)

    def canonical(self, key: str) -> str:
        """The key of the brand that has this key as an alias, or the key itself; `vue` and `vuejs` meet."""
        for form in (key, f"{key}js", key.removesuffix("js"), f"{key}dotjs"):
            if form in self._canonical:
                return self._canonical[form]
        return key

    def names(self, key: str) -> tuple[str, ...]:
        """The title first; empty for a brand that simple-icons lacks."""
        return self._names.get(key, ())


def _titles(row: Mapping[str, Any]) -> tuple[str, ...]:
    aliases = row.get("aliases", {})
    return unique([row["title"], *aliases.get("aka", ()), *aliases.get("loc", {}).values()])


def read_brands(
    sources: Path, sets: Iterable[IconSet], nouns: Nouns, corrections: Mapping[str, str]
) -> list[DepictedEntity]:
    """Brands with their logos. A correction's key is a brand key or `set:icon`; its entity another brand or `drop`."""
    titles = Titles(sources)
    artworks: dict[str, list[Artwork]] = {}
    spellings: dict[str, str] = {}
    for icons in sets:
        for icon, slug in _candidates(icons):
            key = titles.canonical(key_of(slug))
            target = corrections.get(f"{icons.name}:{icon}", corrections.get(f"brand:{key}", f"brand:{key}"))
            if target == DROP or not target.startswith("brand:"):
                continue
            key = target.removeprefix("brand:")
            artworks.setdefault(key, []).append(Artwork(icons.name, icon, "slug"))
            spellings.setdefault(key, slug)
    brands = []
    for key, shown in artworks.items():
        if not titles.names(key) and not _LIST_OF_BRANDS & {artwork.set for artwork in shown}:
            continue
        names = titles.names(key) or (" ".join(part.capitalize() for part in _stem(spellings[key])),)
        description = f"{names[0]}: brand of software or of a company; its logo"
        brands.append(
            DepictedEntity(f"brand:{key}", names[0], "brand", description, {"en": names}, _kind(nouns), tuple(shown))
        )
    return brands


def _kind(nouns: Nouns) -> tuple[tuple[str, str], ...]:
    kinds = (nouns.commonest("trade name", "noun.communication"), nouns.commonest("software", "noun.communication"))
    return tuple(("instance_hypernym", kind) for kind in kinds if kind)
