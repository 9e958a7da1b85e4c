"""`openmofi.load_encoder`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from openmofi.api.given import public

if TYPE_CHECKING:
    from openmofi.encoders import Encoder


@public()
def load_encoder(spec: str, *, device: str = "auto", precision: str = "fp32") -> Encoder:
    """Open an image–text encoder with its preprocessing and tokenizer.

    Args:
        spec: `open_clip:ARCH/PRETRAINED`, `hf:PATH-OR-ID`, `mofi:PATH-OR-ID`, `timm:NAME`, `run:PATH` (trained here),
            `onnx:PATH`, `openvino:PATH`; see docs/encoders.md.

    Raises:
        UsageError: an unknown kind of encoder, device or precision.
        OpenMofiError: the encoder is missing, damaged, or cannot be fetched.
    """
    from openmofi.encoders import open_encoder

    return open_encoder(spec, device=device, precision=precision)
