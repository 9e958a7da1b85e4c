"""SigLIP 2 NaFlex: images keep their aspect ratio and become a varying number of patches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from openmofi.arrays import Array
from openmofi.encoders.arrays import numpy_of
from openmofi.encoders.networks import pooled
from openmofi.encoders.preprocess import Preprocessing, checked, three
from openmofi.errors import OpenMofiError
from openmofi.plugins.encoders.huggingface_preprocessing import processor_in

_PASSED = {
    *("do_convert_rgb", "do_normalize", "do_rescale", "do_resize", "image_mean", "image_std"),
    *("max_num_patches", "patch_size", "resample", "rescale_factor"),
}
_MOST_PATCHES = 4096


def read_patches(folder: Path, patch_size: int) -> dict[str, Any]:
    """Read the options of a NaFlex image processor that may reach the library.

    Args:
        folder: see `huggingface_preprocessing.read_preprocessing`.
        patch_size: of the model, in pixels.

    Raises:
        OpenMofiError: there is no file, or it asks for something that the model or this machine cannot take.
    """
    raw, path = processor_in(folder)
    options = {"patch_size": patch_size, "max_num_patches": 256} | {k: v for k, v in raw.items() if k in _PASSED}
    try:
        most = int(options["max_num_patches"])
        problem = (
            f"patches of {options['patch_size']} px; the model takes {patch_size} px"
            if int(options["patch_size"]) != patch_size
            else f"{most} patches, not 1 to {_MOST_PATCHES}"
            if not 1 <= most <= _MOST_PATCHES
            else ""
        )
        checked(preprocessing_of(options), str(path))
    except (TypeError, ValueError) as error:
        raise OpenMofiError(f"{path}: the preprocessing cannot be parsed ({error}).") from error
    if problem:
        raise OpenMofiError(f"{path} makes images of {problem}.", "Correct the file.")
    return options


def preprocessing_of(options: dict[str, Any]) -> Preprocessing:
    """Return what is known of the images before they are read: the sides of a square one of so many patches."""
    side = math.isqrt(int(options["max_num_patches"])) * int(options["patch_size"])
    mean, std = (three(options.get(name, (0.5, 0.5, 0.5))) for name in ("image_mean", "image_std"))
    return Preprocessing(max(side, 1), mean, std, "bilinear", "squash")


@dataclass(frozen=True, eq=False)
class PatchedImages:
    """The image side of a SigLIP 2 NaFlex as a function of images.

    Attributes:
        model: of transformers.
        options: of its image processor, see `read_patches`.
        device: torch's name of it.
    """

    model: Any
    options: dict[str, Any]
    device: str

    @torch.inference_mode()
    def __call__(self, images: Sequence[Image.Image]) -> Array:
        """RGB images → float32 (n, dim), unnormalised."""
        from transformers import Siglip2ImageProcessor

        inputs = Siglip2ImageProcessor(**self.options)(list(images), return_tensors="pt")
        return numpy_of(pooled(self.model.get_image_features(**{k: v.to(self.device) for k, v in inputs.items()})))
