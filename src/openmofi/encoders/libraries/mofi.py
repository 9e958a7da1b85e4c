"""MOFI's released checkpoints (apple/mofi-b16-hf, -l14-hf, -h14-hf): `mofi:PATH-OR-ID`, without further flags.

They are a CLIPModel of transformers with OPT's tokenizer and its own special tokens. What the files leave open is
filled in as published (REFERENCE.md §1): images are resized bilinearly without antialias, texts go in as ids alone,
without a mask. The export holds no logit scale: it is reported as unknown.
"""

from __future__ import annotations

from openmofi.encoders.encoder import Encoder
from openmofi.encoders.libraries.huggingface import open_clip_checkpoint
from openmofi.errors import UsageError


def open_mofi(spec: str, rest: str, device: str) -> Encoder:
    """Open a folder or a repository of the hub; errors as of `open_huggingface`."""
    if "?" in rest:
        raise UsageError(f"{spec!r}: mofi: takes no options.", "Use hf:PATH?preprocessing=… for another preprocessing.")
    return open_clip_checkpoint(spec, rest, "mofi", device, ids_alone=True)
