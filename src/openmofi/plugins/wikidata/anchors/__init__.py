"""Priors from Wikipedia's page dumps: by which names its links call pages, and how often a name is a link at all."""

from openmofi.plugins.wikidata.anchors.build import AnchorSettings, build_anchors
from openmofi.plugins.wikidata.anchors.tables import (
    ANCHORS,
    LINK_PROBABILITIES,
    Anchors,
    names_tables,
    probabilities_path,
)

__all__ = [
    "ANCHORS",
    "LINK_PROBABILITIES",
    "AnchorSettings",
    "Anchors",
    "build_anchors",
    "names_tables",
    "probabilities_path",
]
