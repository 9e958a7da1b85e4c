"""The server's input and output: bodies, records and errors as JSON, the log and the metrics.

A body has the fields of the query that it becomes, with these fields' bounds; msgspec (https://jcristharif.com/msgspec)
checks them while it parses. An error is a sentence, a hint, the request's id, and the status that fits.
"""

import gzip
import json
import logging
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Annotated, Any, Literal, get_type_hints

import msgspec
from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from msgspec import Meta, Struct
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from openmofi.errors import OpenMofiError, UnknownEntityError, UsageError
from openmofi.review.verdicts import AGENT
from openmofi.search.query import Columns, Example, Filters, ImageId, Name, Query, Region
from openmofi.search.store.connection import UnavailableError

logger = logging.getLogger("openmofi.serve")
_SECONDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """Counters of one server."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "openmofi_requests", "Requests answered.", ["method", "route", "status"], registry=self._registry
        )
        self.seconds = Histogram(
            "openmofi_request_seconds",
            "From request to the end of its answer.",
            ["method", "route"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.batches = Histogram(
            "openmofi_encoder_batch",
            "Queries that went through the encoder together.",
            buckets=(1, 2, 4, 8, 16, 32, 64),
            registry=self._registry,
        )

    def text(self) -> bytes:
        """Return the counters in Prometheus' text format."""
        return generate_latest(self._registry)


class JsonLines(logging.Formatter):
    """A line of JSON for each record; what `extra={"fields": …}` gives is in it."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a record's line."""
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{record.msecs:03.0f}Z",
            "level": record.levelname.lower(),
            "message": record.getMessage(),
        }
        line |= getattr(record, "fields", {})
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)


class Packed(Response):
    """Compressed where the client takes it and it is long enough to be worth the time."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See Starlette's `Response`."""
        if len(self.body) >= _WORTH and "gzip" in Headers(scope=scope).get("accept-encoding", ""):
            self.body = await run_in_threadpool(gzip.compress, self.body, _LEVEL)
            self.headers.update({"Content-Encoding": "gzip", "Content-Length": str(len(self.body))})
        self.headers["Vary"] = "Accept-Encoding"
        await super().__call__(scope, receive, send)


_WORTH, _LEVEL = 14_000, 4
"""Bytes, as many as a server sends before it waits for the client's first acknowledgement; of zlib."""
KEPT = "max-age=31536000, immutable"
"""Cache-Control of what never changes at its address."""


def answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Records, which are dataclasses, as an answer; numbers that are not finite become null."""
    return Packed(encoded(value), status, dict(headers or {}), "application/json")


def encoded(value: Any) -> bytes:
    """JSON as UTF-8; names of files that are not UTF-8 are shown as far as they can be."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        text = json.dumps(msgspec.to_builtins(value), ensure_ascii=False)
        return msgspec.json.encode(json.loads(text.encode("utf-8", "replace")))


def not_modified(request: Request, headers: Mapping[str, str]) -> Response | None:
    """304 where the client has what these headers' ETag names."""
    if "ETag" in headers and headers["ETag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return None


@dataclass(frozen=True)
class ErrorAnswer:
    """What a request that failed is answered with.

    Attributes:
        error: what happened.
        hint: what to do next, or "".
        request_id: under which the server's log has it.
    """

    error: str
    hint: str
    request_id: str


class Refused(OpenMofiError):
    """A request that is answered with a status of its own.

    Attributes:
        status: of HTTP.
        headers: of the answer.
    """

    def __init__(self, status: int, message: str, hint: str = "", headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message, hint)
        self.status = status
        self.headers = dict(headers or {})


def error_answer(request_id: str, refused: Refused) -> Response:
    """A failed request's answer."""
    return answer(ErrorAnswer(refused.message, refused.hint, request_id), refused.status, refused.headers)


def register(app: FastAPI) -> None:
    """Answer all errors of an application with `error_answer`."""

    async def answered(request: Request, error: Exception) -> Response:
        return error_answer(request.state.request_id, _refused(request, error))

    for kind in (OpenMofiError, HTTPException, RequestValidationError):
        app.add_exception_handler(kind, answered)


def unavailable(request: Request, error: OpenMofiError) -> Refused:
    """503 for an index that cannot be read now. Why, and where it is, is for the log alone."""
    request_id = request.state.request_id
    logger.error("the index's database cannot be reached: %s", error, extra={"fields": {"request_id": request_id}})
    return Refused(
        503,
        "The index's database cannot be reached at the moment.",
        f"Try again in {_RETRY_SECONDS} seconds; the server's log says more under {request_id}.",
        {"Retry-After": str(_RETRY_SECONDS)},
    )


def _refused(request: Request, error: Exception) -> Refused:
    if isinstance(error, Refused):
        return error
    if isinstance(error, UnavailableError):
        return unavailable(request, error)
    if isinstance(error, OpenMofiError):
        status = 404 if isinstance(error, UnknownEntityError) else 422 if isinstance(error, UsageError) else 409
        return Refused(status, error.message, error.hint)
    if isinstance(error, RequestValidationError):
        return Refused(422, "; ".join(map(_sentence, error.errors()[:5])) + ".", DESCRIBED)
    assert isinstance(error, HTTPException)
    return Refused(error.status_code, _PHRASES.get(error.status_code, error.detail), headers=error.headers)


_RETRY_SECONDS = 5
_PHRASES = {404: "There is nothing at this address.", 405: "This address does not take this method."}
DESCRIBED = "See /api/openapi.json."


def _sentence(error: Mapping[str, Any]) -> str:
    """What is wrong with which parameter; what was sent is not repeated."""
    return f"{'.'.join(map(str, error['loc']))}: {error['msg'][0].lower()}{error['msg'][1:]}"


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

    def __post_init__(self) -> None:
        if self.who.startswith(AGENT):  # agents give theirs by the tools, under their token
            raise ValueError(f"A name that begins with {AGENT} is an agent's, choose another one")


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
