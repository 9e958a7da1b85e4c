"""An index over one's own images: search by image, text and entity, recognition, and the review of labels."""

from openmofi.search.index import Index
from openmofi.search.query import Example, Filters, Query, Region
from openmofi.search.records import (
    Changes,
    CollectionMap,
    EntityImage,
    EntityRecord,
    Hit,
    ImageRecord,
    IndexInfo,
    Label,
    Recognised,
    Recognition,
    Results,
    Verdict,
)
from openmofi.search.writing.job import build, remove

__all__ = [
    "Changes",
    "CollectionMap",
    "EntityImage",
    "EntityRecord",
    "Example",
    "Filters",
    "Hit",
    "ImageRecord",
    "Index",
    "IndexInfo",
    "Label",
    "Query",
    "Recognised",
    "Recognition",
    "Region",
    "Results",
    "Verdict",
    "build",
    "remove",
]
