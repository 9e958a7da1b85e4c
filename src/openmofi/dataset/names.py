"""Names of entities in the vocabulary, the card and the report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from openmofi.knowledge import KnowledgeBase
from openmofi.schema import Entity


@dataclass
class Surfaces:
    """How often texts use a surface form for an entity; names the entities if no knowledge base is given."""

    counts: dict[tuple[str, str], int] = field(default_factory=dict)

    def add(self, entity: pa.Array, surface: pa.Array) -> None:
        """Count the pairs of two arrays of one length."""
        grouped = pa.table({"entity": entity, "surface": surface}).group_by(["entity", "surface"]).aggregate(
            [([], "count_all")])
        rows = zip(*(grouped[name].to_pylist() for name in ("entity", "surface", "count_all")), strict=True)
        for identifier, name, count in rows:
            self.counts[identifier, name] = self.counts.get((identifier, name), 0) + count

    def commonest(self) -> dict[str, str]:
        """Each entity's commonest surface; ties go to the one that sorts first."""
        best: dict[str, tuple[int, str]] = {}
        for (identifier, name), count in self.counts.items():
            if identifier not in best or (-count, name) < best[identifier]:
                best[identifier] = (-count, name)
        return {identifier: name for identifier, (_, name) in best.items()}


def describe(identifiers: Sequence[str], kb: KnowledgeBase | None, names: dict[str, str]) -> list[Entity]:
    """The entities of the knowledge base; unknown ones are named by `names` or by their id."""
    return [_known(identifier, kb) or Entity(identifier, names.get(identifier, identifier))
            for identifier in identifiers]


def _known(identifier: str, kb: KnowledgeBase | None) -> Entity | None:
    if kb is None:
        return None
    try:
        return kb.entity(kb.row(identifier))
    except KeyError:
        return None


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
