"""`openmofi.build_kb`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

from openmofi.api.given import Folder, public
from openmofi.config import changed
from openmofi.errors import UsageError
from openmofi.extensions import extension, extension_names
from openmofi.knowledge.build_settings import BuildSettings

if TYPE_CHECKING:
    from openmofi.api.changes import BuildKbChanges
    from openmofi.knowledge import KnowledgeBase


@public(BuildSettings, without=("projection",))
def build_kb(
    builder: str,
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
        builder: `table` (tables of entities, names, relations: docs/knowledge-base.md), `wordnet` (WordNet's dict
            folder), or what a package adds to the entry points `openmofi.kb_builders`.
        source: what it is built of.
        out: folder of the knowledge base.
        memory: that the build may use, such as `8GB`; the rest is on disk, in the output.

    Raises:
        UsageError: a builder or a setting is unknown, a setting out of its range; `memory` is no size, or too little.
        OpenMofiError: the source is missing or damaged, or needs more memory; the disk is full.
    """
    from openmofi.knowledge import KnowledgeBase, build_table

    build = build_table if builder == "table" else extension("kb_builders", builder)
    if build is None:
        raise UsageError(
            f"Unknown builder {builder!r}.", f"Use {', '.join(['table', *extension_names('kb_builders')])}."
        )
    build(source, out, changed(settings or BuildSettings(), changes), memory=memory, restart=restart)
    return KnowledgeBase.open(out)
