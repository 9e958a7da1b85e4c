"""Processes that begin with the libraries loaded: forks of multiprocessing's server, one a test process.

Python takes four CPU seconds to start with PyTorch and what stands on it, a fork a few milliseconds. It is a process
like any other, with an exit code, signals, streams, a folder and an environment of its own. What a start itself does,
and what it imports, is tested by starting Python.
"""

import atexit
import functools
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import unsynced  # noqa: F401  children import this file
from terminal import PATIENCE

LOADED = [
    "pytest",
    "openmofi.cli.main",
    "openmofi.cli.label",
    "openmofi.cli.train",
    "openmofi.cli.index",
    "openmofi.labeling.job",
    "openmofi.plugins.reinforcement.job",
    "openmofi.training.run",
    "openmofi.plugins.fusion.training",
    "openmofi.plugins.encoders.backbones",
    "openmofi.plugins.encoders.huggingface",
    "openmofi.api.encoders",
    "openmofi.search.index",
    "openmofi.dataset.objects",
    "torch.distributed.checkpoint",
    "torch.distributed.fsdp",
    "fastapi",
    "pandas",
    "pillow_heif",
    "pyarrow.compute",
    "pyarrow.parquet",
    "rich.progress",
    "scipy.optimize",
    "timm",
    "transformers.models.auto.modeling_auto",
    "transformers.models.bert.modeling_bert",
    "transformers.models.clip.modeling_clip",
    "uvicorn",
]


@functools.cache
def forks() -> ForkServerContext:
    """The context whose server has imported what it can of `LOADED`."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(LOADED)
    # The first process starts the server.
    with mock.patch.dict(os.environ, {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}):
        first = context.Process(target=int)
        first.start()
    first.join()
    return context


def worker_context() -> SimpleNamespace:
    """What `openmofi.engine.engines` takes of a context; its processes have this process's environment."""
    return SimpleNamespace(
        Pipe=forks().Pipe,
        RawValue=forks().RawValue,
        Process=lambda target, args: forks().Process(target=_work, args=(dict(os.environ), target, args)),
    )


def _work(environment: dict[str, str], target: Callable[..., None], args: tuple[object, ...]) -> None:
    os.environ.clear()
    os.environ.update(environment)
    target(*args)


class Fork:
    """A process, as `subprocess.Popen` has it: the program is a module's name or a script's path.

    Args:
        program: what runs as `__main__`.
        arguments: its arguments.
        env: its environment, by default this process's.
        new_session: whether it leads a group of its own; as to all, Ctrl-C reaches it also where a shell has made this
            process deaf to it.
    """

    def __init__(
        self, program: str | Path, *arguments: object, env: Mapping[str, str] | None = None, new_session: bool = False
    ) -> None:
        self.args = [str(program), *map(str, arguments)]
        with ExitStack() as theirs:
            streams = []
            self._streams: list[Connection] = []
            for _ in ("stdout", "stderr"):
                read, write = forks().Pipe(duplex=False)
                streams.append(theirs.enter_context(write))
                self._streams.append(read)
            self._process = forks().Process(
                target=_live,
                args=(
                    self.args,
                    isinstance(program, Path),
                    dict(os.environ if env is None else env),
                    new_session,
                    *streams,
                ),
            )
            self._process.start()
        self.pid = self._process.pid
        # Before multiprocessing waits for it, where a test that failed has left it alive.
        atexit.register(self.kill)

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def terminate(self) -> None:
        self._process.terminate()

    def kill(self) -> None:
        self._process.kill()

    def line(self) -> str:
        """The next line of its output, which `communicate` then lacks; the rest of it where the process has ended."""
        line = b""
        while not line.endswith(b"\n") and (piece := os.read(self._streams[0].fileno(), 1)):
            line += piece
        return line.decode()

    def communicate(self, timeout: float = PATIENCE) -> tuple[str, str]:
        """What it and its own processes wrote until the last had closed both streams; it has ended then.

        Raises:
            TimeoutError: they have not.
        """
        end, told = time.monotonic() + timeout, dict.fromkeys(self._streams, b"")
        while left := [stream for stream in told if not stream.closed]:
            ready = wait(left, max(0.0, end - time.monotonic()))
            if not ready:
                raise TimeoutError(f"{self.pid} has not ended after {timeout:.0f} s: {told}")
            for stream in ready:
                told[stream] += (piece := os.read(stream.fileno(), 1 << 16))
                if not piece:
                    stream.close()
        self._process.join(max(0.0, end - time.monotonic()))
        if self._process.is_alive():
            raise TimeoutError(f"{self.pid} has not ended after {timeout:.0f} s: {told}")
        out, error = (text.decode() for text in told.values())
        return out, error

    def finish(self, timeout: float = PATIENCE) -> subprocess.CompletedProcess[str]:
        """Its exit code and what it wrote, as of `subprocess.run`; it does not outlive `timeout`."""
        try:
            out, errors = self.communicate(timeout)
        finally:
            self.kill()
        return subprocess.CompletedProcess(self.args, self.returncode, out, errors)


def _live(
    args: list[str],
    script: bool,
    environment: dict[str, str],
    new_session: bool,
    stdout: Connection,
    stderr: Connection,
) -> None:
    if new_session:
        os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(environment)
    for number, name, stream in ((1, "stdout", stdout), (2, "stderr", stderr)):
        os.dup2(stream.fileno(), number)
        stream.close()
        setattr(sys, name, os.fdopen(number, "w", 1, closefd=False, errors="backslashreplace"))
    sys.argv = args
    if script:
        sys.path.insert(0, str(Path(args[0]).parent))
        runpy.run_path(args[0], run_name="__main__")
    else:
        runpy.run_module(args[0], run_name="__main__", alter_sys=True)
