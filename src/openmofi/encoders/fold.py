"""Folding: a batch normalisation that follows a convolution disappears into its weights (for inference only)."""

from __future__ import annotations

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights


def fold_batch_norm(module: nn.Module) -> nn.Module:
    """Fold, in place, every BatchNorm2d of `module` into the convolution that stands before it; returns `module`.

    Works on models whose children stand in the order in which they run (timm's convolutional families). timm's
    `BatchNormAct2d` leaves its activation behind.
    """
    before: nn.Conv2d | None = None
    for name, child in list(module.named_children()):
        if isinstance(child, nn.BatchNorm2d) and before is not None:
            if child.running_mean is None or child.running_var is None:
                raise ValueError(f"batch normalisation {name!r} keeps no statistics")
            before.weight, before.bias = fuse_conv_bn_weights(
                before.weight, before.bias, child.running_mean, child.running_var, child.eps, child.weight,
                child.bias)
            setattr(module, name, getattr(child, "act", nn.Identity()))
            before = None
        elif isinstance(child, nn.Conv2d):
            before = child
        else:
            fold_batch_norm(child)
    return module
