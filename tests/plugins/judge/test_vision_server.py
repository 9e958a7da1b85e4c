import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from openmofi.errors import OpenMofiError
from openmofi.plugins import json_server as plugin
from openmofi.plugins.judge.vision_server import open_server, parsed
from vision_stub import vision_server

CHOICES = ["0", "1", "2"]
QUESTION = "Which?\n1: sun\n2: moon\n0: none of these"


@pytest.fixture(autouse=True)
def _hurried(monkeypatch):
    monkeypatch.setattr(plugin, "WAIT", 0.0)


@pytest.mark.parametrize("said", ["1", " 1\n", "1.", '"1"', '{"answer": "1"}', '{"answer": 1}'])
def test_an_answer_is_a_choice_alone(said):
    assert parsed(said, CHOICES) == "1"


@pytest.mark.parametrize(
    "said",
    ["", "3", "12", "1 or 2", "It is 1", "yes", "[1]", '{"answer": "3"}', '{"other": "1"}', "null", "\ud83d", None, 1],
)
def test_anything_else_is_no_answer(said):
    assert parsed(said, CHOICES) == ""


def test_the_first_model_is_asked_with_the_image_and_nothing_left_to_chance():
    with vision_server(lambda image, options: '{"answer": "2"}') as stub:
        assert open_server(stub.url + "/", "").ask(b"image", QUESTION, CHOICES) == "2"
        (body,) = stub.requests
    assert (body["model"], body["temperature"]) == ("stub-vl", 0)
    assert body["max_tokens"] <= 100
    schema = body["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["answer"]["enum"] == CHOICES


def test_a_model_that_is_named_is_asked():
    with vision_server(lambda image, options: "0") as stub:
        assert open_server(stub.url, "other").ask(b"image", QUESTION, CHOICES) == "0"
    assert stub.requests[0]["model"] == "other"


def test_the_token_goes_to_the_server_and_nowhere_else(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    with vision_server(lambda image, options: 403) as stub:
        server = open_server(stub.url, "")
        with pytest.raises(OpenMofiError, match="status 403") as caught:
            server.ask(b"image", QUESTION, CHOICES)
    assert stub.tokens == {"Bearer sk-secret"}
    assert "secret" not in f"{caught.value} {caught.value.hint} {server!r}"


def test_a_server_that_knows_no_formats_is_asked_without(monkeypatch):
    statuses = iter([400])
    with vision_server(lambda image, options: next(statuses, "1")) as stub:
        server = open_server(stub.url, "")
        assert [server.ask(b"image", QUESTION, CHOICES) for _ in range(3)] == ["1"] * 3
    assert ["response_format" in body for body in stub.requests] == [True, False, False, False]


def test_a_busy_server_is_asked_again_and_one_that_stays_so_is_an_error():
    statuses = iter([503, 429])
    with vision_server(lambda image, options: next(statuses, "1")) as stub:
        assert open_server(stub.url, "").ask(b"image", QUESTION, CHOICES) == "1"
        stub.reply = lambda image, options: 500
        with pytest.raises(OpenMofiError, match="refuses with status 500"):
            open_server(stub.url, "").ask(b"image", QUESTION, CHOICES)
    assert stub.asked == 3 + plugin.TRIES


def test_a_slow_server_is_given_up(monkeypatch):
    monkeypatch.setattr(plugin, "SECONDS", 0.05)
    with vision_server(lambda image, options: time.sleep(0.3) or "1") as stub:
        server = open_server(stub.url, "")
        with pytest.raises(OpenMofiError, match="does not answer: timed out"):
            server.ask(b"image", QUESTION, CHOICES)


def test_a_server_that_is_not_there_is_one_sentence():
    with vision_server(lambda image, options: "1") as stub:
        pass
    with pytest.raises(OpenMofiError, match="does not answer") as caught:
        open_server(stub.url, "")
    assert "Start the server" in caught.value.hint


def test_a_server_without_models_asks_for_one():
    with vision_server(lambda image, options: "1") as stub:
        with pytest.raises(OpenMofiError, match="names no model") as caught:
            open_server(stub.url.removesuffix("/v1"), "")
        assert "--judge-model" in caught.value.hint


def test_a_redirect_is_not_followed():
    """The token is for the server that was named."""
    with vision_server(lambda image, options: 307) as stub, pytest.raises(OpenMofiError, match="status 307"):
        open_server(stub.url, "").ask(b"image", QUESTION, CHOICES)
    assert stub.asked == 1


def test_a_reply_without_an_end_is_no_reply(monkeypatch):
    monkeypatch.setattr(plugin, "_MOST_BYTES", 1000)
    with vision_server(lambda image, options: "1" * 2000) as stub:
        server = open_server(stub.url, "")
        with pytest.raises(OpenMofiError, match="more than 1,000 bytes"):
            server.ask(b"image", QUESTION, CHOICES)


def test_a_reply_that_trickles_is_given_up(monkeypatch):
    monkeypatch.setattr(plugin, "SECONDS", 0.2)

    class Trickling(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            try:
                while True:
                    self.wfile.write(b" ")
                    time.sleep(0.02)
            except OSError:
                pass

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Trickling) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(OpenMofiError, match=r"more than 0\.2 s"):
            open_server(f"http://127.0.0.1:{server.server_port}/v1", "")
        server.shutdown()


def test_a_reply_nested_without_end_is_no_answer():
    assert parsed("[" * 100_000, CHOICES) == ""
