"""Trackers of experiments: what writes a run's scalars beside `log.jsonl`, behind one small protocol.

Each is an extra. Its own variables of the environment (`WANDB_MODE`, `MLFLOW_TRACKING_URI`, `TRACKIO_DIR`, …) say where
it keeps what it is told; without them wandb works offline in the folder of the run and MLflow keeps files there. The
number of a run at a tracker is kept in `trackers.json`, so that a resumed run goes on as the same one.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

from openmofi.errors import MissingExtraError
from openmofi.storage import write_json

TENSORBOARD = "tensorboard"
KNOWN = "trackers.json"
OUTPUTS = (KNOWN, f"{TENSORBOARD}/events.out.*", "wandb/**/*", "mlflow/**/*")
"""Files of trackers in the folder of a run."""

_NAME_LIMIT = 250
_VALUE_LIMIT = 500


class Tracker(Protocol):
    """Takes the scalars of a run."""

    def log(self, step: int, scalars: Mapping[str, float]) -> None:
        """Add the scalars of an interval, or of an evaluation, that ended after `step` steps."""

    def close(self, *, finished: bool) -> None:
        """Flush and close; `finished` says whether the run came to its end."""


@dataclass(frozen=True)
class Tracked:
    """A run as trackers know it.

    Attributes:
        folder: of the run.
        name: of the recipe.
        project: groups runs.
        settings: dotted key → value of each setting.
        resume_step: the run goes on after this step; 0 is a new one.
    """

    folder: Path
    name: str = "run"
    project: str = "openmofi"
    settings: Mapping[str, Any] | None = None
    resume_step: int = 0

    def number(self, tracker: str, new: Callable[[], str]) -> str:
        """The run's number at a tracker: that of the run that is resumed, or a new one."""
        path = self.folder / KNOWN
        known: dict[str, str] = json.loads(path.read_text("utf-8")) if path.exists() else {}
        if not self.resume_step or tracker not in known:
            known[tracker] = new()
            write_json(path, known)
        return known[tracker]


def open_tracker(name: str, run: Tracked) -> Tracker:
    """Open a tracker for a run.

    Args:
        name: a key of `TRACKERS`.
        run: see there.

    Raises:
        MissingExtraError: it is not installed.
    """
    return TRACKERS[name](run)


def _package(name: str, extra: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingExtraError.of(name.partition(".")[0] if extra != "train" else TENSORBOARD, extra) from error


class _TensorBoard:
    def __init__(self, run: Tracked) -> None:
        writer = _package("torch.utils.tensorboard", "train").SummaryWriter
        folder = run.folder / TENSORBOARD
        if not run.resume_step:
            shutil.rmtree(folder, ignore_errors=True)
        self._board = writer(str(folder), purge_step=run.resume_step + 1)

    def log(self, step: int, scalars: Mapping[str, float]) -> None:
        for name, value in scalars.items():
            self._board.add_scalar(name, value, step)

    def close(self, *, finished: bool) -> None:
        self._board.close()


class _WandB:
    def __init__(self, run: Tracked) -> None:
        wandb = _package("wandb", "wandb")
        number = run.number("wandb", lambda: uuid4().hex[:8])
        # Without a key or a mode it would ask at the terminal, where nobody is.
        mode = os.environ.get("WANDB_MODE") or ("online" if _logged_in(wandb) else "offline")
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", run.project),
            name=run.name,
            id=number,
            resume="allow",
            dir=str(run.folder),
            config=dict(run.settings or {}),
            mode=mode,
            settings=wandb.Settings(silent=True, console="off", disable_git=True),
        )

    def log(self, step: int, scalars: Mapping[str, float]) -> None:
        self._run.log(dict(scalars), step=step)

    def close(self, *, finished: bool) -> None:
        self._run.finish(exit_code=0 if finished else 1)


def _logged_in(wandb: Any) -> bool:
    return bool(os.environ.get("WANDB_API_KEY") or wandb.api.api_key)


class _MLflow:
    def __init__(self, run: Tracked) -> None:
        mlflow = _package("mlflow", "mlflow")
        uri = os.environ.get("MLFLOW_TRACKING_URI")
        if not uri:
            # Of MLflow without a database; its own message asks for this variable.
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
            uri = (run.folder / "mlflow").absolute().as_uri()
        self._metric = mlflow.entities.Metric
        self._client = mlflow.MlflowClient(tracking_uri=uri)
        self._number = run.number("mlflow", lambda: self._created(run))
        self._client.update_run(self._number, status="RUNNING")
        parameters = (
            [mlflow.entities.Param(key, str(value)[:_VALUE_LIMIT]) for key, value in (run.settings or {}).items()]
            if not run.resume_step
            else []
        )
        for start in range(0, len(parameters), 100):
            self._client.log_batch(self._number, params=parameters[start : start + 100])

    def _created(self, run: Tracked) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", run.project)
        found = self._client.get_experiment_by_name(name)
        experiment = found.experiment_id if found else self._client.create_experiment(name)
        number: str = self._client.create_run(experiment, run_name=run.name[:_NAME_LIMIT]).info.run_id
        return number

    def log(self, step: int, scalars: Mapping[str, float]) -> None:
        now = int(time.time() * 1000)
        self._client.log_batch(
            self._number, metrics=[self._metric(name, value, now, step) for name, value in scalars.items()]
        )

    def close(self, *, finished: bool) -> None:
        self._client.set_terminated(self._number, "FINISHED" if finished else "KILLED")


class _Trackio:
    def __init__(self, run: Tracked) -> None:
        trackio = _package("trackio", "trackio")
        number = run.number("trackio", lambda: f"{run.name}-{uuid4().hex[:8]}")
        self._run = trackio.init(
            project=run.project, name=number, resume="allow", config=dict(run.settings or {}), embed=False
        )

    def log(self, step: int, scalars: Mapping[str, float]) -> None:
        self._run.log(dict(scalars), step=step)

    def close(self, *, finished: bool) -> None:
        self._run.finish()


TRACKERS: dict[str, Callable[[Tracked], Tracker]] = {
    TENSORBOARD: _TensorBoard,
    "wandb": _WandB,
    "mlflow": _MLflow,
    "trackio": _Trackio,
}
"""Name of `run.trackers` → what opens it."""
