"""Work for the engines' tests: importable by spawned processes."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openmofi.errors import OpenMofiError
from openmofi.storage import atomic_path


@dataclass(frozen=True)
class Factory:
    """Opens work of one kind; `folder` is where it counts its tries."""

    kind: str
    folder: str

    def __call__(self) -> Any:
        if self.kind == "no_knowledge_base":
            raise OpenMofiError("There is no knowledge base.", "Build it.")
        return getattr(self, self.kind)

    def _tries(self, task: str) -> int:
        place = Path(self.folder) / task
        with open(place, "ab") as handle:
            handle.write(b"x")
        return place.stat().st_size

    def square(self, task: str) -> dict[str, Any]:
        self._tries(task)
        return {"square": int(task) ** 2, "process": os.getpid()}

    def dies_once(self, task: str) -> dict[str, Any]:
        if self._tries(task) == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return {"square": int(task) ** 2}

    def seven_always_dies(self, task: str) -> dict[str, Any]:
        self._tries(task)
        if task == "7":
            os.kill(os.getpid(), signal.SIGKILL)
        return {"square": int(task) ** 2}

    def hangs_once(self, task: str) -> dict[str, Any]:
        if task == "2" and self._tries(task) == 1:
            time.sleep(600)
        return {"square": int(task) ** 2}

    def hangs_once_while_it_writes(self, task: str) -> dict[str, Any]:
        if task == "2":
            first = self._tries(task) == 1
            with atomic_path(Path(self.folder) / f"{task}.done") as path:
                path.write_bytes(b"half")
                time.sleep(600 if first else 0)
        return {"square": int(task) ** 2}

    def says_where(self, task: str) -> dict[str, Any]:
        import ray

        context = ray.get_runtime_context()
        time.sleep(0.1)
        return {"node": context.get_node_id(), "gpus": ray.get_gpu_ids(), "square": int(task) ** 2}

    def three_is_broken(self, task: str) -> dict[str, Any]:
        self._tries(task)
        if task == "3":
            raise OpenMofiError("Shard 3 is broken.", "Fetch it again.")
        return {"square": int(task) ** 2}

    def all_but_two_are_broken(self, task: str) -> dict[str, Any]:
        self._tries(task)
        if task not in ("0", "1"):
            raise ValueError(f"{task} is odd")
        return {"square": int(task) ** 2}

    def disk_fails_once(self, task: str) -> dict[str, Any]:
        if self._tries(task) == 1:
            raise OSError(5, "Input/output error")
        return {"square": int(task) ** 2}

    def memory_is_short_once(self, task: str) -> dict[str, Any]:
        if self._tries(task) == 1:
            raise MemoryError
        return {"square": int(task) ** 2}

    def disk_fails_always(self, task: str) -> dict[str, Any]:
        self._tries(task)
        raise OSError(5, "Input/output error")

    def refuses(self, task: str) -> dict[str, Any]:
        self._tries(task)
        if task == "0":
            raise OpenMofiError("Shard 0 is broken.", "Fetch it again.")
        time.sleep(0.2)
        return {}

    def has_a_bug(self, task: str) -> dict[str, Any]:
        self._tries(task)
        raise KeyError(task)

    def raises_what_cannot_be_unpacked(self, task: str) -> dict[str, Any]:
        class Local(Exception):
            pass

        raise Local(task)

    def returns_what_cannot_be_packed(self, task: str) -> dict[str, Any]:
        return {"lambda": lambda: task}

    def sleeps(self, task: str) -> dict[str, Any]:
        (Path(self.folder) / task).write_text(str(os.getpid()))
        time.sleep(120)
        return {}

    def leaves_by_exit(self, task: str) -> dict[str, Any]:
        os._exit(3)


class Counted:
    """A factory that counts how often it is pickled, and writes down each process that unpickles it."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.pickled = 0

    def __reduce__(self) -> Any:
        self.pickled += 1
        return _unpickled, (self.folder,)

    def __call__(self) -> Any:
        return lambda task: {"process": os.getpid()}


def _unpickled(folder: str) -> Counted:
    with open(Path(folder) / str(os.getpid()), "ab") as handle:
        handle.write(b"x")
    return Counted(folder)


class Unopenable:
    """A factory that holds something that cannot be opened again in a worker."""

    def __reduce__(self) -> Any:
        return _refused, ()

    def __call__(self) -> Any:
        raise NotImplementedError


def _refused() -> Unopenable:
    raise OpenMofiError("The knowledge base has changed.", "Build it again.")
