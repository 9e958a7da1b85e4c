"""Engines by name, and the one that a job is given where nobody named one."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

from openmofi.engine.cluster import RayEngine
from openmofi.engine.cores import cores
from openmofi.engine.local import LocalEngine
from openmofi.engine.processes import ProcessEngine
from openmofi.engine.protocol import Engine, Job, Progress, SetAside, WorkFactory
from openmofi.errors import UsageError

ENGINES = "auto, local, processes:N or ray[:ADDRESS][?gpus=F&cpus=N]"


class AutoEngine:
    """Chooses by the job (`suited`); without one it is this process.

    - Ray where RAY_ADDRESS names a cluster;
    - this process where the job computes on a GPU, which one process keeps busy; where there is one core; and where the
      pairs are too few for the start of others (`ProcessEngine.few`);
    - else a process a core, which measured faster on two cores (`benchmarks/engines.py`).
    """

    def suited(self, job: Job, progress: Progress) -> Engine:
        """See `Engine.suited`; what is chosen is said."""
        engine, why = self._chosen(job)
        progress.say(f"engine {why}")
        return engine

    def _chosen(self, job: Job) -> tuple[Engine, str]:
        if address := os.environ.get("RAY_ADDRESS"):
            return RayEngine(address).on(job.device), f"ray: RAY_ADDRESS is {address}"
        if job.on_gpu:
            return LocalEngine(), f"local: the encoder is on {job.device}"
        if cores() < 2:
            return LocalEngine(), "local: there is one core"
        if (pairs := job.pairs(ProcessEngine.few)) < ProcessEngine.few:
            return LocalEngine(), f"local: {pairs:,} pairs are done before other processes have started"
        return ProcessEngine(), f"processes:{cores()}: a worker a core"

    def session(self) -> AbstractContextManager[Engine]:
        """See `Engine.session`."""
        return LocalEngine().session()

    def run(self, factory: WorkFactory, tasks: Sequence[Any], progress: Progress,
            set_aside: SetAside | None = None) -> list[dict[str, Any]]:
        """See `Engine.run`."""
        return LocalEngine().run(factory, tasks, progress, set_aside)


def engine_named(spec: str) -> Engine:
    """`auto`, `local` (this process), `processes`, `processes:N`, `ray` or `ray:ADDRESS`.

    After Ray's may stand what an actor reserves: `ray?gpus=0.5`, `ray:ADDRESS?gpus=1&cpus=4`. An address may be
    `HOST:PORT`, `auto`, or `ray://HOST:PORT`, which may also be all of the spec.

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
    where, asked, reserved = spec.partition("?")
    if where == "ray" or where.startswith("ray:"):
        address = where if where.startswith("ray://") else where.removeprefix("ray").removeprefix(":")
        return RayEngine(address or None, **_reserved(spec, reserved if asked else None))
    raise UsageError(f"Unknown engine {spec!r}.", f"Use {ENGINES}.")


def _reserved(spec: str, options: str | None) -> dict[str, float]:
    found: dict[str, float] = {}
    for option in options.split("&") if options is not None else ():
        name, _, value = option.partition("=")
        if name not in ("gpus", "cpus") or name in found:
            raise UsageError(f"The engine {spec!r} has an option {option!r} that is not known, or is there twice.",
                             "Use gpus=F and cpus=N, as in ray?gpus=0.5&cpus=2.")
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        # Ray shares a GPU or a CPU among actors, or gives an actor several whole ones.
        if not (0 <= number < math.inf) or (number > 1 and number != int(number)) or (name == "cpus" and not number):
            raise UsageError(f"The engine {spec!r} asks for {value!r} {name} an actor.",
                             f"Give a fraction below 1 or a whole number, as in ray?{name}=0.5 or ray?{name}=2.")
        found[name] = number
    return found
