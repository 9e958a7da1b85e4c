"""A peer's server, which runs while it is asked."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing, contextmanager
from urllib.error import URLError
from urllib.request import urlopen

_PATIENCE = 300.0


@contextmanager
def running(command: Callable[[int], Sequence[str]], environment: Mapping[str, str] | None = None) -> Generator[str]:
    """A server within the block; its address.

    Args:
        command: port → what is run.
        environment: of the server; this process's where not given.
    """
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(command(port), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _until_it_answers(f"http://localhost:{port}/", process)
        yield f"http://localhost:{port}/"
    finally:
        process.terminate()
        process.wait(30)


def _until_it_answers(address: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end and process.poll() is None:
        try:
            urlopen(address).close()
            return
        except URLError:
            time.sleep(0.5)
    raise SystemExit(f"{process.args} does not answer")
