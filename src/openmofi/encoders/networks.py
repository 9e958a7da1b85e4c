"""The networks behind an encoder's arrays, as PyTorch modules; folded for inference; compiled by `torch.compile`."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_weights

from openmofi.arrays import Array
from openmofi.encoders.arrays import numpy_of
from openmofi.encoders.devices import BOUND, LOW_BOUND, keep_freed_memory, on_device
from openmofi.encoders.heads import Head, apply_head
from openmofi.encoders.preprocess import Tokens
from openmofi.errors import UsageError, first_line


@dataclass(frozen=True)
class Networks:
    """An encoder's networks, in evaluation mode.

    Attributes:
        image: (B, 3, size, size) float32 → (B, dim), not normalised.
        text: token ids (B, L) int64 → (B, dim); where `tokenizer["masked"]`, with a second input, the mask
            (B, L) int64. `None` of an encoder of images alone.
        tokens: what makes its input; L is the same for all texts unless it is masked.
        tokenizer: JSON values, of which, and of what `tokens.save` wrote, `tokens.opened_tokens` makes `tokens`:
            `kind`, `masked` and, of a `tower` that `encoders.towers` rebuilds, its `architecture`; of `transformers`, a
            `HuggingFaceTokens`, `length` and `end`; of `clip`, see `tokens.ClipTokens`; of `wordpiece`,
            a `WordPieceTokens`, `length`.
    """

    image: nn.Module
    text: nn.Module | None = None
    tokens: Tokens | None = None
    tokenizer: Mapping[str, Any] | None = None


class Called(nn.Module):
    """A method of a library's model as a network of one input and, of texts, perhaps a mask."""

    def __init__(self, model: Any, method: str, argument: str) -> None:
        super().__init__()
        self.model, self.method, self.argument = model, method, argument

    def forward(self, inputs: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """The embedding that the method gives of `inputs`, (B, dim)."""
        options = {} if mask is None else {"attention_mask": mask}
        return pooled(getattr(self.model, self.method)(**{self.argument: inputs}, **options))


@dataclass(frozen=True, eq=False)
class OnArrays:
    """A network as a function of a batch: an array, a tensor, or a list of tensors of one shape → float32 (n, dim).

    Attributes:
        network: takes the batch.
        device: torch's name of it.
        channels_last: whether images lie in memory with their channels last.
        rows: that the network takes at a time; 0 stands for all.
    """

    network: Callable[..., torch.Tensor]
    device: str
    channels_last: bool = False
    rows: int = 0

    def __post_init__(self) -> None:
        if self.device == "cpu":
            keep_freed_memory()

    @torch.inference_mode()
    def __call__(self, batch: Any) -> Array:
        """(n, …) → float32 (n, dim)."""
        sent = on_device(torch.stack(batch) if isinstance(batch, list) else batch, self.device)
        if self.channels_last:
            sent = sent.to(memory_format=torch.channels_last)
        parts = [numpy_of(self.network(part)) for part in sent.split(self.rows or max(len(sent), 1))]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)


class Headed(nn.Module):
    """A network with a head of ours on top; see `heads.apply_head`.

    Args:
        network: (B, …) → features.
        head: of the features.
        adapter: the head's output is added to the normalised features; see `encoder.Heads`.
    """

    def __init__(self, network: nn.Module, head: Head, *, adapter: bool = False) -> None:
        super().__init__()
        self.network, self.adapter = network, adapter
        self.head = nn.ParameterDict(head.tensors()).requires_grad_(False)

    def forward(self, inputs: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """(B, …) → (B, dim), not normalised."""
        features = (self.network(inputs) if mask is None else self.network(inputs, mask)).float()
        if self.adapter:
            features = nn.functional.normalize(features, dim=1)
        out = apply_head(dict(self.head.items()), features)
        return features + out if self.adapter else out


def pooled(output: Any) -> torch.Tensor:
    """Return the embedding in a tower's output, (n, dim)."""
    # transformers 5 returns the tower's output with the projected embedding in it, 4 the embedding itself.
    return output if isinstance(output, torch.Tensor) else output.pooler_output


class CompiledTower:
    """A tower compiled at its first batch; refused where its output differs by more than a bound from the plain one's.

    A second compilation comes with the first batch of another length; further lengths take none.

    Args:
        tower: the one that is compiled.
        spec: of its encoder, for messages.
    """

    def __init__(self, tower: OnArrays, spec: str) -> None:
        self._tower, self._spec, self._compared = tower, spec, False
        self._compiled = replace(tower, network=torch.compile(tower.network))

    def __call__(self, batch: Array) -> Array:
        """(n, 3, size, size) → float32 (n, dim).

        Raises:
            UsageError: with the first batch: it cannot be compiled here, or its features differ.
        """
        if self._compared:
            return self._compiled(batch)
        expected = self._tower(batch)
        try:
            features = self._compiled(batch)
        except Exception as error:
            # By its name, as in `devices.RowLimit`, which tries a shorter batch.
            if type(error).__name__ == "OutOfMemoryError":
                raise
            raise UsageError(
                f"The encoder {self._spec!r} cannot be compiled here: {first_line(error).rstrip('.')}.",
                "Leave out --compile; torch.compile needs a C++ compiler, and on a GPU Triton.",
            ) from error
        self._require_equal(features, expected)
        self._compared = True
        return features

    def _require_equal(self, features: Array, expected: Array) -> None:
        bound = LOW_BOUND if torch.is_autocast_enabled(torch.device(self._tower.device).type) else BOUND
        difference = float(np.abs(features - expected).max(initial=0.0) / max(np.abs(expected).max(initial=0.0), 1e-30))
        if not difference <= bound:  # also where it is no number
            raise UsageError(
                f"The encoder {self._spec!r}, compiled, gives other features: they differ by "
                f"{difference:.2g} of the greatest, more than {bound:g}.",
                "Leave out --compile.",
            )


_EQUAL = 1e-4  # of the greatest output; what rounding leaves is a tenth of that
_BRANCHES = ("reparameterize", "fuse", "switch_to_deploy")  # what timm's `reparameterize_model` calls
_Convolution = nn.Conv1d | nn.Conv2d


def fold_batch_norm(module: nn.Module) -> nn.Module:
    """Fold, in place, every batch normalisation of `module` into the convolution before it; returns `module`.

    Works on models whose children stand in the order in which they run (timm's convolutional families). timm's
    `BatchNormAct2d` leaves its activation behind.
    """
    before: _Convolution | None = None
    for name, child in list(module.named_children()):
        if isinstance(child, _BatchNorm) and before is not None:
            if child.running_mean is None or child.running_var is None:
                raise ValueError(f"batch normalisation {name!r} keeps no statistics")
            before.weight, before.bias = fuse_conv_bn_weights(
                before.weight, before.bias, child.running_mean, child.running_var, child.eps, child.weight, child.bias
            )
            setattr(module, name, getattr(child, "act", nn.Identity()))
            before = None
        elif isinstance(child, _Convolution):
            before = child
        else:
            fold_batch_norm(child)
    return module


def merge_branches(module: nn.Module) -> nn.Module:
    """Return a copy of `module` whose train-time branches are merged into one convolution each.

    MobileOne's and FastViT's blocks (`timm:fastvit_mci0`), RepVGG's, and the text mixers of `mobile:`.
    """
    from timm.utils.model import reparameterize_model

    return reparameterize_model(module)


# Gradients are off, but tensors are common ones: a network made of `inference_mode`'s cannot be traced afterwards.
@torch.no_grad()
def folded(module: nn.Module, probe: torch.Tensor) -> nn.Module:
    """A folded copy of `module` in evaluation mode, or `module` where folding would change its output.

    Branches are merged and batch normalisations folded; convolutions of images get channels-last memory.
    `fold_batch_norm` trusts the order of a module's children, which not every model follows: so what is made is run
    on `probe` and compared, and where it differs the steps are tried by themselves.

    Args:
        module: a tower or any part of one.
        probe: its input, two random images or texts: (2, 3, size, size) float32 or (2, length) int64.
    """
    branches = any(hasattr(child, name) for child in module.modules() for name in _BRANCHES)
    if not branches and not any(isinstance(child, _BatchNorm) for child in module.modules()):
        return module
    expected = module(probe)
    steps: list[Callable[[nn.Module], nn.Module]] = [lambda module: fold_batch_norm(copy.deepcopy(module))]
    if branches:
        steps = [lambda module: fold_batch_norm(merge_branches(module)), *steps, merge_branches]
    for step in steps:
        made = _tried(step, module, probe, expected)
        if made is not None:
            return made
    return module


def image_probe(size: int) -> torch.Tensor:
    """Two random images for `folded`."""
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))


def _tried(
    step: Callable[[nn.Module], nn.Module], module: nn.Module, probe: torch.Tensor, expected: torch.Tensor
) -> nn.Module | None:
    try:
        made = step(module).eval().requires_grad_(False)
        if probe.ndim == 4:
            made = made.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        features = made(probe)
    except (RuntimeError, ValueError, AttributeError, TypeError):
        return None
    return made if (features - expected).abs().max() <= _EQUAL * expected.abs().max() else None
