"""Assistants: twenty tasks by the official client over both transports, and what is refused at the door."""

import base64
import json
import os
import sys
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

import anyio
import httpx2
import pytest
import served_world
from agent_tasks import ME, Chat, Overlap, perform, tasks_over
from mcp import Client, StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from page_world import address_of
from search_world import coloured
from served_world import served

from openmofi.errors import UsageError
from openmofi.plugins.server import ServeSettings
from openmofi.plugins.server.settings import MOST_SENT, Agent, agents_of

TOKEN, READS, JUDGES = "the-token-of-the-server", "a-token-that-only-reads", "a-token-that-also-judges"
AGENTS = (Agent("reader", READS), Agent("tester", JUDGES, verdicts=True))
URL = os.environ.get("OPENMOFI_AGENT_URL", "")


@pytest.fixture
def door(index):
    """A server with agents over an index that may be changed."""
    with served(index, token=TOKEN, mcp=True, agents=AGENTS, rate=0) as client:
        yield client


@asynccontextmanager
async def connected(address, token):
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=60) as http,
        Client(streamable_http_client(f"{address}mcp", http_client=http)) as client,
    ):
        yield client


def spoken(client, token, method, params, **headers):
    """A request as a client of 2025 makes it; its answer."""
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    given = {"Authorization": f"Bearer {token}"} if token else {}
    accept = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2025-06-18"}
    return client.post("/mcp", json=body, headers=accept | given | headers)


def called(client, tool, token=READS, **arguments):
    return spoken(client, token, "tools/call", {"name": tool, "arguments": arguments}).json()["result"]


def model():
    return Chat(URL, os.environ["OPENMOFI_AGENT_MODEL"], os.environ.get("OPENAI_API_KEY", "")) if URL else Overlap()


def test_twenty_tasks_over_http_by_the_tools_descriptions_alone(index):
    address = address_of(index, token=TOKEN, mcp=True, agents=AGENTS, rate=0)

    async def work():
        async with connected(address, JUDGES) as client:
            return await perform(client, model(), tasks_over(index), index)

    assert len(tasks_over(index)) == 20
    failed = anyio.run(work)
    assert len(failed) <= 2, failed
    assert {each.who for each in index.verdicts()} <= {ME}


@pytest.mark.slow
def test_twenty_tasks_over_stdio_by_the_tools_descriptions_alone(index):
    program = Path(served_world.__file__)
    server = StdioServerParameters(
        command=sys.executable, args=[str(program), "--mcp", str(index.path.parent), ME], env=dict(os.environ)
    )

    async def work():
        async with Client(stdio_client(server)) as client:
            return await perform(client, model(), tasks_over(index), index)

    failed = anyio.run(work)
    assert len(failed) <= 2, failed
    assert {each.who for each in index.verdicts()} <= {ME}


@pytest.mark.slow
def test_the_same_tasks_by_a_server_that_speaks_as_openais_do(index):
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            tools = [
                SimpleNamespace(name=each["name"], description=each["description"], input_schema=each["parameters"])
                for each in (tool["function"] for tool in body["tools"])
            ]
            sentence, _, rest = body["messages"][0]["content"].partition("\n")
            before = [
                SimpleNamespace(structured_content=json.loads(line.partition(": ")[2]))
                for line in rest.splitlines()
                if line.startswith("Answer before")
            ]
            name, arguments = Overlap().call(tools, sentence, b"?" if "PICTURE" in rest else b"", before)
            arguments = {key: "PICTURE" if value == "Pw==" else value for key, value in arguments.items()}
            call = {"function": {"name": name, "arguments": json.dumps(arguments)}}
            content = json.dumps({"choices": [{"message": {"tool_calls": [call]}}]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    stub = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=stub.serve_forever, daemon=True).start()
    address = address_of(index, token=TOKEN, mcp=True, agents=AGENTS, rate=0)
    chat = Chat(f"http://127.0.0.1:{stub.server_port}/v1", "stub")

    async def work():
        async with connected(address, JUDGES) as client:
            return await perform(client, chat, tasks_over(index), index)

    failed = anyio.run(work)
    stub.shutdown()
    stub.server_close()
    assert len(failed) <= 2, failed
    assert len(chat.asked) == 21
    assert all(len(body["tools"]) == 7 for body in chat.asked)


@pytest.mark.parametrize("token", ["", "wrong-and-long-enough", TOKEN[:-1]])
def test_a_wrong_token_opens_nothing(door, token):
    answer = spoken(door, token, "tools/list", {})
    assert answer.status_code == 401
    assert "token" in answer.json()["error"]


def test_a_token_that_only_reads_has_no_tool_that_writes(door, index):
    for token in (TOKEN, READS):
        tools = {each["name"] for each in spoken(door, token, "tools/list", {}).json()["result"]["tools"]}
        assert tools == {"search", "count", "look_at", "recognise", "explain"}
        answer = spoken(
            door,
            token,
            "tools/call",
            {"name": "judge", "arguments": {"images": [1], "entity": "c:red", "verdict": "right"}},
        ).json()
        assert "judge" in json.dumps(answer)
        assert "error" in answer or answer["result"]["isError"]
    assert index.verdicts() == []


def test_a_token_of_an_agent_opens_the_tools_alone(door):
    for path in ("/api/info", "/api/images/1", "/metrics"):
        assert door.get(path, headers={"Authorization": f"Bearer {JUDGES}"}).status_code == 401
    verdict = [{"shard": "images", "key": "red-1", "entity": "c:red", "verdict": "y"}]
    assert door.post("/api/verdicts", json=verdict, headers={"Authorization": f"Bearer {JUDGES}"}).status_code == 401


def test_host_origin_and_method_are_checked(door):
    assert spoken(door, READS, "tools/list", {}, Host="evil.example").status_code == 421
    assert spoken(door, READS, "tools/list", {}, Origin="http://evil.example").status_code == 403
    for method in ("GET", "DELETE"):
        assert door.request(method, "/mcp", headers={"Authorization": f"Bearer {READS}"}).status_code == 405


def test_no_answer_stays_open(door):
    """A subscription of the protocol of 2026 would, for as long as its client likes."""
    version = "2026-07-28"
    meta = {
        f"io.modelcontextprotocol/{name}": value
        for name, value in (("protocolVersion", version), ("clientCapabilities", {}))
    }
    listen = {"_meta": meta, "notifications": {"toolsListChanged": True}}
    headers = {"MCP-Protocol-Version": version, "Mcp-Method": "subscriptions/listen"}
    answer = spoken(door, READS, "subscriptions/listen", listen, **headers)
    assert answer.headers["content-type"].startswith("application/json")
    assert "not found" in answer.json()["error"]["message"].lower()


def test_metrics_and_log_know_the_route(door):
    spoken(door, READS, "tools/list", {})
    text = door.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"}).text
    assert 'openmofi_requests_total{method="POST",route="/mcp",status="200"} 1.0' in text


def test_where_it_was_not_asked_for_there_is_no_door(reader):
    assert spoken(reader, "", "tools/list", {}).status_code == 404


def test_without_a_token_of_the_server_everybody_reads_and_a_misspelt_agent_is_refused(index):
    with served(index, mcp=True, agents=AGENTS) as client:
        assert len(spoken(client, "", "tools/list", {}).json()["result"]["tools"]) == 5
        assert len(spoken(client, JUDGES, "tools/list", {}).json()["result"]["tools"]) == 7
        assert spoken(client, JUDGES + "x", "tools/list", {}).status_code == 401


@pytest.mark.parametrize(
    ("sent", "sentence"),
    [
        ("/etc/passwd", "not base64"),
        ("http://127.0.0.1/x.png", "not base64"),
        (base64.b64encode(b"no image at all").decode(), "not an image"),
        (base64.b64encode(coloured("red")[:200]).decode(), "image"),
        ("A" * (MOST_SENT // 3 * 4 + 8), "more than 8 MB"),
    ],
)
def test_what_is_no_image_is_refused_in_a_sentence(door, sent, sentence):
    for tool in ("search", "recognise"):
        answer = called(door, tool, image_base64=sent)
        assert answer["isError"]
        assert sentence in answer["content"][0]["text"]
        assert len(answer["content"][0]["text"]) < 500


def test_a_picture_of_too_many_pixels_is_refused(index):
    with served(index, token=TOKEN, mcp=True, max_upload_pixels=1000) as client:
        answer = called(client, "recognise", TOKEN, image_base64=base64.b64encode(coloured("red")).decode())
    assert answer["isError"]
    assert "too many pixels" in answer["content"][0]["text"]


def test_a_body_that_is_too_large_is_refused_before_it_is_read(door):
    assert spoken(door, READS, "tools/list", {"x": "A" * (2 * MOST_SENT)}).status_code == 413


@pytest.mark.parametrize(
    "arguments",
    [
        '{"x": [' + "{}," * 400_000 + "{}]}",
        '{"image_base64": "AAAA", "x": [' + "{}," * 400_000 + "{}]}",
        "{" + ",".join(f'"{number:x}":0' for number in range(150_000)) + "}",
    ],
)
def test_only_a_picture_may_be_large(door, arguments):
    """The event loop reads what tools are sent: a million small values would stop it."""
    body = '{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "count", "arguments": '
    headers = {"Authorization": f"Bearer {READS}", "Content-Type": "application/json", "Accept": "application/json"}
    answer = door.post("/mcp", content=f"{body}{arguments}}}}}", headers=headers)
    assert answer.status_code == 413
    assert "image_base64" in answer.json()["hint"]


def test_a_large_picture_is_taken(door):
    sent = base64.b64encode(coloured("green") + bytes(3_000_000)).decode()
    assert called(door, "recognise", image_base64=sent)["structuredContent"]["entities"][0]["entity"] == "c:green"


@pytest.mark.parametrize("said", [True, False])
def test_a_large_body_costs_as_many_requests(index, said):
    body = b'{"jsonrpc": "2.0", "id": 1, "method": "ping"}' + b" " * 900_000
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json", "Accept": "application/json"}
    with served(index, token=TOKEN, mcp=True, rate=1.4) as client:
        answers = [
            client.post("/mcp", content=body if said else iter([body]), headers=headers).status_code for _ in range(2)
        ]
    assert answers == [200, 429]  # 13 of 14 tokens, or all


@pytest.mark.slow
def test_a_length_that_is_only_claimed_locks_nobody_out(index):
    with served(index, token=TOKEN, mcp=True, rate=20) as client:
        assert client.post("/mcp", content=b"{}", headers={"Content-Length": "9" * 15}).status_code == 413
        assert spoken(client, TOKEN, "ping", {}).status_code == 200


def test_an_agent_s_pictures_are_not_kept(door):
    """They would throw out what people uploaded."""
    uploads = door.app.state.context.uploads
    sent = base64.b64encode(coloured("red")).decode()
    for tool in ("search", "count", "recognise"):
        assert not called(door, tool, image_base64=sent).get("isError")
    assert called(door, "recognise", image_base64=sent, region="0,0,0.5,1")["structuredContent"]["entities"]
    assert len(uploads._held) == 0


def test_verdicts_are_told_in_the_words_that_they_are_given_in(door, index):
    image = index.entity_images("c:red", accepted=True)[0].image.id
    for word in ("right", "wrong", "unsure"):
        given = called(door, "judge", JUDGES, images=[image], entity="red", verdict=word)["structuredContent"][
            "verdicts"
        ]
        counts = called(door, "count", by="verdict")["structuredContent"]["values"]["verdict"]
        assert counts == [{"value": word, "name": word, "images": 1}]
        assert called(door, "count", verdict=word)["structuredContent"]["images"] == 1
        (seen,) = called(door, "look_at", image=image)["structuredContent"]["verdicts"]
        assert (seen["id"], seen["verdict"]) == (given[0]["verdict"], word)
        surest = called(door, "explain", entity="red", limit=50)["structuredContent"]["surest_images"]
        assert {each["image"]: each["verdict"] for each in surest}[image] == word
        called(door, "undo", JUDGES, verdicts=[given[0]["verdict"]])
    surest = called(door, "explain", entity="red")["structuredContent"]["surest_images"]
    assert {each["verdict"] for each in surest} == {""}


def test_a_data_url_is_taken_and_pictures_are_few(door):
    sent = "data:image/png;base64," + base64.b64encode(coloured("red", 5)).decode()
    answer = called(door, "search", image_base64=sent, pictures=3)
    pictures = [each for each in answer["content"] if each["type"] == "image"]
    assert len(pictures) == 3
    assert {each["mimeType"] for each in pictures} == {"image/webp"}
    shown = [each["text"] for each in answer["content"][1::2]]
    assert shown == [f"image {each['image']}:" for each in answer["structuredContent"]["images"][:3]]
    assert called(door, "search", text="red", pictures=9)["isError"]


def test_nobody_takes_back_what_another_said(door, index):
    from openmofi.search import Verdict

    other = index.add_verdict(Verdict("images", "red-1", "c:red", "n", who="ann"))
    own = called(door, "judge", JUDGES, images=[1], entity="red", verdict="unsure")["structuredContent"]
    answer = called(door, "undo", JUDGES, verdicts=[own["verdicts"][0]["verdict"], other.id])
    assert answer["isError"]
    assert "is not yours" in answer["content"][0]["text"]
    assert len(index.verdicts()) == 2
    answer = called(door, "judge", JUDGES, images=[1, 999], entity="red", verdict="right")
    assert "no image 999" in answer["content"][0]["text"]
    assert len(index.verdicts()) == 2
    assert called(door, "judge", JUDGES, images=[1], entity="red", verdict="right", instead="blue")["isError"]


def test_answers_name_no_folder_of_the_machine_where_something_is_missing(door, index):
    for tool, arguments in (("look_at", {"image": 999}), ("recognise", {"image": 999}), ("explain", {"entity": "?"})):
        assert str(index.path) not in json.dumps(called(door, tool, **arguments))


@pytest.mark.parametrize("line", ["claude", "claude write " + "x" * 20, "claude read short", "a b c d"])
def test_a_line_that_names_no_agent_is_refused_and_not_repeated(tmp_path, line):
    (tmp_path / "agents").write_text(f"# ours\n\n{line}\n")
    with pytest.raises(UsageError) as refused:
        agents_of(tmp_path / "agents")
    assert "x" * 20 not in str(refused.value)


def test_agents_of_a_file(tmp_path):
    (tmp_path / "agents").write_text(f"# ours\nreader read {READS}\ntester verdicts {JUDGES}\n")
    assert agents_of(tmp_path / "agents") == AGENTS
    assert READS not in repr(AGENTS)


@pytest.mark.parametrize(
    "settings",
    [
        {"agents": AGENTS},
        {"mcp": True, "agents": (AGENTS[0], AGENTS[0])},
        {"mcp": True, "token": READS, "agents": AGENTS},
    ],
)
def test_settings_of_agents_that_cannot_be(settings):
    with pytest.raises(UsageError):
        ServeSettings(**settings)
