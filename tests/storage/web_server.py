"""A web server on this machine that serves files well or badly."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar


class _Handler(BaseHTTPRequestHandler):
    """/KIND/NAME: `good` (with ranges), `plain` (without), `500`, `403`, `moved`, `loop`, `cut`, `stalled`."""

    content: ClassVar[dict[str, bytes]] = {}

    def do_HEAD(self):
        self._answer(body=False)

    def do_GET(self):
        self._answer(body=True)

    def _answer(self, *, body):
        kind, _, name = self.path.lstrip("/").partition("/")
        data = self.content.get(name.partition("?")[0])
        if kind == "stalled":
            time.sleep(3)
            self.close_connection = True
        elif kind in ("500", "403"):
            self._send(int(kind), b"", {}, body)
        elif kind in ("moved", "loop"):
            self._send(302, b"", {"Location": f"/{'good' if kind == 'moved' else 'loop'}/{name}"}, body)
        elif data is None:
            self._send(404, b"", {}, body)
        elif kind == "good" and (span := self.headers.get("Range")):
            first, _, last = span.removeprefix("bytes=").partition("-")
            end = min(int(last or len(data)) + 1, len(data))
            if int(first) >= len(data):
                self._send(416, b"", {"Content-Range": f"bytes */{len(data)}"}, body)
                return
            self._send(206, data[int(first) : end], {"Content-Range": f"bytes {first}-{end - 1}/{len(data)}"}, body)
        else:
            self._send(200, data, {"Accept-Ranges": "bytes"} if kind == "good" else {}, body, cut=kind == "cut")

    def _send(self, status, data, headers, body, *, cut=False):
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(data[: len(data) // 2] if cut else data)
        self.close_connection = cut or self.close_connection

    def log_message(self, *_):
        pass


@contextmanager
def web_server(content: dict[str, bytes]) -> Iterator[str]:
    """The address of a server of `content` (name → bytes)."""
    handler = type("Handler", (_Handler,), {"content": content})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # a client that goes away
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
