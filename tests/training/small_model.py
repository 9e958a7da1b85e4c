"""A vision transformer of two blocks; timm's smallest has six, and most of what a small run takes is to write each of
its parameters into checkpoints.

A process that does not import this file does not know it: its recipes name `timm:test_vit`.
"""

from typing import Any

import timm
import torch

SMALL_MODEL = "timm:vit_two_blocks"
default_cfgs = {"vit_two_blocks": timm.models.get_pretrained_cfg("test_vit").to_dict()}


@timm.models.register_model
def vit_two_blocks(pretrained: bool = False, **options: Any) -> torch.nn.Module:
    return timm.create_model("test_vit", pretrained=pretrained, depth=2, **options)
