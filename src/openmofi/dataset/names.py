"""Names of entities in the vocabulary, the card and the report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from openmofi.knowledge import KnowledgeBase
from openmofi.schema import Entity

Surfaces = Counter[tuple[str, str]]
"""How often texts use a surface form for an entity: (identifier, surface form) → times."""


def commonest(surfaces: Surfaces) -> dict[str, str]:
    """Each entity's commonest surface form, its name without a knowledge base; ties go to the one that sorts first."""
    rarest_first = sorted(surfaces.items(), key=lambda entry: (-entry[1], entry[0][1]), reverse=True)
    return {identifier: name for (identifier, name), _ in rarest_first}


def describe(identifiers: Sequence[str], kb: KnowledgeBase | None, names: dict[str, str]) -> list[Entity]:
    """The entities of the knowledge base; unknown ones are named by `names` or by their id."""
    rows = [-1] * len(identifiers) if kb is None else kb.rows(identifiers).tolist()
    return [
        kb.entity(row) if kb and row >= 0 else Entity(identifier, names.get(identifier, identifier))
        for identifier, row in zip(identifiers, rows, strict=True)
    ]


def count_types(entities: Iterable[Entity], images: Iterable[int]) -> dict[str, dict[str, int]]:
    """Type → how many entities have it and how many labels these have, most entities first."""
    classes: Counter[str] = Counter()
    labels: Counter[str] = Counter()
    for entity, count in zip(entities, images, strict=True):
        for kind in entity.types:
            classes[kind] += 1
            labels[kind] += count
    ordered = sorted(classes, key=lambda kind: (-classes[kind], kind))
    return {kind: {"entities": classes[kind], "labels": labels[kind]} for kind in ordered}
