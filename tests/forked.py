"""Processes that begin with the libraries loaded: forks of a server that has imported them, one a test process.

Python takes four CPU seconds to start with PyTorch and what stands on it, a fork a few milliseconds. It is a process
like any other, with an exit code, signals, streams, a folder and an environment of its own. What a start itself does,
and what it imports, is tested by starting Python.
"""

import atexit
import contextlib
import functools
import gc
import importlib
import os
import pickle
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

LOADED = ("openmofi.cli.main", "openmofi.cli.label", "openmofi.cli.train", "openmofi.cli.reinforce",
          "openmofi.labeling.job", "openmofi.reinforcement", "openmofi.training.run",
          "openmofi.training.linking.run", "openmofi.encoders.libraries.backbones",
          "openmofi.encoders.libraries.huggingface", "torch.distributed.checkpoint", "torch.distributed.fsdp",
          "openmofi.api", "openmofi.dataset.objects", "pandas", "pillow_heif", "pyarrow.compute", "pyarrow.parquet",
          "rich.progress", "scipy.optimize", "timm", "transformers.models.auto.modeling_auto",
          "transformers.models.bert.modeling_bert", "transformers.models.clip.modeling_clip")
REQUEST = 1 << 20


class Forked(subprocess.Popen):
    """As `subprocess.Popen` of `[sys.executable, …]`, where `-m MODULE`, `-c CODE` or a script follows.

    Args:
        new_session: as Popen's `start_new_session`; as there, Ctrl-C reaches a process also where a shell has made
            this one deaf to it.
    """

    def __init__(self, args: list[Any], *, new_session: bool = False, **options: Any) -> None:
        self._new_session = new_session
        super().__init__([str(argument) for argument in args], **options)

    def _execute_child(self, args, executable, preexec_fn, close_fds, pass_fds, cwd, env, startupinfo,  # type: ignore[override]
                       creationflags, shell, p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite, *rest) -> None:
        assert args[0] == sys.executable
        request = {"argv": args[1:], "folder": os.fspath(cwd or Path.cwd()), "path": sys.path,
                   "environment": dict(os.environ if env is None else env), "new_session": self._new_session}
        self._status, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        streams = [given if given >= 0 else usual for given, usual in ((p2cread, 0), (c2pwrite, 1), (errwrite, 2))]
        with theirs:
            socket.send_fds(_server(), [pickle.dumps(request)], [*streams, theirs.fileno()])
        self.pid = pickle.loads(self._status.recv(REQUEST))
        self._child_created = True
        self._close_pipe_fds(p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite)

    def _try_wait(self, flags: int) -> tuple[int, int]:
        self._status.setblocking(flags != os.WNOHANG)
        try:
            told = self._status.recv(REQUEST)
        except BlockingIOError:
            return 0, 0
        if not told:
            raise ChildProcessError(f"nobody knows how {self.pid} ended: the server is gone")
        return self.pid, pickle.loads(told)

    def _internal_poll(self, _deadstate: int | None = None, **_: Any) -> int | None:
        with contextlib.nullcontext() if _deadstate is None else contextlib.suppress(OSError):
            if self.returncode is None and (ended := self._try_wait(os.WNOHANG))[0]:
                self._handle_exitstatus(ended[1])
        return self.returncode


@functools.cache
def _server() -> socket.socket:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen([sys.executable, __file__, str(theirs.fileno()), *sys.path],
                                   pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL,
                                   env=os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"})

    @atexit.register
    def stop() -> None:
        ours.close()
        process.wait()

    return ours


def _serve(requests: socket.socket) -> dict[str, Any]:
    """Fork for each request, and tell how the fork ended, until nobody asks; in a fork, return its request."""
    running: dict[int, socket.socket] = {}
    heard, rung = socket.socketpair()
    for end in (heard, rung):
        end.setblocking(False)
    usual = signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(rung.fileno(), warn_on_full_buffer=False)
    selector = selectors.DefaultSelector()
    for one in (requests, heard):
        selector.register(one, selectors.EVENT_READ)
    while True:
        ready = [key.fileobj for key, _ in selector.select()]
        if heard in ready:
            with contextlib.suppress(BlockingIOError):
                heard.recv(4096)
            with contextlib.suppress(ChildProcessError):
                while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                    # Whoever asked may be gone.
                    with running.pop(ended[0]) as asked, contextlib.suppress(OSError):
                        asked.send(pickle.dumps(ended[1]))
        if requests in ready:
            message, files, _, _ = socket.recv_fds(requests, REQUEST, 4)
            if not message:
                sys.exit()
            asked = socket.socket(fileno=files.pop())
            if child := os.fork():
                running[child] = asked
                asked.send(pickle.dumps(child))
                for file in files:
                    os.close(file)
                continue
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, usual)
            for one in (selector, heard, rung, requests, asked, *running.values()):
                one.close()
            for number, (file, name) in enumerate(zip(files, ("stdin", "stdout", "stderr"), strict=True)):
                os.dup2(file, number)
                os.close(file)
                setattr(sys, name, os.fdopen(number, "w" if number else "r", 1 if number == 2 else -1, closefd=False,
                                             errors="backslashreplace" if number == 2 else None))
            return pickle.loads(message)


def _live(request: dict[str, Any]) -> None:
    """Run what was asked for and end as Python does, but without taking apart thousands of modules."""
    code: Any = 0
    try:
        try:
            _run(request)
        except SystemExit as end:
            code = end.code
            if code is not None and not isinstance(code, int):
                print(code, file=sys.stderr)
                code = 1
        except BaseException:
            traceback.print_exc()
            code = 1
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    finally:
        os._exit(code or 0)


def _run(request: dict[str, Any]) -> None:
    if request["new_session"]:
        os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    first, *others = request["argv"]
    how = first if first in ("-m", "-c") else ""
    what, *others = others if how else (first, *others)
    sys.argv = [what if how != "-c" else "-c", *others]
    more = request["environment"].get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:] = ["" if how else str(Path(what).parent), *filter(None, more), *request["path"]]
    if how == "-m":
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    elif how == "-c":
        exec(what, {"__name__": "__main__"})
    else:
        runpy.run_path(what, run_name="__main__")


if __name__ == "__main__":
    sys.path[:] = sys.argv[2:]
    for name in LOADED:
        with contextlib.suppress(ImportError):  # of an extra that is not installed
            importlib.import_module(name)
    gc.freeze()
    _live(_serve(socket.socket(fileno=int(sys.argv[1]))))
