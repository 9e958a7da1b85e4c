"""`openmofi.build_kb`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Unpack

from openmofi.api.given import Folder, public
from openmofi.config import changed
from openmofi.knowledge.build_settings import BuildSettings

if TYPE_CHECKING:
    from openmofi.api.changes import BuildKbChanges
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
