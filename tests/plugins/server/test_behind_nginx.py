"""What docs/guides/operate.md says of a server behind nginx and systemd, with the page's own files."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx2
import pytest

from terminal import PATIENCE

pytestmark = pytest.mark.slow
GUIDE = (Path(__file__).parents[3] / "docs/guides/operate.md").read_text("utf-8")
NAME = "images.example.org"
TOKEN = "a token of the walk, long enough"


def block(kind: str) -> str:
    (found,) = re.findall(rf"^```{kind}\n(.*?)^```", GUIDE, re.M | re.S)
    return found


def program(name: str) -> str:
    path = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    if path is None:
        pytest.skip(f"{name} is not installed; tools/test_needs.sh installs it")
    return path


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@pytest.fixture
def nginx(tmp_path):
    """Start nginx with the server block of the guide before a port; the port that it listens on."""
    running = []

    def start(port: int) -> int:
        mine = free_port()
        words = ("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", f"/CN={NAME}")
        names = (
            "-keyout",
            tmp_path / "images.key",
            "-out",
            tmp_path / "images.pem",
            "-addext",
            f"subjectAltName=DNS:{NAME}",
        )
        subprocess.run([program("openssl"), *words, *names], check=True, capture_output=True)
        server = block("nginx").replace("/etc/ssl", str(tmp_path)).replace("443", f"127.0.0.1:{mine}")
        server = server.replace("127.0.0.1:8000", f"127.0.0.1:{port}")
        folders = "".join(
            f"{name}_temp_path {tmp_path}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        (tmp_path / "nginx.conf").write_text(
            f"daemon off; pid {tmp_path}/pid; events {{}}\nhttp {{ access_log off;\n{folders}{server}}}"
        )
        command = [program("nginx"), "-p", tmp_path, "-c", tmp_path / "nginx.conf", "-e", tmp_path / "errors"]
        subprocess.run([*command, "-t"], check=True, capture_output=True)
        running.append(subprocess.Popen(command))
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            try:
                socket.create_connection(("127.0.0.1", mine)).close()
                return mine
            except OSError:
                time.sleep(0.05)
        raise AssertionError((tmp_path / "errors").read_text())

    yield start
    for process in running:
        process.terminate()
        process.wait(PATIENCE)


def test_a_login_behind_nginx_holds_over_a_restart_and_other_origins_are_refused(started, nginx, tmp_path):
    settings = {"token": TOKEN, "no_token": False, "hosts": [NAME], "proxies": ["127.0.0.1"], "port": free_port()}
    process, _ = started(**settings)
    port = nginx(settings["port"])
    address = f"https://127.0.0.1:{port}"
    named = {"Host": f"{NAME}:{port}"}
    origin = {**named, "Origin": f"https://{NAME}:{port}"}

    def ask(method, path, headers, **given):
        return httpx2.request(method, f"{address}{path}", headers=headers, verify=False, timeout=PATIENCE, **given)

    for probe in ("/healthz", "/readyz"):
        assert ask("GET", probe, named).json() == {"status": "ok"}
    assert ask("GET", "/api/info", named).status_code == 401
    signed = ask("POST", "/api/session", origin, json={"token": TOKEN})
    assert signed.status_code == 204
    assert "Secure" in signed.headers["set-cookie"]
    cookie = {"Cookie": signed.headers["set-cookie"].partition(";")[0]}
    assert ask("POST", "/api/search", {**origin, **cookie}, json={"text": "red"}).json()["hits"]
    stranger = {**named, **cookie, "Origin": "https://elsewhere.example"}
    assert ask("POST", "/api/search", stranger, json={"text": "red"}).status_code == 403
    assert ask("GET", "/api/info", {**cookie, "Host": "elsewhere.example"}).status_code == 421
    process.terminate()
    process.communicate(timeout=PATIENCE)
    assert ask("GET", "/api/info", {**named, **cookie}).status_code == 502
    started(**settings)
    assert ask("GET", "/api/info", {**named, **cookie}).status_code == 200
    plain = httpx2.post(f"http://127.0.0.1:{settings['port']}/api/session", json={"token": TOKEN}, timeout=PATIENCE)
    assert "Secure" not in plain.headers["set-cookie"]


def test_systemd_finds_nothing_in_the_unit(tmp_path):
    unit = tmp_path / "openmofi.service"
    unit.write_text(re.sub(r"^ExecStart=\S+", f"ExecStart={sys.executable}", block("ini"), flags=re.M))
    done = subprocess.run([program("systemd-analyze"), "verify", unit], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    (options,) = re.findall(r"^ExecStart=\S+ serve (.*)$", block("ini"), re.M)
    from openmofi.cli.main import commands

    serve = dict(commands())[("serve",)]
    known = {option for each in serve.params for option in each.opts}
    assert {word for word in options.split() if word.startswith("--")} <= known
