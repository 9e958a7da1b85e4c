"""Halves of open_clip's models as towers: `open_clip:ARCH`."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import open_clip
import torch

from openmofi.encoders.libraries.openclip import build, model_config, preprocessing_of, tokenizer_of
from openmofi.encoders.protocol import Preprocessing
from openmofi.encoders.tokens import OpenClipTokens
from openmofi.encoders.towers import Trunk
from openmofi.errors import OpenMofiError, UsageError
from openmofi.quiet import quiet_logging

# Of a model one half is wanted; the other is built as small as can be and thrown away.
_NO_VISION = {"image_size": 8, "patch_size": 8, "width": 64, "layers": 1}
_NO_TEXT = {"context_length": 4, "vocab_size": 4, "width": 8, "heads": 1, "layers": 1}
_PREPROCESS_KEYS = ("mean", "std", "interpolation", "resize_mode")


def preprocessing(arch: str, pretrained: str, size: int) -> Preprocessing:
    """As open_clip evaluates the model with these weights, at `size` pixels where it is given."""
    from open_clip.transform import PreprocessCfg

    tag = open_clip.get_pretrained_cfg(arch, pretrained) if pretrained else {}
    own = asdict(PreprocessCfg()) | {key: tag[key] for key in _PREPROCESS_KEYS if key in tag}
    return preprocessing_of(own | {"size": size or _config(arch)["vision_cfg"]["image_size"]}, f"open_clip:{arch}")


def image(arch: str, pretrained: str, size: int, _drop_path: float) -> Trunk:
    """See `towers.image_trunk`."""
    config = _config(arch)
    vision = {**config["vision_cfg"], "timm_model_pretrained": False, **({"image_size": size} if size else {})}
    source = _pretrained(arch, pretrained, config, {"force_image_size": size} if size else {})
    made = rebuilt(_architecture(arch, "image", config, vision))
    return _loaded(made, source.visual if source is not None else None)


def text(arch: str, pretrained: str) -> Trunk:
    """See `towers.text_trunk`."""
    config = _config(arch)
    if config["text_cfg"].get("hf_model_name"):
        raise UsageError(f"The text tower of open_clip:{arch} is transformers' {config['text_cfg']['hf_model_name']}, "
                         "which cannot be trained here.", "Lock it: encoder:open_clip:ARCH/PRETRAINED.")
    source = _pretrained(arch, pretrained, config, {})
    made = rebuilt(_architecture(arch, "text", config, dict(config["text_cfg"])))
    return _loaded(made, source.text if source is not None else None)


def tokens(arch: str) -> OpenClipTokens:
    """See `towers.text_tokens`."""
    config = _config(arch)
    with quiet_logging():
        return OpenClipTokens(tokenizer_of(arch, config), bool(config["text_cfg"].get("hf_tokenizer_name")))


def rebuilt(architecture: Mapping[str, Any]) -> Trunk:
    """See `towers.rebuilt`."""
    half = copy.deepcopy(dict(architecture["config"]))
    image = architecture["side"] == "image"
    with quiet_logging():
        model = open_clip.CustomTextCLIP(
            architecture["dim"], half if image else _NO_VISION, _NO_TEXT if image else half,
            quick_gelu=architecture["quick_gelu"])
    return Trunk(model.visual if image else model.text, int(architecture["dim"]), architecture)


def stored_tokens(architecture: Mapping[str, Any], folder: Path) -> OpenClipTokens:
    """See `towers.stored_tokens`."""
    config = architecture["config"]
    name = config.get("hf_tokenizer_name")
    if name and not folder.is_dir():
        raise OpenMofiError(f"There is no tokenizer in {folder}.", "Train or copy the encoder again.")
    local = {**config, "hf_tokenizer_name": str(folder)} if name else config
    with quiet_logging():
        if name:
            return OpenClipTokens(tokenizer_of(architecture["name"], {"text_cfg": local}), True)
        return OpenClipTokens(open_clip.SimpleTokenizer(context_length=config.get("context_length", 77),
                                                        **config.get("tokenizer_kwargs", {})), False)


def _architecture(arch: str, side: str, config: Mapping[str, Any], half: dict[str, Any]) -> dict[str, Any]:
    return {"kind": "open_clip", "name": arch, "side": side, "dim": int(config["embed_dim"]), "config": half,
            "quick_gelu": bool(config.get("quick_gelu"))}


def _config(arch: str) -> dict[str, Any]:
    config = copy.deepcopy(model_config(arch))
    if "multimodal_cfg" in config:
        raise UsageError(f"open_clip:{arch} writes captions besides; its towers cannot be trained here.",
                         "Choose a contrastive model.")
    return config


def _pretrained(arch: str, pretrained: str, config: dict[str, Any], options: Mapping[str, Any]) -> Any:
    if not pretrained:
        return None
    with quiet_logging(), torch.random.fork_rng(devices=[]):
        return build(arch, pretrained, config, force_custom_text=True, **options)


def _loaded(trunk: Trunk, source: torch.nn.Module | None) -> Trunk:
    if source is not None:
        trunk.module.load_state_dict(source.state_dict(), strict=True)
    return trunk
