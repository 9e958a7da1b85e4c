"""`openmofi.build_kb` and `openmofi.sample_kb`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Unpack

from openmofi.api.given import Folder, kb_of, place_of, public
from openmofi.config import changed
from openmofi.errors import UsageError
from openmofi.knowledge.build_settings import BuildSettings

if TYPE_CHECKING:
    from openmofi.api.changes import BuildKbChanges
    from openmofi.dataset.objects import Labels
    from openmofi.knowledge import KnowledgeBase


@public(BuildSettings, without=("projection",))
def build_kb(
    builder: Literal["table", "wordnet"],
    source: Folder,
    out: Folder,
    *,
    settings: BuildSettings | None = None,
    memory: str = "4GB",
    restart: bool = False,
    **changes: Unpack[BuildKbChanges],
) -> KnowledgeBase:
    """Build a knowledge base; the same source gives the same bytes.

    Args:
        builder: `table` (tables of entities, names, relations: docs/knowledge-base.md) or `wordnet` (WordNet's dict
            folder).
        source: what it is built of.
        out: folder of the knowledge base.
        memory: that the build may use, such as `8GB`; the rest is on disk, in the output.

    Raises:
        UsageError: a setting is unknown or out of its range; `memory` is no size, or too little.
        OpenMofiError: the source is missing or damaged, or needs more memory; the disk is full.
    """
    from openmofi.knowledge import KnowledgeBase, build_table, build_wordnet

    build = build_wordnet if builder == "wordnet" else build_table
    build(source, out, changed(settings or BuildSettings(), changes), memory=memory, restart=restart)
    return KnowledgeBase.open(out)


@public()
def sample_kb(
    kb: KnowledgeBase | Folder,
    out: Folder,
    *,
    types: Sequence[str] = (),
    entities: Folder | Sequence[str] | None = None,
    labels: Labels | Folder | None = None,
    most: int | None = None,
    restart: bool = False,
) -> KnowledgeBase:
    """Write a slice of a knowledge base: some entities, and their names, priors and vectors as they are.

    Args:
        out: folder of the slice.
        types: entities that have one of these types.
        entities: entities that a file names: an id a line, or a Parquet column. In Python also identifiers.
        labels: entities that were judged in this folder of labels, accepted or not.
        most: keep so many, the most popular.

    Raises:
        UsageError: an unknown type, or none or several ways to choose.
        OpenMofiError: nothing is left, or `out` holds something else.
    """
    from openmofi.dataset.objects import Labels
    from openmofi.knowledge import KnowledgeBase, read_ids, sample_entities

    if bool(types) + (entities is not None) + (labels is not None) != 1:
        raise UsageError("A slice is of types, of entities or of labels.", "Give one of the three.")
    ids = read_ids(entities) if isinstance(entities, str | Path) else entities
    ids = Labels.open(place_of(labels)).entities() if labels is not None else ids
    sample_entities(kb_of(kb), out, types=types, ids=ids, most=most, restart=restart)
    return KnowledgeBase.open(out)
