"""Labels by a base with reference images beside the same base without, on the sample world.

    python benchmarks/reference_labels.py runs/demo -o runs/reference-labels

The held-out pages are labelled at the default threshold, with the demo's encoder and base; reference images come from
the training pages. In `of known entities` the first of each entity are chosen by the world's truth, as somebody does
who has pictures of what he knows. In `of own labels` they are those of the demo's labels that are surest (.9 and more),
without truth: a second round.
"""

from __future__ import annotations

import argparse
import shutil
import tarfile
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

import harness
import openmofi
from openmofi.encoders import open_encoder
from openmofi.engine import Quiet
from openmofi.knowledge import KnowledgeBase
from openmofi.labeling import LabelSettings, label
from openmofi.storage import expand_shards
from studies.demo import PARTIAL_LABELS

_SUREST = 0.9
_IMAGES = (".jpg", ".jpeg", ".png", ".webp")
Page = tuple[str, str]
Chosen = Mapping[Page, list[str]]


def of_known_entities(demo: Path, most: int) -> Chosen:
    """Training pages by what they show, at most so many of an entity."""
    counts, chosen = Counter[str](), dict[Page, list[str]]()
    for row in pq.read_table(demo / "world/truth.parquet").to_pylist():
        if row["split"] == "train" and row["entity"] and counts[row["entity"]] < most:
            counts[row["entity"]] += 1
            chosen[row["shard"], row["key"]] = [row["entity"]]
    return chosen


def of_own_labels(demo: Path, most: int) -> Chosen:
    """Training pages by their surest labels."""
    labels = defaultdict[str, list[tuple[float, Page]]](list)
    for file in sorted((demo / "labels/labels").glob("*.parquet")):
        for row in pq.read_table(file, columns=["key", "entities"]).to_pylist():
            for each in row["entities"] or ():
                if each["accepted"] and each["probability"] >= _SUREST:
                    labels[each["entity"]].append((-each["probability"], (file.stem, row["key"])))
    chosen = defaultdict[Page, list[str]](list)
    for entity, pages in labels.items():
        for _, page in sorted(pages)[:most]:
            chosen[page].append(entity)
    return chosen


def base_with(demo: Path, chosen: Chosen, out: Path) -> KnowledgeBase:
    """The demo's base with images of these pages."""
    shutil.rmtree(out, ignore_errors=True)
    for tar in sorted((demo / "world/pages/train").glob("*.tar")):
        with tarfile.open(tar) as pages:
            for member in pages:
                path = Path(member.name)
                if path.suffix.lower() not in _IMAGES or not (entities := chosen.get((tar.stem, path.stem))):
                    continue
                file = pages.extractfile(member)
                assert file is not None
                content = file.read()
                for entity in entities:
                    folder = out / "images" / entity
                    folder.mkdir(parents=True, exist_ok=True)
                    (folder / f"{tar.stem}-{path.name}").write_bytes(content)
    shutil.copytree(demo / "kb", out / "kb")
    openmofi.add_images(out / "kb", out / "images")
    return KnowledgeBase.open(out / "kb")


def labelled(demo: Path, kb: KnowledgeBase, out: Path) -> dict[str, float]:
    """Label the held-out pages, and compare with the truth."""
    truth = {(row["shard"], row["key"]): row for row in pq.read_table(demo / "world/truth.parquet").to_pylist()}
    encoder = open_encoder(f"run:{demo / 'encoders' / PARTIAL_LABELS}")
    shards = expand_shards([str(demo / "world/pages/heldout_pages")])
    counts = label(shards, kb, encoder, out / "labels", LabelSettings(), cache=out / "cache", progress=Quiet())
    # Of each candidate: its probability, and whether it is right, accepted, and of a page with an ambiguous name.
    rows, named = list[tuple[float, bool, bool, bool]](), np.zeros(2)
    for file in sorted((out / "labels/labels").glob("*.parquet")):
        for row in pq.read_table(file, columns=["key", "entities"]).to_pylist():
            page = truth[file.stem, row["key"]]
            named += page["named"] * np.array([1, page["ambiguous"]])
            rows += [
                (each["probability"], each["entity"] == page["entity"], each["accepted"], page["ambiguous"])
                for each in row["entities"] or ()
            ]
    found = np.array(sorted(rows, reverse=True))
    right, accepted, ambiguous = found[:, 1:].astype(bool).T
    ranked = np.cumsum(right) / np.arange(1, len(right) + 1)
    return {
        "accepted": int(accepted.sum()),
        "precision": round(float(right[accepted].mean()), 4),
        "expected": round(counts["expected_precision"], 4),
        "recall": round(float(right[accepted].sum() / named[0]), 4),
        "average_precision": round(float(ranked[right].sum() / named[0]), 4),
        "ambiguous_precision": round(float(right[accepted & ambiguous].mean()), 4),
        "ambiguous_recall": round(float(right[accepted & ambiguous].sum() / named[1]), 4),
    }


ARMS: Mapping[str, tuple[Callable[[Path, int], Chosen], int]] = {
    "none": (lambda *_: {}, 0),
    "3 of known entities": (of_known_entities, 3),
    "8 of known entities": (of_known_entities, 8),
    "8 of own labels": (of_own_labels, 8),
}


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("demo", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    arguments = parser.parse_args()
    demo, rows = arguments.demo, list[harness.Row]()
    for arm, (choose, most) in ARMS.items():
        out = arguments.out / arm.replace(" ", "-")
        chosen = choose(demo, most)
        kb = base_with(demo, chosen, out) if chosen else KnowledgeBase.open(demo / "kb")
        images = sum(map(len, chosen.values()))
        rows.append({"reference images": arm, "images": images, **labelled(demo, kb, out)})
        print(rows[-1], flush=True)
    ratios = {"recall_gain_of_8": float(rows[2]["recall"]) - float(rows[0]["recall"])}
    harness.write_result("reference_labels", rows, ratios)


if __name__ == "__main__":
    main()
