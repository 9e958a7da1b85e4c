"""What the artwork shows: an entity with its names in several languages and the icons that depict it."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

CORRECTIONS = Path(__file__).with_name("corrections.csv")

OWN = "own"
DROP = "drop"


@dataclass(frozen=True)
class Artwork:
    """An icon of a set, which depicts an entity.

    Attributes:
        set: name of the icon set.
        icon: name of the icon.
        rule: how the entity was found.
    """

    set: str
    icon: str
    rule: str

    @property
    def id(self) -> str:
        """`set:icon`, as Iconify names it."""
        return f"{self.set}:{self.icon}"


@dataclass(frozen=True)
class DepictedEntity:
    """An entity of which there is artwork.

    Attributes:
        id: `wn:…`, `emoji:…`, `country:…` or `brand:…`.
        name: preferred English name.
        domain: coarse domain, e.g. `food`.
        description: one line; used where the knowledge base has no better one.
        names: language → names; `en` holds the preferred one first.
        relations: (relation, entity id) beyond WordNet's own.
        artworks: icons that show it.
        sets: how many sets of its kind show it; decides whether there are enough.
    """

    id: str
    name: str
    domain: str
    description: str
    names: Mapping[str, tuple[str, ...]]
    relations: tuple[tuple[str, str], ...] = ()
    artworks: tuple[Artwork, ...] = field(default=())

    @property
    def sets(self) -> int:
        """In how many sets it is shown."""
        return len({artwork.set for artwork in self.artworks})


def merge(entities: Iterable[DepictedEntity]) -> list[DepictedEntity]:
    """One entity an id: names and artworks of all that share it; the first gives name, domain and description."""
    merged: dict[str, DepictedEntity] = {}
    for entity in entities:
        first = merged.get(entity.id)
        if first is None:
            merged[entity.id] = entity
            continue
        names = {
            language: unique([*first.names.get(language, ()), *entity.names.get(language, ())])
            for language in {**first.names, **entity.names}
        }
        merged[entity.id] = replace(
            first,
            names=names,
            relations=unique([*first.relations, *entity.relations]),
            artworks=unique([*first.artworks, *entity.artworks]),
        )
    return list(merged.values())


def unique(items: Sequence) -> tuple:
    """The items, each once, in order."""
    return tuple(dict.fromkeys(items))


def read_corrections(path: Path = CORRECTIONS) -> dict[str, str]:
    """Key (emoji code points, `country:XX`, brand slug, or `set:icon`) → entity id, `own` or `drop`."""
    with open(path, newline="", encoding="utf-8") as handle:
        return {row["key"]: row["entity"] for row in csv.DictReader(handle)}
