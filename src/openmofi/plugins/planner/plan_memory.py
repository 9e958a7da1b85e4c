"""What a rank of a run needs before its first step: memory, work and hours, without a GPU."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import torch

from openmofi.config import changed
from openmofi.errors import OpenMofiError, UsageError
from openmofi.objectives.margin_softmax import sample_size
from openmofi.plugins.planner.fake_passes import Towers, measured_towers
from openmofi.plugins.sharded_towers import ranks_of_node
from openmofi.training.model.towers import ModelInputs
from openmofi.training.recipe import Recipe


class Gpu(NamedTuple):
    """A kind of GPU.

    Attributes:
        name: of messages.
        memory: bytes that programs see.
        tflops: dense TFLOP/s in bf16, of its data sheet; TF32 has half of these.
        fp32_tflops: the same in float32.
    """

    name: str
    memory: int
    tflops: float
    fp32_tflops: float


_GIB = 1 << 30
GPUS = {
    gpu.name: gpu
    for gpu in (
        # GeForce RTX 4090: NVIDIA Ada GPU architecture, v2.1, appendix A; float32 accumulation, without sparsity.
        Gpu("rtx4090", int(23.5 * _GIB), 165.2, 82.6),
        Gpu("a100-40gb", int(39.4 * _GIB), 312.0, 19.5),
        Gpu("a100-80gb", int(79.1 * _GIB), 312.0, 19.5),
        Gpu("h100", int(79.1 * _GIB), 989.0, 67.0),
        Gpu("h200", int(139.8 * _GIB), 989.0, 67.0),
    )
}
"""What `openmofi train --plan` knows."""
UTILISATION = 0.4
"""Assumed share of a GPU's peak that the towers reach; depthwise convolutions reach less."""
RESERVE = 3 << 30
"""Assumed bytes of the CUDA context, NCCL, cuBLAS and of gaps between allocations."""
CLASSES = 2_000_000
"""Assumed where no dataset says it: the paper's."""
PAIRS = 1_000_000
"""Assumed where the recipe counts epochs, and no dataset says of how many pairs."""
_PREFETCHED = 2
# Greatest number of float32 tiles that are alive together, measured on CPU (test_plan_memory.py).
_HEAD_TILES, _PAIR_TILES = 5, 9


@dataclass(frozen=True)
class MemoryPlan:
    """What a rank needs.

    Attributes:
        recipe: its name.
        gpu, gpus: kind and number of GPUs.
        classes: of the class head; 0 without one.
        micro_batch, accumulate: rows of a rank that pass the towers together, and how often a step does that.
        memory: part → bytes on each GPU. Their sum is an upper estimate, since not all are largest at once.
        available: bytes of each GPU.
        host: bytes of shared memory for the batches that a rank's workers make ahead.
        flops, loss_flops: of a rank's step, in the towers and in the losses; where images grow, the mean of all steps.
        parameters, trained: of the towers: how many, and how many of these are trained.
        steps: of the run.
        hours: of all steps, with `UTILISATION` of the GPU's peak.
        fix: settings that make it fit where it does not; empty where none were found.
    """

    recipe: str
    gpu: str
    gpus: int
    classes: int
    micro_batch: int
    accumulate: int
    memory: dict[str, int]
    available: int
    host: int
    flops: int
    loss_flops: int
    parameters: int
    trained: int
    steps: int
    hours: float
    fix: dict[str, Any] = field(default_factory=dict)

    @property
    def left(self) -> int:
        """Bytes that stay free on each GPU; negative where it does not fit."""
        return self.available - sum(self.memory.values())

    @property
    def verdict(self) -> str:
        """Whether it fits, as a sentence."""
        fits = self.left >= 0
        return (
            f"{self.recipe} with {self.micro_batch:,} rows at a time {'fits' if fits else 'does not fit'} "
            f"{self.gpus} × {self.gpu}: {abs(self.left) / _GIB:.1f} GiB are {'left' if fits else 'missing'} on each."
        )

    @property
    def hint(self) -> str:
        """What would fit, as a sentence; empty where it does."""
        if self.left >= 0:
            return ""
        settings = " ".join(f"--set {key}={json.dumps(value)}" for key, value in self.fix.items())
        return f"Add {settings}." if settings else "No number of micro-batches makes it fit: take a smaller model."


def planned(
    recipe: Recipe, towers: Towers, gpu: Gpu, *, gpus: int, classes: int, pairs: int = PAIRS, nodes: int = 1
) -> MemoryPlan:
    """Estimate a run's memory and hours on each GPU, and what makes it fit.

    Args:
        recipe: see `Recipe`; where its `run.accumulate` is 0, the least number that fits is taken.
        towers: of the recipe, see `measured_towers`.
        gpu, gpus: kind and number of GPUs.
        classes: of the class head.
        pairs: that are trained on; they decide the steps where the recipe counts epochs.
        nodes: that the GPUs are in, as many in each.

    Raises:
        UsageError: the batch cannot be shared by the ranks and micro-batches.
    """
    size, count = recipe.data.batch_size, recipe.run.accumulate or 1
    if size % (gpus * count):
        raise UsageError(
            f"A batch of {size} cannot be shared by {gpus} GPUs in run.accumulate = {count} equal parts each.",
            "Set data.batch_size to a multiple of run.accumulate times the number of GPUs.",
        )
    chooses, recipe = not recipe.run.accumulate, changed(recipe.over(pairs), {"run.accumulate": count})
    found = _estimate(recipe, towers, gpu, gpus, classes, nodes)
    rows = size // gpus
    for change in ({}, {"run.fsdp": True}) if found.left < 0 else ():
        for number in (each for each in range(count, rows + 1, count) if rows % each == 0):
            changes = {**change, "run.accumulate": number}
            other = _estimate(changed(recipe, changes), towers, gpu, gpus, classes, nodes)
            if other.left >= 0:
                return other if chooses and not change else replace(found, fix=changes)
    return found


def cut_for(recipe: Recipe, inputs: ModelInputs, device: torch.device, gpus: int, classes: int) -> int:
    """The least number of micro-batches that fits into `gpus` devices like this one by the estimate; 1 on CPUs.

    Raises:
        UsageError: none fits, or the towers do not run on fake tensors; says what to set.
    """
    if device.type != "cuda":
        return 1
    try:
        towers = measured_towers(recipe, inputs)
        found = planned(recipe, towers, _gpu_of(device), gpus=gpus, classes=classes, nodes=_nodes(gpus))
    except RuntimeError as error:
        raise UsageError(
            f"The memory that {recipe.name} needs cannot be estimated: {error}", "Set run.accumulate to a number."
        ) from None
    if found.left < 0:
        raise UsageError(found.verdict, f"{found.hint} Or set run.accumulate to a number, which is tried.")
    return found.accumulate


def memory_was_full(recipe: Recipe, device: torch.device, ranks: int, steps: Sequence[int]) -> OpenMofiError:
    """Return the error with which a run ends when the memory of a device was full.

    Args:
        recipe: see `Recipe`.
        device, ranks: one of the devices, and how many there are.
        steps: of the checkpoints that there are.
    """
    rows, count = recipe.data.batch_size // ranks, recipe.run.accumulate
    if steps:
        return OpenMofiError(
            f"The memory of {device} was full at {rows // count} rows at a time, which had fitted before.",
            "See what else uses it, and go on with --resume.",
        )
    smaller = next((parts for parts in range(2 * count, rows + 1) if rows % parts == 0), 0)
    again = f"Start again with --restart --set run.accumulate={smaller}, which leaves the batch as it is. "
    return OpenMofiError(
        f"{rows // count} rows at a time do not fit into the memory of {device}.",
        (again if smaller else "") + f"See what fits: openmofi train {recipe.name} --plan.",
    )


def require_fit_on(recipe: Recipe, inputs: ModelInputs, device: torch.device, gpus: int) -> None:
    """Refuse a run that cannot fit into `gpus` CUDA devices like this one, see `require_fit`."""
    require_fit(recipe, inputs, _gpu_of(device), gpus=gpus)


def _nodes(ranks: int) -> int:
    return max(1, ranks // (ranks_of_node() or ranks))


def _gpu_of(device: torch.device) -> Gpu:
    memory = torch.cuda.get_device_properties(device).total_memory
    return Gpu(torch.cuda.get_device_name(device), memory, math.inf, math.inf)


def require_fit(recipe: Recipe, inputs: ModelInputs, gpu: Gpu, *, gpus: int) -> None:
    """Refuse a run whose towers cannot fit, before its data are read: without a class head, gradients (which come as
    activations go) and any reserve, and with half of the activations where the towers are compiled, since these keep
    less.

    Towers that do not run on fake tensors are not refused.

    Raises:
        UsageError: it cannot fit; says what would.
    """
    try:
        towers = measured_towers(recipe, inputs)
    except RuntimeError:
        # What PyTorch raises where a shape depends on values.
        return
    found = planned(recipe, towers, gpu, gpus=gpus, classes=1, nodes=_nodes(gpus))
    compiled = found.memory["activations"] // 2 if recipe.run.compile else 0
    spared = RESERVE + found.memory["gradients"] + compiled
    if found.left + spared < 0:
        raise UsageError(found.verdict, found.hint)


def _estimate(recipe: Recipe, towers: Towers, gpu: Gpu, gpus: int, classes: int, nodes: int) -> MemoryPlan:
    rows, count = recipe.data.batch_size // gpus, recipe.run.accumulate
    shards = (gpus // nodes if recipe.run.shard_over == "node" else gpus) if recipe.run.fsdp else 1
    head, head_flops = _of_head(recipe, gpus, classes)
    pairs, pair_flops = _of_pairs(recipe, rows)
    memory = _of_towers(recipe, towers, gpus, shards) | {
        "batch": rows * towers.row,
        "activations": towers.peak(rows // count) - (towers.copied if shards > 1 else 0),
        "class_head": head,
        "other_losses": pairs,
        "reserve": RESERVE,
    }
    # With micro-batches every row passes forward once more.
    flops = rows * (towers.both + (towers.forward if count > 1 else 0))
    # Losses are in float32, whose products are TF32 beside bf16 alone: see `openmofi.training.distributed`.
    bf16 = recipe.run.precision == "bf16"
    towers_rate, losses_rate = (gpu.tflops, gpu.tflops / 2) if bf16 else (gpu.fp32_tflops, gpu.fp32_tflops)
    seconds = (flops / towers_rate + (head_flops + pair_flops) / losses_rate) / (UTILISATION * 1e12)
    return MemoryPlan(
        recipe.name,
        gpu.name,
        gpus,
        classes if recipe.objectives.margin_softmax.weight else 0,
        rows // count,
        count,
        memory,
        gpu.memory,
        recipe.data.workers * _PREFETCHED * rows * towers.row,
        flops,
        head_flops + pair_flops,
        towers.parameters,
        towers.trained_parameters,
        recipe.run.length,
        recipe.run.length * seconds / 3600,
    )


def _of_towers(recipe: Recipe, towers: Towers, gpus: int, shards: int) -> dict[str, int]:
    """Parameters, gradients, AdamW's moments and averages; with FSDP2 a rank's share, and the blocks in use."""
    trained = gradients = towers.trained
    gathered = towers.gathered if shards > 1 else 0
    if shards > 1:
        # Micro-batches but the last leave whole gradients on every rank. They are reduced in float32.
        gradients = trained // shards + (trained if recipe.run.accumulate > 1 else gathered)
    elif gpus > 1:
        # DDP's buckets are copies.
        gradients = 2 * trained
    # What training starts from is kept whole.
    averages = bool(recipe.optimizer.ema) * trained // shards + bool(recipe.model.start_share) * trained
    return {
        "parameters": towers.weights // shards + gathered - (towers.halved if shards > 1 else 0),
        "gradients": gradients,
        "optimizer": 2 * trained // shards,
        "averages": averages,
    }


def _of_head(recipe: Recipe, gpus: int, classes: int) -> tuple[int, int]:
    """Bytes and FLOPs of a rank's share of the margin softmax: weights, moments, gradient and tiles of logits."""
    settings, size, dim = recipe.objectives.margin_softmax, recipe.data.batch_size, recipe.model.dim
    if not settings.weight:
        return 0, 0
    width = dim * settings.sub_centers
    local = math.ceil(classes / gpus)
    scored = local
    if settings.implementation == "sampled":
        drawn = sample_size(classes, settings.sample_rate, settings.min_sampled)
        scored = min(local, math.ceil((drawn + size) / gpus))
    moments = 0 if recipe.optimizer.head == "row-adagrad" else 2
    tile = size * min(settings.chunk, scored) * settings.sub_centers
    losses = 1 + bool(settings.texts)
    memory = (1 + moments) * local * width + losses * (scored * width + 3 * size * dim) + _HEAD_TILES * tile
    # Logits, once more in the backward pass, and the gradients of both factors.
    return 4 * memory, losses * 8 * size * scored * width


def _of_pairs(recipe: Recipe, rows: int) -> tuple[int, int]:
    """Bytes and FLOPs of losses between a rank's rows and all pairs."""
    memory = flops = 0
    for settings in (recipe.objectives.contrastive, recipe.objectives.reinforced):
        if settings.weight:
            size = recipe.data.batch_size
            memory += 4 * size * (_PAIR_TILES * min(settings.chunk or rows, rows) + 4 * recipe.model.dim)
            flops += 16 * rows * size * recipe.model.dim
    return memory, flops
