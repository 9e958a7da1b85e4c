"""Makes the encoder `tiny`: a few MB that ONNX Runtime opens, without PyTorch.

    python -m studies.tiny_encoder runs/demo       # of a finished demo; writes src/openmofi/encoders/tiny

A student of `photo`. The image side is its own: EfficientNet-Lite0, both heads narrowed to their principal axes, and
the gate between them, with int8 weights (a scale a channel; computed in floats). The text side is a vector a token and
a weight a position, their mean. It learns from texts alone: entities and captions of the sample world, and the names
and definitions of WordNet's 21,843 synsets that timm carries; no truth is read, no photograph.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer
from torch.nn.functional import cross_entropy, normalize, softmax

from openmofi.encoders import Encoder, Head, open_encoder
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
from openmofi.encoders.heads import apply_head
from openmofi.encoders.tokens import WordPieceTokens
from openmofi.plugins.export.tracing import write_onnx
from studies.photo_map import synsets

DATA = Path(__file__).parents[1] / "src/openmofi/encoders/tiny"
TABLES = Path(__file__).parents[1] / "src/openmofi/plugins/demo/data/kb"
DRAWINGS, PHOTOGRAPHS, LENGTH, NAMES, WORDS = 96, 128, 64, 500, 2000
"""Dimensions of both parts, tokens of a text, texts of each kind of the demo, whole words that become tokens."""
STEPS, BATCH, RATE = 2500, 384, 0.004
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Lesson:
    """Texts, and MiniLM's vectors (n, 384) of them; the first `world` are of the sample world."""

    texts: list[str]
    vectors: Floats
    world: int


def taught(demo: Path, encoder: Encoder) -> Lesson:
    """Return entities that the demo met (in its cache), names and captions; synsets' names and definitions."""
    assert encoder.text_tower is not None
    entities = {row["id"]: row for row in pq.read_table(demo / "world/kb/entities.parquet").to_pylist()}
    stored = [pq.read_table(path) for path in sorted((demo / "photo/cache/entities").glob("*/*.parquet"))]
    ids = [identifier for table in stored for identifier in table["id"].to_pylist()]
    vectors = [np.stack(table["feature"].to_numpy(zero_copy_only=False)) for table in stored]
    texts = [f"{entities[identifier]['name']}: {entities[identifier]['description']}" for identifier in ids]
    captions = pq.read_table(next((demo / "labels/labels").glob("*.parquet")), columns=["text"])["text"].to_pylist()
    tiny = pq.read_table(TABLES / "entities.parquet").to_pylist()
    draw = np.random.default_rng(0)
    names = [tiny[row]["name"] for row in draw.permutation(len(tiny))[:NAMES]]
    short = list(dict.fromkeys([*names, *filter(None, captions[:NAMES])]))
    said = list(synsets().values())
    all_names, glosses = [name for name, _ in said], [f"{name}: {definition}" for name, definition in said]
    others = list(dict.fromkeys([*all_names, *glosses]))
    vectors += [encoder.text_tower(short), encoder.text_tower(others)]
    return Lesson([*texts, *short, *others], np.concatenate(vectors).astype(np.float32), len(texts) + len(short))


def narrowed_parts(head: Head, axes: tuple[Floats, Floats]) -> Head:
    """Return a head of two parts, each projected to its (k, dim) axes."""
    old, rows = head.parameters, int(head.parameters["parts"][0])
    made = {
        name: np.concatenate([axes[0] @ old[name][:rows], axes[1] @ old[name][rows:]]).astype(np.float32)
        for name in ("weight", "bias")
    }
    return Head({**old, **made, "parts": np.array([len(axes[0])], np.float32)})


def principal(embedded: Floats, dim: int) -> Floats:
    """Return the (dim, d) axes that keep most of the similarities of (n, d) embeddings."""
    _, _, axes = np.linalg.svd(embedded, full_matrices=False)
    return np.ascontiguousarray(axes[:dim])


def vocabulary(tokenizer: Tokenizer, inputs: Floats, texts: Sequence[str]) -> tuple[Tokenizer, Floats]:
    """Drop tokens that are not ASCII, and add the words that most texts have and MiniLM takes for several tokens.

    Returns the tokenizer and the vectors (V, 384) of its tokens: of a new word the mean of its pieces'.
    """
    described = json.loads(tokenizer.to_str())
    old = described["model"]["vocab"]
    kept = [token for token in old if token.isascii() and not token.startswith("[unused")]
    words = Counter(word for text in texts for word in set(re.findall("[a-z]{3,}", text.lower())) if word not in old)
    new = [word for word, _ in words.most_common(WORDS)]
    pieces = [encoded.ids for encoded in tokenizer.encode_batch(new, add_special_tokens=False)]
    described["model"]["vocab"] = {token: number for number, token in enumerate([*kept, *new])}
    for special in described["added_tokens"]:
        special["id"] = described["model"]["vocab"][special["content"]]
    for special in described["post_processor"].get("special_tokens", {}).values():
        special["ids"] = [described["model"]["vocab"][token] for token in special["tokens"]]
    rows = np.stack([inputs[ids].mean(0) for ids in pieces])
    return Tokenizer.from_str(json.dumps(described)), np.concatenate([inputs[[old[token] for token in kept]], rows])


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


def both_parts(vectors: torch.Tensor) -> torch.Tensor:
    """(n, DRAWINGS + PHOTOGRAPHS), each part of length √½."""
    parts = vectors.split([DRAWINGS, PHOTOGRAPHS], dim=1)
    return torch.cat([normalize(part, dim=1) for part in parts], dim=1) / 2**0.5


def student(
    texts: list[str], target: Floats, tokens: WordPieceTokens, inputs: Floats, scale: float
) -> tuple[Floats, Floats]:
    """A vector a token (V, d) and a weight a position (LENGTH,), fitted to the teacher's embeddings (n, d)."""
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
        made = both_parts((table[ids[rows, :longest]] * weights[..., None]).sum(1))
        losses = [
            cross_entropy(scale * mine @ its.T, softmax(scale * its @ its.T, dim=1))
            + 5 * (1 - 2 * (mine * its).sum(1)).mean()
            for mine, its in zip(
                *(each.split([DRAWINGS, PHOTOGRAPHS], 1) for each in (made, teacher[rows])), strict=True
            )
        ]
        loss = torch.stack(losses).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 100 == 0 or step == STEPS - 1:
            print(f"step {step}: loss {loss.item():.3f}, cosine {(made * teacher[rows]).sum(1).mean():.3f}", flush=True)
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
        "parts": np.array([DRAWINGS, PHOTOGRAPHS]),
        "half": np.float32(0.5**0.5),
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
        node("Split", ["sum", "parts"], ["part0", "part1"], axis=1),
    ]
    for part in ("part0", "part1"):
        nodes += [
            node("ReduceL2", [part, "axis"], [f"{part}.norm"]),
            node("Max", [f"{part}.norm", "tiny"], [f"{part}.length"]),
            node("Div", [part, f"{part}.length"], [f"{part}.unit"]),
        ]
    nodes += [
        node("Concat", ["part0.unit", "part1.unit"], ["joined"], axis=1),
        node("Mul", ["joined", "half"], [EMBEDDING]),
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
        if tensor is None or (values := numpy_helper.to_array(tensor)).size < 1024 or values.ndim < 2:
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
    """The backbone's image side under a head."""

    def __init__(self, network: torch.nn.Module, head: Head) -> None:
        super().__init__()
        self.network = network
        for name, values in head.tensors().items():
            self.register_buffer(name, values)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """(B, 3, size, size) → (B, dim)."""
        return apply_head(dict(self.named_buffers(recurse=False)), self.network(pixels))


def write(encoder: Encoder, folder: Path, head: Head, table: Floats, places: Floats, tokens: WordPieceTokens) -> None:
    """Write the folder of the encoder: images by `head` on the base of `encoder`, texts by a student."""
    assert encoder.heads is not None
    assert encoder.heads.base.networks is not None
    folder.mkdir(parents=True)
    pixels = torch.zeros(2, 3, encoder.preprocessing.size, encoder.preprocessing.size)
    write_onnx(
        Projected(encoder.heads.base.networks.image, head), {PIXELS: pixels}, [0], folder / "image.onnx", {}, EMBEDDING
    )
    int8_weights(folder / "image.onnx")
    write_text_graph(table, places, folder / "text.onnx")
    tokens.save(folder / "tokenizer")
    source = GraphSource("the encoder `photo`", encoder.fingerprint)
    tokenizer = {"kind": "wordpiece", "masked": True, "length": LENGTH}
    small = replace(encoder, dim=head.dim, feature_dim=head.dim, text_feature_dim=head.dim)
    write_graphs_description(folder, small, "onnx", Graphs("int8", EMBEDDING, tokenizer, digests(folder), source))


def make_tiny(demo: Path, encoder: Encoder, folder: Path) -> None:
    """Teach a student of `encoder`, heads of two parts on the backbones, and write it to `folder`."""
    assert encoder.heads is not None
    assert encoder.heads.text is not None
    assert encoder.text_projection is not None
    networks = encoder.heads.base.networks
    assert networks is not None
    lesson = taught(demo, encoder)
    embedded = encoder.text_projection(lesson.vectors)
    rows = int(encoder.heads.text.parameters["parts"][0])
    axes = (
        principal(embedded[: lesson.world, :rows], DRAWINGS),
        principal(embedded[lesson.world :, rows:], PHOTOGRAPHS),
    )
    goal = np.concatenate([embedded[:, :rows] @ axes[0].T, embedded[:, rows:] @ axes[1].T], axis=1)
    goal = both_parts(torch.from_numpy(goal)).numpy()
    assert isinstance(networks.tokens, WordPieceTokens)
    tokenizer, inputs = vocabulary(networks.tokens.tokenizer, input_vectors(encoder.heads.base), lesson.texts)
    tokens = WordPieceTokens(tokenizer)
    tokens.tokenizer.enable_truncation(LENGTH)
    table, places = student(lesson.texts, goal, tokens, inputs, 2**0.5 * (encoder.logit_scale or 30.0))
    shutil.rmtree(folder, ignore_errors=True)
    write(encoder, folder, narrowed_parts(encoder.heads.image, axes), table, places, tokens)


def main(demo: Path) -> None:
    """See the module."""
    make_tiny(demo, open_encoder("photo"), DATA)
    print(json.dumps({str(path.relative_to(DATA)): path.stat().st_size for path in DATA.rglob("*") if path.is_file()}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
