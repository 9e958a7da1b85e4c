"""Folding, for inference only: what training needs and inference does not disappears into convolutions' weights."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_weights

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
    """A copy of `module` whose train-time branches are one convolution each, as its parts know themselves.

    MobileOne's and FastViT's blocks (`timm:fastvit_mci0`), RepVGG's, and the text mixers of `mobile:`.
    """
    from timm.utils.model import reparameterize_model

    made: nn.Module = reparameterize_model(module)
    return made


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
    for step in (_both, _norms_alone, merge_branches) if branches else (_norms_alone,):
        made = _tried(step, module, probe, expected)
        if made is not None:
            return made
    return module


def image_probe(size: int) -> torch.Tensor:
    """Two random images for `folded`."""
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))


def _both(module: nn.Module) -> nn.Module:
    return fold_batch_norm(merge_branches(module))


def _norms_alone(module: nn.Module) -> nn.Module:
    return fold_batch_norm(copy.deepcopy(module))


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
