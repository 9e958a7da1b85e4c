"""The classes of a dataset with what is above them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from openmofi.dataset.tables import Folder
from openmofi.knowledge import KnowledgeBase

_DEPTH = 8


@dataclass(frozen=True)
class Classes:
    """The classes, by their numbers.

    Attributes:
        ids: identifiers of the entities.
        names: as the vocabulary has them.
        unique: the same, with the identifier behind names that several have: for tools that tell classes by name.
        chains: names of what is above each class, the topmost first; empty without a knowledge base.
    """

    ids: Sequence[str]
    names: Sequence[str]
    unique: Sequence[str]
    chains: Sequence[tuple[str, ...]]

    @classmethod
    def of(cls, folder: Folder, kb: KnowledgeBase | None) -> Classes:
        """The vocabulary of a dataset."""
        table = folder.vocabulary
        ids = table["id"].to_pylist()
        names = [name or entity for name, entity in zip(table["name"].to_pylist(), ids, strict=True)]
        seen = Counter(names)
        unique = [name if seen[name] == 1 else f"{name} ({entity})" for name, entity in zip(names, ids, strict=True)]
        taken = Counter(unique)
        unique = [name if taken[name] == 1 else entity for name, entity in zip(unique, ids, strict=True)]
        chains = [() if kb is None else _chain(kb, entity) for entity in ids]
        return cls(ids, names, unique, chains)


def _chain(kb: KnowledgeBase, entity: str) -> tuple[str, ...]:
    """One line of classes above an entity: each time the nearest, which is the first that the base has."""
    line: list[str] = []
    seen, here = {entity}, entity
    while here in kb and len(line) < _DEPTH:
        above = next((each for each in kb.ancestors(here) if each not in seen), None)
        if above is None:
            break
        seen.add(above)
        line.append(kb[above].name)
        here = above
    return tuple(reversed(line))
