"""What the files of transformers say of how an image becomes a network's input."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from openmofi.encoders.preprocess import Preprocessing, checked, three
from openmofi.errors import OpenMofiError
from openmofi.storage import read_json

_CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
_CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
_HALF = (0.5, 0.5, 0.5)
_AS_CLIP = ("clip", "metaclip_2", "aimv2", "chinese_clip", "dinov2", "dinov2_with_registers")
"""Model types whose image processors have CLIP's defaults."""
_FILTER_NUMBERS = {2: "bilinear", 3: "bicubic"}  # PIL.Image.Resampling


def read_preprocessing(folder: Path, model_type: str, size: int, option: str = "") -> Preprocessing:
    """The preprocessing of a checkpoint folder.

    Args:
        folder: with `preprocessor_config.json`, or `processor_config.json` as transformers 5 writes it.
        model_type: `clip`, `siglip` or another: decides the defaults of what the file leaves out.
        size: of the images that the model takes, in pixels; the file must agree. 0: any.
        option: `clip` or `mofi` instead of a file; of MOFI: bilinear without antialias.

    Raises:
        OpenMofiError: there is no file, it cannot be followed, or it gives another size than the model takes.
    """
    if option:
        plain = option == "clip"
        return Preprocessing(size, _CLIP_MEAN, _CLIP_STD, "bicubic" if plain else "bilinear", antialias=plain)
    raw, path = processor_in(folder)
    try:
        settings = _of_processor(raw, model_type)
    except (KeyError, TypeError, ValueError) as error:
        raise OpenMofiError(f"{path}: the preprocessing cannot be parsed ({error}).") from error
    if size and settings.size != size:
        raise OpenMofiError(
            f"{path} makes images of {settings.size} px; the model takes {size} px.",
            "Correct the file, or use ?preprocessing=clip or =mofi.",
        )
    return checked(settings, str(path))


def processor_in(folder: Path) -> tuple[Mapping[str, Any], Path]:
    """Read what a checkpoint folder says of its image processor; return the file too.

    Raises:
        OpenMofiError: there is no file, or it is damaged.
    """
    for name in ("preprocessor_config.json", "processor_config.json"):
        path = folder / name
        if not path.is_file():
            continue
        raw = read_json(path, object, "Copy the whole checkpoint.")
        processor = raw.get("image_processor", raw) if isinstance(raw, dict) else None
        if isinstance(processor, dict):
            return processor, path
    raise OpenMofiError(
        f"{folder} has no preprocessor_config.json, and preprocessing is never guessed.",
        "Add the file, or say which: hf:FOLDER?preprocessing=clip, or =mofi for MOFI's checkpoints.",
    )


def _of_processor(raw: Mapping[str, Any], model_type: str) -> Preprocessing:
    clip = model_type in _AS_CLIP
    for step in ("do_resize", "do_rescale"):
        if not raw.get(step, True):
            raise ValueError(f"{step} is off")
    if abs(float(raw.get("rescale_factor", 1 / 255)) - 1 / 255) > 1e-6:
        raise ValueError(f"rescale_factor {raw['rescale_factor']}")
    crop = bool(raw.get("do_center_crop", clip))
    resize, resized = _resize(raw.get("size", 224), clip)
    size = _crop_size(raw.get("crop_size", resized)) if crop else resized
    if resize == "shortest" and not crop:
        raise ValueError("the shorter side is resized without a crop, which gives no fixed size")
    if resize == "squash" and crop and size != resized:
        raise ValueError("a square is made and then cropped")
    normalise = bool(raw.get("do_normalize", True))
    mean = three(raw.get("image_mean", _CLIP_MEAN if clip else _HALF)) if normalise else (0.0, 0.0, 0.0)
    std = three(raw.get("image_std", _CLIP_STD if clip else _HALF)) if normalise else (1.0, 1.0, 1.0)
    resample = int(raw.get("resample", 3))
    return Preprocessing(
        size,
        mean,
        std,
        _FILTER_NUMBERS.get(resample, f"number {resample}"),
        resize,
        antialias=bool(raw.get("antialias", True)),
        resize_size=resized if resized != size else 0,
        crop_rounding="floor",
    )


def _resize(size: Any, clip: bool) -> tuple[str, int]:
    """(way, pixels); a bare number is the shorter side for CLIP and a square for SigLIP, as in transformers."""
    if isinstance(size, dict) and "shortest_edge" in size:
        return "shortest", int(size["shortest_edge"])
    if isinstance(size, dict):
        return "squash", _crop_size(size)
    return ("shortest" if clip else "squash"), int(size)


def _crop_size(size: Any) -> int:
    if isinstance(size, dict):
        if size["height"] != size["width"]:
            raise ValueError(f"size {size} is not square")
        return int(size["height"])
    return int(size)
