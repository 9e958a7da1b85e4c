"""The engine for many machines: plain Ray actors over idempotent tasks.

Ray Data is not used: tasks already resume by their outputs, so actors and one running task an actor are all it takes.
"""

from __future__ import annotations

import math
import os
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

from openmofi.engine.loop import PATIENCE, Session
from openmofi.engine.protocol import Engine, EngineKind, Job, Progress, SetAside, WorkFactory
from openmofi.errors import MissingExtraError, OpenMofiError, UsageError
from openmofi.plugins.ray.actors import Actors, Reserved


class RayEngine:
    """Actors on every node of the cluster that has room for them, each with one running task.

    Nodes that join get actors while a run goes on, nodes that leave take theirs with them. A node that runs another
    version of OpenMOFI gets no tasks, which is said.

    Args:
        address: Ray address (`auto`, `HOST:PORT`, `ray://HOST:PORT`); `None` is RAY_ADDRESS, or starts Ray here.
        cpus: CPUs that an actor reserves; by default one, and with GPUs its share of its node's.
        gpus: GPUs that an actor reserves, also a part of one; by default none, and one where the job computes on a GPU.
        patience: seconds in which an actor may use no CPU time before it counts as hanging, and is replaced.
    """

    def __init__(
        self,
        address: str | None = None,
        cpus: float | None = None,
        gpus: float | None = None,
        patience: float = PATIENCE,
    ) -> None:
        self.address, self.cpus, self.gpus, self.patience = address, cpus, gpus, patience

    def suited(self, job: Job, progress: Progress) -> Engine:
        """Return this engine; with a GPU an actor where the job computes on one and no reservation was given."""
        return self.on(job.device)

    def on(self, device: str) -> RayEngine:
        """Return the engine for work on a device."""
        gpus = float(device.startswith("cuda")) if self.gpus is None else self.gpus
        return RayEngine(self.address, self.cpus, gpus, self.patience)

    @contextmanager
    def session(self) -> Generator[Engine]:
        """See `Engine.session`; the actors keep their CPUs and GPUs from run to run."""
        session = _Session(self)
        try:
            yield session
        finally:
            session.stop()

    def run(
        self, factory: WorkFactory, tasks: Sequence[Any], progress: Progress, set_aside: SetAside | None = None
    ) -> list[dict[str, Any]]:
        """See `Engine.run`."""
        with self.session() as session:
            return session.run(factory, tasks, progress, set_aside)


class _Session(Session):
    """A session that connects to the cluster when there is work."""

    def __init__(self, engine: RayEngine) -> None:
        self._engine = engine
        self._ray: Any = None
        self._ours = False
        self._actors: Actors | None = None

    def run(
        self, factory: WorkFactory, tasks: Sequence[Any], progress: Progress, set_aside: SetAside | None = None
    ) -> list[dict[str, Any]]:
        if not tasks:
            return []
        if self._actors is None:
            self._workers = self._actors = self._connected(progress)
        return super().run(factory, tasks, progress, set_aside)

    def _connected(self, progress: Progress) -> Actors:
        try:
            import ray
        except ImportError as error:
            raise MissingExtraError.of("ray", "ray") from error
        self._ray = ray
        if not ray.is_initialized():
            try:
                # Of the cluster's dashboard; where Ray is started here there is none.
                # A command's workers import nothing from the working directory, which Ray adds for jobs of a script.
                job = ray.job_config.JobConfig(_client_job="PYTHONSAFEPATH" in os.environ)
                dashboard = ray.init(
                    self._engine.address, log_to_driver=False, include_dashboard=False, job_config=job
                ).dashboard_url
            except ConnectionError as error:
                raise OpenMofiError(
                    f"No Ray cluster at {self._engine.address}: {error}.",
                    "Check the address, and RAY_AUTH_TOKEN where the cluster asks for it; without one Ray starts here.",
                ) from error
            self._ours = True
            if dashboard:
                progress.say(f"Ray's dashboard: {dashboard if '://' in dashboard else f'http://{dashboard}'}")
        reserved = Reserved(self._engine.cpus, self._engine.gpus or 0)
        return Actors(ray, reserved, self._engine.patience)

    def stop(self) -> None:
        if self._actors is not None:
            self._actors.stop()
        if self._ours:
            self._ray.shutdown()


def _open(spec: str) -> RayEngine:
    """Read `ray`, `ray:ADDRESS` or `ray://HOST:PORT`, then what an actor reserves, as in `?gpus=1&cpus=4`."""
    where, mark, reserved = spec.partition("?")
    address = where if where.startswith("ray://") else where.removeprefix("ray").removeprefix(":")
    return RayEngine(address or None, **_reserved(spec, reserved if mark else None))


def _reserved(spec: str, options: str | None) -> dict[str, float]:
    amounts: dict[str, float] = {}
    for option in options.split("&") if options is not None else ():
        name, _, value = option.partition("=")
        if name not in ("gpus", "cpus") or name in amounts:
            raise UsageError(
                f"The engine {spec!r} has an option {option!r} that is not known, or is there twice.",
                "Use gpus=F and cpus=N, as in ray?gpus=0.5&cpus=2.",
            )
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        # Ray shares a GPU or a CPU among actors, or gives an actor several whole ones.
        if not (0 <= number < math.inf) or (number > 1 and number != int(number)) or (name == "cpus" and not number):
            raise UsageError(
                f"The engine {spec!r} asks for {value!r} {name} an actor.",
                f"Give a fraction below 1 or a whole number, as in ray?{name}=0.5 or ray?{name}=2.",
            )
        amounts[name] = number
    return amounts


ENGINE = EngineKind("ray[:ADDRESS][?gpus=F&cpus=N]", _open)
