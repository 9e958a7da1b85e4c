"""An index as tools of the Model Context Protocol (https://modelcontextprotocol.io), over stdio; nothing is written."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

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

_READS = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False)
_INSTRUCTIONS = (
    "Search and recognition over a collection of images. Probabilities are calibrated; null means that "
    "the index cannot say, and `uncalibrated` why. Images are named by their ids, entities by their identifiers or "
    "names."
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
    """The server with its tools over an opened index."""
    functions = _Tools(index)
    tools = [_tool(each) for each in (functions.search, functions.recognise, functions.explain)]
    return MCPServer("openmofi", instructions=_INSTRUCTIONS, version=__version__, log_level="WARNING", tools=tools)


@dataclass(frozen=True)
class _Tools:
    index: Index

    def search(
        self,
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

        A text that is an entity's name asks for the commonest such entity; `meant` has the others.
        type: only images that show an entity of this type. min_probability: of that label. licence: such as cc-by*.
        until: end where results are expected to be right with this precision, such as 0.9.
        """
        examples = () if like_image is None else (Example(like_image),)
        meant = self.index.find_entity(entity).id if entity else ""
        filters = Filters(type=type, min_probability=min_probability, licence=licence)
        results = self.index.search(Query(examples, text, meant, filters=filters, until=until, limit=limit))
        about = _some(results, "total", "expected_right", "note", "uncalibrated", "entity")
        return about | {
            "meant": [_short(each) for each in results.meant],
            "images": [_hit(hit) for hit in results.hits],
        }

    def recognise(self, image: ImageId, region: str = "", limit: Few = 5) -> dict[str, Any]:
        """Say which entities an image of the index may show. region: left,top,right,bottom in fractions of its size.

        unnamed: probability that no label names what is shown.
        """
        recognition = self.index.recognise(self.index.image(image).id, Region.parse(region) if region else None, limit)
        return {
            **_some(recognition, "note", "unnamed", "uncalibrated"),
            "entities": [
                {
                    **_short(each.entity),
                    **_some(each, "probability", "similarity"),
                    "may_be_instead": [_short(other) for other in each.siblings],
                    "evidence": [
                        {"image": near.id, "text": near.text, "cosine": cosine} for near, cosine in each.evidence
                    ],
                }
                for each in recognition.entities
            ],
        }

    def explain(self, entity: str, limit: Few = 5) -> dict[str, Any]:
        """Tell what the index knows of an entity: names, types, surest images, what it may be mistaken for.

        Its precision is that of its labels, as far as people judged them.
        """
        record = self.index.find_entity(entity)
        judged = precision(self.index.connection, record.id)
        return {
            **msgspec.to_builtins(record),
            "surest_images": [
                _image_summary(each.image) | _some(each, "probability", "verdict")
                for each in self.index.entity_images(record.id, accepted=True, limit=limit)
            ],
            "similar": [_short(each) for each in self.index.similar_entities(record.id, limit)],
            "precision": _some(judged, "expected", "judged", "right", "lower", "upper"),
        }


def _tool(function: Callable[..., dict[str, Any]]) -> Tool:
    """A function as a tool; our errors are answers, and arguments that it lacks are refused."""

    @functools.wraps(function)
    def answered(*args: Any, **kwargs: Any) -> dict[str, Any]:
        try:
            return function(*args, **kwargs)
        except OpenMofiError as error:
            raise ToolError(str(error)) from error

    tool = Tool.from_function(answered, annotations=_READS)
    model = tool.fn_metadata.arg_model  # as the library makes it, a misspelt filter would be ignored
    strict = create_model(model.__name__, __base__=model, __cls_kwargs__={"extra": "forbid"})
    tool.fn_metadata.arg_model, tool.parameters = strict, strict.model_json_schema(by_alias=True)
    return tool


def _some(record: object, *names: str) -> dict[str, Any]:
    return {name: getattr(record, name) for name in names}


def _hit(hit: Hit) -> dict[str, Any]:
    return {
        **_image_summary(hit.image),
        **_some(hit, "rank", "cosine", "probability", "basis"),
        "expected_precision": hit.expected,
        "duplicates": list(hit.duplicates),
    }


def _image_summary(image: ImageRecord) -> dict[str, Any]:
    labels = [_some(each, "entity", "name", "probability") for each in image.labels if each.accepted]
    return {"image": image.id, **_some(image, "text", "width", "height"), "labels": labels}


def _short(entity: EntityRecord) -> dict[str, Any]:
    return {"entity": entity.id, **_some(entity, "name", "description")}
