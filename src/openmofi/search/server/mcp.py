"""An index as tools of the Model Context Protocol (https://modelcontextprotocol.io), over stdio; nothing is written."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Annotated, Any, ParamSpec, TypeVar

import msgspec
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.tools import Tool
from mcp.types import ToolAnnotations
from pydantic import Field, create_model

from openmofi.encoders import EncoderLike
from openmofi.errors import OpenMofiError
from openmofi.search.index import Index
from openmofi.search.query import Example, Filters, Query, Region
from openmofi.search.records import EntityRecord, Hit, ImageRecord
from openmofi.search.store.connection import Connection, Place
from openmofi.search.verdicts import precision
from openmofi.version import __version__

P = ParamSpec("P")
R = TypeVar("R")
_READS = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False)
_INSTRUCTIONS = (
    "Search and recognition over a collection of images. Probabilities are calibrated; null means that "
    "the index cannot say. Images are named by their ids, entities by their identifiers or names."
)
Few = Annotated[int, Field(ge=1, le=50)]
Fraction = Annotated[float, Field(gt=0, le=1)]
ImageId = Annotated[int, Field(ge=1, le=2**63 - 1)]


class ReadOnlyIndex(Index):
    """An index whose connections refuse to write, whoever asks them to.

    See `openmofi.search.store.connection.Connection.only_read`.
    """

    @property
    def connection(self) -> Connection:
        """The connection of the calling thread."""
        connection = super().connection
        connection.only_read()
        return connection


def serve_tools(path: str | Place, encoder: EncoderLike | None = None, device: str = "auto") -> None:
    """Answer an MCP client on standard input and output until it closes them.

    Args:
        path: of the index.
        encoder, device: see `Index.open`.

    Raises:
        OpenMofiError: there is no index.
    """
    tools_of(ReadOnlyIndex.open(path, encoder, device=device)).run("stdio")


def tools_of(index: Index) -> MCPServer[Any]:
    """The server with its tools.

    Args:
        index: opened.
    """
    tools = list[Tool]()

    @_tool(tools)
    def search(
        text: str = "",
        entity: str = "",
        like_image: ImageId | None = None,
        type: str = "",
        min_probability: Annotated[float, Field(ge=0, le=1)] = 0.0,
        licence: str = "",
        until: Fraction | None = None,
        limit: Few = 10,
    ) -> dict[str, Any]:
        """Find images by text, by an entity that they show, by an image that they are like, or several of these.

        type: only images that show an entity of this type. min_probability: of that label. licence: such as cc-by*.
        until: end where results are expected to be right with this precision, such as 0.9.
        """
        examples = () if like_image is None else (Example(like_image),)
        results = index.search(
            Query(
                examples,
                text,
                index.find_entity(entity).id if entity else "",
                filters=Filters(type=type, min_probability=min_probability, licence=licence),
                until=until,
                limit=limit,
            )
        )
        return {
            "total": results.total,
            "expected_right": results.expected_right,
            "note": results.note,
            "images": [_hit(hit) for hit in results.hits],
        }

    @_tool(tools)
    def recognise(image: ImageId, region: str = "", limit: Few = 5) -> dict[str, Any]:
        """Say which entities an image of the index may show. region: left,top,right,bottom in fractions of its size.

        unnamed: probability that no label names what is shown.
        """
        recognition = index.recognise(index.image(image).id, Region.parse(region) if region else None, limit)
        return {
            "note": recognition.note,
            "unnamed": recognition.unnamed,
            "entities": [
                {
                    **_short(each.entity),
                    "probability": each.probability,
                    "similarity": each.similarity,
                    "may_be_instead": [_short(other) for other in each.siblings],
                    "evidence": [
                        {"image": near.id, "text": near.text, "cosine": cosine} for near, cosine in each.evidence
                    ],
                }
                for each in recognition.entities
            ],
        }

    @_tool(tools)
    def explain(entity: str, limit: Few = 5) -> dict[str, Any]:
        """Tell what the index knows of an entity: names, types, surest images, what it may be mistaken for.

        Its precision is that of its labels, as far as people judged them.
        """
        record = index.find_entity(entity)
        judged = precision(index, record.id)
        return {
            **msgspec.to_builtins(record),
            "surest_images": [
                {**_shown(each.image), "probability": each.probability, "verdict": each.verdict}
                for each in index.entity_images(record.id, accepted=True, limit=limit)
            ],
            "similar": [_short(each) for each in index.similar_entities(record.id, limit)],
            "precision": {name: getattr(judged, name) for name in ("expected", "judged", "right", "lower", "upper")},
        }

    return MCPServer("openmofi", instructions=_INSTRUCTIONS, version=__version__, log_level="WARNING", tools=tools)


def _tool(tools: list[Tool]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Add a function to the tools of a server; our errors are answers, and arguments that it lacks are refused."""

    def add(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def answered(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                return function(*args, **kwargs)
            except OpenMofiError as error:
                raise ToolError(str(error)) from error

        tool = Tool.from_function(answered, annotations=_READS)
        model = tool.fn_metadata.arg_model  # as the library makes it, a misspelt filter would be ignored
        strict = create_model(model.__name__, __base__=model, __cls_kwargs__={"extra": "forbid"})
        tool.fn_metadata.arg_model, tool.parameters = strict, strict.model_json_schema(by_alias=True)
        tools.append(tool)
        return answered

    return add


def _hit(hit: Hit) -> dict[str, Any]:
    return {
        **_shown(hit.image),
        "rank": hit.rank,
        "cosine": hit.cosine,
        "probability": hit.probability,
        "expected_precision": hit.expected,
        "duplicates": list(hit.duplicates),
    }


def _shown(image: ImageRecord) -> dict[str, Any]:
    return {
        "image": image.id,
        "text": image.text,
        "width": image.width,
        "height": image.height,
        "labels": [
            {"entity": each.entity, "name": each.name, "probability": each.probability}
            for each in image.labels
            if each.accepted
        ],
    }


def _short(entity: EntityRecord) -> dict[str, Any]:
    return {"entity": entity.id, "name": entity.name, "description": entity.description}
