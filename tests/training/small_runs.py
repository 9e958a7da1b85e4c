"""Small runs: recipes that take a second, what they learned, and how to interrupt them."""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from small_model import SMALL_MODEL
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save

import openmofi.training.run as run_module
from openmofi.objectives.objective_settings import ContrastiveSettings, MarginSoftmaxSettings
from openmofi.training.log import Unwatched, read_log
from openmofi.training.recipe import (
    DataSettings,
    ImageModel,
    ModelSettings,
    Objectives,
    OptimizerSettings,
    Recipe,
    RunSettings,
    TextModel,
)

EXACT = MarginSoftmaxSettings(1.0, "exact", chunk=4)
SAMPLED = MarginSoftmaxSettings(1.0, "sampled", sample_rate=0.3, min_sampled=2)
CONTRASTIVE = ContrastiveSettings(1.0, positives="entity-or-text", max_scale=20.0)
OBJECTIVES = {
    "contrastive": Objectives(contrastive=CONTRASTIVE),
    "exact": Objectives(EXACT),
    "sampled": Objectives(SAMPLED),
    "multi_task": Objectives(EXACT, replace(CONTRASTIVE, weight=0.5)),
    "multi_sampled": Objectives(SAMPLED, replace(CONTRASTIVE, weight=0.5)),
}
# A large eps: AdamW would turn the last bits of a gradient near zero into a whole step.
OPTIMIZER = OptimizerSettings(lr=3e-3, eps=1e-2, warmup=2, weight_decay=0.1, clip=0.5, head_clip=0.5, ema=0.9)


@dataclass(frozen=True)
class Maker:
    """Makes recipes over a dataset, with a tiny CLIP as the locked encoder."""

    dataset: str
    clip: str
    image: str = SMALL_MODEL

    def __call__(self, kind: str = "exact", *, locked: bool = False, **changes: dict[str, Any]) -> Recipe:
        """A recipe of one of `OBJECTIVES`; `changes` are settings by section (`image` is `model.image`)."""
        spec = f"encoder:hf:{self.clip}" if locked else self.image
        image = ImageModel(spec, size=0 if locked else 32)
        text = TextModel(f"encoder:hf:{self.clip}" if OBJECTIVES[kind].contrastive.weight else "none")
        return Recipe(
            "small",
            DataSettings(
                batch_size=12,
                shuffle_shards=2,
                max_labels=2,
                **{"dataset": self.dataset, "workers": 0} | changes.get("data", {}),
            ),
            ModelSettings(replace(image, **changes.get("image", {})), text, 8),
            OBJECTIVES[kind],
            replace(OPTIMIZER, **changes.get("optimizer", {})),
            replace(
                RunSettings(steps=6, log_every=1, checkpoint_every=3, threads=1, curves=False), **changes.get("run", {})
            ),
        )


def trained(
    recipe: Recipe, out: Path, *, resume: bool = False, restart: bool = False, watcher: Any = None, labels: bool = False
) -> dict[str, Any]:
    """What `train` gives."""
    return run_module.train(recipe, out, resume=resume, restart=restart, watcher=watcher or Unwatched(), labels=labels)


def losses(out: Path) -> dict[int, float]:
    """Step → loss as logged, every digit of it."""
    return {line["step"]: line["loss"] for line in read_log(out)}


def stored(out: Path, step: int, where: str = "checkpoints") -> dict[str, torch.Tensor]:
    """All tensors of a checkpoint as torch's own converter gives them."""
    target = out / f"whole-{step}.pt"
    dcp_to_torch_save(out / where / f"step-{step:08d}", target)
    found = torch.load(target)
    target.unlink()
    return found


def differences(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> list[str]:
    """Names of the tensors that are not equal to the bit; what is not a number may be."""
    return sorted(one.keys() ^ other.keys()) + [
        name
        for name in one.keys() & other.keys()
        if not torch.equal(one[name].reshape(-1).view(torch.uint8), other[name].reshape(-1).view(torch.uint8))
    ]


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """Whether all tensors are equal to the bit."""
    return not differences(one, other)


class InterruptAt(Unwatched):
    """Sends this process a signal so that the run stops after `step` steps."""

    def __init__(self, step: int, number: int = signal.SIGINT) -> None:
        self._step, self._number = step, number

    def log(self, step: int, scalars: Any) -> None:
        """The signal is looked at once a step, before the log."""
        if step == self._step - 1:
            os.kill(os.getpid(), self._number)


def break_first(folder: Path) -> Path:
    """Overwrite the first image of a dataset's first shard where it lies; the shard."""
    tar = folder / "pairs" / "00000.tar"
    place = tar.read_bytes().index(b"\xff\xd8\xff")
    with tar.open("r+b") as file:
        file.seek(place)
        file.write(bytes(400))
    return tar


@contextmanager
def poisoned(steps: set[int], *, row: int = 0, name: str = "image"):
    """Inside, row `row` of the global batches of `steps` holds NaN."""
    true = run_module.open_data

    def opened(*args: Any, **more: Any) -> Any:
        data = true(*args, **more)
        batches = data.batches

        def spoiled(start: int, stop: int, *, rank: int = 0, world: int = 1, workers: int = 0):
            for step, batch in zip(
                range(start, stop), batches(start, stop, rank=rank, world=world, workers=workers), strict=True
            ):
                size = len(batch["row"])
                if step in steps and row // size == rank:
                    batch[name] = batch[name].float()  # bytes are always numbers
                    batch[name][row % size] = torch.nan
                yield batch

        data.batches = spoiled
        return data

    run_module.open_data = opened
    try:
        yield
    finally:
        run_module.open_data = true
