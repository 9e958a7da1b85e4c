"""A checkpoint of transformers: `AutoModel.from_pretrained(FOLDER)`, with processor and tokenizer."""

import json
import math
from pathlib import Path
from typing import Any

import torch
from torch import nn

from openmofi.encoders import Encoder, Preprocessing
from openmofi.encoders.tokens import HuggingFaceTokens
from openmofi.errors import UsageError
from openmofi.plugins.export.sides import Affine, ExportSide, Opened, batched, into_projection, side_of
from openmofi.quiet import quiet_transformers

FILES = ("model.safetensors", "config.json", "preprocessor_config.json")
_RESAMPLE = {"bilinear": 2, "bicubic": 3}
_ELSE = "Export it for onnx or openvino, which take heads as they are."
_CLASSIFIERS = {
    "dinov2": "Dinov2ForImageClassification",
    "dinov2_with_registers": "Dinov2WithRegistersForImageClassification",
}


def write(encoder: Encoder, folder: Path) -> None:
    """Write model, image processor and tokenizer.

    A CLIP's heads fold into its projections. A DINOv2's head is the classifier of an image classification model, whose
    logits are the embedding.

    Raises:
        UsageError: a side is no tower of transformers, or a head does not fold into it.
    """
    image, text = side_of(encoder, "image"), side_of(encoder, "text")
    for side in (image, text):
        if side is not None and side.kind != "hf":
            raise UsageError(
                f"transformers has no tower of the kind {side.kind!r}.",
                "Use --format open_clip or timm, as its towers are theirs.",
            )
    assert image is not None
    tokens = encoder.networks.tokens if encoder.networks else None
    if getattr(tokens, "end", None) is not None:
        raise UsageError(
            "The tokenizer of this checkpoint does not end texts where its model reads them.",
            "Correct the tokenizer's files first: transformers would read them as they are.",
        )
    with quiet_transformers():
        model = _images_alone(image) if text is None else _both(image, text, encoder)
        model.save_pretrained(str(folder), safe_serialization=True)
    (folder / FILES[2]).write_text(json.dumps(_processor(encoder.preprocessing), indent=2, sort_keys=True), "utf-8")
    if isinstance(tokens, HuggingFaceTokens):
        tokens.tokenizer.model_max_length = tokens.length
        tokens.save(folder)


def _both(image: ExportSide, text: ExportSide, encoder: Encoder) -> Any:
    from transformers import CLIPModel, SiglipModel

    kinds = {_config(side)["model_type"] for side in (image, text)}
    if len(kinds) > 1 or not kinds <= {"clip", "siglip"}:
        raise UsageError(f"transformers has no model with towers of {' and '.join(sorted(kinds))}.", _ELSE)
    clip = kinds == {"clip"}
    if not clip and (image.map is not None or text.map is not None):
        raise UsageError("A SigLIP's image tower ends in no projection that a head folds into.", _ELSE)
    model_class: Any = CLIPModel if clip else SiglipModel
    raw = _config(image) | {"text_config": _config(text)["text_config"]}
    if clip:
        raw["projection_dim"] = encoder.dim
    model: Any = model_class(model_class.config_class.from_dict(raw)).eval()
    for name, side in (("vision", image), ("text", text)):
        tower, projection = _tower(side, name)
        submodel = getattr(model, f"{name}_model")
        submodel.load_state_dict(tower.state_dict())
        if projection is not None:
            weight = projection.weight.data
            if side.map is not None:
                norm = submodel.post_layernorm if name == "vision" else submodel.final_layer_norm
                weight = into_projection(weight.T, norm, side.map).T
            layer = getattr(model, "visual_projection" if name == "vision" else "text_projection")
            layer.weight.data = weight.contiguous()
    if encoder.logit_scale is not None:
        model.logit_scale.data.fill_(math.log(encoder.logit_scale))
    bias = getattr(image.module, "logit_bias", None)
    if not clip and bias is not None:
        model.logit_bias.data.copy_(bias.data)
    return model


def _config(side: ExportSide) -> dict[str, Any]:
    if side.spec:
        return side.module.config.to_dict()
    return dict(side.architecture["config"])


def _tower(side: ExportSide, name: str) -> tuple[nn.Module, Any]:
    """Return a side's tower and its projection, `None` where it has none."""
    if side.spec:
        projection = getattr(side.module, "visual_projection" if name == "vision" else "text_projection", None)
        return getattr(side.module, f"{name}_model"), projection
    half = side.module
    return half.tower, None if isinstance(half.projection, nn.Identity) else half.projection


def _images_alone(side: ExportSide) -> Any:
    import transformers

    if not side.spec:
        raise UsageError(
            "transformers has no model of a CLIP's image tower with its projection alone.",
            "Train it with a text tower, or export it for onnx or openvino.",
        )
    if side.map is None:
        return side.module
    kind = side.module.config.model_type
    if kind not in _CLASSIFIERS:
        raise UsageError(f"No head folds into a {kind} of transformers.", _ELSE)
    return _classifier(getattr(transformers, _CLASSIFIERS[kind]), side.module, side.map)


def _classifier(model_class: Any, backbone: Any, side: Affine) -> Any:
    """A DINOv2 whose classifier is the head: it takes the class token and the mean of patches, which gets zeros."""
    config = type(backbone.config).from_dict(backbone.config.to_dict() | {"num_labels": len(side.bias)})
    model = model_class(config).eval()
    getattr(model, model.base_model_prefix).load_state_dict(backbone.state_dict())
    with torch.no_grad():
        model.classifier.weight.zero_()
        model.classifier.weight[:, : side.weight.shape[1]] = side.weight
        model.classifier.bias.copy_(side.bias)
    return model


def _processor(settings: Preprocessing) -> dict[str, Any]:
    square = {"height": settings.size, "width": settings.size}
    crops = settings.resize == "shortest"
    return {
        "image_processor_type": "CLIPImageProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "size": {"shortest_edge": settings.resize_size or settings.size} if crops else square,
        "do_center_crop": crops,
        "crop_size": square,
        "resample": _RESAMPLE[settings.interpolation],
        "image_mean": list(settings.mean),
        "image_std": list(settings.std),
    }


def opened(folder: Path) -> Opened:
    """Open a folder by transformers alone."""
    from transformers import AutoImageProcessor, AutoModel, AutoModelForImageClassification, AutoTokenizer

    with quiet_transformers():
        processor: Any = AutoImageProcessor.from_pretrained(str(folder))
        raw = json.loads((folder / FILES[1]).read_text("utf-8"))
        classifies = "ForImageClassification" in str(raw.get("architectures"))
        model: Any = (AutoModelForImageClassification if classifies else AutoModel).from_pretrained(str(folder)).eval()

    def pixels(images: list[Any]) -> Any:
        return processor(images=images, return_tensors="pt")["pixel_values"]

    if classifies:
        return Opened(batched(lambda images: model(pixel_values=pixels(images)).logits), None)
    if not hasattr(model, "get_text_features"):
        return Opened(batched(lambda images: model(pixel_values=pixels(images))), None)
    tokenizer: Any = AutoTokenizer.from_pretrained(str(folder))
    padding = "max_length" if model.config.model_type == "siglip" else True
    return Opened(
        batched(lambda images: model.get_image_features(pixel_values=pixels(images))),
        batched(
            lambda texts: model.get_text_features(
                **tokenizer(texts, padding=padding, truncation=True, return_tensors="pt")
            )
        ),
    )
