"""Entities as people write them in a table of the truth: identifiers, or names that mean one entity."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from openmofi.dataset.tables import Folder
from openmofi.errors import OpenMofiError
from openmofi.knowledge import KnowledgeBase
from openmofi.knowledge.names import normalise

_NAMED = 3


def labels_kb(folder: Folder) -> KnowledgeBase | None:
    """The knowledge base that the labels were made with, where it still is as it was; `None` where it is not."""
    path, fingerprint = folder.manifest.settings.get("kb"), folder.manifest.inputs.get("/kb")
    if not path or not fingerprint:
        return None
    try:
        kb = KnowledgeBase.open(path)
    except OpenMofiError:
        return None
    return kb if kb.fingerprint == fingerprint else None


def resolved(
    values: Sequence[str], judged: Sequence[str], folder: Folder, kb: KnowledgeBase | None
) -> tuple[dict[str, str], list[str]]:
    """Which entity each value means.

    Args:
        values: distinct ones of the truth.
        judged: identifiers of the entities that the labels judged.
        folder: the labels, or a dataset, whose vocabulary has names.
        kb: knows further identifiers and names.

    Returns:
        value → identifier; the values that mean nothing known, which stand for themselves.

    Raises:
        OpenMofiError: a name means several entities; or none of the values means any.
    """
    known, names = set(judged), _names(folder)
    meant, unknown = {}, []
    for value in values:
        if value in known or (kb is not None and kb.rows([value])[0] >= 0):
            meant[value] = value
            continue
        ids = names[normalise(value)] | (set(kb.ids(kb.candidates(value).rows)) if kb is not None else set())
        if len(ids) > 1:
            raise OpenMofiError(
                f"The name {value!r} in the truth means {len(ids)} entities: "
                f"{', '.join(sorted(ids)[:_NAMED])}{', …' if len(ids) > _NAMED else ''}.",
                "Write the identifier of the one that is meant.",
            )
        meant[value] = next(iter(ids), value)
        if not ids:
            unknown.append(value)
    if known and values and len(unknown) == len(values):
        where = "the labels" if kb is None else "the labels or their knowledge base"
        raise OpenMofiError(
            f"None of the {len(values)} entities of the truth is known to {where}: it has e.g. "
            f"{values[0]!r}, the labels {judged[0]!r}.",
            "Write identifiers, or names and give the knowledge base with --kb.",
        )
    return meant, unknown


def _names(folder: Folder) -> defaultdict[str, set[str]]:
    """Look-up form of a class's name → identifiers; empty for labels."""
    names: defaultdict[str, set[str]] = defaultdict(set)
    if folder.manifest.kind == "dataset":
        for entry in folder.vocabulary.select(["id", "name"]).to_pylist():
            names[normalise(entry["name"])].add(entry["id"])
    return names
