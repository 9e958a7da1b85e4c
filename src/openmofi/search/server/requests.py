"""What clients send as JSON: bodies with the fields of the queries that they become, and with these fields' bounds.

msgspec (https://jcristharif.com/msgspec) checks them while it parses; FastAPI's own way takes three times as long.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Annotated, Any, Literal, get_type_hints

import msgspec
from fastapi import Depends, Request
from msgspec import Meta, Struct

from openmofi.search.query import Columns, Example, Filters, ImageId, Name, Query, Region
from openmofi.search.server.answers import DESCRIBED, Refused

_JSON = re.compile(r"application/([^;]+\+)?json\s*(;|$)", re.IGNORECASE)
_LONGEST = 200
"""Characters of an error's sentence: it may repeat a name that was sent."""


def _body(kind: type, **otherwise: tuple[Any, Any]) -> Any:
    """A body with the fields of a dataclass; `otherwise` names types and defaults of those that are sent otherwise."""
    types = get_type_hints(kind, include_extras=True)
    sent = {each.name: (types[each.name], getattr(kind, each.name, None)) for each in fields(kind)} | otherwise
    return msgspec.defstruct(
        f"{kind.__name__}Body",
        [(name, *described) for name, described in sent.items()],
        rename={"like": "more", "unlike": "less"}.get,
        forbid_unknown_fields=True,
    )


RegionBody = _body(Region)
FiltersBody = _body(Filters, columns=(Columns, msgspec.field(default_factory=dict)))


class ImageBody(Struct, forbid_unknown_fields=True):
    """An image of the index by its id, or an upload by its token; the whole of it, or a part."""

    image: ImageId | None = None
    upload: Name = ""
    region: RegionBody | None = None  # type: ignore[valid-type]

    @property
    def part(self) -> Region | None:
        """The part that is meant.

        Raises:
            UsageError: it is empty.
        """
        return self.region and Region(**msgspec.structs.asdict(self.region))


class ExampleBody(ImageBody, forbid_unknown_fields=True):
    """An image of a query, see `openmofi.search.Example`."""

    weight: Annotated[float, Meta(ge=-100, le=100)] = 1.0


class RecogniseBody(ImageBody, forbid_unknown_fields=True):
    """What to recognise, and how many entities at most."""

    limit: Annotated[int, Meta(ge=1, le=100)] = 10


SearchBody = _body(
    Query,
    examples=(Annotated[tuple[ExampleBody, ...], Meta(max_length=16)], ()),
    filters=(FiltersBody, msgspec.field(default_factory=FiltersBody)),
)


class VerdictBody(Struct, forbid_unknown_fields=True):
    """A person's word on a label, see `openmofi.search.Verdict`."""

    shard: Annotated[str, Meta(max_length=1024)]
    key: Annotated[str, Meta(max_length=4096)]
    entity: Name
    verdict: Literal["y", "n", "u"]
    instead: Name = ""
    who: Annotated[str, Meta(max_length=200)] = ""


class TokenBody(Struct):
    """The server's token."""

    token: Annotated[str, Meta(max_length=1024)]


def query_of(body: Any, example: Callable[[int | None, str, Region | None], Example]) -> Query:
    """A `SearchBody` as a query.

    Args:
        body: as it was sent.
        example: image, upload, region → what is meant.

    Raises:
        UsageError: a region is empty, a day is none, or what `example` raises.
    """
    examples = tuple(replace(example(each.image, each.upload, each.part), weight=each.weight) for each in body.examples)
    filters = Filters(**msgspec.structs.asdict(body.filters))
    return Query(**msgspec.structs.asdict(body) | {"examples": examples, "filters": filters})


def sent(kind: Any) -> Any:
    """A dependency of routes: the body of a request as a `kind`."""
    decoder = msgspec.json.Decoder(kind)

    async def body(request: Request) -> Any:
        data = await request.body()
        # Pages of other origins may send forms and text without asking; JSON they may not.
        if not data or not _JSON.match(request.headers.get("content-type", "")):
            raise Refused(422, "The request has no JSON as its body.", DESCRIBED)
        return _decoded(data, decoder)

    return Depends(body)


def described(kind: Any) -> dict[str, Any]:
    """What OpenAPI says of a route that takes a `kind`."""
    (schema,), components = msgspec.json.schema_components([kind], ref_template="{name}")

    def whole(part: Any) -> Any:
        if isinstance(part, dict):
            return whole(components[part["$ref"]]) if "$ref" in part else {key: whole(part[key]) for key in part}
        return [whole(each) for each in part] if isinstance(part, list) else part

    return {"requestBody": {"required": True, "content": {"application/json": {"schema": whole(schema)}}}}


def _decoded(data: bytes, decoder: msgspec.json.Decoder[Any]) -> Any:
    try:
        return decoder.decode(data)
    except (ValueError, RecursionError) as error:
        try:  # what is no JSON at all is another error
            json.loads(data)
        except (ValueError, RecursionError):
            raise Refused(400, "What was sent is not JSON that can be read.", DESCRIBED) from error
        what, _, where = str(error).partition(" - at `$")
        if not isinstance(error, msgspec.ValidationError):
            what = "it holds what JSON has no sign for, such as NaN"
        where = where.strip("`.") or "the request"
        raise Refused(422, f"{where}: {what[0].lower()}{what[1:_LONGEST]}.", DESCRIBED) from error
