"""Writes the world's knowledge as a knowledge-base source: entities, names with counts, relations, surfaces."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from openmofi.knowledge import normalise
from openmofi.plugins.starter.wordnet import Synset
from openmofi.schema import ENTITIES, NAMES, RELATIONS, SURFACES
from openmofi.storage import write_table
from studies.world.images.entities import DepictedEntity
from studies.world.images.gather import World
from studies.world.pages.surfaces import link_probabilities
from studies.world.world_settings import WorldSettings

_SMOOTHING = 1.0
_UP = ("hypernym", "instance_hypernym")


@dataclass(frozen=True)
class KnowledgeSource:
    """Rows of a knowledge-base source.

    Attributes:
        synsets: the WordNet nouns in it.
        counts: (name, entity id) → count.
        by_key: normalised name → ids of the entities that have it.
    """

    synsets: tuple[Synset, ...]
    counts: Mapping[tuple[str, str], float]
    by_key: Mapping[str, frozenset[str]]

    def ambiguous(self, name: str) -> bool:
        """Whether more than one entity has this name."""
        return len(self.by_key.get(normalise(name), ())) > 1


def _needed(world: World) -> tuple[Synset, ...]:
    """The synsets of a small world: depicted ones, their namesakes, and what these are kinds of."""
    keys = {normalise(name) for entity in world.depicted for names in entity.names.values() for name in names}
    by_id = {synset.id: synset for synset in world.synsets}
    front = [entity.id for entity in world.depicted]
    front += [tail for entity in world.depicted for _, tail in entity.relations]
    front += [synset.id for synset in world.synsets if any(normalise(lemma) in keys for lemma, _ in synset.lemmas)]
    kept: set[str] = set()
    while front:
        current = front.pop()
        if current in by_id and current not in kept:
            kept.add(current)
            front += [tail for relation, tail in by_id[current].relations if relation in _UP]
    return tuple(synset for synset in world.synsets if synset.id in kept)


def make_source(world: World, settings: WorldSettings) -> KnowledgeSource:
    """Names and how often each means what.

    WordNet's lemmas count as often as their sense was tagged, plus one; every other name counts once; a country's
    names get `country_count` more, and the brands of a name together `brand_share` of its uses.
    """
    synsets = world.synsets if settings.whole_wordnet else _needed(world)
    counts: dict[tuple[str, str], float] = defaultdict(float)
    for synset in synsets:
        for lemma, tagged in synset.lemmas:
            counts[lemma, synset.id] += tagged + _SMOOTHING
    for entity in world.depicted:
        # Languages share many names: each counts once.
        for name in sorted({name for names in entity.names.values() for name in names}):
            if (name, entity.id) not in counts:
                counts[name, entity.id] = _SMOOTHING
            if entity.domain == "country":
                counts[name, entity.id] += settings.country_count
    by_key: dict[str, set[str]] = defaultdict(set)
    for name, identifier in counts:
        by_key[normalise(name)].add(identifier)
    _share_with_brands(counts, by_key, settings.brand_share)
    return KnowledgeSource(synsets, counts, {key: frozenset(ids) for key, ids in by_key.items() if key})


def _share_with_brands(counts: dict[tuple[str, str], float], by_key: Mapping[str, set[str]], share: float) -> None:
    totals: dict[str, float] = defaultdict(float)
    for (name, identifier), count in counts.items():
        if not identifier.startswith("brand:"):
            totals[normalise(name)] += count
    for name, identifier in list(counts):
        key = normalise(name)
        if identifier.startswith("brand:") and totals.get(key):
            brands = sum(owner.startswith("brand:") for owner in by_key[key])
            counts[name, identifier] = totals[key] * share / (1 - share) / brands


def write_source(folder: Path, world: World, source: KnowledgeSource) -> dict[str, int]:
    """Write the tables of `openmofi kb build table`; returns their row counts."""
    popularity: dict[str, float] = defaultdict(float)
    for (_, identifier), count in source.counts.items():
        popularity[identifier] += count
    entities = _entities(world, source.synsets, popularity)
    known = {row["id"] for row in entities}
    relations = [
        {"head": head, "relation": kind, "tail": tail}
        for head, kind, tail in _relations(world, source.synsets)
        if tail in known and head != tail
    ]
    names = [
        {"name": name, "entity": identifier, "count": count}
        for (name, identifier), count in sorted(source.counts.items())
    ]
    surfaces = [
        {"name": name, "link_probability": probability}
        for name, probability in sorted(link_probabilities(world.dict_folder, source.by_key).items())
    ]
    tables = {
        "entities": (entities, ENTITIES),
        "names": (names, NAMES),
        "relations": (relations, RELATIONS),
        "surfaces": (surfaces, SURFACES),
    }
    for name, (rows, schema) in tables.items():
        write_table(folder / f"{name}.parquet", pa.Table.from_pylist(rows, schema=schema))
    return {name: len(rows) for name, (rows, _) in tables.items()}


def _entities(world: World, synsets: Iterable[Synset], popularity: Mapping[str, float]) -> list[dict[str, Any]]:
    depicted = {entity.id: entity for entity in world.depicted}
    rows: list[dict[str, Any]] = []
    for synset in synsets:
        shown = depicted.pop(synset.id, None)
        rows.append(
            {
                "id": synset.id,
                "name": shown.name if shown else synset.lemmas[0][0],
                "description": synset.definition,
                "types": [synset.lexname, *_types(shown)],
                "popularity": popularity[synset.id],
            }
        )
    rows += [
        {
            "id": entity.id,
            "name": entity.name,
            "description": entity.description,
            "types": _types(entity),
            "popularity": popularity[entity.id],
        }
        for entity in depicted.values()
    ]
    return sorted(rows, key=lambda row: row["id"])


def _types(entity: DepictedEntity | None) -> list[str]:
    kind = entity.id.partition(":")[0] if entity else ""
    return [kind] if kind in ("country", "brand", "emoji") else []


def _relations(world: World, synsets: Iterable[Synset]) -> list[tuple[str, str, str]]:
    rows = [(synset.id, kind, tail) for synset in synsets for kind, tail in synset.relations]
    rows += [(entity.id, kind, tail) for entity in world.depicted for kind, tail in entity.relations]
    return sorted(set(rows))
