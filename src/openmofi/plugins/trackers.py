"""wandb, MLflow and Trackio as trackers of `run.trackers`, beside `log.jsonl` and TensorBoard.

Each one's own variables of the environment (`WANDB_MODE`, `MLFLOW_TRACKING_URI`, `TRACKIO_DIR`, …) say where it writes;
without them wandb works offline in the folder of the run and MLflow writes files there.

- Entry points: `openmofi.trackers` `mlflow`, `trackio`, `wandb`
- Needs: `pip install 'openmofi[wandb]'`, `'openmofi[mlflow]'` or `'openmofi[trackio]'`
- Use: `openmofi train RECIPE … --set run.trackers='[tensorboard, wandb]'`
- Never: ends a run when a tracker fails, or logs in by itself
- Tests: `tests/plugins/test_trackers.py`
- Documentation: `docs/training.md`
"""

import os
import time
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from openmofi.training.log import Tracked, imported

_NAME_LIMIT = 250
_VALUE_LIMIT = 500


class WandB:
    """Logs to Weights & Biases."""

    def __init__(self, run: Tracked) -> None:
        wandb = imported("wandb", "wandb")
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
        """Log scalars of a step."""
        self._run.log(dict(scalars), step=step)

    def close(self, *, finished: bool) -> None:
        """End the run."""
        self._run.finish(exit_code=0 if finished else 1)


def _logged_in(wandb: Any) -> bool:
    return bool(os.environ.get("WANDB_API_KEY") or wandb.api.api_key)


class MLflow:
    """Logs to MLflow."""

    def __init__(self, run: Tracked) -> None:
        mlflow = imported("mlflow", "mlflow")
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
        existing = self._client.get_experiment_by_name(name)
        experiment = existing.experiment_id if existing else self._client.create_experiment(name)
        return self._client.create_run(experiment, run_name=run.name[:_NAME_LIMIT]).info.run_id

    def log(self, step: int, scalars: Mapping[str, float]) -> None:
        """Log scalars of a step."""
        now = int(time.time() * 1000)
        self._client.log_batch(
            self._number, metrics=[self._metric(name, value, now, step) for name, value in scalars.items()]
        )

    def close(self, *, finished: bool) -> None:
        """End the run."""
        self._client.set_terminated(self._number, "FINISHED" if finished else "KILLED")


class Trackio:
    """Logs to Trackio."""

    def __init__(self, run: Tracked) -> None:
        trackio = imported("trackio", "trackio")
        number = run.number("trackio", lambda: f"{run.name}-{uuid4().hex[:8]}")
        self._run = trackio.init(
            project=run.project, name=number, resume="allow", config=dict(run.settings or {}), embed=False
        )

    def log(self, step: int, scalars: Mapping[str, float]) -> None:
        """Log scalars of a step."""
        self._run.log(dict(scalars), step=step)

    def close(self, *, finished: bool) -> None:
        """End the run."""
        self._run.finish()
