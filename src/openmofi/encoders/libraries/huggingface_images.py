"""transformers' encoders of images alone in `hf:`: DINOv2, with registers or without, and DINOv3."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from openmofi.encoders.arrays import numpy_of, weights_fingerprint
from openmofi.encoders.encoder import Encoder, Towers
from openmofi.encoders.libraries.huggingface_preprocessing import read_preprocessing
from openmofi.encoders.networks import Called, Networks
from openmofi.encoders.protocol import Array
from openmofi.errors import OpenMofiError, UsageError
from openmofi.quiet import quiet_transformers
from openmofi.storage import fingerprint

KINDS = ("dinov2", "dinov2_with_registers", "dinov3_vit", "dinov3_convnext")
"""Their pooled output is the class token after the last normalisation (of a ConvNeXt: the normalised mean)."""


def open_images(spec: str, folder: Path, config: Mapping[str, Any], option: str, device: str) -> Encoder:
    """Open a local checkpoint of one of `KINDS`, with safetensors weights.

    Images have the size that the checkpoint's preprocessing gives, which need not be that of its training (DINOv2:
    224 against 518): position embeddings are interpolated.

    Raises:
        UsageError: a preprocessing by option.
        OpenMofiError: damaged or missing weights, or preprocessing that is missing or cannot be followed.
    """
    if option:
        raise UsageError(f"{spec!r}: a {config['model_type']} has a preprocessing of its own.", "Leave the option out.")
    model = _load(folder)
    module = model.eval().requires_grad_(False).to(device)
    preprocessing = read_preprocessing(folder, str(config["model_type"]), 0)
    patch = int(getattr(model.config, "patch_size", 1))
    if preprocessing.size % patch:
        raise OpenMofiError(f"{folder} makes images of {preprocessing.size} px, no multiple of its patches' {patch}.",
                            "Correct its preprocessor_config.json.")

    @torch.inference_mode()
    def run(pixels: Array) -> Array:
        return numpy_of(module(pixel_values=torch.from_numpy(pixels).to(device)).pooler_output)

    told = {key: value for key, value in config.items() if key not in ("transformers_version", "_name_or_path")}
    sizes = getattr(model.config, "hidden_sizes", None) or [model.config.hidden_size]
    towers = Towers(run, None, None, int(sizes[-1]), fingerprint([told, weights_fingerprint(model.state_dict())]),
                    Networks(Called(module, "forward", "pixel_values")))
    return Encoder.of(spec, towers, preprocessing, None)


def _load(folder: Path) -> Any:
    from safetensors import SafetensorError
    from transformers import AutoModel

    try:
        with quiet_transformers():
            model, report = AutoModel.from_pretrained(
                str(folder), local_files_only=True, use_safetensors=True, trust_remote_code=False,
                dtype=torch.float32, output_loading_info=True)
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise OpenMofiError(f"{folder} cannot be loaded: {str(error).strip().splitlines()[0][:300]}",
                            "Check that it is a whole checkpoint.") from error
    missing = sorted(report["missing_keys"])
    if missing:
        raise OpenMofiError(f"{folder} lacks {len(missing)} of the model's weights, {missing[0]} the first.",
                            "Fetch it again.")
    return model
