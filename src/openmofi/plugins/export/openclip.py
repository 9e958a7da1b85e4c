"""A checkpoint of open_clip: `open_clip.create_model_and_transforms("local-dir:FOLDER")`."""

import copy
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import open_clip
import torch
from safetensors.torch import save_file
from torch import nn

from openmofi.encoders import Encoder, Preprocessing
from openmofi.errors import UsageError
from openmofi.plugins.encoders.open_clip_sources import ModelSource, folder_source, is_folder, source_of
from openmofi.plugins.export.sides import (
    Affine,
    ExportSide,
    Opened,
    batched,
    into_linear,
    into_projection,
    side_of,
)
from openmofi.quiet import quiet_logging

FILES = ("open_clip_model.safetensors", "open_clip_config.json")
_Half = tuple[dict[str, Any], dict[str, torch.Tensor], bool]


def write(encoder: Encoder, folder: Path) -> None:
    """Write weights, configuration and, where it has files, the tokenizer.

    Raises:
        UsageError: a side is of no network that open_clip builds, or a head does not fold into it.
    """
    image, text = side_of(encoder, "image"), side_of(encoder, "text")
    if image is None or text is None:
        raise UsageError(
            f"{encoder.spec!r} has no text side, and open_clip's models have both.",
            "Use --format timm or transformers.",
        )
    vision_cfg, visual, quick = _image_half(image, encoder)
    text_cfg, textual, quick_text = _text_half(text)
    if quick != quick_text and image.kind == "open_clip":
        raise UsageError(
            "One tower has QuickGELU activations and the other has not; open_clip's models share them.",
            "Export it for onnx or openvino.",
        )
    config = {
        "embed_dim": encoder.dim,
        "vision_cfg": vision_cfg,
        "text_cfg": text_cfg,
        "custom_text": True,
        **({"quick_gelu": True} if quick_text else {}),
    }
    scale = torch.tensor(math.log(encoder.logit_scale or 1.0))
    state = {
        **{f"visual.{name}": value for name, value in visual.items()},
        **{f"text.{name}": value for name, value in textual.items()},
        "logit_scale": scale,
    }
    save_file({name: value.detach().contiguous().clone() for name, value in state.items()}, folder / FILES[0])
    (folder / FILES[1]).write_text(
        json.dumps(
            {"model_cfg": config, "preprocess_cfg": _preprocess(encoder.preprocessing)}, indent=2, sort_keys=True
        ),
        "utf-8",
    )
    tokens = encoder.networks.tokens if encoder.networks else None
    if tokens is not None:
        tokens.save(folder)


def opened(folder: Path) -> Opened:
    """Open a folder by open_clip alone."""
    with quiet_logging():
        model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{folder}")
        tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    model.eval()
    return Opened(
        batched(lambda images: model.encode_image(torch.stack([transform(image) for image in images]))),
        batched(lambda texts: model.encode_text(tokenizer(texts))),
    )


def _source(side: ExportSide) -> ModelSource:
    arch, _, weights = side.rest.partition("/")
    source = folder_source(side.rest) if is_folder(side.rest) else source_of(arch, weights)
    if "multimodal_cfg" in source.config:
        raise UsageError(
            f"{side.spec} writes captions besides, which its towers alone cannot.", "Choose a contrastive model."
        )
    return source


def _preprocess(settings: Preprocessing) -> dict[str, Any]:
    if settings.resize_size not in (0, settings.size):
        raise UsageError(
            f"The encoder's images are resized to {settings.resize_size} px and cropped to "
            f"{settings.size}; open_clip knows one size.",
            "Use --format timm or transformers.",
        )
    return {
        "size": [settings.size, settings.size],
        "mode": "RGB",
        "mean": list(settings.mean),
        "std": list(settings.std),
        "interpolation": settings.interpolation,
        "resize_mode": settings.resize,
        "fill_color": 0,
    }


def _image_half(side: ExportSide, encoder: Encoder) -> _Half:
    if side.kind == "timm":
        return _of_timm(side, encoder)
    if side.kind != "open_clip":
        raise UsageError(
            f"open_clip has no tower of the kind {side.kind!r}.",
            "Use --format transformers for towers of transformers, onnx or openvino for others.",
        )
    if side.spec:
        source = _source(side)
        config, visual, quick = (
            dict(source.config["vision_cfg"]),
            side.module.visual,
            bool(source.config.get("quick_gelu")),
        )
    else:
        config, visual = dict(side.architecture["config"]), side.module
        quick = bool(side.architecture["quick_gelu"])
    config = {name: value for name, value in config.items() if name != "timm_model_pretrained"}
    if side.map is not None:
        visual = copy.deepcopy(visual)
        config |= _fold_image(visual, side.map)
    return {**config, "image_size": encoder.preprocessing.size}, dict(visual.state_dict()), quick


def _fold_image(visual: Any, side: Affine) -> Mapping[str, Any]:
    """Fold a map into an image tower, in place, and return the changes to its configuration."""
    projection = getattr(visual, "proj", None)
    if isinstance(projection, nn.Parameter) and isinstance(getattr(visual, "ln_post", None), nn.LayerNorm):
        visual.proj = nn.Parameter(into_projection(projection.data, visual.ln_post, side), requires_grad=False)
        return {}
    last = getattr(getattr(visual, "attnpool", None), "c_proj", None)
    if isinstance(last, nn.Linear):
        visual.attnpool.c_proj = into_linear(last, side)
        return {}
    head: Any = getattr(visual, "head", None)
    if hasattr(visual, "trunk") and isinstance(getattr(head, "proj", None), nn.Linear):
        head.proj = into_linear(head.proj, side)
        return {"timm_proj_bias": True}
    raise UsageError(
        "The image tower ends in no projection that a head folds into.",
        "Export it for onnx or openvino, which take heads as they are.",
    )


def _of_timm(side: ExportSide, encoder: Encoder) -> _Half:
    """Wrap a tower of timm as open_clip does: the trunk, then a projection."""
    from openmofi.plugins.export.timm import arguments

    dim = encoder.dim
    behind = side.map or Affine(torch.eye(dim, dtype=torch.float64), torch.zeros(dim, dtype=torch.float64))
    name, options = arguments(side, encoder.preprocessing.size)
    if options:
        raise UsageError(f"open_clip builds timm's {name} for its own image size alone.", "Use --format timm.")
    config = {
        "timm_model_name": name,
        "timm_model_pretrained": False,
        "timm_pool": "",
        "timm_proj": "linear",
        "timm_proj_bias": True,
        "image_size": encoder.preprocessing.size,
    }
    state = {f"trunk.{key}": value for key, value in side.module.state_dict().items()}
    return config, state | {"head.proj.weight": behind.weight.float(), "head.proj.bias": behind.bias.float()}, False


def _text_half(side: ExportSide) -> _Half:
    if side.kind != "open_clip":
        raise UsageError(
            f"open_clip has no text tower of the kind {side.kind!r}.",
            "Use --format transformers for towers of transformers, onnx or openvino for others.",
        )
    if side.spec:
        source = _source(side)
        config, quick = dict(source.text), bool(source.config.get("quick_gelu"))
        state = open_clip.model.convert_to_custom_text_state_dict(dict(side.module.state_dict()))
        state = {name.removeprefix("text."): value for name, value in state.items() if name.startswith("text.")}
    else:
        config, quick = dict(side.architecture["config"]), bool(side.architecture["quick_gelu"])
        state = dict(side.module.state_dict())
    return _fold_text(config, state, side.map) if side.map is not None else config, state, quick


def _fold_text(config: dict[str, Any], state: dict[str, torch.Tensor], side: Affine) -> dict[str, Any]:
    """Fold a map into the weights of a text tower, in place, and return its new configuration."""
    if "text_projection.weight" in state:  # a linear layer, perhaps with a bias
        weight = state.pop("text_projection.weight").double()
        bias = state.pop("text_projection.bias", torch.zeros(len(weight))).double()
    elif "text_projection" in state:
        weight = state.pop("text_projection").double().T
        bias = torch.zeros(len(weight), dtype=torch.float64)
    else:
        raise UsageError(
            "The text tower ends in no projection that a head folds into.",
            "Export it for onnx or openvino, which take heads as they are.",
        )
    folded = side.after(Affine(weight, bias))
    state |= {"text_projection.weight": folded.weight.float(), "text_projection.bias": folded.bias.float()}
    return {**config, "proj_bias": True}
