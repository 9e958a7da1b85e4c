"""The whole training loop beside a bare forward–backward–step on random tensors of the same model.

Contenders, in turns in one process, with the recipe `sample_multi_task_full` (margin softmax and contrastive, live
images) and two image towers: its own, EfficientNet-Lite0 at 64 px, whose step is so short that decoding weighs most
(`loop_over_bare`), and one of the size that is usually trained (ViT-B/16 at 224 px, random weights;
`loop_over_bare_vit_b16`):
- `bare loop`: towers, objectives and optimisers on one random batch, over and over; no data, no log, no clipping;
- `training loop`: the run as users start it: images decoded and augmented by workers, two losses, gradient norms,
  clipping, log. Only its steady state is timed, from its own log: the first interval, in which the worker starts, is
  left out.
Both keep freed memory in the process, as the training command does (`training.process`).
Built on a small sample world (`runs/bench`), made on first use.

With `--open-clip` our loop beside open_clip's own training, contrastive on the same shards and towers
(`open_clip_peer.py`), with a small tower and a ViT-B/16: `loop_over_open_clip` and `loop_over_open_clip_vit_b16`.
With `--restart ROWS` how long a run over so many rows takes to its first batch, and in what memory (`train_input.py`).
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import statistics
import time
from pathlib import Path
from typing import Any

import torch

import harness
import open_clip_peer
import train_input

RECIPE = str(Path(__file__).parents[1] / "studies/recipes/sample_multi_task_full.yaml")


def recipe_for(world: Path, steps: int, interval: int, extra: list[str], recipe: str = RECIPE) -> Any:
    """A recipe over the small world's dataset."""
    from openmofi.training.recipe.rules import load_recipe

    places = {"data.dataset": world / "dataset", "data.kb": world / "kb", "data.cache": world / "cache"}
    return load_recipe(
        recipe,
        [
            *(f"{key}={json.dumps(str(value))}" for key, value in places.items()),
            f"run.steps={steps}",
            f"run.log_every={interval}",
            "run.checkpoint_every=1000000",
            "optimizer.warmup=1",
            *extra,
        ],
    )


def bare_seconds(recipe: Any, steps: int) -> float:
    """Seconds of `steps` steps on one random batch."""
    import numpy as np

    from openmofi.training.model import build_model, inputs_of
    from openmofi.training.state import build_optimizers, build_terms

    inputs = inputs_of(recipe.model)
    model = build_model(recipe.model, inputs, seed=0).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    terms = build_terms(recipe, np.ones(CLASSES, np.int64), torch.device("cpu"))
    optimizers = build_optimizers(recipe, model, terms)
    count, side = recipe.data.batch_size, recipe.model.image.size
    batch = {
        "image": torch.randn(count, 3, side, side).contiguous(memory_format=torch.channels_last),
        "text_features": torch.randn(count, model.text.head.weight.shape[1]),
        "labels": torch.randint(0, CLASSES, (count, 1)),
        "label_weights": torch.ones(count, 1),
        "text_id": torch.arange(count),
    }
    started = 0.0
    for step in range(-3, steps):
        if step == 0:
            started = time.perf_counter()
        embeddings = model(batch)
        loss = torch.stack([term.weight * term.objective(embeddings, batch).loss for term in terms.values()]).sum()
        for optimizer in optimizers.values():
            optimizer.inner.zero_grad(set_to_none=True)
        loss.backward()
        for optimizer in optimizers.values():
            optimizer.inner.step()
    return time.perf_counter() - started


def loop_seconds(recipe: Any, out: Path, steps: int) -> tuple[float, float]:
    """Seconds that `steps` steps of a run take in its steady state, and the share of waiting for data."""
    from openmofi.training.log import Unwatched, read_log
    from openmofi.training.run import train

    shutil.rmtree(out, ignore_errors=True)
    train(recipe, out, watcher=Unwatched())
    lines = read_log(out)[1:]
    return (
        steps * recipe.data.batch_size / statistics.harmonic_mean([line["images_per_s"] for line in lines]),
        statistics.mean(line["data_wait"] for line in lines),
    )


CLASSES = 1000


SMALL, USUAL = "EfficientNet-Lite0", "ViT-B/16"
VIT = [
    "model.image.spec=timm:vit_base_patch16_224",
    "model.image.size=224",
    "model.image.standardise=false",
    "data.batch_size=16",
]


# Figure, open_clip's name of the tower, batch size, and by what the log's interval is divided.
OPEN_CLIP = [
    ("loop_over_open_clip", "ViT-S-32-alt", 64, 4),
    ("loop_over_open_clip_vit_b16", "ViT-B-16", 16, 10),
]


def compared(recipe: Any, out: Path, steps: int, rounds: int, tower: str) -> dict[str, harness.Row]:
    """Rows of both loops with one tower, in turns."""
    bare, loop = f"bare loop, {tower}", f"training loop, {tower}"
    seconds: dict[str, list[float]] = {bare: [], loop: []}
    waits = []
    for _ in range(rounds):
        seconds[bare].append(bare_seconds(recipe, steps))
        taken, wait = loop_seconds(recipe, out, steps)
        seconds[loop].append(taken)
        waits.append(wait)
    rows = harness.summarise(seconds, steps * recipe.data.batch_size)
    rows[loop]["data_wait"] = statistics.median(waits)
    harness.show(f"train, {tower}", rows, "images", extra=("data_wait",))
    return rows


def beside_open_clip(world: Path, rounds: int, interval: int) -> tuple[list[harness.Row], dict[str, float]]:
    """Rows and figures of both loops in turns, the shorter steps first."""
    rows: list[harness.Row] = []
    figures: dict[str, float] = {}
    out = world / "bench-open-clip"
    pairs = open_clip_peer.unpacked(world / "world/pages/train", out / "pairs")
    for figure, tower, batch, each in OPEN_CLIP:
        steps = max(1, interval // each)
        recipe = recipe_for(world, 3 * steps, steps, open_clip_peer.settings(tower, batch), "clip_vit_b16")
        images = 2 * steps * batch
        seconds: dict[str, list[float]] = {f"open_clip's loop, {tower}": [], f"our loop, {tower}": []}
        theirs, ours = seconds.values()
        for _ in range(rounds):
            theirs.append(open_clip_peer.seconds(pairs, tower, recipe, images, out))
            ours.append(loop_seconds(recipe, out / "ours", 2 * steps)[0])
        compared = harness.summarise(seconds, images)
        harness.show(f"train, {tower}", compared, "images")
        figures[figure] = list(compared.values())[1]["ratio"]
        rows += compared.values()
    return rows, figures


def main() -> None:
    """Measure and write `results/train.json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--world", type=Path, default=Path("runs/bench"))
    parser.add_argument("--entities", type=int, default=250)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--interval", type=int, default=20)
    parser.add_argument("--restart", type=int, default=0, metavar="ROWS", help="Measure this instead.")
    parser.add_argument("--open-clip", action="store_true", help="Measure this instead.")
    parser.add_argument("--set", action="append", default=[], help="A setting of the recipe.")
    arguments = parser.parse_args()
    if arguments.restart:
        rows = train_input.measured(arguments.restart)
        harness.write_result("train", rows, train_input.figures(rows), keeps=True)
        return
    from openmofi.encoders.devices import keep_freed_memory
    from openmofi.engine import Quiet
    from studies.world.demo import label_world
    from studies.world.world_settings import world_settings

    keep_freed_memory(math.inf)
    label_world(arguments.world, Quiet(), settings=world_settings(None, arguments.entities))
    if arguments.open_clip:
        harness.write_result(
            "train", *beside_open_clip(arguments.world, arguments.rounds, arguments.interval), keeps=True
        )
        return
    out, interval, usual = arguments.world / "bench-train", arguments.interval, max(1, arguments.interval // 10)
    recipe = recipe_for(arguments.world, 3 * interval, interval, arguments.set)
    small = compared(recipe, out, 2 * interval, arguments.rounds, SMALL)
    recipe = recipe_for(arguments.world, 3 * usual, usual, [*VIT, *arguments.set])
    large = compared(recipe, out, 2 * usual, arguments.rounds, USUAL)
    loops = [list(rows.values())[1] for rows in (small, large)]
    harness.write_result(
        "train",
        [*small.values(), *large.values()],
        {
            "loop_over_bare": loops[0]["ratio"],
            "data_wait": loops[0]["data_wait"],
            "loop_over_bare_vit_b16": loops[1]["ratio"],
            "data_wait_vit_b16": loops[1]["data_wait"],
        },
        keeps=True,
    )


if __name__ == "__main__":
    main()
