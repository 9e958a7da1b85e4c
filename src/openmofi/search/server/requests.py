"""What clients send, checked, and as the queries of `openmofi.search`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field, replace
from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from openmofi.search.query import Example, Filters, Query, Region

_STRICT = ConfigDict(extra="forbid")
Id = Annotated[int, Field(ge=1, le=2**63 - 1)]
Text = Annotated[str, Field(max_length=4096)]
Name = Annotated[str, Field(max_length=512)]
Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=1000)]
Offset = Annotated[int, Field(ge=0, le=10_000_000)]
Ids = Annotated[tuple[Id, ...], Field(max_length=1000)]


@dataclass(frozen=True, config=_STRICT)
class RegionBody:
    """A part of an image, in fractions of its upright width and height."""

    left: Fraction = 0.0
    top: Fraction = 0.0
    right: Fraction = 1.0
    bottom: Fraction = 1.0


@dataclass(frozen=True, config=_STRICT)
class ExampleBody:
    """An image of the index by its id, or an upload by its token."""

    image: Id | None = None
    upload: Name = ""
    weight: Annotated[float, Field(ge=-100, le=100, allow_inf_nan=False)] = 1.0
    region: RegionBody | None = None


@dataclass(frozen=True, config=_STRICT)
class FiltersBody:
    """See `openmofi.search.Filters`."""

    entity: Name = ""
    type: Name = ""
    min_probability: Fraction = 0.0
    folder: Text = ""
    since: Name = ""
    until: Name = ""
    licence: Name = ""
    columns: Annotated[Mapping[Name, Text], Field(max_length=32)] = field(default_factory=dict)


@dataclass(frozen=True, config=_STRICT)
class SearchBody:
    """See `openmofi.search.Query`; `more` and `less` are its `like` and `unlike`."""

    examples: Annotated[tuple[ExampleBody, ...], Field(max_length=16)] = ()
    text: Text = ""
    entity: Name = ""
    more: Ids = ()
    less: Ids = ()
    filters: FiltersBody = field(default_factory=FiltersBody)
    keywords: bool = True
    until: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None = None
    limit: Count = 50
    offset: Offset = 0
    fold: bool = True

    def query(self, example: Callable[[int | None, str, Region | None], Example]) -> Query:
        """As a query.

        Args:
            example: image, upload, region → what is meant.

        Raises:
            UsageError: a region is empty, a day is none, or what `example` raises.
        """
        examples = tuple(
            replace(example(each.image, each.upload, region_of(each.region)), weight=each.weight)
            for each in self.examples
        )
        given = self.filters
        filters = Filters(
            given.entity,
            given.type,
            given.min_probability,
            given.folder,
            given.since,
            given.until,
            given.licence,
            given.columns,
        )
        return Query(
            examples,
            self.text,
            self.entity,
            self.more,
            self.less,
            filters,
            self.keywords,
            self.until,
            self.limit,
            self.offset,
            self.fold,
        )


@dataclass(frozen=True, config=_STRICT)
class RecogniseBody:
    """What to recognise: see `ExampleBody`."""

    image: Id | None = None
    upload: Name = ""
    region: RegionBody | None = None
    limit: Annotated[int, Field(ge=1, le=100)] = 10


@dataclass(frozen=True, config=_STRICT)
class VerdictBody:
    """A person's word on a label, see `openmofi.search.Verdict`."""

    shard: Annotated[str, Field(max_length=1024)]
    key: Annotated[str, Field(max_length=4096)]
    entity: Name
    verdict: Literal["y", "n", "u"]
    instead: Name = ""
    who: Annotated[str, Field(max_length=200)] = ""


def region_of(body: RegionBody | None) -> Region | None:
    """The part that is meant; `None` for the whole.

    Raises:
        UsageError: it is empty.
    """
    return Region(body.left, body.top, body.right, body.bottom) if body else None
