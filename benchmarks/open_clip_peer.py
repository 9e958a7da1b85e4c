"""Contrastive training of the same towers by our loop and by open_clip's own (`open_clip_train.main`).

Both get the same pairs, batch size, crop, workers and precision (float32), and are run as users start them; only the
steady state is timed, by each one's own log, without its first interval. Ours reads images from tar shards, open_clip
the same from files that a table lists: its reader of shards does not work with WebDataset 1.0.
"""

from __future__ import annotations

import csv
import re
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import open_clip
from PIL import Image

SPEED = re.compile(r"Train Epoch: .*Batch \(t\): [\d.]+, ([\d.]+)/s")
SCALE = (0.9, 1.0)


def settings(model: str, batch: int) -> list[str]:
    """What the recipe `clip_vit_b16` needs to train `model` here, with nothing that open_clip doesn't do."""
    return [
        *(f"model.{tower}.spec=open_clip:{model}" for tower in ("image", "text")),
        f"model.dim={open_clip.get_model_config(model)['embed_dim']}",
        *(f"data.batch_size={batch}", "data.workers=2", f"data.augment.scale=[{SCALE[0]}, {SCALE[1]}]"),
        *("run.precision=fp32", "run.compile=false", "run.accumulate=1", "run.evaluate.every=0", "run.best=-loss"),
    ]


def unpacked(shards: Path, out: Path) -> list[tuple[Path, str]]:
    """Image and text of each pair of `shards`, as files in `out`; made once."""
    if not out.exists():
        for shard in shards.glob("*.tar"):
            with tarfile.open(shard) as tar:
                tar.extractall(out / shard.stem, filter="data")
    images = (path for path in sorted(out.glob("*/*")) if path.suffix in (".png", ".jpg") and _is_whole(path))
    return [(path, path.with_suffix(".txt").read_text("utf-8")) for path in images]


def _is_whole(path: Path) -> bool:
    """Whether it is an image: open_clip's loop ends with one that is not."""
    try:
        with Image.open(path) as image:
            image.load()
    except (OSError, SyntaxError):
        return False
    return True


def seconds(pairs: Sequence[tuple[Path, str]], model: str, recipe: Any, images: int, out: Path) -> float:
    """Seconds that `images` images take in the steady state of a run as long as the recipe's."""
    batch, interval, table = recipe.data.batch_size, recipe.run.log_every, out / "pairs.csv"
    with open(table, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("filepath", "title"), *islice(cycle(pairs), recipe.run.steps * batch)])
    command = [
        *(sys.executable, "-m", "open_clip_train.main", "--dataset-type", "csv", "--csv-separator", ","),
        *("--epochs", "1", "--train-data", str(table), "--batch-size", str(batch), "--model", model),
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
