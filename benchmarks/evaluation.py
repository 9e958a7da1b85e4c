"""Evaluation beside what it replaces: GPR1200's scoring beside the authors' loop, embedding beside the bare encoder.

- scoring, 12,000 × 768, one process a run (so that its peak memory is its own):
  - `authors' loop`: their evaluation as first published (github.com/Visual-Computing/GPR1200, eval/utils.py of 2021),
    rewritten: for each query the similarities to all, an argsort of all, both kept; then the positions of the class's
    ten pictures. Both are given normalised features;
  - `ours`: `evaluate_retrieval`, which also gives the figure without the query, recall and nothing less than that.
    Its bootstrap intervals, of which the authors have none, are left out (10 resamples).
- embedding pictures of a small sample world (made on first use), in one process, with two encoders: the demo's, whose
  forward pass at 128 px is so short that decoding weighs most (`embed_over_bare`), and one of the size that is usually
  evaluated (ViT-B/32 at 224 px, random weights: they do not change the speed; `embed_over_bare_vit_b32`):
  - `bare encoder`: preprocess and forward pass over pictures that lie decoded in memory;
  - `embedding pass`: from shards on disk to features in the cache, with decoding and hashing.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import harness
from label import prepare

IMAGES, DIM, OF_CLASS = 12_000, 768, 10


def authors_loop(features: np.ndarray, classes: np.ndarray) -> float:
    """Mean average precision, the query in the index."""
    orders, similarities = [], []
    transposed = features.T
    for query in features:
        found = query.dot(transposed)
        order = np.argsort(found)[::-1]
        orders.append(order)
        similarities.append(found[order])
    kept = np.array(similarities), np.array(orders)
    precisions = []
    for query, order in enumerate(kept[1]):
        ranks = np.flatnonzero(classes[order] == classes[query]) + 1
        precisions.append(sum(number / rank for number, rank in enumerate(ranks, 1)) / len(ranks))
    return float(np.mean(precisions))


def ours(features: np.ndarray, classes: np.ndarray) -> float:
    """The same figure."""
    from openmofi.evaluation.retrieval import evaluate_retrieval

    return evaluate_retrieval(features, classes, resamples=10).map_incl_query


CONTENDERS = {"authors' loop": authors_loop, "ours": ours}


def child(name: str, path: Path) -> None:
    """One run: prints seconds, peak memory and the figure."""
    features = np.load(path)
    classes = np.repeat(np.arange(IMAGES // OF_CLASS), OF_CLASS)
    if name == "ours":
        import openmofi.evaluation.retrieval  # noqa: F401  (imports are not timed; their memory counts)
    start = time.perf_counter()
    figure = CONTENDERS[name](features, classes)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "peak_mib": peak, "map_incl_query": figure}))


def scoring(rounds: int) -> dict[str, harness.Row]:
    draw = np.random.default_rng(0)
    centres = draw.standard_normal((IMAGES // OF_CLASS, DIM))
    features = np.repeat(centres, OF_CLASS, axis=0) + 3 * draw.standard_normal((IMAGES, DIM))
    features = (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32)
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in CONTENDERS}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "features.npy"
        np.save(path, features)
        for turn in range(rounds):
            for name in list(CONTENDERS)[:: 1 if turn % 2 == 0 else -1]:
                done = subprocess.run([sys.executable, __file__, "--child", name, "--features", str(path)], check=True,
                                      capture_output=True, text=True)
                found[name].append(json.loads(done.stdout))
    rows = harness.summarise({name: [one["seconds"] for one in runs] for name, runs in found.items()}, IMAGES)
    for name, runs in found.items():
        rows[name] |= {"peak_mib": max(one["peak_mib"] for one in runs), "map_incl_query": runs[0]["map_incl_query"]}
    if abs(rows["ours"]["map_incl_query"] - rows["authors' loop"]["map_incl_query"]) > 1e-6:
        raise SystemExit("the figures differ: " + str({name: row["map_incl_query"] for name, row in rows.items()}))
    harness.show("GPR1200 scoring", rows, "queries", ["peak_mib", "map_incl_query"])
    return rows


class VitB32:
    """As much of an `Encoder` as embedding asks for."""

    spec, feature_dim = "ViT-B/32", 768

    def __init__(self) -> None:
        import timm

        from openmofi.encoders import Preprocessing

        self.feature_fingerprint = "random"
        self.preprocessing = Preprocessing(224, (0.48145466, 0.4578275, 0.40821073),
                                           (0.26862954, 0.26130258, 0.27577711))
        self.model = timm.create_model("vit_base_patch32_224", pretrained=False, num_classes=0).eval()

    def preprocess(self, image: Any) -> np.ndarray:
        """A picture → (3, 224, 224)."""
        from openmofi.encoders import preprocess

        return preprocess(image, self.preprocessing)

    def image_features(self, pixels: np.ndarray) -> np.ndarray:
        """(n, 3, 224, 224) → (n, 768)."""
        import torch

        with torch.inference_mode():
            return self.model(torch.from_numpy(pixels)).numpy()


def embedding(encoder: Any, folder: Path, world: Path, rounds: int) -> dict[str, harness.Row]:
    from openmofi.engine import Quiet
    from openmofi.evaluation import image_features_of
    from openmofi.pairs import ImageRefused, decode_image, read_pairs
    from openmofi.storage import expand_shards

    shards = expand_shards([str(folder)])
    pictures = []
    for pair in (pair for shard in shards for pair in read_pairs(shard)):
        with contextlib.suppress(ImageRefused):
            pictures.append(decode_image(pair.image or b""))
    cache = world / "bench-evaluation"

    def bare() -> None:
        for start in range(0, len(pictures), 64):
            encoder.image_features(np.stack([encoder.preprocess(one) for one in pictures[start : start + 64]]))

    def embed() -> None:
        shutil.rmtree(cache, ignore_errors=True)
        image_features_of(shards, encoder, cache, Quiet())

    contenders = {f"bare encoder, {encoder.spec}": bare, f"embedding pass, {encoder.spec}": embed}
    return harness.measure("embedding", contenders, len(pictures), rounds, "images")


def main() -> None:
    """Measure and write `results/evaluation.json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--world", type=Path, default=Path("runs/bench"))
    parser.add_argument("--entities", type=int, default=250)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--child", choices=CONTENDERS, help=argparse.SUPPRESS)
    parser.add_argument("--features", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child, arguments.features)
        return
    prepare(arguments.world, arguments.entities)
    scored = scoring(arguments.rounds)
    from openmofi.encoders import BACKBONE, open_encoder

    place = arguments.world / "world"
    usual = embedding(VitB32(), place / "retrieval", arguments.world, arguments.rounds)
    short = embedding(open_encoder(BACKBONE), place / "pages/train", arguments.world, arguments.rounds)
    harness.write_result("evaluation", [*scored.values(), *usual.values(), *short.values()], {
        "authors_over_ours": scored["authors' loop"]["median_s"] / scored["ours"]["median_s"],
        "memory_ours_over_authors": scored["ours"]["peak_mib"] / scored["authors' loop"]["peak_mib"],
        "embed_over_bare": list(short.values())[1]["ratio"],
        "embed_over_bare_vit_b32": list(usual.values())[1]["ratio"],
    })


if __name__ == "__main__":
    main()
