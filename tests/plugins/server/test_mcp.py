"""MCP's tools, asked by the official SDK's own client; nothing can be written through them."""

import os
import sqlite3
import sys
from pathlib import Path

import anyio
import pytest
import served_world
from mcp import Client, StdioServerParameters, stdio_client
from search_world import colour_encoder

from openmofi.plugins.server import ServeSettings
from openmofi.plugins.server.agents import ReadOnlyIndex
from openmofi.plugins.server.context import Context
from openmofi.plugins.server.mcp_tools import tools_of as tools_of_context


@pytest.fixture(scope="module")
def index(world):
    return ReadOnlyIndex.open(world / "index", colour_encoder())


def tools_of(index, who=""):
    return tools_of_context(Context.of(index, ServeSettings(no_token=True)), who)


def asked(index, tool, **arguments):
    async def ask():
        async with Client(tools_of(index)) as client:
            return await client.call_tool(tool, arguments)

    return anyio.run(ask)


def test_the_tools_say_that_they_only_read(index):
    async def listed():
        async with Client(tools_of(index)) as client:
            return (await client.list_tools()).tools

    tools = {tool.name: tool for tool in anyio.run(listed)}
    assert set(tools) == {"search", "count", "look_at", "recognise", "explain"}
    assert all(tool.annotations.read_only_hint and tool.description for tool in tools.values())


def test_search_finds_what_the_index_finds(index):
    answer = asked(index, "search", text="red", limit=3).structured_content
    assert [each["labels"][0]["entity"] for each in answer["images"]][:1] == ["c:red"]
    assert {each["image"] for each in asked(index, "search", entity="crimson").structured_content["images"]} >= {
        each.image.id for each in index.entity_images("c:red", accepted=True)
    }


def test_recognise_and_explain(index):
    image = index.entity_images("c:blue", accepted=True)[0].image.id
    assert asked(index, "recognise", image=image).structured_content["entities"][0]["entity"] == "c:blue"
    answer = asked(index, "explain", entity="blue").structured_content
    assert (answer["id"], answer["precision"]["judged"], len(answer["surest_images"])) == ("c:blue", 0, 4)


@pytest.mark.parametrize(
    ("tool", "arguments", "sentence"),
    [
        ("recognise", {"image": 999}, "has no image 999"),
        ("explain", {"entity": "nothing"}, "knows no entity"),
        ("search", {"text": "a", "until": 2}, "less than or equal"),
        ("search", {"limit": 10**9}, "less than or equal"),
    ],
)
def test_what_cannot_be_is_said(index, tool, arguments, sentence):
    answer = asked(index, tool, **arguments)
    assert answer.is_error
    assert sentence in answer.content[0].text


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("search", {"query": "red"}),
        ("search", {"text": "red", "licences": "cc0"}),
        ("recognise", {"image": 1, "x": 1}),
        ("explain", {"entity": "red", "Limit": 3}),
    ],
)
def test_an_argument_that_a_tool_does_not_have_is_refused(index, tool, arguments):
    answer = asked(index, tool, **arguments)
    assert answer.is_error
    assert "Extra inputs are not permitted" in answer.content[0].text
    assert list(arguments)[-1] in answer.content[0].text


def test_the_tools_say_that_they_take_no_other_arguments(index):
    async def listed():
        async with Client(tools_of(index)) as client:
            return (await client.list_tools()).tools

    assert all(tool.input_schema["additionalProperties"] is False for tool in anyio.run(listed))


def test_only_the_first_of_many_unknown_arguments_is_named(index):
    for first in ("", "first"):
        answer = asked(index, "count", **{first: 0, **{f"x{number}": {} for number in range(1000)}})
        assert answer.is_error
        assert f"has no argument {first!r}" in answer.content[0].text
        assert len(answer.content[0].text) < 200


def test_an_entity_is_counted_by_its_labels_not_by_a_ranking(index):
    """As SQL counts them; the best of a ranking would be all images."""
    labelled = "SELECT count(DISTINCT image) FROM labels WHERE entity = 'c:red' AND accepted = 1"
    ((images,),) = index.connection.execute(labelled)
    ((sure,),) = index.connection.execute(f"{labelled} AND probability >= 0.95")
    counted = asked(index, "count", entity="crimson").structured_content
    assert (counted["images"], counted["ranked"]) == (images, False)
    assert asked(index, "count", entity="red", min_probability=0.95).structured_content["images"] == sure
    assert asked(index, "count", text="red", entity="red").structured_content["ranked"]


def test_nothing_is_written_while_it_answers(index):
    def contents():
        return {
            path: path.read_bytes()
            for path in sorted(index.path.rglob("*"))
            if path.is_file() and not path.name.endswith(("-wal", "-shm"))
        }

    before = contents()
    for tool, arguments in (("search", {"text": "red"}), ("recognise", {"image": 1}), ("explain", {"entity": "red"})):
        assert not asked(index, tool, **arguments).is_error
    assert contents() == before


def test_nothing_can_be_written_through_it(index):
    from openmofi.errors import OpenMofiError
    from openmofi.search import Verdict

    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        index.connection.execute("DELETE FROM images")
    with pytest.raises(OpenMofiError, match="readonly"):
        index.add_verdict(Verdict("images", "red-1", "c:red", "n"))
    assert index.verdicts() == []


def test_a_process_over_stdio(index):
    program = Path(served_world.__file__)

    async def ask():
        server = StdioServerParameters(
            command=sys.executable, args=[str(program), "--mcp", str(index.path.parent)], env=dict(os.environ)
        )
        async with Client(stdio_client(server)) as client:
            return await client.call_tool("search", {"text": "green", "limit": 1})

    assert anyio.run(ask).structured_content["images"][0]["labels"][0]["name"] == "green"
