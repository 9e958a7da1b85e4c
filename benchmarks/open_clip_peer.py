"""Contrastive training of the same towers by our loop and by open_clip's own (`open_clip_train.main`).

Both get the same tar shards, batch size, crop, workers and precision (float32), and are run as users start them; only
the steady state is timed, by each one's own log, without its first interval. open_clip decodes whole shards in their
order by WebDataset, ours reads single images in the order of its plan.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

SPEED = re.compile(r"Train Epoch: .*Batch \(t\): [\d.]+, ([\d.]+)/s")
SCALE = (0.9, 1.0)


def settings(model: str, batch: int) -> list[str]:
    """What the recipe `clip_vit_b16` needs to train `model` here, with nothing that open_clip doesn't do."""
    return [
        *(f"model.{tower}.spec=open_clip:{model}" for tower in ("image", "text")),
        *(f"data.batch_size={batch}", "data.workers=2", f"data.augment.scale=[{SCALE[0]}, {SCALE[1]}]"),
        *("run.precision=fp32", "run.compile=false", "run.accumulate=1", "run.evaluate.every=0", "run.best=-loss"),
    ]


def seconds(shards: Path, model: str, recipe: Any, images: int, out: Path) -> float:
    """Seconds that `images` images take in open_clip's loop."""
    names = sorted(path.name for path in shards.glob("*.tar"))
    batch, interval = recipe.data.batch_size, recipe.run.log_every
    command = [
        *(sys.executable, "-m", "open_clip_train.main", "--dataset-type", "webdataset", "--epochs", "1"),
        *("--train-data", "::".join(str(shards / name) for name in names), "--dataset-resampled"),
        *("--train-num-samples", str(recipe.run.steps * batch), "--batch-size", str(batch), "--model", model),
        *("--workers", str(recipe.data.workers), "--precision", "fp32", "--log-every-n-steps", str(interval)),
        *("--aug-cfg", f"scale=({SCALE[0]},{SCALE[1]})", "--warmup", "1", "--logs", str(out), "--save-frequency", "0"),
        *("--device", "cpu"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    speeds = [float(speed) for speed in SPEED.findall(done.stderr + done.stdout)]
    if done.returncode or len(speeds) < 3:
        raise SystemExit(f"open_clip's training ended with {done.returncode}: {(done.stderr or done.stdout)[-2000:]}")
    # The first line is of the first step alone, in which its workers start.
    return images * sum(1 / speed for speed in speeds[1:]) / len(speeds[1:])
