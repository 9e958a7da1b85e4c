"""Halves of transformers' CLIP and SigLIP as towers: `hf:PATH-OR-ID`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from openmofi.encoders.libraries.huggingface import (
    checkpoint_config,
    checkpoint_folder,
    dimension_of,
    load_checkpoint,
    options_of,
    require_safetensors,
)
from openmofi.encoders.libraries.huggingface_preprocessing import read_preprocessing
from openmofi.encoders.networks import pooled
from openmofi.encoders.protocol import Preprocessing
from openmofi.encoders.tokens import HuggingFaceTokens, opened_tokenizer
from openmofi.encoders.towers import Trunk
from openmofi.errors import UsageError
from openmofi.quiet import quiet_transformers


class HalfClip(nn.Module):
    """One tower of a CLIP or SigLIP: `tower`, then `projection` where there is one."""

    def __init__(self, tower: nn.Module, projection: nn.Module | None) -> None:
        super().__init__()
        self.tower = tower
        self.projection = projection if projection is not None else nn.Identity()

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Pixels (B, 3, H, W) or token ids (B, L) → (B, dim)."""
        found: torch.Tensor = self.projection(pooled(self.tower(inputs)))
        return found


def preprocessing(rest: str, _pretrained: str, size: int) -> Preprocessing:
    """The checkpoint's own."""
    place, option = options_of(f"hf:{rest}", rest)
    folder = checkpoint_folder(place)
    config = checkpoint_config(folder)
    own = int(config["vision_config"].get("image_size", 224))
    if size not in (0, own):
        raise UsageError(f"hf:{place} takes images of {own} px; model.image.size is {size}.",
                         "Set it to 0, or choose a timm or open_clip model.")
    return read_preprocessing(folder, str(config["model_type"]), own, option)


def image(rest: str, pretrained: str, size: int, _drop_path: float) -> Trunk:
    """See `towers.image_trunk`; the checkpoint's weights."""
    preprocessing(rest, pretrained, size)
    return _half(rest, pretrained, "image")


def text(rest: str, pretrained: str) -> Trunk:
    """See `towers.text_trunk`; the checkpoint's weights."""
    return _half(rest, pretrained, "text")


def tokens(rest: str) -> HuggingFaceTokens:
    """See `towers.text_tokens`."""
    folder = checkpoint_folder(options_of(f"hf:{rest}", rest)[0])
    return _tokens(folder, int(checkpoint_config(folder)["text_config"].get("max_position_embeddings", 77)))


def rebuilt(architecture: Mapping[str, Any]) -> Trunk:
    """See `towers.rebuilt`."""
    from transformers import CLIPConfig, CLIPModel, SiglipConfig, SiglipModel

    clip = architecture["config"]["model_type"] == "clip"
    config_class: Any
    model_class: Any
    config_class, model_class = (CLIPConfig, CLIPModel) if clip else (SiglipConfig, SiglipModel)
    with quiet_transformers():
        model = model_class(config_class.from_dict(dict(architecture["config"])))
    return _trunk(model, str(architecture["side"]), architecture)


def stored_tokens(architecture: Mapping[str, Any], folder: Path) -> HuggingFaceTokens:
    """See `towers.stored_tokens`."""
    return _tokens(folder, int(architecture["config"]["text_config"]["max_position_embeddings"]))


def _tokens(folder: Path, positions: int) -> HuggingFaceTokens:
    tokenizer = opened_tokenizer(folder)
    return HuggingFaceTokens(tokenizer, min(int(tokenizer.model_max_length), positions))


def _half(rest: str, pretrained: str, side: str) -> Trunk:
    if pretrained not in ("", "default"):
        raise UsageError(f"hf:{rest} names its weights; {pretrained!r} cannot stand in for them.",
                         f"Leave model.{side}.pretrained empty.")
    folder = checkpoint_folder(options_of(f"hf:{rest}", rest)[0])
    config = checkpoint_config(folder)
    require_safetensors(folder)
    model, _ = load_checkpoint(folder, config)
    own = json.loads(model.config.to_json_string(use_diff=False))
    own.pop("_name_or_path", None)
    return _trunk(model, side, {"kind": "hf", "name": config["model_type"], "side": side, "config": own})


def _trunk(model: Any, side: str, architecture: Mapping[str, Any]) -> Trunk:
    tower, projection = ((model.vision_model, "visual_projection") if side == "image"
                         else (model.text_model, "text_projection"))
    return Trunk(HalfClip(tower, getattr(model, projection, None)), dimension_of(model), architecture)
