"""Exports of encoders: graphs, and checkpoints of other libraries. Settings are checked before anything heavy loads."""

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta

from openmofi.config import Settings
from openmofi.errors import UsageError, did_you_mean
from openmofi.extensions import extension_names

LIBRARIES = ("open_clip", "timm", "transformers")
"""Formats that are checkpoints of a library, in 32 bits."""


def format_names() -> list[str]:
    """Return the names of all formats, those that packages add among them."""
    return ["onnx", *extension_names("graph_formats"), *LIBRARIES]


@dataclass(frozen=True)
class ExportSettings(Settings):
    """What is exported.

    Attributes:
        format: what runs it: graphs for `onnx`, or for what a package adds, such as `openvino`; or a checkpoint of
            `open_clip`, `timm` or `transformers`.
        precision: `fp32`, `int8` (graphs) or `bf16` (OpenVINO).
        max_loss: greatest 1 − mean cosine between original and export, of the worse side; above it nothing is written.
            Checkpoints of libraries lose at most 0.001.
    """

    format: str = "onnx"
    precision: Literal["fp32", "bf16", "int8"] = "fp32"
    max_loss: Annotated[float, Meta(ge=0, le=2)] = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.format not in (names := format_names()):
            raise UsageError(
                f"Unknown format {self.format!r}.{did_you_mean(self.format, names)}", f"Use {', '.join(names)}."
            )
        if self.precision == "bf16" and self.format == "onnx":
            raise UsageError("ONNX Runtime computes no bfloat16 on CPUs.", "Use --format openvino, or fp32 or int8.")

        if self.precision != "fp32" and self.format in LIBRARIES:
            raise UsageError(
                f"A checkpoint for {self.format} is written in fp32, not {self.precision}.", "Leave --precision out."
            )

    @property
    def calibrates(self) -> bool:
        """Whether activations are quantised with fixed ranges, which images must give."""
        return self.precision == "int8" and self.format != "onnx"
