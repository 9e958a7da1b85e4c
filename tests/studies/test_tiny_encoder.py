"""What makes the encoders of the package, on small numbers: a demo of 22,000 pages is no test's."""

import numpy as np
import onnxruntime
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from openmofi.encoders import Head
from openmofi.encoders.graphs import EMBEDDING, MASK, TOKENS
from studies.photo_map import LAST_LAYER, LIMIT, SLOPE, drawings_gate
from studies.tiny_encoder import (
    DRAWINGS,
    LENGTH,
    PHOTOGRAPHS,
    both_parts,
    int8_rows,
    narrowed_parts,
    principal,
    vocabulary,
    write_text_graph,
)


def test_the_gate_is_in_standard_deviations_of_drawings():
    draw = np.random.default_rng(0)
    features = np.concatenate([draw.gamma(2.0, 0.1, (3000, LAST_LAYER)), draw.normal(size=(3000, 5))], axis=1)
    weights, bias = drawings_gate(features.astype(np.float32))
    odds = features @ weights + bias
    np.testing.assert_allclose((odds.mean(), odds.std()), (SLOPE * LIMIT, SLOPE), rtol=1e-3)
    assert not weights[LAST_LAYER:].any()
    excited = features.copy()
    excited[:, :LAST_LAYER] *= 1.5
    assert (excited @ weights + bias < 0).mean() > 0.99


def test_a_narrowed_head_keeps_the_gate_and_the_parts_similarities():
    draw = np.random.default_rng(1)
    weight = draw.normal(size=(7, 6)).astype(np.float32)
    head = Head(
        {
            "weight": weight,
            "bias": np.zeros(7, np.float32),
            "parts": np.array([4], np.float32),
            "gate": draw.normal(size=6).astype(np.float32),
            "gate_bias": np.ones(1, np.float32),
        }
    )
    axes = (principal(draw.normal(size=(50, 4)), 4), principal(draw.normal(size=(50, 3)), 2))
    small = narrowed_parts(head, axes)
    assert (small.dim, small.parameters["parts"].tolist()) == (6, [4.0])
    np.testing.assert_array_equal(small.parameters["gate"], head.parameters["gate"])
    features = draw.normal(size=(9, 6)).astype(np.float32)
    whole, narrow = features @ weight[:4].T, features @ small.parameters["weight"][:4].T
    np.testing.assert_allclose(narrow @ narrow.T, whole @ whole.T, rtol=1e-4)


def test_the_text_graph_computes_what_the_student_learned(tmp_path):
    draw = np.random.default_rng(2)
    table = draw.normal(size=(40, DRAWINGS + PHOTOGRAPHS)).astype(np.float32)
    places = draw.normal(size=LENGTH).astype(np.float32)
    write_text_graph(table, places, tmp_path / "text.onnx")
    ids, mask = draw.integers(0, 40, (3, 6)), np.ones((3, 6), np.int64)
    mask[1, 2:] = 0
    found = onnxruntime.InferenceSession(str(tmp_path / "text.onnx")).run([EMBEDDING], {TOKENS: ids, MASK: mask})[0]
    values, scales = int8_rows(table)
    weights = np.exp(places[:6]) * mask
    weights /= weights.sum(1, keepdims=True)
    means = np.einsum("nl,nld->nd", weights, (values * scales[:, None])[ids])
    np.testing.assert_allclose(found, both_parts(torch.from_numpy(means.astype(np.float32))).numpy(), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)


def test_frequent_words_become_tokens_and_other_scripts_go():
    pieces = {"[unused1]": 0, "[UNK]": 1, "gold": 2, "##fish": 3, "ж": 4, "a": 5}
    tokenizer = Tokenizer(models.WordPiece(pieces, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="[UNK] $A", special_tokens=[("[UNK]", 1)])
    inputs = np.arange(12, dtype=np.float32).reshape(6, 2)
    made, vectors = vocabulary(tokenizer, inputs, ["a goldfish", "Goldfish"])
    assert made.encode("Goldfish a").tokens == ["[UNK]", "goldfish", "a"]
    assert made.token_to_id("ж") is made.token_to_id("[unused1]") is None
    np.testing.assert_array_equal(vectors[made.token_to_id("goldfish")], inputs[[2, 3]].mean(0))
    np.testing.assert_array_equal(vectors[made.token_to_id("a")], inputs[5])
