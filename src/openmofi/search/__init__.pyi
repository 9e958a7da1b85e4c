from .building import build as build
from .index import Index as Index
from .query import Example as Example, Filters as Filters, Query as Query, Region as Region
from .records import (
    Changes as Changes,
    CollectionMap as CollectionMap,
    EntityImage as EntityImage,
    EntityRecord as EntityRecord,
    Hit as Hit,
    ImageRecord as ImageRecord,
    IndexInfo as IndexInfo,
    Label as Label,
    Recognised as Recognised,
    Recognition as Recognition,
    Results as Results,
    Verdict as Verdict,
)
from .upkeep import remove as remove
