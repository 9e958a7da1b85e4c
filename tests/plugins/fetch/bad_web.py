"""A web server that misbehaves: slow, endless, cut off, lying; what it was asked is kept."""

import gzip
import io
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from PIL import Image

ROBOTS = "User-agent: *\nDisallow: /forbidden/*.jpg$\n\nUser-agent: otherbot\nDisallow: /\n"
STOP = threading.Event()


def jpeg(number: int = 0, size: int = 32) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (size, size // 2), (number % 256, number // 256 % 256, 99)).save(file, "JPEG")
    return file.getvalue()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    asked: Counter[str]
    agents: set[str]
    files: dict[str, bytes]

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.asked[self.path] += 1
        self.agents.add(self.headers["User-Agent"])
        name, _, rest = self.path.strip("/").partition("/")
        getattr(self, f"do_{name.partition('.')[0].replace('-', '_')}", self.missing)(rest)

    def answer(self, body=b"", status=200, **headers):
        self.send_response(status)
        for header, value in {"Content-Length": len(body), "Content-Type": "image/jpeg", **headers}.items():
            self.send_header(header.replace("_", "-"), str(value))
        self.end_headers()
        self.wfile.write(body)

    def open_end(self):
        """Begin a body that nothing ends but the connection."""
        self.send_response(200)
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True

    def missing(self, rest):
        self.answer(b"no", 404)

    def do_robots(self, rest):
        self.answer(ROBOTS.encode())

    def do_ok(self, rest):
        self.answer(jpeg(int(rest.partition(".")[0] or 0)))

    do_forbidden = do_ok

    def do_file(self, rest):
        self.answer(self.files[rest])

    def do_delayed(self, rest):
        time.sleep(0.05)
        self.do_ok(rest)

    def do_large(self, rest):
        self.answer(jpeg() + bytes(300_000))

    def do_silent(self, rest):
        STOP.wait(3)

    def do_drip(self, rest):
        self.open_end()
        while not STOP.wait(0.1):
            self.wfile.write(b"x")

    def do_endless(self, rest):
        self.open_end()
        while not STOP.is_set():
            self.wfile.write(bytes(1 << 16))

    def do_cut(self, rest):
        self.send_response(200)
        self.send_header("Content-Length", "100000")
        self.end_headers()
        self.wfile.write(jpeg()[:100])
        self.close_connection = True

    def do_reset(self, rest):
        """Nothing at all, the first time."""
        if self.asked[self.path] > 1:
            self.do_ok("1")
        else:
            self.close_connection = True

    def do_garbage(self, rest):
        self.wfile.write(b"\0\1\2 nothing of HTTP\r\n\r\n")
        self.close_connection = True

    def do_html(self, rest):
        self.answer(b"<html><body>Gone.</body></html>")

    def do_svg(self, rest):
        self.answer(b"<svg xmlns='http://www.w3.org/2000/svg'/>")

    def do_noise(self, rest):
        self.answer(bytes(range(256)) * 4)

    def do_bomb(self, rest):
        """A header of 60,000 × 60,000 pixels."""
        data = bytearray(jpeg())
        start = data.index(b"\xff\xc0") + 5
        data[start : start + 4] = b"\xea\x60\xea\x60"
        self.answer(bytes(data))

    def do_empty(self, rest):
        self.answer()

    def do_text_type(self, rest):
        self.answer(jpeg(), Content_Type="text/html")

    def do_gzip(self, rest):
        self.answer(gzip.compress(jpeg(2)), Content_Encoding="gzip")

    def do_noai(self, rest):
        self.answer(jpeg(), X_Robots_Tag="noarchive, NoAI")

    def do_noai_us(self, rest):
        self.answer(jpeg(), X_Robots_Tag="openmofi: noimageindex")

    def do_noai_others(self, rest):
        self.answer(jpeg(), X_Robots_Tag="otherbot: noai")

    def do_status(self, rest):
        self.answer(b"", int(rest))

    def do_busy(self, rest):
        """So many times a status, with `Retry-After`, and then fine: `busy/429/2/0`."""
        status, times, seconds = rest.split("/")
        if self.asked[self.path] > int(times):
            self.do_ok("3")
        else:
            self.answer(b"", int(status), Retry_After=seconds)

    def do_hop(self, rest):
        left = int(rest)
        self.answer(b"", 302, Location=f"/hop/{left - 1}" if left else "/ok/5.jpg")

    def do_bytes(self, rest):
        """Nothing of this is UTF-8."""
        self.answer(b"", 302, Location="/\xff\xfe")

    def do_mess(self, rest):
        self.answer(b"", 302, Location="http://[\xff")

    def do_to(self, rest):
        self.answer(b"", 301, Location=rest)


@contextmanager
def bad_web() -> Iterator[ThreadingHTTPServer]:
    """The server, on all addresses of this machine, with `url`, `asked` (path → requests), `agents`, `files`."""
    STOP.clear()
    handler = type("Asked", (Handler,), {"asked": Counter(), "agents": set(), "files": {}})
    server = ThreadingHTTPServer(("0.0.0.0", 0), handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # clients leave in the middle
    threading.Thread(target=server.serve_forever, daemon=True).start()
    server.url = f"http://127.0.0.1:{server.server_port}"
    server.asked, server.agents, server.files = handler.asked, handler.agents, handler.files
    try:
        yield server
    finally:
        STOP.set()
        server.shutdown()
        server.server_close()
