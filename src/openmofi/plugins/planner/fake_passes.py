"""Passes of a recipe's towers over fake tensors: the memory and the FLOPs that they take, without weights or a GPU."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count, sdpa_backward_flop_count, sdpa_flop_count

from openmofi.objectives.protocol import Batch
from openmofi.plugins.growing_images import shares_of
from openmofi.plugins.sharded_towers import blocks_of, is_small
from openmofi.quiet import quiet_logging
from openmofi.training.model import build_model
from openmofi.training.model.towers import DualEncoder, ModelInputs, Projected, Tower
from openmofi.training.recipe import Recipe

_FEW = 2


class LiveMemory(TorchDispatchMode):
    """Follows the memory of tensors that operations make while it is entered, fake or real.

    Args:
        known: tensors that are there before, and do not count.

    Attributes:
        live, peak: bytes now, and at most.
    """

    def __init__(self, known: Iterable[Tensor]) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._seen = weakref.WeakSet(tensor.untyped_storage() for tensor in known)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and count the storages that are new in what it returns."""
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor) and not tensor.is_sparse:
                storage = tensor.untyped_storage()
                if storage not in self._seen:
                    self._seen.add(storage)
                    self.live += storage.nbytes()
                    weakref.finalize(storage, self._freed, storage.nbytes())
        self.peak = max(self.peak, self.live)
        return out

    def _freed(self, size: int) -> None:
        self.live -= size


def passes(model: DualEncoder, batch: Batch, *, bf16: bool) -> tuple[int, int]:
    """Run both passes of the towers over a micro-batch and follow their memory.

    Args:
        model, batch: real tensors on the CPU, or fake ones under their mode.
        bf16: whether autocast is on.

    Returns:
        Bytes that the forward pass leaves for the backward pass, its outputs included; and the most bytes alive in
        both, beside parameters and their gradients.
    """
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter) if parameter.requires_grad else None
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    with LiveMemory([*model.parameters(), *model.buffers(), *gradients, *batch.values()]) as memory:
        outputs = _embedded(model, batch, bf16)
        kept = memory.live
        _push_back(outputs)
        return kept, memory.peak


def flops_of(model: DualEncoder, batch: Batch) -> tuple[int, int]:
    """FLOPs of the forward pass over a micro-batch, and of both passes; see `passes`."""
    aten = torch.ops.aten
    # The counter does not know attention as CPUs compute it, nor groups of channels in the backward pass.
    formulas = {
        aten.convolution_backward: lambda out, inputs, weight, *_, **__: 2 * conv_flop_count(inputs, weight, out),
        aten._scaled_dot_product_flash_attention_for_cpu: lambda *shapes, **_: sdpa_flop_count(*shapes[:3]),
        aten._scaled_dot_product_flash_attention_for_cpu_backward: (
            lambda *shapes, **_: sdpa_backward_flop_count(*shapes[:4])
        ),
    }
    with FlopCounterMode(display=False, custom_mapping=formulas) as counter:
        outputs = _embedded(model, batch, bf16=False)
        forward = counter.get_total_flops()
        _push_back(outputs)
        return forward, counter.get_total_flops()


def _embedded(model: DualEncoder, batch: Batch, bf16: bool) -> list[Tensor]:
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
        return [value for value in model(batch).values() if value.requires_grad]


def _push_back(outputs: list[Tensor]) -> None:
    torch.autograd.backward(outputs, [torch.ones_like(value) for value in outputs])


@dataclass(frozen=True)
class Towers:
    """What was found of a recipe's towers.

    Attributes:
        weights, trained, gathered: bytes of all parameters, of those that are trained, and of those that are whole at
            once on a rank under FSDP2, in float32.
        row: bytes of what the towers read of a row.
        peaks: rows of a micro-batch → most bytes alive in its passes; two points, between which it is no more than
            the straight line: the greatest of several linear functions is convex.
        forward, both: FLOPs of a row's forward pass, and of both passes: of one row more in a micro-batch; where images
            grow during the run, the mean of its steps. All else is of the model's own size, the greatest.
        parameters, trained_parameters: how many numbers `weights` and `trained` are.
        halved, copied: bytes of `gathered` that FSDP2 spares with bf16, and of the blocks' weights in bf16, which
            autocast keeps until the backward pass and FSDP2 does not; 0 in float32.
    """

    weights: int
    trained: int
    gathered: int
    row: int
    peaks: tuple[tuple[int, int], tuple[int, int]]
    forward: int
    both: int
    parameters: int = 0
    trained_parameters: int = 0
    halved: int = 0
    copied: int = 0

    def peak(self, rows: int) -> int:
        """Most bytes alive in the passes of so many rows."""
        (few, low), (many, high) = self.peaks
        return low + (high - low) * max(0, rows - few) // max(1, many - few)


def measured_towers(recipe: Recipe, inputs: ModelInputs) -> Towers:
    """Measure a recipe's towers with fake tensors; no GPU is needed, nor weights, but those that `hf:` names.

    Args:
        recipe: see `Recipe`.
        inputs: of its model, see `openmofi.training.model.inputs_of`.
    """
    bf16, rows = recipe.run.precision == "bf16", max(_FEW + 1, recipe.data.batch_size)
    # transformers reads weights in any case, which it refuses to do on the meta device.
    read = any(side.spec.startswith("hf:") for side in (recipe.model.image, recipe.model.text))
    with quiet_logging(), torch.device("cpu" if read else "meta"):
        model = build_model(_without_weights(recipe), inputs, seed=0)
    with FakeTensorMode():
        _make_fake(model)
        few, many = (_batch(recipe, inputs, count) for count in (_FEW, rows))
        forward, both = _row_flops(model, recipe, inputs)
        low, high = (passes(model, batch, bf16=bf16)[1] for batch in (few, many))
    weights, trained = list(model.parameters()), [value for value in model.parameters() if value.requires_grad]
    whole = sum(value.nbytes for value in weights)
    blocks = sorted(sum(value.nbytes for value in block.parameters()) for block in blocks_of(model))
    cast = sorted(_cast(block) for block in blocks_of(model)) if bf16 else []
    sides = ((model.image, recipe.model.image), (model.text, recipe.model.text)) if bf16 else ()
    # Of blocks that are computed again, autocast keeps none, nor of those without gradients.
    keeping = [tower for tower, side in sides if tower and not side.gradient_checkpointing]
    ours = [block for tower in keeping for block in blocks_of(tower)]
    kept = [block for block in ours if any(value.requires_grad for value in block.parameters())]
    return Towers(
        whole,
        sum(value.nbytes for value in trained),
        # Two blocks, one of which comes ahead, and what is outside of blocks.
        sum(blocks[-2:]) + whole - sum(blocks),
        sum(values.nbytes for values in few.values()) // _FEW,
        ((_FEW, low), (rows, high)),
        forward,
        both,
        sum(value.numel() for value in weights),
        sum(value.numel() for value in trained),
        sum(cast[-2:]),
        sum(map(_cast, kept)),
    )


def _without_weights(recipe: Recipe) -> Any:
    model = recipe.model
    return replace(model, image=replace(model.image, pretrained=""), text=replace(model.text, pretrained=""))


def _make_fake(model: nn.Module) -> None:
    """Replace parameters and buffers by fake ones on the CPU, under their mode; shared ones stay shared."""
    made: dict[int, tuple[Tensor, Tensor]] = {}
    for module in model.modules():
        if isinstance(module, Tower) and isinstance(module.trunk, Projected):
            # A locked encoder's projection is no torch code, and has no gradient.
            module.trunk = nn.Identity()
        for values in (module._parameters, module._buffers):
            for name, value in values.items():
                if value is None:
                    continue
                if id(value) not in made:
                    fake = torch.empty(value.shape, dtype=value.dtype)
                    parameter = isinstance(value, nn.Parameter)
                    made[id(value)] = value, nn.Parameter(fake, value.requires_grad) if parameter else fake
                values[name] = made[id(value)][1]  # type: ignore[assignment]


def _row_flops(model: DualEncoder, recipe: Recipe, inputs: ModelInputs) -> tuple[int, int]:
    forward = both = 0.0
    for size, share in shares_of(inputs).items():
        # The product of adapters is one a micro-batch, which is left out.
        less, more = (flops_of(model, _batch(recipe, inputs, count, size)) for count in (_FEW, _FEW + 1))
        forward, both = forward + share * (more[0] - less[0]), both + share * (more[1] - less[1])
    return round(forward), round(both)


def _batch(recipe: Recipe, inputs: ModelInputs, rows: int, size: int = 0) -> Batch:
    """A fake micro-batch: what the towers read of it; of images of the model's own size where none is given."""
    settings, batch = recipe.model, Batch()
    if inputs.preprocessing is not None:
        size = size or inputs.preprocessing.size
        batch["image"] = torch.zeros(rows, 3, size, size, dtype=torch.uint8)
    elif inputs.image_encoder is not None:
        features = settings.dim if settings.image.residual else inputs.image_encoder.feature_dim
        batch["image_features"] = torch.zeros(rows, features)
    kinds = ["text"] if inputs.text != "none" else []
    kinds += ["caption"] if kinds and recipe.objectives.reinforced.weight else []
    kinds += ["hard"] if kinds and recipe.data.hard_negatives else []
    for kind in kinds:
        if inputs.tokenize:
            batch[f"{kind}_tokens"] = torch.zeros(rows, inputs.tokenize(["a"]).shape[1], dtype=torch.int64)
        elif inputs.text_encoder is not None:
            features = settings.dim if settings.text.residual else inputs.text_encoder.text_feature_dim
            batch[f"{kind}_features"] = torch.zeros(rows, features)
    return batch


def _cast(block: nn.Module) -> int:
    """Bytes in bf16 of the weights that FSDP2 gathers so."""
    weights = (value for module in block.modules() if not is_small(module) for value in module.parameters(False))
    return sum(2 * value.numel() for value in weights)
