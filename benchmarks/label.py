"""The label job's throughput beside the bare encoder's loop over the same images, already decoded.

Contenders, in turns in one process:
- `bare encoder`: preprocess and forward pass over images that lie decoded in memory, in the job's batch size;
- `label job`: the whole job on the tar shards: read, decode, hash, detect, link, embed, judge, write tables, with the
  encoder's calibration of these pairs. Entity texts are embedded once per knowledge base and encoder, so the job's
  store of them is kept between rounds; texts, links and features are not;
- `label job that calibrates`: the same, but the calibration is fitted anew.

The same with a ViT-B/16 (`job_over_bare_vit_b16`), the encoder of the guides, on fewer pairs.

Then, for what a fast accelerator would do, the job over stub encoders of 100, 300, 1,000 and 3,000 images a second
(`stub.py`), on as many pairs as take them some seconds, with a calibration of these pairs at hand. Beside it, the rate
of reading and decoding alone with all cores of this machine: where that is below the stub's, it is the job's limit.
`job_over_stub_N` is the job's rate over the stub's, `job_over_limit_N` over the lower of the two.
Built on a small sample world (`runs/bench`), made on first use.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import harness

if TYPE_CHECKING:
    from openmofi.encoders import Encoder
    from openmofi.engine import Progress
    from openmofi.knowledge import KnowledgeBase
    from openmofi.storage import Shard


def prepare(root: Path, entities: int) -> None:
    """A small world with its knowledge base and encoder, by the demo."""
    from openmofi.engine import Quiet
    from studies.world.demo import label_world
    from studies.world.world_settings import world_settings

    label_world(root, Quiet(), settings=world_settings(None, entities))


def main() -> None:
    """Measure and write `results/label.json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--world", type=Path, default=Path("runs/bench"))
    parser.add_argument("--entities", type=int, default=250)
    parser.add_argument("--rounds", type=int, default=5, help="0 measures the stubs alone.")
    parser.add_argument("--vit-pairs", type=int, default=256, help="Pairs that a ViT-B/16 is measured on.")
    parser.add_argument("--stub-seconds", type=float, default=8.0, help="What a stub takes for its corpus.")
    parser.add_argument("--stub-rounds", type=int, default=3)
    parser.add_argument("--stubs", type=int, nargs="*", default=[100, 300, 1000, 3000], help="Images a second.")
    arguments = parser.parse_args()
    prepare(arguments.world, arguments.entities)
    rows: list[harness.Row] = []
    ratios: dict[str, float] = {}
    if arguments.rounds:
        rows, ratios = over_bare(arguments.world, arguments.rounds)
        more, of_vit = over_vit_b16(arguments.world, arguments.vit_pairs, arguments.stub_rounds)
        rows, ratios = rows + more, ratios | of_vit
    for throughput in arguments.stubs:
        more, of_stub = over_stub(arguments.world, throughput, arguments.stub_seconds, arguments.stub_rounds)
        rows, ratios = rows + more, ratios | of_stub
    harness.write_result("label", rows, ratios, keeps=True)


def opened(world: Path) -> tuple[Encoder, KnowledgeBase, list[Shard]]:
    """The world's encoder, knowledge base and training pages."""
    from openmofi.encoders import open_encoder
    from openmofi.knowledge import KnowledgeBase
    from openmofi.storage import expand_shards

    return (
        open_encoder(f"run:{world / 'encoders/partial-labels'}"),
        KnowledgeBase.open(world / "kb"),
        expand_shards([str(world / "world/pages/train")]),
    )


def job_of(
    world: Path,
    shards: Sequence[Shard],
    kb: KnowledgeBase,
    encoder: Encoder,
    calibration: Path | None = None,
    progress: Progress | None = None,
) -> Callable[[], object]:
    """The label job from the start: nothing of the cache is kept but entities' embeddings."""
    from openmofi.labeling import LabelSettings, label

    cache, out = world / "bench-cache", world / "bench-labels"

    def job() -> None:
        for folder in (*(cache / kind for kind in ("texts", "repeats", "links", "groups", "features")), out):
            shutil.rmtree(folder, ignore_errors=True)
        label(shards, kb, encoder, out, LabelSettings(), cache=cache, calibration=calibration, progress=progress)

    return job


def calibrated(world: Path, shards: Sequence[Shard], kb: KnowledgeBase, encoder: Encoder, name: str) -> Path:
    """The calibration of a first job over these pairs."""
    from openmofi.encoders import CALIBRATION_FILE, GALLERY_FILE

    job_of(world, shards, kb, encoder)()
    kept = world / f"bench-calibration-{name}"
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir()
    for path in (world / "bench-labels" / file for file in (CALIBRATION_FILE, GALLERY_FILE)):
        if path.exists():
            shutil.copy(path, kept)
    return kept / CALIBRATION_FILE


def bare_loop(encoder: Encoder, shards: Sequence[Shard]) -> tuple[Callable[[], None], int]:
    """Preprocessing and forward passes over the shards' images, which are decoded first; and the number of these."""
    from openmofi.labeling import LabelSettings
    from openmofi.pairs import ImageRefused, decode, read_pairs

    images, size = [], LabelSettings().batch_size
    for pair in (pair for shard in shards for pair in read_pairs(shard)):
        try:
            images.append(decode(pair.image or b"", size_hint=encoder.preprocessing.decode_size).image)
        except ImageRefused:
            continue

    def bare() -> None:
        for start in range(0, len(images), size):
            encoder.image_features(encoder.batch([encoder.preprocess(image) for image in images[start : start + size]]))

    return bare, len(images)


def over_vit_b16(world: Path, pairs: int, rounds: int) -> tuple[list[harness.Row], dict[str, float]]:
    """Rows and ratio of the job beside a bare ViT-B/16 with random weights, whose time does not depend on them."""
    import stub
    from openmofi.encoders import open_encoder

    _, kb, sources = opened(world)
    encoder = open_encoder("open_clip:ViT-B-16/none?seed=0")
    shards = stub.corpus(sources, pairs, world / f"bench-pairs-{pairs}")
    bare, images = bare_loop(encoder, shards)
    job = job_of(world, shards, kb, encoder, calibrated(world, shards, kb, encoder, "vit-b16"))
    rows = harness.measure(
        "label with a ViT-B/16", {"bare ViT-B/16": bare, "label job, ViT-B/16": job}, images, rounds, "images"
    )
    return list(rows.values()), {"job_over_bare_vit_b16": rows["label job, ViT-B/16"]["ratio"]}


def over_bare(world: Path, rounds: int) -> tuple[list[harness.Row], dict[str, float]]:
    """Rows and ratios of the job beside the bare encoder."""
    from openmofi.encoders import Companions

    encoder, kb, shards = opened(world)
    bare, images = bare_loop(encoder, shards)
    uncalibrated = replace(encoder, companions=Companions(), open_fold=None, calibrations={})
    rows = harness.measure(
        "label",
        {
            "bare encoder": bare,
            "label job": job_of(world, shards, kb, encoder),
            "label job that calibrates": job_of(world, shards, kb, uncalibrated),
        },
        images,
        rounds,
        "images",
    )
    return list(rows.values()), {
        "job_over_bare": rows["label job"]["ratio"],
        "job_over_bare_cpu": rows["label job"]["cpu_ratio"],
        "calibrating_job_over_bare": rows["label job that calibrates"]["ratio"],
    }


def over_stub(world: Path, throughput: int, seconds: float, rounds: int) -> tuple[list[harness.Row], dict[str, float]]:
    """Rows and ratios of the job over a stub, and of decoding alone."""
    import stub
    from openmofi.features.store import FeatureStore
    from openmofi.features.stream import ahead
    from openmofi.pairs import read_pairs

    encoder, kb, sources = opened(world)
    pairs = round(throughput * seconds)
    shards, slow = stub.corpus(sources, pairs, world / f"bench-pairs-{pairs}"), stub.stub_encoder(encoder, throughput)
    store = FeatureStore(str(world / "bench-cache"), slow)

    def decoding() -> None:
        for shard in shards:
            for _ in ahead(read_pairs(shard), store.prepare, store.batch_size):
                pass

    calibration = calibrated(world, shards, kb, slow, str(throughput))
    names = f"decoding alone, {pairs:,} images", f"label job, stub of {throughput:,}/s"
    rows = harness.measure(
        f"label over a stub of {throughput:,} images/s",
        {names[0]: decoding, names[1]: job_of(world, shards, kb, slow, calibration)},
        pairs,
        rounds,
        "images",
        warm_up=False,
    )
    decoded, labelled = (rows[name]["per_second"] for name in names)
    limit = min(throughput, decoded)
    for row in rows.values():
        row |= {"ratio": row["per_second"] / throughput, "limit": "stub" if limit == throughput else "decoding"}
    return list(rows.values()), {
        f"job_over_stub_{throughput}": labelled / throughput,
        f"job_over_limit_{throughput}": labelled / limit,
    }


if __name__ == "__main__":
    main()
