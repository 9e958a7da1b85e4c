"""A stranger's repository on a hub of our own: what is fetched is data, of the revision that is named, and pinned."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from hostile.strangers import SPECS, trusted
from terminal import PATIENCE

COMMITS = {"main": "a" * 40, "v1": "b" * 40}
_OPEN = """
import json, sys
from openmofi.encoders import open_encoder
from openmofi.errors import OpenMofiError
from openmofi.storage.manifest import new_manifest
try:
    said = open_encoder(sys.argv[1]).fingerprint
except OpenMofiError as error:
    said = str(error)
versions = new_manifest("labels", {"encoder": sys.argv[1]}).versions
assert not any(name.startswith("hub:") for name in new_manifest("labels", {"encoder": "tiny"}).versions)
print(json.dumps([said, {name: value for name, value in versions.items() if name.startswith("hub:")}]))
"""


class Hub(ThreadingHTTPServer):
    """Serves one folder as `stranger/code`, at each revision; keeps the paths that it was asked for."""

    def __init__(self, folder):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder, self.asked = folder, []


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        parts = self.path.partition("?")[0].strip("/").split("/")
        if parts[:2] == ["api", "models"] and parts[2:4] == ["stranger", "code"]:
            commit = self._commit(parts[5] if len(parts) > 5 else "main")
            files = [
                str(path.relative_to(self.server.folder))
                for path in sorted(self.server.folder.rglob("*"))
                if path.is_file()
            ]
            listed = (
                [{"type": "file", "path": name, "size": 1, "oid": "0"} for name in files]
                if "tree" in parts
                else {"id": "stranger/code", "sha": commit, "siblings": [{"rfilename": name} for name in files]}
            )
            self._answer(json.dumps(listed).encode(), commit) if commit else self._missing("RevisionNotFound")
        elif parts[:3] == ["stranger", "code", "resolve"]:
            path, commit = self.server.folder / "/".join(parts[4:]), self._commit(parts[3])
            if not commit or not path.is_file():
                self._missing("EntryNotFound" if commit else "RevisionNotFound")
            else:
                self._answer(path.read_bytes(), commit)
        else:
            self._answer(b"", "") if self.path == "/" else self._missing("RepoNotFound")

    do_HEAD = do_GET

    @staticmethod
    def _commit(revision):
        return revision if revision in COMMITS.values() else COMMITS.get(revision, "")

    def _answer(self, content, commit):
        self.send_response(200)
        self.send_header("ETag", f'"{hashlib.sha1(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", commit)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def _missing(self, why):
        self.send_response(404)
        self.send_header("X-Error-Code", why)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def repositories(bench, tmp_path_factory):
    folder = tmp_path_factory.mktemp("hub")
    for name in ("hf", "open_clip"):
        SPECS[name].make(bench, folder / name)
    return folder


@pytest.fixture
def hub(repositories, tmp_path):
    """Serves a repository's copy; `open_by` opens a spec in a process that knows this hub alone."""
    servers = []

    def serve(name):
        shutil.copytree(repositories / name, tmp_path / "served")
        server = Hub(tmp_path / "served")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return server

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def open_by(server, spec, home):
    env = os.environ | {
        "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_XET": "1",
        "NO_PROXY": "127.0.0.1",
    }
    done = subprocess.run(
        [sys.executable, "-c", _OPEN, spec], env=env, capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_the_commit_of_what_is_opened_is_in_the_manifest(hub, tmp_path):
    server = hub("hf")
    head, pinned = open_by(server, "hf:stranger/code", tmp_path / "home")
    assert pinned == {"hub:stranger/code": COMMITS["main"]}
    tagged, pinned = open_by(server, "hf:stranger/code@v1", tmp_path / "home")
    assert (tagged, pinned) == (head, {"hub:stranger/code": COMMITS["v1"]})
    assert any("/v1/" in path or path.endswith("/v1") or "/revision/v1" in path for path in server.asked)
    # What is cached is opened without asking, by its commit too.
    count = len(server.asked)
    exact, pinned = open_by(server, f"hf:stranger/code@{COMMITS['v1']}", tmp_path / "home")
    assert (exact, pinned) == (head, {"hub:stranger/code": COMMITS["v1"]})
    assert len(server.asked) == count
    said, _ = open_by(server, "hf:stranger/code@v2", tmp_path / "home")
    assert "no such revision: stranger/code@v2" in said


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "spec"),
    [("hf", "hf:stranger/code"), ("hf", "mofi:stranger/code"), ("open_clip", "open_clip:hf-hub:stranger/code")],
)
def test_no_code_is_asked_for(hub, tmp_path, name, spec):
    server, marker = hub(name), tmp_path / "ran"
    trusted(tmp_path / "served", marker)
    for path in (tmp_path / "served").glob("*config.json"):
        path.write_text(
            path.read_text().replace("evil.Evil", "stranger/code--evil.Evil").replace("someone/words", "stranger/code")
        )
    open_by(server, spec, tmp_path / "home")
    assert len(server.asked) > 3
    assert not [
        path
        for path in server.asked
        if "/resolve/" in path and path.partition("?")[0].endswith((".py", ".pyc", ".pth"))
    ]
    assert not list((tmp_path / "home").rglob("*.py"))
    assert not marker.exists()
