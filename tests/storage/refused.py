"""Addresses that nothing opens, and a port that says whether one was asked."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

ADDRESSES = [
    "reference://x",
    "reference://x::http://HOST/x.json",
    "zip://a.tar::http://HOST/x.zip",
    "simplecache::http://HOST/x.tar",
    "s3://a::http://HOST/x.tar",
    "http://HOST/x.tar::reference://",
    "file::http://HOST/x.tar",
    "dir::reference://x::http://HOST/x.json",
    "sftp://HOST/x.tar",
    "ftp://HOST/x.tar",
    "github://me:x@main/x.tar",
    "HTTP://HOST/x.tar",
]
"""`HOST` stands for a port of this machine."""
SAID = "is not an address that OpenMOFI reads"


@contextmanager
def unasked() -> Iterator[str]:
    """`HOST:PORT` of this machine, to which nobody connects in the block."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield f"127.0.0.1:{server.getsockname()[1]}"
        try:
            _, caller = server.accept()
        except BlockingIOError:
            return
        raise AssertionError(f"{caller} asked")
