"""Labels with and without the texts in images (`--read-text`), and what reading them costs.

    python benchmarks/ocr.py [--demo runs/demo] [--real runs/real]

- `posters`: 200 pictures under a printed name that means several things, a quarter of them under a wrong one; their
  captions say nothing (`studies.packages`).
- `logos`, `other pages`: the sample world's held-out pages, of brands and of everything else; labelled in one job.
- `openclipart`: the judged rows of Openclipart, with `--real`, the folder of `python -m studies.real`.

A row's truth is what its image shows, whether or not any text names it: recall counts what no text says, too.
"""

from __future__ import annotations

import argparse
import resource
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow.parquet as pq

import harness
from openmofi.dataset.tables import Folder
from openmofi.encoders import Encoder, open_encoder
from openmofi.knowledge import KnowledgeBase
from openmofi.labeling import LabelSettings, TextSettings, label
from openmofi.labeling.in_image import ImageReader
from openmofi.pairs import ImageRefused, decode_image, read_pairs
from openmofi.storage import expand_shards
from studies.demo import PARTIAL_LABELS
from studies.packages import write_posters
from studies.real import WORLDS
from studies.scoring import ScoredRow, Truth, label_figures, read_truth, scored_rows

_TIMED = 300
_FIGURES = ("rows", "accepted", "precision", "expected", "row_recall", "average_precision")


def seconds() -> float:
    """Processor seconds of this process."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def world_truth(demo: Path) -> dict[str, list[Truth]]:
    """What the held-out pages show: of brands, and of everything else."""
    truth: dict[str, list[Truth]] = {"logos": [], "other pages": []}
    for row in pq.read_table(demo / "world/truth.parquet").to_pylist():
        if row["split"] == "heldout_pages" and row["entity"]:
            shown = Truth(row["shard"], row["key"], frozenset([row["entity"]]), frozenset())
            truth["logos" if row["domain"] == "brand" else "other pages"].append(shown)
    return truth


def row_of(name: str, read: bool, rows: Sequence[ScoredRow]) -> dict[str, Any]:
    """A row of the table."""
    figures = label_figures(rows)
    low, high = figures["precision_wilson"] or (None, None)
    recall = figures["row_recall_wilson"] or (None, None)
    written = [row for row in rows if any(mention.get("kind") == "in_image" for mention in row.mentions)]
    return {
        "pairs": name,
        "read_text": read,
        **{figure: figures[figure] for figure in _FIGURES},
        "precision_low": low,
        "precision_high": high,
        "recall_low": recall[0],
        "recall_high": recall[1],
        "text_average_precision": figures["text_average_precision"],
        "rows_with_names_in_image": len(written),
    }


def milliseconds(pairs: str) -> dict[str, Any]:
    """Processor time of reading the first images, and how many say something."""
    reader, times, said = ImageReader.open(), {True: list[float](), False: list[float]()}, 0
    for pair in read_pairs(expand_shards([pairs])[0]):
        if sum(map(len, times.values())) >= _TIMED or pair.image is None:
            continue
        try:
            image = decode_image(pair.image)
        except ImageRefused:
            continue
        begun = seconds()
        lines = reader(image)
        times[bool(lines)].append(1000 * (seconds() - begun))
        said += bool(lines)
    every = [*times[True], *times[False]]
    mean = {key: sum(each) / len(each) if each else None for key, each in times.items()}
    return {
        "images": len(every),
        "with_text": said,
        "ms_image": sum(every) / len(every),
        "ms_with_text": mean[True],
        "ms_without": mean[False],
    }


def main(argv: Sequence[str] | None = None) -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--demo", type=Path, default=Path("runs/demo"))
    parser.add_argument("--real", type=Path, help="folder of `python -m studies.real`")
    parser.add_argument("--cache", type=Path, help="features of these images; the demo's by default")
    arguments = parser.parse_args(argv)
    demo, cache = arguments.demo, arguments.cache or arguments.demo / "cache"
    encoder, kb = open_encoder(f"run:{demo / 'encoders' / PARTIAL_LABELS}"), KnowledgeBase.open(demo / "kb")
    with TemporaryDirectory() as folder:
        posters = Path(folder) / "posters"
        worlds = [
            (str(posters), {"posters": write_posters(demo, posters)}),
            (str(demo / "world/pages/heldout_pages"), world_truth(demo)),
        ]
        if arguments.real:
            truth = {"openclipart": read_truth(WORLDS["openclipart"].truth)}
            worlds.append((str(arguments.real / "openclipart/pairs"), truth))
        rows = [row for pairs, truth in worlds for row in labelled(pairs, truth, encoder, kb, cache, Path(folder))]
        costs = {", ".join(truth): milliseconds(pairs) for pairs, truth in worlds}
    ratios = {f"{row['pairs']}_{'read' if row['read_text'] else 'plain'}_recall": row["row_recall"] for row in rows}
    harness.write_result("ocr", [*rows, *({"images_of": name} | cost for name, cost in costs.items())], ratios)


def labelled(
    pairs: str, truth: dict[str, list[Truth]], encoder: Encoder, kb: KnowledgeBase, cache: Path, out: Path
) -> list[dict[str, Any]]:
    """Label pairs without and with the texts in their images; return the rows of the table."""
    rows = []
    for read in (False, True):
        folder = out / f"{next(iter(truth)).replace(' ', '-')}-{read}"
        settings = replace(LabelSettings(), text=TextSettings(read_text=read))
        label(expand_shards([pairs]), kb, encoder, folder, settings, cache=cache)
        labels = Folder.open(folder, "labels")
        rows += [row_of(name, read, scored_rows(labels, of_name)) for name, of_name in truth.items()]
    return rows


if __name__ == "__main__":
    main()
