"""ONNX graphs of networks: traced by PyTorch, with int8 weights, or one behind another."""

import contextlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from openmofi.encoders.graphs import EMBEDDING, FEATURES, imported
from openmofi.errors import OpenMofiError, UsageError, first_line
from openmofi.quiet import quiet_logging

PREFIX = "openmofi."
_OPSET = 18
# A protocol buffer ends at 2 GiB; beyond half of that weights lie in a file beside the graph.
_WHOLE = 1 << 30


class _Output(nn.Module):
    """A network, its output in 32 bits and, where that is asked for, L2-normalised: what is exported."""

    def __init__(self, network: nn.Module, *, normalised: bool) -> None:
        super().__init__()
        self.network, self.normalised = network, normalised

    def forward(self, inputs: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """(B, …) → (B, dim) float32."""
        out = (self.network(inputs) if mask is None else self.network(inputs, mask)).float()
        return nn.functional.normalize(out, dim=1) if self.normalised else out


def write_onnx(
    network: nn.Module,
    examples: Mapping[str, torch.Tensor],
    dynamic: Sequence[int],
    path: Path,
    metadata: Mapping[str, Any],
    output: str,
) -> None:
    """Trace a network and write its graph.

    Args:
        network: takes the examples in their order; in evaluation mode.
        examples: name of an input → a batch of two.
        dynamic: dimensions of the inputs that may be of any size, the batch (0) among them.
        path: of the graph.
        metadata: JSON values, written as `openmofi.KEY` into the graph's `metadata_props`.
        output: what it is called; `EMBEDDING` is L2-normalised.

    Raises:
        MissingExtraError: onnx or onnxscript is not installed.
        OpenMofiError: the network cannot be traced.
    """
    onnx, _ = imported("onnx"), imported("onnxscript")
    shapes = tuple(dict.fromkeys(dynamic, torch.export.Dim.DYNAMIC) for _ in examples)
    size = sum(parameter.numel() * parameter.element_size() for parameter in network.parameters())
    whole = _Output(network, normalised=output == EMBEDDING).eval()
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad(), quiet_logging(), contextlib.redirect_stdout(io.StringIO()):
            torch.onnx.export(
                whole,
                tuple(examples.values()),
                str(path),
                dynamo=True,
                dynamic_shapes=shapes,
                input_names=list(examples),
                output_names=[output],
                opset_version=_OPSET,
                external_data=size > _WHOLE,
                verbose=False,
            )
    except (RuntimeError, TypeError, ValueError, NotImplementedError) as error:
        raise OpenMofiError(
            f"The network cannot be exported: {first_line(error)}",
            "Run it again as openmofi --debug export … for the whole story.",
        ) from error
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    _add_metadata(onnx, path, metadata)


def quantise_linear(source: Path, target: Path) -> int:
    """Write the graph with int8 weights of matrix products, whose inputs are quantised as they come; returns how many.

    Never convolutions: quantised dynamically they are half as fast as in floats (51 against 26 ms, measured), and
    their accuracy is not safe either. Weights have 7 bits and a scale a column, so that processors without VNNI do not
    overflow; on MiniLM's texts that costs 0.008 of cosine against 0.007 with 8 bits, and a scale a matrix 0.017.

    Raises:
        UsageError: the graph has no linear layer.
    """
    onnx, quantisation = imported("onnx"), imported("onnxruntime.quantization")
    with quiet_logging():
        quantisation.quantize_dynamic(
            str(source),
            str(target),
            op_types_to_quantize=["MatMul"],
            per_channel=True,
            reduce_range=True,
            weight_type=quantisation.QuantType.QInt8,
            use_external_data_format=source.with_name(f"{source.name}.data").exists(),
            extra_options={"MatMulConstBOnly": True},
        )
    graph = onnx.load(str(target), load_external_data=False).graph
    layers = sum(node.op_type in ("MatMulInteger", "DynamicQuantizeMatMul") for node in graph.node)
    if not layers:
        raise UsageError(
            "The network has no linear layers, whose weights alone are made int8 for ONNX Runtime: "
            "dynamically quantised convolutions would be slower.",
            "Export with --precision fp32, or --format openvino, which calibrates on images.",
        )
    return layers


def write_behind(
    source: Path, output: str, network: nn.Module, path: Path, dim: int, metadata: Mapping[str, Any]
) -> None:
    """Write one graph of a graph and of a network that takes its output.

    Args:
        source: the graph; its inputs keep their names.
        output: of it, (batch, dim).
        network: as of `write_onnx`, of one input; what it gives is `EMBEDDING`.
        path, metadata: as of `write_onnx`.
        dim: of what the network takes.

    Raises:
        MissingExtraError: onnx or onnxscript is not installed.
        OpenMofiError: the network cannot be traced, or the graphs do not go together.
    """
    onnx, compose = imported("onnx"), imported("onnx.compose")
    write_onnx(network, {FEATURES: torch.zeros(2, dim)}, (0,), path, metadata, EMBEDDING)
    try:
        behind, before = onnx.load(str(path)), onnx.load(str(source))
        before = compose.add_prefix(before, "base_", rename_inputs=False)
        behind.ir_version = before.ir_version = max(behind.ir_version, before.ir_version)
        del before.metadata_props[:]
        onnx.save(compose.merge_models(before, behind, io_map=[(f"base_{output}", FEATURES)]), str(path))
    except (ValueError, TypeError) as error:
        raise OpenMofiError(
            f"The heads cannot be put behind the graph {source}: {first_line(error)}",
            "Export the encoder below them again, and train heads on that.",
        ) from error


def _add_metadata(onnx: Any, path: Path, metadata: Mapping[str, Any]) -> None:
    model = onnx.load(str(path), load_external_data=False)
    onnx.helper.set_model_props(
        model, {f"{PREFIX}{name}": json.dumps(value, sort_keys=True) for name, value in metadata.items()}
    )
    onnx.save(model, str(path))
