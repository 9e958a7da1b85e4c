"""A real S3 server on this machine (moto's), behind a proxy that counts requests, and delays or fails some."""

import http.client
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import fsspec

REFUSALS = {
    "AccessDenied": (403, "Access Denied"),
    "PermanentRedirect": (301, "The bucket you are attempting to access must be addressed using another endpoint."),
    "RequestTimeTooSkewed": (403, "The difference between the request time and the current time is too large."),
    "QuotaExceeded": (507, "The storage quota of the bucket is used up."),
}


@dataclass
class ObjectStore:
    """What the proxy does; `refuse` names an error that every write meets, with `refuse_reads` every request;
    `failing` is a share of all requests; `sent` counts bytes of answers.
    """

    port: int = 0
    requests: Counter = field(default_factory=Counter)
    sent: int = 0
    failing: float = 0.0
    delay: float = 0.0
    refuse: str = ""
    refuse_reads: bool = False
    draw: random.Random = field(default_factory=lambda: random.Random(0))

    def __post_init__(self):
        import boto3

        self.client = boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{self.port}",
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )

    def get(self, key):
        """The bytes of an object of the bucket `data`."""
        return self.client.get_object(Bucket="data", Key=key)["Body"].read()

    def put_folder(self, folder, key):
        """Store all files of a folder."""
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self.client.put_object(
                    Bucket="data", Key=f"{key}/{path.relative_to(folder).as_posix()}", Body=path.read_bytes()
                )

    def listed(self, prefix=""):
        """The keys that begin so."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket="data", Prefix=prefix)
        return sorted(found["Key"] for page in pages for found in page.get("Contents", ()))

    def clear(self):
        """Delete all objects."""
        for key in self.listed():
            self.client.delete_object(Bucket="data", Key=key)


class _Proxy(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    store: ObjectStore

    def _pass(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.store.requests[self.command, self.path.partition("?")[0]] += 1
        time.sleep(self.store.delay)
        if self.store.failing and self.store.draw.random() < self.store.failing:
            self._answer(503, {}, b"<Error><Code>ServiceUnavailable</Code><Message>Try again.</Message></Error>")
            return
        if self.store.refuse and (self.store.refuse_reads or self.command in ("PUT", "POST")):
            status, message = REFUSALS[self.store.refuse]
            self._answer(
                status, {}, f"<Error><Code>{self.store.refuse}</Code><Message>{message}</Message></Error>".encode()
            )
            return
        connection = http.client.HTTPConnection("127.0.0.1", self.store.port)
        connection.request(self.command, self.path, body, dict(self.headers.items()))
        answer = connection.getresponse()
        headers = {
            name: value
            for name, value in answer.getheaders()
            if name.lower() not in ("content-length", "transfer-encoding", "connection")
        }
        if self.command == "HEAD":
            headers["Content-Length"] = answer.getheader("Content-Length") or "0"
        self._answer(answer.status, headers, answer.read())

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _pass

    def _answer(self, status, headers, body):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(body)))
        elif "Content-Length" not in headers:
            self.send_header("Content-Length", "0")
        self.end_headers()
        if self.command != "HEAD":
            self.store.sent += len(body)
            self.wfile.write(body)

    def log_message(self, *_):
        pass


@contextmanager
def used(store, environment, home, monkeypatch):
    """The store as what libraries find, with an empty cache in `home` and all requests to come counted."""
    for name, value in {**environment, "OPENMOFI_HOME": str(home)}.items():
        monkeypatch.setenv(name, value)
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    store.requests.clear()
    store.draw.seed(1)  # which requests fail does not depend on the tests before
    yield store
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    store.refuse, store.refuse_reads, store.failing, store.delay = "", False, 0.0, 0.0


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def object_store():
    """A store with the empty bucket `data`; yields it and the environment variables by which libraries find it."""
    store = ObjectStore(_free_port())
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-p", str(store.port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    proxy = ThreadingHTTPServer(("127.0.0.1", 0), type("Proxy", (_Proxy,), {"store": store}))
    proxy.daemon_threads = True
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    try:
        while True:
            assert server.poll() is None, "moto's server has ended"
            try:
                socket.create_connection(("127.0.0.1", store.port)).close()
                break
            except OSError:
                time.sleep(0.1)
        store.client.create_bucket(Bucket="data")
        yield (
            store,
            {
                "AWS_ENDPOINT_URL": f"http://127.0.0.1:{proxy.server_port}",
                "AWS_ACCESS_KEY_ID": "test",
                "AWS_SECRET_ACCESS_KEY": "test",
                "AWS_DEFAULT_REGION": "us-east-1",
                "no_proxy": "127.0.0.1",
                "PATH": os.environ["PATH"],
            },
        )
    finally:
        proxy.shutdown()
        server.kill()
        server.wait()
