"""Vision transformers that see a part of an image's patches in training (FLIP, https://arxiv.org/abs/2212.00794).

- Entry points: `openmofi.adapters` `patch_dropout`
- Needs: `openmofi[train]`
- Use: `model.image.patch_dropout: 0.5` in a recipe
- Never: leaves out a patch in evaluation, or changes the encoder that is written
- Tests: `tests/training/model/test_patch_dropout.py`
- Documentation: `docs/training.md`
"""

from typing import Any

from timm.layers import PatchDropout
from timm.layers.patch_dropout import PatchDropoutWithIndices
from timm.models import Eva, VisionTransformer
from torch import nn

from openmofi.errors import UsageError


def drop_patches(trunk: nn.Module, rate: float, spec: str) -> None:
    """Let a transformer drop patches in training mode, by torch's random state; class and register tokens stay.

    Args:
        trunk: an image tower of timm or open_clip; changed in place, without parameters.
        rate: share of the patches that each image loses, drawn anew each time; at least one stays.
        spec: of the tower, for the error.

    Raises:
        UsageError: the tower is not a transformer that can do without some patches.
    """
    for part in trunk.modules():
        transformer: Any = part
        if isinstance(part, Eva):
            # Its rotary positions follow the patches that stay.
            transformer.patch_drop = PatchDropoutWithIndices(rate, num_prefix_tokens=transformer.num_prefix_tokens)
        elif isinstance(part, VisionTransformer):
            transformer.patch_drop = PatchDropout(rate, num_prefix_tokens=transformer.num_prefix_tokens)
        elif type(part).__module__ == "open_clip.transformer" and hasattr(part, "patch_dropout"):
            transformer.patch_dropout = PatchDropout(rate, num_prefix_tokens=1)
        else:
            continue
        return
    raise UsageError(
        f"model.image.patch_dropout is of vision transformers of timm and open_clip, and {spec} is none.",
        "Set model.image.patch_dropout: 0, or model.image.spec: timm:vit_base_patch16_224, say.",
    )
