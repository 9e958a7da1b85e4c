"""`serve` as a process: it stops when it is told to, and answers what it had begun."""

import json
import re
import signal
import socket
import threading

import httpx2
import pytest
from typer.testing import CliRunner

from openmofi.cli.main import app
from openmofi.errors import OpenMofiError, UsageError
from openmofi.search import Index
from terminal import PATIENCE


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_in_the_middle_of_a_query_it_answers_and_leaves_with_0(started, number):
    process, address = started(0.3)
    answers, sent = [], threading.Event()

    def body():
        yield b'{"text":'
        sent.set()
        yield b'"something red"}'

    def ask():
        answers.append(
            httpx2.post(
                f"{address}api/search", content=body(), timeout=PATIENCE, headers={"Content-Type": "application/json"}
            )
        )

    httpx2.get(f"{address}healthz", timeout=PATIENCE)
    asking = threading.Thread(target=ask)
    asking.start()
    sent.wait(PATIENCE)
    # It is at its encoder, for a second and a half: five templates.
    while not re.search(r"openmofi_encoder_batch_count 1", httpx2.get(f"{address}metrics", timeout=PATIENCE).text):
        pass
    process.send_signal(number)
    asking.join(PATIENCE)
    assert answers[0].status_code == 200
    assert answers[0].json()["hits"]
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    lines = [json.loads(line) for line in errors.splitlines()]
    assert any(line.get("route") == "/api/search" and line["status"] == 200 for line in lines)
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(f"{address}healthz")


def test_killed_in_the_middle_of_a_query_the_client_sees_no_answer_and_the_next_server_opens(started, world):
    process, address = started(1.5)
    seen = []

    def ask():
        try:
            seen.append(
                httpx2.post(f"{address}api/search", json={"text": "something red"}, timeout=PATIENCE).status_code
            )
        except httpx2.HTTPError as error:
            seen.append(type(error).__name__)

    httpx2.get(f"{address}healthz", timeout=PATIENCE)
    asking = threading.Thread(target=ask)
    asking.start()
    while not re.search(r"openmofi_encoder_batch_count 1", httpx2.get(f"{address}metrics", timeout=PATIENCE).text):
        pass
    process.kill()
    asking.join(PATIENCE)
    assert seen in (["RemoteProtocolError"], ["ReadError"])
    _, address = started(0)
    answer = httpx2.post(f"{address}api/search", json={"text": "red", "fold": False}, timeout=PATIENCE)
    assert (answer.status_code, len(answer.json()["hits"])) == (200, 30)
    index = Index.open(world / "index")
    assert not any(index.verify().values())


def test_a_large_upload_gets_its_sentence_not_a_broken_connection(started):
    _, address = started(0)
    answer = httpx2.post(f"{address}api/uploads", content=bytes(60_000_000), timeout=PATIENCE)
    assert answer.status_code == 413
    assert answer.json()["error"] == "This file has 60 MB, more than 50 MB."


def test_a_server_on_loopback_prints_an_address_with_a_token_of_its_own(started):
    process, address = started(no_token=False)
    where, _, query = address.partition("?token=")
    assert len(query) >= 32
    with httpx2.Client(timeout=PATIENCE) as stranger, httpx2.Client(timeout=PATIENCE) as client:
        assert stranger.get(f"{where}api/info").status_code == 401
        assert stranger.get(f"{where}healthz").status_code == 200
        assert client.get(address, follow_redirects=True).url.query == b""
        assert client.get(f"{where}api/info").json()["token"] is True
        assert stranger.get(f"{where}api/info", headers={"Authorization": f"Bearer {query}"}).status_code == 200
    process.terminate()
    assert query not in process.communicate(timeout=PATIENCE)[1]


def test_a_token_of_one_s_own_is_not_printed(started):
    assert "token" not in started(no_token=False, token="a-token-of-one-s-own")[1]


def test_a_port_that_is_taken_is_said_to_be(world):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        result = CliRunner().invoke(app, ["serve", str(world / "index"), "--port", str(taken.getsockname()[1])])
    assert isinstance(result.exception, OpenMofiError)
    assert "is taken" in str(result.exception)


@pytest.mark.parametrize(
    "options",
    [
        ["--host", "0.0.0.0"],
        ["--host", "0.0.0.0", "--no-token"],
        ["--token", "short"],
        ["--token-file", "/nowhere"],
        ["--trust-proxy", "nobody"],
    ],
)
def test_an_unsafe_server_does_not_start(world, options):
    result = CliRunner().invoke(app, ["serve", str(world / "index"), *options])
    assert isinstance(result.exception, UsageError)
    assert result.exception.exit_code == 2


def test_no_index_is_said_to_be_none(tmp_path):
    for verb in ("serve", "mcp"):
        result = CliRunner().invoke(app, [verb, str(tmp_path)])
        assert "is not an index" in str(result.exception)


@pytest.mark.parametrize("given", [[], ["--labels", "moved"]])
def test_the_command_passes_the_labels_on_as_they_are_given(world, monkeypatch, tmp_path, given):
    monkeypatch.chdir(tmp_path)
    taken = []
    monkeypatch.setattr("openmofi.plugins.server.serve", lambda index, settings, **_: taken.append(settings.labels))
    result = CliRunner().invoke(app, ["serve", str(world / "index"), *given], catch_exceptions=False)
    assert result.exit_code == 0
    assert taken == [given[1] if given else ""]
