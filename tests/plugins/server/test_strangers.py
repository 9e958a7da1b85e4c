"""Strangers who connect and are silent, stall, or take nothing: others are answered meanwhile, and they are let go."""

import asyncio
import errno
import logging
import socket
import threading
import time
from contextlib import ExitStack
from http.client import HTTPConnection
from urllib.parse import urlsplit

import httpx2
import pytest
from search_world import coloured

from openmofi.plugins.server import ServeSettings
from openmofi.plugins.server.guard import Bodies
from openmofi.plugins.server.messages import Refused
from openmofi.plugins.server.run import SeldomLogged
from terminal import PATIENCE


def connected(address):
    where = urlsplit(address)
    return socket.create_connection((where.hostname, where.port), timeout=PATIENCE)


def fetched(address, path):
    """Over a connection of its own: status, headers and body."""
    asking = HTTPConnection(urlsplit(address).netloc, timeout=PATIENCE)
    asking.request("GET", f"/{path}")
    answer = asking.getresponse()
    body = answer.read()
    asking.close()
    return answer.status, answer.headers, body.decode(errors="replace")


def sent(address, text):
    opened = connected(address)
    opened.sendall(text.encode())
    return opened


def stalled_upload(address, length=1_000_000):
    return sent(address, f"POST /api/uploads HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {length}\r\n\r\nabc")


def ended(opened):
    """What comes before a connection ends, however it does."""
    received = b""
    try:
        while part := opened.recv(65536):
            received += part
    except ConnectionResetError:
        pass
    return received


def test_idle_connections_beyond_every_limit_stop_nobody(started):
    process, address = started(files=256, header_seconds=600)  # 128 connections, 32 of one client
    with ExitStack() as idle, httpx2.Client(base_url=address, timeout=PATIENCE) as client:
        assert client.get("/healthz").status_code == 200
        opened = [idle.enter_context(connected(address)) for _ in range(300)]
        for path in ("healthz", "api/info", "api/images/1/thumbnail"):
            assert client.get(path).status_code == 200
            assert fetched(address, path)[0] == 200
        assert ended(opened[0]) == b""  # the oldest made room
    process.terminate()
    _, errors = process.communicate(timeout=PATIENCE)
    assert "Traceback" not in errors
    assert "cannot be accepted" not in errors


def test_one_client_s_connections_leave_room_for_others(started):
    _, address = started(connections=40, header_seconds=600)  # 10 of one client
    with ExitStack() as idle:
        opened = [idle.enter_context(connected(address)) for _ in range(20)]
        other = socket.socket()
        idle.enter_context(other)
        other.bind(("127.0.0.2", 0))
        other.settimeout(PATIENCE)
        other.connect((urlsplit(address).hostname, urlsplit(address).port))
        opened += [idle.enter_context(connected(address)) for _ in range(20)]
        other.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        assert ended(other).startswith(b"HTTP/1.1 200")
        assert [ended(each) for each in opened[:30]] == [b""] * 30


def test_stalled_uploads_block_nobody_and_are_answered_in_the_end(started):
    _, address = started(body_seconds=1.0)
    with ExitStack() as stalled:
        opened = [stalled.enter_context(stalled_upload(address)) for _ in range(20)]
        answer = httpx2.post(f"{address}api/uploads", content=coloured("red"), timeout=PATIENCE)
        assert answer.status_code == 201
        assert httpx2.post(f"{address}api/search", json={"text": "red"}, timeout=PATIENCE).status_code == 200
        for each in opened:
            assert ended(each).startswith(b"HTTP/1.1 408")


def test_an_upload_that_its_client_gives_up_is_no_internal_error(started):
    process, address = started()
    for _ in range(5):
        stalled_upload(address).close()
    while 'status="499"' not in fetched(address, "metrics")[2]:
        time.sleep(0.05)
    process.terminate()
    _, errors = process.communicate(timeout=PATIENCE)
    assert "Traceback" not in errors
    assert "internal error" not in errors


def test_stalled_uploads_make_room_for_those_who_ask(started):
    _, address = started(connections=40, body_seconds=600)
    with ExitStack() as stalled:
        opened = [stalled.enter_context(stalled_upload(address)) for _ in range(30)]
        assert fetched(address, "api/info")[0] == 200
        assert ended(opened[0]) == b""


def test_a_body_that_comes_too_slowly_ends(started):
    _, address = started(body_seconds=0.5, body_bytes=1000)
    with sent(
        address,
        "POST /api/search HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9000\r\n"
        "Content-Type: application/json\r\n\r\n",
    ) as slow:
        answer = trickled(slow, b" " * 9000)
    assert answer.startswith(b"HTTP/1.1 408")


@pytest.mark.parametrize("before", ["", "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"])
def test_headers_byte_by_byte_end(started, before):
    _, address = started(header_seconds=0.5)
    with sent(address, before) as slow:
        if before:
            assert slow.recv(65536).startswith(b"HTTP/1.1 200")
        answer = trickled(slow, b"GET /healthz HTTP/1.1\r\nX: " + b"a" * 5000)
    assert b"200" not in answer


def trickled(opened, data):
    """Send byte by byte until the server closes; what it answers."""
    opened.settimeout(0.02)
    received = b""
    for byte in data:
        try:
            opened.sendall(bytes([byte]))
            part = opened.recv(65536)
        except TimeoutError:
            continue
        except (BrokenPipeError, ConnectionResetError):
            return received
        received += part
        if not part:
            return received
    raise AssertionError("the server took all of it")


def test_who_takes_nothing_of_an_answer_is_let_go(started, tmp_path):
    import numpy as np
    from PIL import Image

    (tmp_path / "images").mkdir()
    Image.fromarray(np.zeros((3000, 4000, 3), np.uint8)).save(tmp_path / "images" / "red-0.bmp")
    _, address = started(folder=tmp_path, unread_seconds=0.5)
    with sent(address, "GET /api/images/1/original HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n") as slow:
        assert slow.recv(100).startswith(b"HTTP/1.1 200")
        while 'route="/api/images/{image}/original"' not in fetched(address, "metrics")[2]:
            time.sleep(0.05)
        time.sleep(2)
        assert len(ended(slow)) < 36_000_000


def test_where_all_are_being_answered_others_hear_so_and_supervisors_are_answered(started):
    _, address = started(slow=1, client_connections=4)  # a second a template, of which there are five
    answers, begun = [], threading.Barrier(5)

    def ask(text):
        with httpx2.Client(base_url=address, timeout=PATIENCE) as client:
            client.get("/healthz")
            begun.wait(PATIENCE)
            answers.append(client.post("/api/search", json={"text": text}).status_code)

    asking = [threading.Thread(target=ask, args=(f"red {number}",)) for number in range(4)]
    for each in asking:
        each.start()
    begun.wait(PATIENCE)
    time.sleep(1)
    status, headers, body = fetched(address, "api/info")
    assert (status, headers["retry-after"]) == (503, "1")
    assert "as many requests as it can" in body
    for _ in range(20):
        assert fetched(address, "healthz")[0] == 200
    for each in asking:
        each.join(PATIENCE)
    assert answers == [200] * 4
    assert fetched(address, "api/info")[0] == 200


def test_no_client_says_where_it_comes_from_unless_it_is_a_proxy_that_was_named(started):
    def codes(address):
        with httpx2.Client(base_url=address, timeout=PATIENCE) as client:
            return {
                client.get("/api/images/1", headers={"X-Forwarded-For": f"10.0.0.{number}"}).status_code
                for number in range(8)
            }

    assert codes(started(rate=0.5)[1]) == {200, 429}
    assert codes(started(rate=0.5, proxies=["127.0.0.0/8"])[1]) == {200}


def test_that_nothing_can_be_accepted_is_logged_once(caplog):
    loop, handler = asyncio.new_event_loop(), SeldomLogged()
    with caplog.at_level(logging.INFO):
        for _ in range(1000):
            handler(loop, {"message": "x", "exception": OSError(errno.EMFILE, "Too many open files")})
        assert [record.levelname for record in caplog.records] == ["ERROR"]
        assert "ulimit" in caplog.records[0].getMessage()
        assert caplog.records[0].exc_info is None
        handler(loop, {"message": "another", "exception": ValueError("x")})
        assert len(caplog.records) == 2
    loop.close()


def test_bodies_fit_into_memory_together():
    async def arrive(bodies, size):
        async def receive():
            return {"type": "http.request", "body": bytes(size), "more_body": True}

        with bodies.limited(receive, 10**6) as limited:
            await limited()
            with bodies.limited(receive, 10**6) as another:
                await another()

    asyncio.run(arrive(bodies := Bodies(ServeSettings(), held_bytes=1000), 500))
    with pytest.raises(Refused) as raised:
        asyncio.run(arrive(bodies, 501))
    assert (raised.value.status, raised.value.headers["Retry-After"]) == (503, "5")
    asyncio.run(arrive(bodies, 500))  # what is answered takes none


def test_limits_follow_the_files_that_a_process_may_open(monkeypatch):
    monkeypatch.setattr("resource.getrlimit", lambda _: (1024, 4096))
    settings = ServeSettings()
    assert (settings.most_connections, settings.most_of_client) == (512, 128)
    monkeypatch.setattr("resource.getrlimit", lambda _: (10**6, 10**6))
    assert (settings.most_connections, settings.most_of_client) == (1000, 250)
