"""A checkpoint of timm: `timm.create_model("local-dir:FOLDER", pretrained=True)`, embeddings in place of classes."""

import json
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors.torch import save_file
from torch import nn

from openmofi.encoders import Encoder, Preprocessing
from openmofi.errors import UsageError
from openmofi.plugins.export.sides import ExportSide, Opened, batched, linear, side_of
from openmofi.quiet import quiet_logging

FILES = ("model.safetensors", "config.json")
_CROPS = {"shortest": "center", "squash": "squash"}
_KEPT = ("tag", "first_conv", "classifier", "fixed_input_size", "pool_size")


def arguments(side: ExportSide, size: int) -> tuple[str, dict[str, Any]]:
    """Return the model's name in timm, and its arguments for images of `size` pixels."""
    config = side.module.pretrained_cfg
    fixed = bool(config.get("fixed_input_size")) and size != int(config["input_size"][1])
    return str(config["architecture"]), {"img_size": size} if fixed else {}


def write(encoder: Encoder, folder: Path) -> None:
    """Write the image side; a linear head becomes timm's classifier, whose outputs are embeddings.

    Raises:
        UsageError: the image side is no model of timm, or a head does not fold into its classifier.
    """
    side = side_of(encoder, "image")
    if side is None or side.kind != "timm":
        raise UsageError(
            f"The image side of {encoder.spec!r} is no model of timm.",
            "Use --format open_clip or transformers, as its tower is one of theirs.",
        )
    name, options = arguments(side, encoder.preprocessing.size)
    model = _model(side, name, options)
    save_file({key: value.contiguous().clone() for key, value in model.state_dict().items()}, folder / FILES[0])
    pretrained = side.module.pretrained_cfg
    config = {
        "architecture": name,
        "num_classes": int(model.num_classes),
        "num_features": int(model.num_features),
        "pretrained_cfg": {
            **{key: pretrained[key] for key in _KEPT if pretrained.get(key) is not None},
            "custom_load": False,
            "num_classes": int(model.num_classes),
            **_preprocess(encoder.preprocessing),
        },
        **({"model_args": options} if options else {}),
    }
    (folder / FILES[1]).write_text(json.dumps(config, indent=2, sort_keys=True), "utf-8")


def _model(side: ExportSide, name: str, options: dict[str, Any]) -> Any:
    with quiet_logging(), torch.random.fork_rng(devices=[]):
        outputs = 0 if side.map is None else len(side.map.bias)
        model: Any = timm.create_model(name, pretrained=False, num_classes=outputs, **options).eval()
    weights = {
        key: value
        for key, value in side.module.state_dict().items()
        if key in model.state_dict() and model.state_dict()[key].shape == value.shape
    }
    missing = [
        key
        for key in model.load_state_dict(weights, strict=False).missing_keys
        if not any(key.startswith(f"{last}.") for last in _classifiers(model))
    ]
    if missing:
        raise UsageError(
            f"timm's {name} has {missing[0]}, which the encoder's tower has not.",
            "Install the version of timm that it was trained with.",
        )
    if side.map is None:
        return model
    last = _classifiers(model)[0]
    if not isinstance(layer := model.get_submodule(last), nn.Linear) or layer.in_features != side.map.weight.shape[1]:
        raise UsageError(
            f"timm's {name} ends in {type(layer).__name__}, into which no head folds.",
            "Export it for onnx or openvino, which take heads as they are.",
        )
    parent = model.get_submodule(last.rpartition(".")[0])
    setattr(parent, last.rpartition(".")[2], linear(side.map))
    return model


def _classifiers(model: Any) -> tuple[str, ...]:
    names = model.pretrained_cfg.get("classifier") or ()
    return (names,) if isinstance(names, str) else tuple(names)


def _preprocess(settings: Preprocessing) -> dict[str, Any]:
    # A little more than the quotient: timm cuts size / crop_pct off to an integer.
    resized = settings.resize_size or settings.size
    percent = 1.0 if resized == settings.size else settings.size / (resized + 0.5)
    return {
        "input_size": [3, settings.size, settings.size],
        "mean": list(settings.mean),
        "std": list(settings.std),
        "interpolation": settings.interpolation,
        "crop_mode": _CROPS[settings.resize],
        "crop_pct": percent,
    }


def opened(folder: Path) -> Opened:
    """Open a folder by timm alone."""
    from timm.data import create_transform, resolve_model_data_config

    with quiet_logging():
        model: Any = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
        transform: Any = create_transform(**resolve_model_data_config(model), is_training=False)
    return Opened(batched(lambda images: model(torch.stack([transform(image) for image in images]))), None)
