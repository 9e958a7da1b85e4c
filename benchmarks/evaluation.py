"""Evaluation beside what it replaces: GPR1200's scoring beside the authors' loop, embedding beside the bare encoder.

- scoring, 12,000 × 768, one process a run (so that its peak memory is its own):
  - `authors' loop`: their evaluation as first published (github.com/Visual-Computing/GPR1200, eval/utils.py of 2021),
    rewritten: for each query the similarities to all, an argsort of all, both kept; then the positions of the class's
    ten images. Both are given normalised features;
  - `ours`: `evaluate_retrieval`, which also gives the figure without the query, recall and nothing less than that.
    Its bootstrap intervals, of which the authors have none, are left out (10 resamples).
- a database of 1,000,000 × 512 (2 GB of float32, memory-mapped), 500 queries, the 200 nearest of each, by the protocol
  `knn`'s search in a process of its own: its peak memory (`peak_gib_million`, goal ≤ 4; mapped pages count), and that a
  few of its rankings are those of a plain stable sort;
- a linear probe beside scikit-learn's `LogisticRegression` on features of the small sample world's pages, their true
  entities as classes, at three λ (`probe_points_apart`: the greatest difference of accuracy, in points, goal ≤ .3);
- embedding images of a small sample world (made on first use), in one process, with two encoders: the demo's, whose
  forward pass at 128 px is so short that decoding weighs most (`embed_over_bare`), and one of the size that is usually
  evaluated (ViT-B/32 at 224 px, random weights: they do not change the speed; `embed_over_bare_vit_b32`):
  - `bare encoder`: preprocess and forward pass over images that lie decoded in memory;
  - `embedding pass`: from shards on disk to features in the cache, with decoding and hashing.
"""

from __future__ import annotations

import argparse
import contextlib
import json
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
MILLION, QUERIES = 1_000_000, 500


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
    from openmofi.evaluation.metrics.retrieval import evaluate_retrieval

    return evaluate_retrieval(features, classes, resamples=10).map_incl_query


CONTENDERS = {"authors' loop": authors_loop, "ours": ours}


def child(name: str, path: Path) -> None:
    """One run: prints seconds, peak memory and the figure."""
    features = np.load(path)
    classes = np.repeat(np.arange(IMAGES // OF_CLASS), OF_CLASS)
    if name == "ours":
        import openmofi.evaluation.metrics.retrieval  # noqa: F401  (imports are not timed; their memory counts)
    start = time.perf_counter()
    figure = CONTENDERS[name](features, classes)
    seconds = time.perf_counter() - start
    peak = harness.peak_mib()
    print(json.dumps({"seconds": seconds, "peak_mib": peak, "map_incl_query": figure}))


def million(path: Path) -> None:
    """One search in a database of a million: prints seconds and peak memory."""
    from openmofi.evaluation.metrics.ranking import nearest_neighbours

    database = np.load(path, mmap_mode="r")
    queries = np.array(database[:: len(database) // QUERIES][:QUERIES])
    start = time.perf_counter()
    found = nearest_neighbours(database, np.arange(len(database)) % 1000, queries, k=(200,))
    seconds = time.perf_counter() - start
    peak = harness.peak_mib() / 1024
    for row in (0, QUERIES - 1):
        scores = database @ queries[row]
        agree = np.argsort(-scores, kind="stable")[:200] == found.rows[row]
        # The order of additions differs between a product with a matrix and one with a vector.
        if agree.mean() < 0.95:
            raise SystemExit(f"ranking {row} differs from a stable sort's in {200 - agree.sum()} of 200 rows")
    print(json.dumps({"seconds": seconds, "peak_gib": peak}))


def searching() -> dict[str, Any]:
    draw = np.random.default_rng(1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "database.npy"
        database = np.lib.format.open_memmap(path, "w+", np.float32, (MILLION, 512))
        for start in range(0, MILLION, 50_000):
            rows = draw.standard_normal((50_000, 512), np.float32)
            database[start : start + 50_000] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        database.flush()
        del database
        done = subprocess.run(
            [sys.executable, __file__, "--child", "million", "--features", str(path)],
            check=True,
            capture_output=True,
            text=True,
        )
    found: dict[str, Any] = json.loads(done.stdout)
    row = harness.summarise({"ours, 1 M × 512": [found["seconds"]]}, QUERIES)["ours, 1 M × 512"]
    return row | {"peak_mib": found["peak_gib"] * 1024}


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
                done = subprocess.run(
                    [sys.executable, __file__, "--child", name, "--features", str(path)],
                    check=True,
                    capture_output=True,
                    text=True,
                )
                found[name].append(json.loads(done.stdout))
    rows = harness.summarise({name: [one["seconds"] for one in runs] for name, runs in found.items()}, IMAGES)
    for name, runs in found.items():
        rows[name] |= {"peak_mib": max(one["peak_mib"] for one in runs), "map_incl_query": runs[0]["map_incl_query"]}
    if abs(rows["ours"]["map_incl_query"] - rows["authors' loop"]["map_incl_query"]) > 1e-6:
        raise SystemExit("the figures differ: " + str({name: row["map_incl_query"] for name, row in rows.items()}))
    harness.show("GPR1200 scoring", rows, "queries", ["peak_mib", "map_incl_query"])
    return rows


def probing(world: Path) -> dict[str, harness.Row]:
    import pyarrow.parquet as pq
    from sklearn.linear_model import LogisticRegression

    from openmofi.encoders import BACKBONE, open_encoder
    from openmofi.engine import Quiet
    from openmofi.features.images import embed_images
    from openmofi.plugins.protocols.linear_probe import fit_probe
    from openmofi.storage import expand_shards

    entities = {
        (row["shard"], row["key"]): row["entity"]
        for row in pq.read_table(world / "world/truth.parquet", columns=["shard", "key", "entity"]).to_pylist()
    }
    images = embed_images(
        expand_shards([str(world / "world/pages/train")]),
        open_encoder(BACKBONE),
        world / "bench-probe",
        Quiet(),
        backbone=True,
    )
    classes = np.array([entities[place] for place in zip(images.shards, images.keys, strict=True)])
    _, labels, sizes = np.unique(classes, return_inverse=True, return_counts=True)
    kept = np.random.default_rng(2).permutation(np.flatnonzero(np.isin(labels, np.argsort(-sizes)[:100])))
    labels, features = np.unique(labels[kept], return_inverse=True)[1], np.asarray(images.embeddings)[kept]
    half = len(features) // 2
    rows: dict[str, harness.Row] = {}
    for l2 in (0.01, 1.0, 100.0):
        seconds, right = {}, {}
        start = time.perf_counter()
        theirs = LogisticRegression(C=1 / l2, max_iter=3000).fit(features[:half], labels[:half])
        seconds["scikit-learn"] = [time.perf_counter() - start]
        right["scikit-learn"] = float((theirs.predict(features[half:]) == labels[half:]).mean())
        start = time.perf_counter()
        ours_ = fit_probe(features[:half], labels[:half], int(labels.max()) + 1, l2)
        seconds["ours"] = [time.perf_counter() - start]
        right["ours"] = float((ours_.predict(features[half:]) == labels[half:]).mean())
        for name, row in harness.summarise(seconds, half).items():
            rows[f"{name}, λ {l2:g}"] = row | {"contender": f"{name}, λ {l2:g}", "accuracy": right[name]}
    harness.show("linear probe", rows, "images", ["accuracy"])
    return rows


class VitB32:
    """As much of an `Encoder` as embedding asks for."""

    spec, feature_dim = "ViT-B/32", 768
    batch = staticmethod(np.stack)

    def __init__(self) -> None:
        import timm

        from openmofi.encoders import Preprocessing

        self.feature_fingerprint = "random"
        self.preprocessing = Preprocessing(
            224, (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
        )
        self.model = timm.create_model("vit_base_patch32_224", pretrained=False, num_classes=0).eval()

    def preprocess(self, image: Any) -> np.ndarray:
        """An image → (3, 224, 224)."""
        from openmofi.encoders import preprocess

        return preprocess(image, self.preprocessing)

    def image_features(self, pixels: np.ndarray) -> np.ndarray:
        """(n, 3, 224, 224) → (n, 768)."""
        import torch

        with torch.inference_mode():
            return self.model(torch.from_numpy(pixels)).numpy()


def embedding(encoder: Any, folder: Path, world: Path, rounds: int) -> dict[str, harness.Row]:
    from openmofi.engine import Quiet
    from openmofi.features.images import image_features_of
    from openmofi.pairs import ImageRefused, decode_image, read_pairs
    from openmofi.storage import expand_shards

    shards = expand_shards([str(folder)])
    images = []
    for pair in (pair for shard in shards for pair in read_pairs(shard)):
        with contextlib.suppress(ImageRefused):
            images.append(decode_image(pair.image or b""))
    cache = world / "bench-evaluation"

    def bare() -> None:
        for start in range(0, len(images), 64):
            encoder.image_features(np.stack([encoder.preprocess(one) for one in images[start : start + 64]]))

    def embed() -> None:
        shutil.rmtree(cache, ignore_errors=True)
        image_features_of(shards, encoder, cache, Quiet())

    contenders = {f"bare encoder, {encoder.spec}": bare, f"embedding pass, {encoder.spec}": embed}
    return harness.measure("embedding", contenders, len(images), rounds, "images")


def main() -> None:
    """Measure and write `results/evaluation.json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--world", type=Path, default=Path("runs/bench"))
    parser.add_argument("--entities", type=int, default=250)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--child", choices=[*CONTENDERS, "million"], help=argparse.SUPPRESS)
    parser.add_argument("--features", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child == "million":
        million(arguments.features)
        return
    if arguments.child:
        child(arguments.child, arguments.features)
        return
    prepare(arguments.world, arguments.entities)
    scored = scoring(arguments.rounds)
    searched = searching()
    probed = probing(arguments.world)
    apart = [
        abs(one["accuracy"] - other["accuracy"])
        for one, other in zip(list(probed.values())[::2], list(probed.values())[1::2], strict=True)
    ]
    from openmofi.encoders import BACKBONE, open_encoder

    place = arguments.world / "world"
    usual = embedding(VitB32(), place / "retrieval", arguments.world, arguments.rounds)
    short = embedding(open_encoder(BACKBONE), place / "pages/train", arguments.world, arguments.rounds)
    rows = [*scored.values(), searched, *probed.values(), *usual.values(), *short.values()]
    harness.write_result(
        "evaluation",
        rows,
        {
            "authors_over_ours": scored["authors' loop"]["median_s"] / scored["ours"]["median_s"],
            "memory_ours_over_authors": scored["ours"]["peak_mib"] / scored["authors' loop"]["peak_mib"],
            "peak_gib_million": searched["peak_mib"] / 1024,
            "probe_points_apart": 100 * max(apart),
            "embed_over_bare": list(short.values())[1]["ratio"],
            "embed_over_bare_vit_b32": list(usual.values())[1]["ratio"],
        },
    )


if __name__ == "__main__":
    main()
