"""Does a label job claim more than it reaches where noise is systematic? On the sample world, whose truth is known.

Held-out pages of the demo are given the noise of `studies.noisy_world`, and labelled in each way that chooses its
probabilities otherwise. The encoder has seen none of these images.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from openmofi.dataset.tables import Folder
from openmofi.encoders import CALIBRATION_FILE, Encoder, open_encoder
from openmofi.engine import Progress, Quiet
from openmofi.knowledge import KnowledgeBase
from openmofi.labeling import LabelSettings, SelectionSettings, label
from openmofi.storage import Shard, expand_shards, write_json
from studies.command import Demo, Json, Out, run_command, run_study
from studies.demo import demo_encoder
from studies.noisy_world import NOISES, NoisyWorld, write_corpus
from studies.report import Table, interval, number, signed
from studies.scoring import precision_figures, scored_rows
from studies.world.encoder import PARTIAL_LABELS

STORED = "stored calibration"
WAYS: Mapping[str, LabelSettings] = {
    "default": LabelSettings(),
    STORED: LabelSettings(),
    "target .95": LabelSettings(selection=SelectionSettings(target_precision=0.95)),
    "adapt": LabelSettings(adapt=True),
}
LEAST_LABELS, MOST_CLAIMED = 50, 0.05
"""Labels from which a precision counts, and what the expected one may lie above it."""


@dataclass(frozen=True)
class NoisyStudy:
    """What all jobs of the study share.

    Attributes:
        root: its folder; gets `encoder/` (without a calibration of its own) and a folder for each noise.
        world: the pages and their truth.
        kb: the knowledge base.
        calibrated: folder of the encoder, with the calibration that it was stored with.
        progress: receives every step.
    """

    root: Path
    world: NoisyWorld
    kb: KnowledgeBase
    calibrated: Path
    progress: Progress

    @cached_property
    def encoder(self) -> Encoder:
        """The encoder; nothing is stored beside it, so that a job takes what it is given or fits its own."""
        bare = self.root / "encoder"
        shutil.copytree(self.calibrated, bare, ignore=shutil.ignore_patterns(CALIBRATION_FILE), dirs_exist_ok=True)
        return open_encoder(f"run:{bare}")

    def figures(self, noise: str) -> dict[str, dict[str, Any]]:
        """Way → its figures on the corpus of one of `NOISES`; see `run_noisy`."""
        folder = self.root / noise
        write_corpus(self.world, NOISES[noise], folder / "pairs")
        shards = expand_shards([str(folder / "pairs")])
        figures = {}
        for way, settings in WAYS.items():
            out = folder / way.replace(" ", "-")
            label(
                shards,
                self.kb,
                self.encoder,
                out,
                settings,
                cache=folder / "cache",
                progress=Quiet(),
                calibration=self.calibrated / CALIBRATION_FILE if way == STORED else None,
            )
            figures[way] = claim(precision_figures(scored_rows(Folder.open(out, "labels"), self.world.truth)))
            self.progress.advance({})
        return figures


def claim(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Figures, their `gap` (expected less found precision) and whether the claim `holds`: `None` for few labels."""
    gap = figures["expected"] - figures["precision"] if figures["accepted"] else None
    holds = gap <= MOST_CLAIMED if gap is not None and figures["accepted"] >= LEAST_LABELS else None
    return {**figures, "gap": gap, "holds": holds}


def run_noisy(
    out: str | Path,
    demo: str | Path,
    pages: Sequence[Shard],
    progress: Progress,
    *,
    noises: Sequence[str] = tuple(NOISES),
) -> dict[str, Any]:
    """Give pages each noise, and label them in each way.

    Args:
        out: gets a folder for each noise, and `metrics.json`.
        demo: a demo's folder with `world`, `kb` and `encoders/partial-labels`.
        pages: shards of its world, which its encoder has not seen.
        progress: receives every job.
        noises: names in `NOISES`.

    Returns:
        Noise → way → `accepted`, `precision`, `precision_wilson`, `precision_bootstrap`, `expected`, `gap`, `holds`
        (see `claim`).
    """
    root, demo = Path(out), Path(demo)
    study = NoisyStudy(
        root,
        NoisyWorld.open(pages, demo / "world"),
        KnowledgeBase.open(demo / "kb"),
        demo / "encoders" / PARTIAL_LABELS,
        progress,
    )
    progress.begin("noisy", len(noises) * len(WAYS))
    metrics = {noise: study.figures(noise) for noise in noises}
    write_json(root / "metrics.json", metrics)
    return metrics


def noisy_demo(out: Path, demo: Path, progress: Progress) -> dict[str, Any]:
    """`run_noisy` on the held-out pages of the demo, which is made where it has no encoder."""
    demo_encoder(demo, progress)
    return run_noisy(out, demo, expand_shards([str(demo / "world/pages/heldout_pages")]), progress)


def noisy_table(metrics: Mapping[str, Any]) -> Table:
    """A row for each noise and way."""
    verdicts = {True: "", False: "claims too much", None: "too few to say"}
    rows = [
        (
            noise,
            way,
            f"{run['accepted']:,}",
            number(run["precision"]),
            interval(run["precision_wilson"]),
            number(run["expected"]),
            "–" if run["gap"] is None else signed(-run["gap"]),
            verdicts[run["holds"]],
        )
        for noise, ways in metrics.items()
        for way, run in ways.items()
    ]
    head = ("noise", "labelled with", "labels", "precision", "95 %", "expected", "precision − expected", "")
    return Table(head, rows, numbers=range(2, 7))


def main(out: Out = Path("runs/noisy"), demo: Demo = Path("runs/demo"), as_json: Json = False) -> None:
    """Give the sample world systematic noise, and compare what label jobs expect of their labels with what is found."""
    run_study(
        lambda progress: noisy_demo(out, demo, progress),
        as_json,
        lambda metrics: noisy_table(metrics).print("Claimed and reached"),
    )


if __name__ == "__main__":
    run_command(main)
