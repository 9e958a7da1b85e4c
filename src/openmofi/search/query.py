"""Queries of an index: images, text, an entity, marked images and filters; plain values that travel as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Annotated, Literal

from msgspec import Meta

from openmofi.config import Fraction, PositiveFraction
from openmofi.encoders import ImageInput
from openmofi.errors import UsageError

# The bounds at the fields are what a server takes (`openmofi.plugins.server.messages`); Python may ask for more.
ImageId = Annotated[int, Meta(ge=1, le=2**63 - 1)]
Text = Annotated[str, Meta(max_length=4096)]
Name = Annotated[str, Meta(max_length=512)]
Columns = Annotated[Mapping[Name, Text], Meta(max_length=32)]
ImageIds = Annotated[tuple[ImageId, ...], Meta(max_length=1000)]


@dataclass(frozen=True)
class Region:
    """A part of an image, in fractions of its upright width and height, 0..1.

    Raises:
        UsageError: it is empty, or leaves the image.
    """

    left: Fraction = 0.0
    top: Fraction = 0.0
    right: Fraction = 1.0
    bottom: Fraction = 1.0

    def __post_init__(self) -> None:
        if not (0 <= self.left < self.right <= 1 and 0 <= self.top < self.bottom <= 1):
            raise UsageError(
                f"The region {self} does not lie in the image.",
                "Give left < right and top < bottom as fractions of width and height, 0 to 1.",
            )

    def __str__(self) -> str:
        return f"{self.left:g},{self.top:g},{self.right:g},{self.bottom:g}"

    @classmethod
    def parse(cls, text: str) -> Region:
        """Parse `"left,top,right,bottom"`.

        Raises:
            UsageError: these are not four numbers, or it is empty or leaves the image.
        """
        try:
            left, top, right, bottom = (float(part) for part in text.split(","))
        except ValueError as error:
            raise UsageError(
                f"The region {text!r} is not four numbers.",
                "Write left,top,right,bottom as fractions, such as 0.1,0.2,0.6,0.9.",
            ) from error
        return cls(left, top, right, bottom)


@dataclass(frozen=True)
class Example:
    """An image of a query.

    Attributes:
        image: a path, encoded bytes, a PIL image or an array (see `openmofi.encoders.Encoder.embed_images`); or the id
            of an image of the index.
        weight: by which its embedding counts; negative for "less of this".
        region: the part that is meant; the whole where not given.
    """

    image: ImageInput | int
    weight: float = 1.0
    region: Region | None = None


@dataclass(frozen=True)
class Filters:
    """Which images may be results; an empty value filters nothing.

    Attributes:
        entity: identifier: images labelled with it or with a subtype of it.
        type: images labelled with an entity of this type.
        min_probability: of that label; of any label where neither `entity` nor `type` is given.
        folder: images whose path (of the file, or of the shard) begins with this folder.
        since, until: first and last day, of the column `date`: ISO 8601, with or without hyphens (`2024-05-01`,
            `20240501`); held with them.
        licence: of the column `licence` (or `license`), whatever the case of A–Z; `cc-by*` takes all that begin so.
        columns: further metadata columns → their value, as text, likewise.
        verdict: images of which a person said last that a label is right (`y`), wrong (`n`) or unsure (`u`).
    """

    entity: Name = ""
    type: Name = ""
    min_probability: Fraction = 0.0
    folder: Text = ""
    since: Name = ""
    until: Name = ""
    licence: Name = ""
    columns: Columns = field(default_factory=dict)
    verdict: Literal["", "y", "n", "u"] = ""

    def __post_init__(self) -> None:
        for name in ("since", "until"):
            if value := getattr(self, name):
                try:
                    day = date.fromisoformat(value)
                except ValueError as error:
                    raise UsageError(f"{name} is {value!r}, not a day.", "Write days as 2024-05-01.") from error
                object.__setattr__(self, name, day.isoformat())
        if not 0 <= self.min_probability <= 1:
            raise UsageError(f"min_probability is {self.min_probability}, not between 0 and 1.")

    def __bool__(self) -> bool:
        return self != Filters()


@dataclass(frozen=True)
class Query:
    """A query. What is given of images, text, entity and marked images is joined; with nothing, all images are listed.

    Attributes:
        examples: images, each with a weight.
        text: embedded, and looked for as keywords.
        entity: identifier of an entity of the index: its text is embedded. Where it alone is asked for, images that the
            label job judged for it, or for a subtype, have the probability that it gave; verdicts are certain.
        like, unlike: ids of images that were marked as right and as wrong: a light classifier is fitted over them.
        filters: which images may be results.
        keywords: look for keywords too (SQLite FTS5): they count in the probability that orders results, and are fused
            with the vectors by reciprocal rank where the index has none.
        until: end where the results so far are expected to be right with this precision, 0..1; `None` shows `limit`.
        limit, offset: most results, and how many to pass over before them.
        fold: show near-duplicates of a result with it, not as results of their own.
        order: of a list that nothing ranks: `newest` or `oldest` first, by the column `date`; else as they came in.
        named: take a text that names entities with images for the one that has most; not beside examples or an entity,
            nor without `keywords`.

    Raises:
        UsageError: a number out of its range.
    """

    examples: tuple[Example, ...] = ()
    text: Text = ""
    entity: Name = ""
    like: ImageIds = ()
    unlike: ImageIds = ()
    filters: Filters = Filters()
    keywords: bool = True
    until: PositiveFraction | None = None
    limit: Annotated[int, Meta(ge=1, le=1000)] = 50
    offset: Annotated[int, Meta(ge=0, le=10_000_000)] = 0
    fold: bool = True
    named: bool = True
    order: Literal["", "newest", "oldest"] = ""

    def __post_init__(self) -> None:
        if self.limit < 1 or self.offset < 0:
            raise UsageError(f"limit is {self.limit} and offset {self.offset}.", "Use at least 1, and at least 0.")
        if self.until is not None and not 0 < self.until <= 1:
            raise UsageError(f"until is {self.until}, not above 0 and at most 1.", "Write .9 for nine of ten right.")

    @property
    def has_vector(self) -> bool:
        """Whether the query ranks by similarity, not only by keywords or by the order of the index."""
        return bool(self.examples or self.text or self.entity or self.like)
