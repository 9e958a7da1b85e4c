"""Opens engines by name, and chooses one where nobody named any."""

import os
import pickle
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from openmofi.engine.loop import LocalEngine
from openmofi.engine.processes import ProcessEngine
from openmofi.engine.protocol import Engine, Job, Progress, cores
from openmofi.errors import UsageError
from openmofi.extensions import extension, extension_names

_GROUP = "engines"


class AutoEngine(LocalEngine):
    """The engine that suits the job (`suited`); without a job it is this process.

    - Ray where RAY_ADDRESS names a cluster;
    - this process where the job computes on a GPU, which one process keeps busy; where there is one core; where the
      pairs are too few for the start of others (`ProcessEngine.few`); and where other processes cannot do it, since
      they would run the caller's script again, or cannot open its encoder;
    - else a process a core.
    """

    def suited(self, job: Job, progress: Progress) -> Engine:
        """See `Engine.suited`; what is chosen is said."""
        engine, why = self._chosen(job, progress)
        progress.say(f"engine {why}")
        return engine

    def _chosen(self, job: Job, progress: Progress) -> tuple[Engine, str]:
        if address := os.environ.get("RAY_ADDRESS"):
            ray = engine_named(address if address.startswith("ray://") else f"ray:{address}")
            return ray.suited(job, progress), f"ray: RAY_ADDRESS is {address}"
        if job.on_gpu:
            return LocalEngine(), f"local: the encoder is on {job.device}"
        if cores() < 2:
            return LocalEngine(), "local: there is one core"
        if (pairs := job.pairs(ProcessEngine.few)) < ProcessEngine.few:
            return LocalEngine(), f"local: {pairs:,} pairs are done before other processes have started"
        if reason := _bound_here(job.carried):
            return LocalEngine(), f"local: {reason}"
        return ProcessEngine(), f"processes:{cores()}: a worker a core"


def _bound_here(carried: Any) -> str:
    """Return why other processes cannot do the job; empty where they can."""
    script = getattr(sys.modules["__main__"], "__file__", None)
    try:
        pickled = pickle.dumps(carried)
    except Exception:  # whatever an encoder of the user's own raises
        return "the encoder cannot be sent to other processes"
    if script is None:  # a notebook or a prompt: others have its modules, but not what was defined in it
        return "the encoder is defined here, and not in a module" if b"__main__" in pickled else ""
    with suppress(OSError, ValueError):
        # Each worker imports the script, which would start the job again, unless it asks for its name.
        if "__name__" not in Path(script).read_text("utf-8"):
            return "workers would run this script again; put it under if __name__ == '__main__' for more"
    return ""


def engine_named(spec: str) -> Engine:
    """Return the engine that a spec names.

    Args:
        spec: `auto`, `local` (this process), `processes`, `processes:N`, or the name of one that a package adds, which
            may be followed by `:` or `?` and what that engine reads, as in `ray:HOST:PORT?gpus=0.5`.

    Raises:
        UsageError: `spec` is none of these.
    """
    name, _, option = spec.partition(":")
    if spec == "auto":
        return AutoEngine()
    if name == "local" and not option:
        return LocalEngine()
    if name == "processes" and (not option or option.isdigit()):
        return ProcessEngine(workers=int(option or 0))
    if (added := re.split("[:?]", spec, maxsplit=1)[0]) in extension_names(_GROUP):
        engine: Engine = extension(_GROUP, added).open(spec)
        return engine
    *others, last = [
        "auto",
        "local",
        "processes:N",
        *(extension(_GROUP, each).form for each in extension_names(_GROUP)),
    ]
    raise UsageError(f"Unknown engine {spec!r}.", f"Use {', '.join(others)} or {last}.")
