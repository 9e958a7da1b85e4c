"""Photographs named by the encoders of the package: one of each class of ImageNet, and of classes that they never saw.

    python benchmarks/photo.py --images FOLDER [--demo runs/demo] [--real runs/real-photo --real-tiny runs/real-tiny]

FOLDER holds a photograph for each of the 1,000 classes, named by its id (`n01440764_….JPEG`; on GitHub:
EliSchwartz/imagenet-sample-images). The backbone's classifier may have been trained on these very photographs.

- `seen`: which of 1,000 texts, `name: definition`, is the most alike. The map of `photo` saw all classes.
- `unseen`: which of 200, where `photo` and its student `tiny` are made anew without these classes, in five parts; the
  student reads all names and definitions. Ridge and weights of the map were chosen on these photographs.

`sample` is the demo's encoder, which has seen drawings alone.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from scipy.stats import binomtest

import harness
from openmofi.arrays import Array, Ints
from openmofi.encoders import BACKBONE, open_encoder
from studies.photo_encoder import SIZE, photo_map, with_drawings
from studies.photo_map import classes
from studies.tiny_encoder import make_tiny

_PARTS, _TOP = 5, 5


def ranks(images: Array, texts: Array) -> Ints:
    """(n,) how many texts (n, dim) are more alike to each image (n, dim) than its own."""
    similarity = images @ texts.T
    return np.asarray((similarity > np.diagonal(similarity)[:, None]).sum(1), np.int64)


def remembered(tower: Callable[[Sequence[str]], Array]) -> Callable[[Sequence[str]], Array]:
    """The tower, which embeds the same texts once."""
    known: dict[tuple[str, ...], Array] = {}

    def embed(texts: Sequence[str]) -> Array:
        asked = tuple(texts)
        if asked not in known:
            known[asked] = tower(texts)
        return known[asked]

    return embed


def row(encoder: str, of: str, found: Ints) -> dict[str, Any]:
    """A row of the table."""
    interval = binomtest(int((found == 0).sum()), len(found)).proportion_ci(method="wilson")
    return {
        "encoder": encoder,
        "classes": of,
        "photographs": len(found),
        "top1": float((found == 0).mean()),
        "low": float(interval.low),
        "high": float(interval.high),
        "top5": float((found < _TOP).mean()),
    }


def main(argv: Sequence[str] | None = None) -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--demo", type=Path, default=Path("runs/demo"))
    parser.add_argument("--real", type=Path, help="folder of `python -m studies.real --encoder photo`")
    parser.add_argument("--real-tiny", type=Path, help="the same with --encoder tiny")
    arguments = parser.parse_args(argv)
    ids, names, definitions = classes()
    files = [next(arguments.images.glob(f"{each}_*")) for each in ids]
    texts = [f"{name}: {definition}" for name, definition in zip(names, definitions, strict=True)]
    rows = []
    for spec in (f"run:{arguments.demo / 'encoders/partial-labels'}", "photo", "tiny"):
        encoder = open_encoder(spec)
        name = "sample" if spec.startswith("run:") else spec
        rows.append(row(name, "1,000 seen", ranks(encoder.embed_images(files), encoder.embed_texts(texts))))
    parts = np.array_split(np.random.default_rng(0).permutation(len(ids)), _PARTS)
    base = open_encoder(f"{BACKBONE}@{SIZE}")
    assert base.text_tower is not None
    base = replace(base, text_tower=remembered(base.text_tower))
    found: dict[str, list[Ints]] = {"photo": [], "tiny": []}
    for part in parts:
        demo = arguments.demo
        encoder = with_drawings(demo, base, demo / "photo/heads", demo / "photo/cache", photo_map(base, part.tolist()))
        with TemporaryDirectory() as folder:
            make_tiny(demo, encoder, Path(folder) / "tiny")
            for name, each in (("photo", encoder), ("tiny", open_encoder(f"onnx:{folder}/tiny"))):
                images = each.embed_images([files[number] for number in part])
                found[name].append(ranks(images, each.embed_texts([texts[number] for number in part])))
    rows += [row(name, "200 unseen", np.concatenate(each)) for name, each in found.items()]
    ratios = {
        f"{'' if each['encoder'] == 'photo' else each['encoder'] + '_'}{each['classes'].split()[1]}_top1": each["top1"]
        for each in rows
    }
    for name, folder in (("photos_ap", arguments.real), ("tiny_photos_ap", arguments.real_tiny)):
        if folder:
            metrics = json.loads((folder / "metrics.json").read_text("utf-8"))
            ratios[name] = metrics["photos"]["default"]["average_precision"]
    harness.write_result("photo", rows, ratios)


if __name__ == "__main__":
    main()
