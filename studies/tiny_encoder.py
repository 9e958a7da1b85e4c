"""Makes the encoder `tiny`: a few MB that ONNX Runtime opens, without PyTorch.

    python -m studies.tiny_encoder runs/demo       # of a finished demo; writes src/openmofi/encoders/tiny

The image side is the demo's: EfficientNet-Lite0 and its trained head, with int8 weights (a scale a channel; computed in
floats). The text side is a student of the demo's MiniLM and head: a vector a token, a weight a position, their mean. It
learns from texts alone, those of the sample world's entities and captions; no truth of the world is read.
"""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch.nn.functional import cross_entropy, normalize, softmax

from openmofi.encoders import Encoder, open_encoder
from openmofi.encoders.graphs import (
    EMBEDDING,
    MASK,
    PIXELS,
    TOKENS,
    Graphs,
    GraphSource,
    digests,
    write_graphs_description,
)
from openmofi.encoders.tokens import WordPieceTokens
from openmofi.plugins.export.job import write_onnx

DATA = Path(__file__).parents[1] / "src/openmofi/encoders/tiny"
TABLES = Path(__file__).parents[1] / "src/openmofi/plugins/demo/data/kb"
DIM, LENGTH, NAMES = 96, 64, 500
STEPS, BATCH, RATE = 200, 256, 0.006
Floats = NDArray[np.float32]


def taught(demo: Path, encoder: Encoder) -> tuple[list[str], Floats]:
    """Texts and the encoder's embeddings: entities that the demo met (in its cache), names, captions."""
    assert encoder.text_projection is not None
    entities = {row["id"]: row for row in pq.read_table(demo / "world/kb/entities.parquet").to_pylist()}
    stored = [pq.read_table(path) for path in sorted((demo / "cache/entities").glob("*/*.parquet"))]
    ids = [identifier for table in stored for identifier in table["id"].to_pylist()]
    features = np.concatenate([np.stack(table["feature"].to_numpy(zero_copy_only=False)) for table in stored])
    texts = [f"{entities[identifier]['name']}: {entities[identifier]['description']}" for identifier in ids]
    captions = pq.read_table(next((demo / "labels/labels").glob("*.parquet")), columns=["text"])["text"].to_pylist()
    tiny = pq.read_table(TABLES / "entities.parquet").to_pylist()
    draw = np.random.default_rng(0)
    names = [tiny[row]["name"] for row in draw.permutation(len(tiny))[:NAMES]]
    short = list(dict.fromkeys([*names, *filter(None, captions[:NAMES])]))
    return [*texts, *short], np.concatenate(
        [encoder.text_projection(features.astype(np.float32)), encoder.embed_texts(short)]
    )


def padded(rows: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and mask, (n, `LENGTH`)."""
    ids, mask = np.zeros((len(rows), LENGTH), np.int64), np.zeros((len(rows), LENGTH), np.float32)
    for number, row in enumerate(rows):
        ids[number, : len(row)], mask[number, : len(row)] = row, 1
    return torch.from_numpy(ids), torch.from_numpy(mask)


def initial(inputs: Floats, ids: torch.Tensor, mask: torch.Tensor, target: Floats) -> Floats:
    """Vectors of tokens to start from: MiniLM's own, mapped so that a text's mean is near its embedding (ridge)."""
    means = np.stack([inputs[row[kept > 0]].mean(0) for row, kept in zip(ids.numpy(), mask.numpy(), strict=True)])
    ridge = means.T @ means + 0.01 * len(means) * np.mean(means**2) * np.eye(means.shape[1], dtype=np.float32)
    return np.asarray(inputs @ np.linalg.solve(ridge, means.T @ target), np.float32)


def student(
    texts: list[str], target: Floats, tokens: WordPieceTokens, inputs: Floats, scale: float
) -> tuple[Floats, Floats]:
    """A vector a token (V, DIM) and a weight a position (LENGTH,), fitted to the teacher's embeddings (n, DIM)."""
    torch.manual_seed(0)
    ids, mask = padded(tokens(texts))
    teacher = torch.from_numpy(target)
    table = torch.nn.Parameter(torch.from_numpy(initial(inputs, ids, mask, target)))
    places = torch.nn.Parameter(torch.zeros(LENGTH))
    optimizer = torch.optim.Adam([table, places], RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    for step in range(STEPS):
        rows = torch.randint(len(texts), (BATCH,))
        longest = int(mask[rows].sum(1).max())
        weights = softmax(places[:longest] + (mask[rows, :longest] - 1) * 1e4, dim=1)
        made = normalize((table[ids[rows, :longest]] * weights[..., None]).sum(1), dim=1)
        goal = teacher[rows]
        alike = cross_entropy(scale * made @ goal.T, softmax(scale * goal @ goal.T, dim=1))
        loss = alike + 5 * (1 - (made * goal).sum(1)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 40 == 0 or step == STEPS - 1:
            print(f"step {step}: loss {loss.item():.3f}, cosine {(made * goal).sum(1).mean().item():.3f}", flush=True)
    return table.detach().numpy(), places.detach().numpy()


def int8_rows(values: Floats) -> tuple[NDArray[np.int8], Floats]:
    """(n, …) → int8 of the same shape and a scale a row."""
    scales = np.maximum(np.abs(values.reshape(len(values), -1)).max(1), 1e-12).astype(np.float32) / 127
    return np.round(values / scales.reshape(-1, *[1] * (values.ndim - 1))).astype(np.int8), scales


def write_text_graph(table: Floats, places: Floats, path: Path) -> None:
    """The student as a graph: tokens and mask (batch, length) → joint embedding."""
    weights, scales = int8_rows(table)
    constants = {
        "table": weights,
        "scales": scales,
        "places": places[:, None].astype(np.float32),
        "minus": np.float32(1e4),
        "one": np.float32(1),
        "zero": np.int64(0),
        "step": np.int64(1),
        "axis": np.array([1]),
        "tiny": np.float32(1e-12),
        "last": np.array([2]),
    }
    node = helper.make_node
    nodes = [
        node("Gather", ["table", TOKENS], ["rows"]),
        node("Cast", ["rows"], ["floats"], to=TensorProto.FLOAT),
        node("Gather", ["scales", TOKENS], ["scale"]),
        node("Unsqueeze", ["scale", "last"], ["scale3"]),
        node("Mul", ["floats", "scale3"], ["vectors"]),
        node("Shape", [TOKENS], ["shape"]),
        node("Gather", ["shape", "step"], ["length"]),
        node("Range", ["zero", "length", "step"], ["range"]),
        node("Gather", ["places", "range"], ["placed"]),
        node("Cast", [MASK], ["masked"], to=TensorProto.FLOAT),
        node("Sub", ["masked", "one"], ["below"]),
        node("Mul", ["below", "minus"], ["far"]),
        node("Unsqueeze", ["far", "last"], ["far3"]),
        node("Add", ["placed", "far3"], ["logits"]),
        node("Softmax", ["logits"], ["weights"], axis=1),
        node("Mul", ["vectors", "weights"], ["weighted"]),
        node("ReduceSum", ["weighted", "axis"], ["sum"], keepdims=0),
        node("ReduceL2", ["sum", "axis"], ["norm"]),
        node("Max", ["norm", "tiny"], ["length2"]),
        node("Div", ["sum", "length2"], [EMBEDDING]),
    ]
    tokens = [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "length"]) for name in (TOKENS, MASK)]
    graph = helper.make_graph(
        nodes,
        "text",
        tokens,
        [helper.make_tensor_value_info(EMBEDDING, TensorProto.FLOAT, ["batch", table.shape[1]])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)


def int8_weights(path: Path) -> None:
    """Keep a graph's weights of convolutions and matrix products as int8, a scale an output; computed in floats."""
    model = onnx.load(str(path))
    initializers = {tensor.name: tensor for tensor in model.graph.initializer}
    changed: dict[str, str] = {}
    for node in [node for node in model.graph.node if node.op_type in ("Conv", "Gemm", "MatMul")]:
        tensor = initializers.get(node.input[1])
        if tensor is None or (values := numpy_helper.to_array(tensor)).size < 1024:
            continue
        columns = node.op_type == "MatMul" or any(a.name == "transB" and not a.i for a in node.attribute)
        assert node.op_type == "Conv" or not columns, "weights have an output a row"
        weights, scales = int8_rows(values)
        name = tensor.name
        model.graph.initializer.remove(tensor)
        model.graph.initializer.extend(
            [numpy_helper.from_array(weights, f"{name}.int8"), numpy_helper.from_array(scales, f"{name}.scale")]
        )
        changed[name] = f"{name}.float"
        model.graph.node.insert(
            0, helper.make_node("DequantizeLinear", [f"{name}.int8", f"{name}.scale"], [changed[name]], axis=0)
        )
        node.input[1] = changed[name]
    save(model, path)


def save(model: Any, path: Path) -> None:
    """Check a graph and write it."""
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def input_vectors(encoder: Encoder) -> Floats:
    """MiniLM's table of token vectors, (V, 384)."""
    assert encoder.networks is not None
    assert encoder.networks.text is not None
    tables = [module.weight for module in encoder.networks.text.modules() if isinstance(module, torch.nn.Embedding)]
    return np.array(max(tables, key=len).detach().numpy(), np.float32)


class Projected(torch.nn.Module):
    """The demo's image side, projected to `DIM` dimensions."""

    def __init__(self, network: torch.nn.Module, projection: Floats) -> None:
        super().__init__()
        rows, columns = projection.shape
        self.network, self.projection = network, torch.nn.Linear(columns, rows, bias=False)
        self.projection.weight.data = torch.from_numpy(projection)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """(B, 3, size, size) → (B, DIM)."""
        projected: torch.Tensor = self.projection(self.network(pixels))
        return projected


def write(
    encoder: Encoder, folder: Path, projection: Floats, table: Floats, places: Floats, tokens: WordPieceTokens
) -> None:
    """Write the folder of the encoder."""
    assert encoder.networks is not None
    folder.mkdir(parents=True)
    pixels = torch.zeros(2, 3, encoder.preprocessing.size, encoder.preprocessing.size)
    write_onnx(
        Projected(encoder.networks.image, projection), {PIXELS: pixels}, [0], folder / "image.onnx", {}, EMBEDDING
    )
    int8_weights(folder / "image.onnx")
    write_text_graph(table, places, folder / "text.onnx")
    tokens.save(folder / "tokenizer")
    source = GraphSource("the encoder of `openmofi sample demo`", encoder.fingerprint)
    tokenizer = {"kind": "wordpiece", "masked": True, "length": LENGTH}
    small = replace(encoder, dim=DIM, feature_dim=DIM, text_feature_dim=DIM)
    write_graphs_description(folder, small, "onnx", Graphs("int8", EMBEDDING, tokenizer, digests(folder), source))


def main(demo: Path) -> None:
    """See the module."""
    encoder = open_encoder(f"run:{demo / 'encoders/partial-labels'}")
    texts, embedded = taught(demo, encoder)
    # Axes that keep most of the texts' similarities.
    _, _, axes = np.linalg.svd(embedded, full_matrices=False)
    projection = np.ascontiguousarray(axes[:DIM])
    goal = embedded @ projection.T
    goal /= np.linalg.norm(goal, axis=1, keepdims=True)
    assert encoder.networks is not None
    own = encoder.networks.tokens
    assert isinstance(own, WordPieceTokens)
    tokens = WordPieceTokens(own.tokenizer)
    tokens.tokenizer.enable_truncation(LENGTH)
    table, places = student(texts, goal, tokens, input_vectors(encoder), encoder.logit_scale or 30.0)
    shutil.rmtree(DATA, ignore_errors=True)
    write(encoder, DATA, projection, table, places, tokens)
    print(json.dumps({str(path.relative_to(DATA)): path.stat().st_size for path in DATA.rglob("*") if path.is_file()}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
