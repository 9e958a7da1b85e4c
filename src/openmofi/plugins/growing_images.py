"""Images that grow during a run (progressive resizing; CLIPA, https://arxiv.org/abs/2305.07017).

- Entry points: `openmofi.adapters` `first_sizes`
- Needs: `openmofi[train]`
- Use: `model.image.first_sizes: [112]` with `first_share: 0.8` in a recipe
- Never: changes a weight, or the size of the images that evaluations and the written encoder see
- Tests: `tests/training/model/test_growing_images.py`, `tests/training/test_growing_run.py`
- Documentation: `docs/training.md`
"""

from typing import Any

import torch
from timm.layers import Format, RotaryEmbeddingCat
from timm.models import Eva, VisionTransformer
from torch import nn

from openmofi.encoders import Preprocessing
from openmofi.encoders.towers import image_trunk
from openmofi.errors import UsageError, first_line
from openmofi.quiet import quiet_logging
from openmofi.training.model.towers import ModelInputs
from openmofi.training.recipe import ImageModel

_HINT = "Set model.image.first_sizes: [], or a spec and sizes as of timm:vit_base_patch16_224, [112, 160], say."


def take_any_size(trunk: nn.Module) -> None:
    """Let timm's vision transformers resample their positions for the images of each batch, as its `dynamic_img_size`.

    Args:
        trunk: changed in place; its parameters stay as they are.
    """
    for part in trunk.modules():
        transformer: Any = part
        if isinstance(part, VisionTransformer | Eva) and not transformer.dynamic_img_size:
            transformer.dynamic_img_size, patches = True, transformer.patch_embed
            patches.strict_img_size, patches.flatten, patches.output_fmt = False, False, Format.NHWC
            if isinstance(rotary := getattr(part, "rope", None), RotaryEmbeddingCat):
                rotary._use_cached_embed = False  # as where it is built for any size


def require_sizes(image: ImageModel, preprocessing: Preprocessing | None) -> None:
    """Check `first_sizes`, by a pass without weights at each of them.

    Args:
        image: its spec and sizes.
        preprocessing: of its images at last; `None` where it is locked.

    Raises:
        UsageError: the sizes fall or go beyond the model's own, or the tower does not take them.
    """
    sizes, spec = list(image.first_sizes), image.spec
    if preprocessing is None or spec.startswith("hf:"):
        raise UsageError(f"model.image.first_sizes: {spec} takes images of one size.", _HINT)
    if sizes != sorted(sizes) or sizes[-1] > preprocessing.size:
        raise UsageError(f"model.image.first_sizes is {sizes}; it must rise, to {preprocessing.size} at most.", _HINT)
    with quiet_logging(), torch.no_grad(), torch.device("meta"):
        trunk = image_trunk(spec, size=image.size).module.eval()
        take_any_size(trunk)
        for size in sizes:
            try:
                trunk(torch.zeros(1, 3, size, size))
            except (AssertionError, RuntimeError, TypeError, ValueError) as error:
                why = f" ({first_line(error)})" if isinstance(error, AssertionError) else ""
                raise UsageError(
                    f"model.image.first_sizes: {spec} takes no images of {size} pixels{why}.", _HINT
                ) from error


def shares_of(inputs: ModelInputs) -> dict[int, float]:
    """Size of images in pixels → share of a run's steps; 0 stands for no images."""
    sizes, share = inputs.first_sizes
    own = inputs.preprocessing.size if inputs.preprocessing else 0
    shares = {own: 1 - share if sizes else 1.0}
    for size in sizes:
        shares[size] = shares.get(size, 0.0) + share / len(sizes)
    return shares
