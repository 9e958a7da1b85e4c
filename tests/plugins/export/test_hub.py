"""Exports are uploaded by huggingface_hub's own client, to a server that keeps what it is sent."""

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from openmofi.errors import OpenMofiError, UsageError
from openmofi.plugins.export.hub import push


class Hub(BaseHTTPRequestHandler):
    """The requests that make a repository and commit small files, as the hub answers them."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        server = self.server
        if self.headers.get("authorization") != "Bearer right":
            return self.answer(401, {"error": "who are you?"})
        if self.path == "/api/repos/create":
            server.made.append(json.loads(body))
            return self.answer(200, {"url": f"{server.address}/me/tiny"})
        if "/preupload/" in self.path:
            asked = json.loads(body)["files"]
            return self.answer(
                200,
                {"files": [{"path": each["path"], "uploadMode": "regular", "shouldIgnore": False} for each in asked]},
            )
        if "/commit/" in self.path:
            for line in body.decode().splitlines():
                entry = json.loads(line)
                if entry["key"] == "file":
                    server.files[entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
            return self.answer(
                200,
                {
                    "commitUrl": f"{server.address}/me/tiny/commit/1",
                    "commitOid": "1",
                    "success": True,
                    "commitHook": "",
                },
            )
        return self.answer(200, {})

    def do_GET(self):
        if self.headers.get("authorization") != "Bearer right":
            return self.answer(401, {"error": "who are you?"})
        return self.answer(200, {"sha": "0" * 40, "siblings": [], "id": "me/tiny"})

    def answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def hub():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.made, server.files, server.address = [], {}, f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def folder(tmp_path):
    for name, content in {
        "README.md": b"a card",
        "model.safetensors": b"\0\1",
        "manifest.json": b"{}",
        ".openmofi.lock": b"",
    }.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


def test_the_files_of_an_export_arrive_and_ours_stay(hub, folder):
    url = push(folder, "me/tiny", private=True, endpoint=hub.address, token="right")
    assert hub.files == {"README.md": b"a card", "model.safetensors": b"\0\1"}
    assert (hub.made[0]["name"], hub.made[0]["organization"]) == ("tiny", "me")
    assert hub.made[0].get("visibility") == "private" or hub.made[0]["private"] is True
    assert url.startswith(hub.address)


def test_refusals_are_sentences(hub, folder, tmp_path):
    with pytest.raises(OpenMofiError, match=r"The hub refuses me/tiny.*the export itself is whole"):
        push(folder, "me/tiny", endpoint=hub.address, token="wrong")
    with pytest.raises(UsageError, match="no name of a repository"):
        push(folder, "a/b/c", endpoint=hub.address, token="right")
    with pytest.raises(OpenMofiError, match="no finished export"):
        push(tmp_path / "none", "me/tiny")


def test_a_hub_that_is_not_there_is_one_sentence(folder, monkeypatch):
    monkeypatch.setattr(
        "huggingface_hub.HfApi.create_repo", lambda *_, **__: (_ for _ in ()).throw(ConnectionError("refused"))
    )
    with pytest.raises(OpenMofiError, match="could not be uploaded: ConnectionError: refused"):
        push(folder, "me/tiny", endpoint="http://127.0.0.1:9", token="right")
