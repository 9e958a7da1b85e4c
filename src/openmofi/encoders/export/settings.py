"""What an export is asked for; read before anything heavy is imported, so that a wrong word is met at once."""

from __future__ import annotations

from dataclasses import dataclass

from openmofi.errors import UsageError

FORMATS = ("onnx", "openvino")
PRECISIONS = ("fp32", "bf16", "int8")


@dataclass(frozen=True)
class ExportSettings:
    """What is exported.

    Attributes:
        format: `onnx` or `openvino`.
        precision: `fp32`; `bf16` (OpenVINO); `int8`: see `export_onnx.quantise_linear` and
            `export_openvino.write_openvino`.
        max_loss: greatest 1 − mean cosine between the original's and the export's embeddings, of the worse side.
    """

    format: str = "onnx"
    precision: str = "fp32"
    max_loss: float = 0.01

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise UsageError(f"There is no format {self.format!r}.", f"There are: {', '.join(FORMATS)}.")
        if self.precision not in PRECISIONS:
            raise UsageError(f"There is no precision {self.precision!r}.", f"There are: {', '.join(PRECISIONS)}.")
        if self.precision == "bf16" and self.format == "onnx":
            raise UsageError("ONNX Runtime computes no bfloat16 on CPUs.", "Use --format openvino, or fp32 or int8.")
        if not 0 <= self.max_loss <= 2:
            raise UsageError(f"The greatest loss is {self.max_loss}; it is 1 − a cosine.",
                             "Give --max-loss a number from 0 to 2, say 0.01.")

    @property
    def calibrates(self) -> bool:
        """Whether activations are quantised with fixed ranges, which images must give."""
        return self.format == "openvino" and self.precision == "int8"
