"""Parameter groups: layer-wise learning rates, and which parameters are decayed."""

from __future__ import annotations

import re
from typing import Any

from openmofi.training.model.towers import DualEncoder, Tower
from openmofi.training.optimization import grouped
from openmofi.training.recipe.schema import ModelSettings, OptimizerSettings

# The blocks of transformers and convolutional nets as open_clip, transformers and timm name them.
_BLOCK = re.compile(r"(?:^|\.)(?:blocks|resblocks|layers|stages|layer(?=\d))\.?(\d+)\.")
_STEM = re.compile(
    r"(?:^|\.)(?:conv1|conv_stem|bn1|stem|patch_embed\w*|patch_embedding|patchnorm_pre_ln|ln_pre|"
    r"pre_layrnorm|embeddings|token_embedding|class_embedding|positional_embedding|pos_embed|cls_token|"
    r"reg_token)(?:\.|$)"
)
# Positions and special tokens; timm's own lists say the same and more.
_UNDECAYED = re.compile(
    r"(?:^|\.)(?:pos_embed\w*|positional_embedding|position_embedding|cls_token|reg_token|"
    r"dist_token|class_embedding|relative_position_bias_table|logit_scale|probe)(?:\.|$)"
)


def parameter_groups(model: DualEncoder, settings: ModelSettings, optimizer: OptimizerSettings) -> list[dict[str, Any]]:
    """The trained parameters in groups, in an order that the model decides.

    A block's learning rate is `model.image.layer_decay` times the next one's (BEiT, arXiv 2106.08254, appendix), and
    that of the last part of the trunk and of the head is whole; the text tower's is multiplied by
    `text_lr_multiplier`. Biases, normalisations, all else of one dimension, positions, special tokens and what timm
    names besides are not decayed.

    Returns:
        The groups of each tower, by names as in the model; see `grouped`.
    """
    groups: list[dict[str, Any]] = []
    sides = [("image", model.image, settings.image.layer_decay, 1.0)]
    if model.text is not None:
        sides.append(("text", model.text, 1.0, optimizer.text_lr_multiplier))
    for side, tower, decay, factor in sides:
        layers = {f"trunk.{name}": layer for name, layer in layer_ids(tower.trunk).items()} if decay != 1.0 else {}
        last, undecayed = max(layers.values(), default=0), _undecayed(tower)
        groups += grouped(
            (
                f"{side}.{name}",
                parameter,
                factor * decay ** (last - layers.get(name, last)),
                0.0 if parameter.ndim <= 1 or name in undecayed else optimizer.weight_decay,
            )
            for name, parameter in tower.named_parameters()
        )
    return groups


def layer_ids(trunk: Any) -> dict[str, int]:
    """Name of a parameter → its layer, from 0 at the input; timm's own grouping where the model has one."""
    names = [name for name, _ in trunk.named_parameters()]
    if hasattr(trunk, "group_matcher"):
        from timm.models import group_parameters

        layers = group_parameters(trunk, trunk.group_matcher(coarse=False), reverse=True)
        return {name: int(layers[name]) for name in names if name in layers}
    blocks = {name: int(match.group(1)) + 1 for name in names if (match := _BLOCK.search(name))}
    last = max(blocks.values(), default=0) + 1
    return {name: blocks.get(name, 0 if _STEM.search(name) else last) for name in names}


def _undecayed(tower: Tower) -> set[str]:
    trunk: Any = tower.trunk
    listed = {f"trunk.{name}" for name in trunk.no_weight_decay()} if hasattr(trunk, "no_weight_decay") else set()
    return listed | {name for name, _ in tower.named_parameters() if _UNDECAYED.search(name)}
