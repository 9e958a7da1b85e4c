"""A vision server that speaks as OpenAI's do, whose answers a test decides."""

import base64
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

Reply = Callable[[bytes, dict[str, str]], str | int]
"""Image and the options by their numbers → what is said, or a status."""


@dataclass
class Stub:
    url: str = ""
    reply: Reply = lambda image, options: "0"
    requests: list[dict] = field(default_factory=list)
    tokens: set[str | None] = field(default_factory=set)

    @property
    def asked(self) -> int:
        return len(self.requests)


def options_of(question: str) -> dict[str, str]:
    return dict(re.findall(r"^(\d+): (.*)$", question, re.M))


@contextmanager
def vision_server(reply: Reply) -> Iterator[Stub]:
    stub = Stub(reply=reply)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            stub.tokens.add(self.headers["Authorization"])
            self._send(200, {"data": [{"id": "stub-vl"}, {"id": "other"}]} if self.path == "/v1/models" else {})

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            stub.requests.append(body)
            image, text = body["messages"][0]["content"]
            options = options_of(text["text"])
            said = stub.reply(base64.b64decode(image["image_url"]["url"].partition(",")[2]), options)
            if isinstance(said, int):
                self._send(said, {"error": "no"})
            else:
                self._send(200, {"choices": [{"message": {"role": "assistant", "content": said}}]})

        def _send(self, status, value):
            content = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    stub.url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield stub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
