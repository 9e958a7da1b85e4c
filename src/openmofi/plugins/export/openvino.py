"""OpenVINO's graphs: made of ONNX's in 32-bit floats, for bfloat16, or int8 calibrated on real inputs; and opened.

A graph is `….xml` with its weights in `….bin`. Needs the extra `export`.
"""

import contextlib
import ctypes
import io
import json
import os
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from openmofi.encoders.graphs import Graph, GraphFormat, imported, refused
from openmofi.errors import OpenMofiError, first_line
from openmofi.quiet import quiet_logging

# More than any system's `stack_t`.
_BYTES = 64


@contextmanager
def signal_stack_kept() -> Generator[None]:
    """Inside, anybody may call sigaltstack(2); after it this thread's alternate signal stack is what it was.

    OpenVINO's CPU plugin registers a stack of its own when it is loaded, unmaps it when it is freed, and restores the
    one that it found. Two that are freed in the order in which they came leave the stack of the first, which is gone:
    the next signal (Ctrl-C, or the end of a child process) then kills the process without a word.
    """
    try:
        change = ctypes.CDLL(None).sigaltstack
    except (AttributeError, OSError, TypeError):
        # Windows knows no such stack.
        yield
        return
    before = ctypes.create_string_buffer(_BYTES)
    saved = change(None, before) == 0
    try:
        yield
    finally:
        if saved:
            change(before, None)


SECTION = "openmofi"
_ATTENTION = ("Softmax", "ScaledDotProductAttention")


def write_openvino(
    source: Path, target: Path, precision: str, calibration: Sequence[Mapping[str, Any]], metadata: Mapping[str, Any]
) -> None:
    """Convert a graph.

    Args:
        source: the ONNX graph in 32-bit floats.
        target: `….xml`; weights lie in `….bin` beside it.
        precision: `fp32`; `bf16` (weights are stored as 16-bit floats, and the engine is asked for bfloat16 when it
            opens); `int8` (weights and activations of convolutions and matrix products, by NNCF's calibration).
        calibration: inputs of one call each, for `int8`.
        metadata: JSON values, written into the model's `rt_info` below `openmofi`.

    Raises:
        MissingExtraError: openvino, or for `int8` nncf, is not installed.
        OpenMofiError: the graph cannot be converted or calibrated.
    """
    openvino = imported("openvino")
    try:
        model = openvino.Core().read_model(str(source))
        if precision == "int8":
            model = _calibrated(model, calibration)
        for name, value in metadata.items():
            model.set_rt_info(json.dumps(value, sort_keys=True), [SECTION, name])
        openvino.save_model(model, str(target), compress_to_fp16=precision == "bf16")
    except RuntimeError as error:
        raise OpenMofiError(
            f"OpenVINO cannot convert the network: {first_line(error)}", "Choose another --precision, or --format onnx."
        ) from error


def _calibrated(model: Any, calibration: Sequence[Mapping[str, Any]]) -> Any:
    # NNCF reports its use to its makers unless it is told that it runs in continuous integration.
    os.environ.setdefault("NNCF_CI", "1")
    nncf = imported("nncf")
    attention = any(node.get_type_name() in _ATTENTION for node in model.get_ops())
    with signal_stack_kept(), quiet_logging(), contextlib.redirect_stdout(io.StringIO()):
        return nncf.quantize(
            model,
            nncf.Dataset([dict(row) for row in calibration]),
            subset_size=len(calibration),
            preset=nncf.QuantizationPreset.MIXED,
            model_type=nncf.ModelType.TRANSFORMER if attention else None,
        )


def _openvino(path: Path, name: str, precision: str, threads: int, device: str) -> Graph:
    # On processors that have bfloat16 OpenVINO would use it unasked, so the precision is always said.
    settings = {
        "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,
    }
    try:
        with signal_stack_kept():
            compiled = imported("openvino").Core().compile_model(str(path), device.upper(), settings)
        output = compiled.output(name)
    except RuntimeError as error:
        raise refused(path, error) from error
    return lambda inputs: compiled(dict(inputs))[output]


GRAPHS = GraphFormat(".xml", ("onnx", "onnxscript", "openvino"), _openvino, write_openvino)
