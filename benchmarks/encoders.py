"""Encoders by engine and precision: PyTorch, folded, ONNX Runtime, OpenVINO; and the label job by each of them.

For every encoder (the sample's, a ViT-B/32 and MobileCLIP's MCi0; the last two with random weights, for speed only):
- `pixels`: forward pass over images that lie preprocessed in memory;
- `images`: the same from JPEG bytes: decode, preprocess, forward pass, in one thread.
Contenders take turns in one process. A row says the loss of its export, 1 − mean cosine on half of the images.

Then the label job on the sample world's shards with the sample encoder by PyTorch and by its exports, each with its
heads, folds and calibration and in a process of its own, as jobs run: engines in one process slow each other.
`agreement`: the share of judged entities on which it decides as PyTorch's job does;
`overlap`: of the labels that either accepts, the share that both accept.
Built on a small sample world (`runs/bench`), as `label.py`.
"""

from __future__ import annotations

import argparse
import io
import json
import multiprocessing
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow.parquet as pq

import harness
from label import prepare

_EXPORTS: tuple[tuple[str, Literal["fp32", "bf16", "int8"]], ...] = (
    ("onnx", "fp32"),
    ("onnx", "int8"),
    ("openvino", "fp32"),
    ("openvino", "bf16"),
    ("openvino", "int8"),
)
_BATCH = 32
_ALIKE = 0.99


@dataclass(frozen=True)
class Contender:
    """One way to run an encoder: embeds a batch of preprocessed images; `spec` opens it, `loss` is its export's."""

    name: str
    embed: Callable[[Any], Any]
    spec: str = ""
    loss: float | None = None


def contenders(spec: str, samples: Any, folder: Path) -> list[Contender]:
    """An encoder by PyTorch, folded where there is something to fold, and by every export that it takes."""
    import torch

    from openmofi.encoders import open_encoder
    from openmofi.encoders.networks import folded, image_probe
    from openmofi.errors import UsageError
    from openmofi.plugins.export import ExportSettings
    from openmofi.plugins.export.job import export_encoder

    encoder = open_encoder(spec)
    found = [Contender("torch", encoder.image_features, spec)]
    assert encoder.networks is not None
    network = encoder.networks.image
    made = folded(network, image_probe(encoder.preprocessing.size))
    if made is not network:

        def run(pixels: Any) -> Any:
            with torch.inference_mode():
                return made(torch.from_numpy(pixels)).numpy()

        found.append(Contender("torch folded", run))
    for style, precision in _EXPORTS:
        out = folder / f"{style}-{precision}"
        shutil.rmtree(out, ignore_errors=True)
        try:
            loss = export_encoder(encoder, out, ExportSettings(style, precision, max_loss=2.0), samples).loss
        except UsageError as error:
            print(f"{spec}: no {style} {precision}: {error.message}")
            continue
        opened = f"{style}:{out}"
        found.append(Contender(f"{style} {precision}", open_encoder(opened).image_features, opened, loss))
    return found


def measure(name: str, spec: str, images: list[bytes], samples: Any, folder: Path, rounds: int) -> list[harness.Row]:
    """Rows of one encoder, `pixels` and `images`."""
    from openmofi.encoders import open_encoder
    from openmofi.pairs import decode_image

    encoder, found = open_encoder(spec), contenders(spec, samples, folder / name)

    def prepared(batch: list[bytes]) -> Any:
        hint = encoder.preprocessing.decode_size
        return np.stack([encoder.preprocess(decode_image(data, size_hint=hint)) for data in batch])

    batches = [images[start : start + _BATCH] for start in range(0, len(images), _BATCH)]
    pixels = [prepared(batch) for batch in batches]
    ready = {one.name: lambda one=one: [one.embed(batch) for batch in pixels] for one in found}
    whole = {one.name: lambda one=one: [one.embed(prepared(batch)) for batch in batches] for one in found}
    rows = []
    for what, calls in (("pixels", ready), ("images", whole)):
        made = harness.measure(f"{name}, {what}", calls, len(images), rounds, "images")
        rows += [{"encoder": name, "input": what, **made[one.name], "loss": one.loss} for one in found]
    return rows


def jobs(world: Path, found: Mapping[str, str], rounds: int, most: int) -> list[harness.Row]:
    """The label job by each of the specs on the same shards, the first of them PyTorch's."""
    from openmofi.pairs import read_pairs
    from openmofi.storage import expand_shards

    shards = expand_shards([str(world / "world/pages/train")])[:most]

    spawn, workers = multiprocessing.get_context("spawn"), {}
    for name, spec in found.items():
        ours, theirs = spawn.Pipe()
        arguments = (theirs, world, world / "bench-encoders" / name, world / "bench-encoders/cache" / name, spec, most)
        spawn.Process(target=label_when_asked, args=arguments, daemon=True).start()
        workers[name] = ours

    def run(name: str) -> None:
        workers[name].send(True)
        workers[name].recv()

    rows = harness.measure(
        "label job",
        {name: partial(run, name) for name in found},
        sum(1 for shard in shards for _ in read_pairs(shard)),
        rounds,
        "images",
    )
    for worker in workers.values():
        worker.send(False)
    judged = {name: decisions(world / "bench-encoders" / name) for name in found}
    reference = judged[next(iter(found))]
    return [
        {"encoder": "sample", "input": "label job", **row, **compared(reference, judged[name])}
        for name, row in rows.items()
    ]


def label_when_asked(asked: Any, world: Path, out: Path, cache: Path, spec: str, most: int) -> None:
    """A process that labels the shards anew whenever it is asked to."""
    from openmofi.encoders import open_encoder
    from openmofi.knowledge import KnowledgeBase
    from openmofi.labeling import LabelSettings, label
    from openmofi.storage import expand_shards

    kb, encoder = KnowledgeBase.open(world / "kb"), open_encoder(spec)
    shards = expand_shards([str(world / "world/pages/train")])[:most]
    while asked.recv():
        for folder in (*(cache / kind for kind in ("texts", "repeats", "links", "groups", "features")), out):
            shutil.rmtree(folder, ignore_errors=True)
        label(shards, kb, encoder, out, LabelSettings(), cache=cache)
        asked.send(None)


def decisions(folder: Path) -> dict[tuple[str, str, str], bool]:
    """(shard, key, entity) of every entity that a job judged → whether it accepted it."""
    return {
        (path.name, row["key"], entity["entity"]): entity["accepted"]
        for path in sorted((folder / "labels").glob("*.parquet"))
        for row in pq.read_table(path, columns=["key", "entities"]).to_pylist()
        for entity in row["entities"] or ()
    }


def compared(reference: Mapping[Any, bool], found: Mapping[Any, bool]) -> dict[str, float]:
    """`agreement` and `overlap` of two jobs' decisions."""
    both = reference.keys() | found.keys()
    ours, theirs = ({key for key, accepted in one.items() if accepted} for one in (reference, found))
    return {
        "agreement": sum(reference.get(key) == found.get(key) for key in both) / max(1, len(both)),
        "overlap": len(ours & theirs) / max(1, len(ours | theirs)),
    }


def jpegs(images: list[Any]) -> list[bytes]:
    """Images as JPEG files of at most 500 pixels a side, the size that web images are kept in."""
    found = []
    for image in images:
        buffer = io.BytesIO()
        image.thumbnail((500, 500))
        image.save(buffer, "JPEG", quality=90)
        found.append(buffer.getvalue())
    return found


def alone(arguments: argparse.Namespace, specs: Mapping[str, str], folder: Path) -> list[harness.Row]:
    """Rows of the encoders themselves."""
    from openmofi.plugins.export.agreement import samples_of

    samples = samples_of([str(arguments.world / "world/pages/train")], 500, decode_size=500, limit=arguments.images)
    images = jpegs(list(samples.images))
    return [
        row
        for name in arguments.encoders
        for row in measure(name, specs[name], images, samples, folder, arguments.rounds)
    ]


def earlier() -> list[harness.Row]:
    """The same of the run before."""
    held = json.loads((harness.RESULTS / "encoders.json").read_text("utf-8"))["rows"]
    return [row for row in held if row["input"] != "label job"]


def main() -> None:
    """Measure and write `results/encoders.json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--world", type=Path, default=Path("runs/bench"))
    parser.add_argument("--entities", type=int, default=250)
    parser.add_argument("--images", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--shards", type=int, default=1_000_000, help="of the label job, at most")
    parser.add_argument("--jobs-only", action="store_true", help="Measure only the label job, again; keep the rest.")
    parser.add_argument("--encoders", nargs="*", default=["sample", "vit-b-32", "fastvit-mci0"])
    arguments = parser.parse_args()
    prepare(arguments.world, arguments.entities)

    specs = {
        "sample": f"run:{arguments.world / 'encoders/partial-labels'}",
        "vit-b-32": "open_clip:ViT-B-32/none?seed=0",
        "fastvit-mci0": "timm:fastvit_mci0/none?seed=0",
    }
    folder = arguments.world / "bench-encoders/exports"
    rows = earlier() if arguments.jobs_only else alone(arguments, specs, folder)
    ratios = {
        f"{row['encoder']}_{row['contender'].replace(' ', '_')}_over_torch": row["ratio"]
        for row in rows
        if row["input"] == "pixels" and row["contender"] != "torch"
    }
    if "sample" in arguments.encoders:
        exports = folder / "sample"
        # One that the encoder does not go with was not written.
        made = {
            "torch": specs["sample"],
            **{
                f"{style} {precision}": f"{style}:{exports / f'{style}-{precision}'}"
                for style, precision in _EXPORTS
                if (exports / f"{style}-{precision}").exists()
            },
        }
        job = jobs(arguments.world, made, arguments.rounds, arguments.shards)
        rows += job
        ratios |= {f"{row['contender'].replace(' ', '_')}_job_over_torch": row["ratio"] for row in job[1:]}
        # Of those that label alike: a fast job that labels otherwise is no answer.
        ratios["exported_job_over_torch"] = max(
            (row["ratio"] for row in job[1:] if row["agreement"] >= _ALIKE), default=0.0
        )
    harness.write_result("encoders", rows, ratios)


if __name__ == "__main__":
    main()
