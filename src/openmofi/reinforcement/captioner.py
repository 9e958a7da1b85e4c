"""Captioners: image-to-text models that write synthetic texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from openmofi.encoders.libraries.huggingface import checkpoint_folder, require_safetensors
from openmofi.errors import OpenMofiError
from openmofi.quiet import quiet_transformers
from openmofi.storage import file_fingerprint, fingerprint
from openmofi.storage.foreign import guarded
from openmofi.storage.foreign.transformers import read_config as read_model_config

_FILES = ("*.safetensors", "*.json")
_PREFIX = "hf:"
_MAX_TOKENS = 40


Captioner = Callable[[Sequence[Image.Image], int], list[list[str]]]
"""RGB images, and how many texts to write about each → these, the likeliest first; equal batches give equal texts."""


def captioner_fingerprint(spec: str) -> str:
    """Identifies the checkpoint by sizes and edges of its files.

    Raises:
        OpenMofiError: it is not found.
    """
    folder = _folder(spec)
    return fingerprint({path.name: file_fingerprint(path) for pattern in _FILES for path in folder.glob(pattern)})


def open_captioner(spec: str) -> Captioner:
    """Open an image-to-text model of transformers (BLIP, GIT, VisionEncoderDecoder …) as `hf:PATH-OR-ID`.

    Weights are read from safetensors only; code from a repository is never run; only a hub id uses the network.

    Raises:
        OpenMofiError: it is not found, is damaged, or is another kind of model.
    """
    from safetensors import SafetensorError
    from transformers import AutoImageProcessor, AutoModelForImageTextToText, AutoTokenizer

    folder, options = str(_folder(spec)), {"local_files_only": True, "trust_remote_code": False}
    try:
        with guarded(f"The captioner {spec!r}"), quiet_transformers():
            # Its annotation lacks `output_loading_info`.
            kind: Any = AutoModelForImageTextToText
            model, report = kind.from_pretrained(
                folder,
                config=read_model_config(Path(folder)),
                use_safetensors=True,
                dtype=torch.float32,
                output_loading_info=True,
                **options,
            )
            processor = AutoImageProcessor.from_pretrained(folder, **options)
            tokenizer = AutoTokenizer.from_pretrained(folder, **options)
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise OpenMofiError(
            f"The captioner {spec} cannot be loaded: {str(error).strip().splitlines()[0][:300]}",
            "Check that it is a complete image-to-text checkpoint with safetensors weights.",
        ) from error
    if report["missing_keys"]:
        raise OpenMofiError(
            f"The captioner {spec} lacks {len(report['missing_keys'])} of its weights, "
            f"such as {sorted(report['missing_keys'])[0]}.",
            "Fetch it again.",
        )
    return partial(_captions, model.eval().requires_grad_(False), processor, tokenizer)


def _folder(spec: str) -> Path:
    folder = checkpoint_folder(spec.removeprefix(_PREFIX))
    require_safetensors(folder)
    return folder


def _captions(model: Any, processor: Any, tokenizer: Any, images: Sequence[Image.Image], count: int) -> list[list[str]]:
    """See `Captioner`; by beam search, which draws no random numbers."""
    if not images:
        return []
    pixels = processor(images=list(images), return_tensors="pt")["pixel_values"]
    with torch.inference_mode():
        tokens = model.generate(
            pixel_values=pixels,
            num_beams=max(2, count),
            num_return_sequences=count,
            do_sample=False,
            max_new_tokens=_MAX_TOKENS,
        )
    texts = [text.strip() for text in tokenizer.batch_decode(tokens, skip_special_tokens=True)]
    return [texts[start : start + count] for start in range(0, len(texts), count)]
