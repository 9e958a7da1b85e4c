"""One process of the runs on several ranks; started by the tests as a script:
FOLDER DATASET CLIP RANK WORLD TASK."""

from __future__ import annotations

import signal
import sys
from dataclasses import replace
from pathlib import Path

import torch
import torch.distributed as dist

sys.path.insert(0, str(Path(__file__).parent))

from small_runs import InterruptAt, Maker, poisoned, trained

import openmofi.training.loop as loop_module
from openmofi.errors import OpenMofiError
from openmofi.training.checkpoint import Checkpoints
from openmofi.training.recipe import EvaluateSettings, ImageModel, Lora

ADAPTED = {"lora": {"lora": Lora(2), "freeze_steps": 1}, "frozen_first": {"freeze_steps": 2}}
"""Case → what its image tower has, beside the objective `exact`."""
CASES = ("contrastive", "exact", "sampled", "multi_sampled", *ADAPTED)


def case_recipe(make: Maker, kind: str, fsdp: bool):
    """What ranks are compared on: no random numbers that a rank draws for itself."""
    locked = kind == "sampled" and not fsdp
    objectives, image = ("exact", ADAPTED[kind]) if kind in ADAPTED else (kind, {})
    return make(
        objectives,
        locked=locked,
        image=image,
        run={"steps": 4, "fsdp": fsdp, "accumulate": 2 if kind == "contrastive" else 1},
    )


def compare(folder: Path, make: Maker, world: int) -> None:
    """Every case to its end, replicated and sharded."""
    for kind in CASES:
        for fsdp in (False, True):
            trained(case_recipe(make, kind, fsdp), folder / f"{kind}-{fsdp}-{world}")


def skip(folder: Path, make: Maker, world: int) -> None:
    """Rows of the last rank that are not finite: two steps are skipped, three stop every rank."""
    for fsdp in (False, True):
        recipe = make("multi_sampled", run={"steps": 7, "fsdp": fsdp, "checkpoint_every": 1})
        with poisoned({1, 2}, row=11):
            trained(recipe, folder / f"skipped-{fsdp}-{world}")
        with poisoned({1, 2, 3}, row=11):
            try:
                trained(recipe, folder / f"stopped-{fsdp}-{world}")
            except OpenMofiError as error:
                (folder / f"stopped-{fsdp}-{world}-{dist.get_rank()}.txt").write_text(error.message)


def chained(make: Maker, fsdp: bool, over: str = "all"):
    return make("multi_sampled", run={"steps": 8, "fsdp": fsdp, "shard_over": over, "keep": 9})


SPREAD = {"ddp": {}, "fsdp": {"fsdp": True}, "hsdp": {"fsdp": True, "shard_over": "node"}}
"""How the towers of `hybrid_recipe` are spread."""


def hybrid_recipe(make: Maker, kind: str, precision: str, spread: str):
    """Of `CASES`, in micro-batches of one row on four ranks where the objective is `contrastive`."""
    objectives, image = ("exact", ADAPTED[kind]) if kind in ADAPTED else (kind, {})
    run = {"steps": 4, "precision": precision, "accumulate": 3 if kind == "contrastive" else 1}
    # Another order of the same sum is another rounding to bf16 in the next step, which a high rate makes large.
    optimizer = {"lr": 3e-4} if precision == "bf16" else {}
    return make(objectives, image=image, optimizer=optimizer, run=run | SPREAD[spread])


def hybrid(folder: Path, make: Maker, world: int) -> None:
    """Every case sharded over the ranks of a node; some in bf16, spread in each way."""
    for kind in CASES:
        trained(hybrid_recipe(make, kind, "fp32", "hsdp"), folder / f"hybrid-{kind}-fp32-hsdp")
    for spread in SPREAD:
        trained(hybrid_recipe(make, "contrastive", "bf16", spread), folder / f"hybrid-contrastive-bf16-{spread}")
        resnet = hybrid_recipe(make, "exact", "bf16", spread)
        resnet = replace(resnet, model=replace(resnet.model, image=ImageModel("timm:test_resnet", size=32)))
        trained(resnet, folder / f"hybrid-resnet-bf16-{spread}")


def go_on(out: Path, recipe, stop: int | None) -> None:
    """Resume, write what was loaded beside the run before the first step, and stop after `stop` steps."""
    true = loop_module.run_loop

    def watched(state, recipe, batches, forward, checkpoints, report, start, evaluation):
        if start.step:
            Checkpoints(out / "loaded", keep=9, best="-loss").save(state, start)
        return true(state, recipe, batches, forward, checkpoints, report, start, evaluation)

    loop_module.run_loop = watched
    try:
        trained(recipe, out, resume=True, watcher=None if stop is None else InterruptAt(stop))
    except KeyboardInterrupt:
        assert stop is not None
    finally:
        loop_module.run_loop = true


def buffers(folder: Path, make: Maker, world: int) -> None:
    """Batch statistics differ between ranks until a checkpoint: a resumed run must go on with the same ones."""
    recipe = make("exact", image={"spec": "timm:test_resnet"}, run={"steps": 4, "checkpoint_every": 2})
    trained(recipe, folder / "buffers-whole")
    try:
        trained(recipe, folder / "buffers-parts", watcher=InterruptAt(2))
    except KeyboardInterrupt:
        trained(recipe, folder / "buffers-parts", resume=True)


def grown_recipe(make: Maker, spread: str, compiled: bool):
    """Two steps of small images, then two of whole ones."""
    image = {"first_sizes": (16,), "first_share": 0.5}
    kind = "exact" if compiled else "multi_sampled"
    return make(kind, image=image, run={"steps": 4, "compile": compiled, **SPREAD[spread]})


def grow(folder: Path, make: Maker, world: int) -> None:
    """Images that grow, stopped where they do, and to the end without where nothing is compiled."""
    for spread, compiled in ((spread, compiled) for spread in ("ddp", "fsdp") for compiled in (False, True)):
        recipe, name = grown_recipe(make, spread, compiled), f"{spread}-{compiled}"
        if not compiled:
            trained(recipe, folder / f"grown-{name}")
        try:
            trained(recipe, folder / f"grown-parts-{name}", watcher=InterruptAt(2))
        except KeyboardInterrupt:
            trained(recipe, folder / f"grown-parts-{name}", resume=True)
        else:
            raise AssertionError("the run was not stopped")


def evaluated_recipe(make: Maker, fsdp: bool):
    evaluate = EvaluateSettings(2, retrieval=True, knn=True, zero_shot=True, loss=True, held_out=0.5, neighbours=3)
    return make(
        "multi_sampled",
        run={"steps": 8, "fsdp": fsdp, "evaluate": evaluate, "best": "zero_shot/accuracy", "patience": 2},
    )


def evaluate(folder: Path, make: Maker, world: int) -> None:
    """Evaluations, and the early end that follows from them."""
    for fsdp in (False, True):
        trained(evaluated_recipe(make, fsdp), folder / f"evaluated-{fsdp}-{world}")


def labels_recipe(make: Maker, folder: Path):
    """On the labels of a job; `trained` is told that they are no dataset."""
    return make("exact", run={"steps": 4}, data={"dataset": str(folder / "world/labels")})


def labels(folder: Path, make: Maker, world: int) -> None:
    """Rank 0 builds the dataset, and the others wait for it."""
    trained(labels_recipe(make, folder), folder / f"labels-{world}", labels=True)


def resumed_recipe(make: Maker):
    """Of the runs under torchrun, whose processes do not know the small model."""
    return make(
        "multi_sampled",
        image={"spec": "timm:test_vit", "drop_path": 0.2},
        data={"workers": 1},
        run={"steps": 24, "checkpoint_every": 4},
    )


def uninterrupted(folder: Path, make: Maker, world: int) -> None:
    trained(resumed_recipe(make), folder / "uninterrupted")


def patient(folder: Path, make: Maker, world: int) -> None:
    """Rank 1 kills itself in a step; the other must end by itself."""
    recipe = make("multi_sampled", run={"steps": 50})
    true = loop_module.run_loop

    def watched(state, recipe, batches, forward, *rest):
        calls = []

        def dying(batch):
            calls.append(1)
            if len(calls) == 4 and dist.get_rank() == 1:
                signal.raise_signal(signal.SIGKILL)
            return forward(batch)

        return true(state, recipe, batches, dying, *rest)

    loop_module.run_loop = watched
    trained(recipe, folder / "killed")


def main(folder: Path, make: Maker, rank: int, world: int, task: str) -> None:
    torch.set_num_threads(1)
    if world > 1:
        dist.init_process_group(
            "gloo", init_method=f"file://{folder}/group-{task}-{world}", rank=rank, world_size=world
        )
    if task.startswith("chain"):
        # chain:NAME:FSDP:STOP
        _, name, fsdp, stop = task.split(":")
        over = "node" if fsdp == "hsdp" else "all"
        go_on(folder / name, chained(make, fsdp != "ddp", over), int(stop) or None)
    else:
        for part in task.split("+"):
            {
                "compare": compare,
                "skip": skip,
                "buffers": buffers,
                "grow": grow,
                "hybrid": hybrid,
                "evaluate": evaluate,
                "labels": labels,
                "patient": patient,
                "uninterrupted": uninterrupted,
            }[part](folder, make, world)
    if world > 1:
        dist.barrier()
        dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Maker(sys.argv[2], sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]), sys.argv[6])
