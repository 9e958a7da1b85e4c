"""What a label job claims beside what it reaches, as the knowledge base grows around the same pages.

    python benchmarks/base_size.py [--pages 2000] [--seeds 2]

`base_worlds.py` draws pages, an encoder and bases of 5,000 to 5 million entities as vectors. From there on the job's
own code does everything: the sample over all shards, decoys, rivals, neighbours' votes, rounds, humility, threshold,
and the judgement of each shard. What is before it (detector, linker, images) is drawn.

Rows are cells of four tables (`part`):
- `grid`: size of the base × meanings of a name there × the encoder's separation;
- `pages`: fewer and more of them;
- `causes`: one complication of the world at a time, on pages that have none;
- `cuts`: the same pages in 1, 7 and 50 shards.

`overclaim` is expected − found precision of labels from a probability of .8 on, `target_overclaim` of those that an
expected precision of .95 accepts; `error` is the standard error of the first. `recall_over_oracle`: right labels at
that target beside those of the lowest threshold from which on .95 are right, by truth; at most 1, as a job that claims
too much recalls more. They are of corpora whose job does not call itself blind; `blind` is the share of those that do,
whose labels `blind_overclaim` is of. `wrong_…`: wrong labels by what they are: another meaning of the name than is
shown; one beside a meaning that no base has; of another name.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

import harness
from base_worlds import BaseWorld, SimulatedJob, simulate
from openmofi.dataset.report.plots import COLOURS
from openmofi.labeling.calibrate.evidence import Scorer
from openmofi.labeling.decide import Decision, decision_of
from openmofi.labeling.judge import CorpusContext, Opinion, select
from openmofi.labeling.label_settings import LabelSettings, SelectionSettings
from openmofi.labeling.tables import judged_rows, mention_names

THRESHOLD, TARGET = 0.8, 0.95
SETTINGS = LabelSettings(selection=SelectionSettings(target_precision=TARGET, trust_anyway=True))
BASES, SENSES, SEPARATIONS = (5_000, 50_000, 500_000, 5_000_000), (1, 2, 8), (1.0, 2.0, 3.0, 4.0)
CUTS = (1, 7, 50)
_COUNTED = 100
"""Labels from which a cell's gap counts."""
_FIRST_SEED = 100
"""The world was made while corpora of the seeds 0 and 1 were looked at."""
_NONE: dict[str, Any] = {"missing": 0.0, "faithful": 0.0, "nearest": 0.4}
_CAUSES: dict[str, dict[str, float]] = {
    "none": {},
    "nearer meanings": {"nearest": 0.9},
    "the same companion": {"faithful": 1.0},
    "missing meanings": {"missing": 0.15},
    "many missing meanings": {"missing": 0.4},
}


@dataclass(frozen=True)
class Labels:
    """What a job makes of a corpus: whatever a threshold accepts if it is low enough.

    Attributes:
        decision: the job's.
        page, entity, probability, right: (n,) of each.
        kind: (n,) 0: another meaning than the one shown, 1: near to a meaning that no base has, 2: another name's.
    """

    decision: Decision
    page: NDArray[np.int64]
    entity: NDArray[np.int64]
    probability: NDArray[np.float64]
    right: NDArray[np.bool_]
    kind: NDArray[np.int64]

    @property
    def blind(self) -> bool:
        """Return whether the job says so of itself."""
        return bool(self.decision.calibration.report["blind"])


def label(world: BaseWorld, shards: int = 1) -> Labels:
    """Draw a corpus and judge it as a job does."""
    simulated = simulate(world, shards, SETTINGS)
    job = simulated.job
    decision = decision_of(job, job.encoder, None)
    calibration, gallery = decision.calibration, decision.fitted.gallery
    scorer = Scorer.of(job.encoder, job.entities, calibration.reference, calibration.logit_scale)
    parts, before = [], 0
    for read in job.read:
        links, values, texts = read.links, read.features.values, read.table["text"].to_pylist()
        names = mention_names(read.table["mentions"], links.pair, links.mention)
        context = CorpusContext.of(links, names, calibration, job.kb, gallery, values, texts, read.groups)
        opinion = Opinion(scorer.images(read.shard, read.keys, values), calibration, context)
        # A threshold accepts what this does, as far as it reaches it.
        rows = judged_rows(links, job.entities)
        judged = select(links, read.usable, [opinion], rows, SETTINGS.selection, np.finfo(float).tiny)
        index = judged.index[judged.accepted]
        parts.append((links.pair[index] + before, links.entity[index], judged.probability[judged.accepted]))
        before += len(read.usable)
    page, entity, probability = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Labels(decision, page, entity, probability, *_judge(simulated, page, entity))


def _judge(
    simulated: SimulatedJob, page: NDArray[np.int64], entity: NDArray[np.int64]
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    of_shown = simulated.name[entity] == simulated.shown[page]
    kind = np.where(of_shown, np.where(simulated.right[page] < 0, 1, 0), 2)
    return simulated.right[page] == entity, kind


def grid(pages: int) -> Iterator[tuple[str, str, BaseWorld, int]]:
    """Part, name, cell, and how many corpora are drawn for one of 2,000 pages."""
    for senses in SENSES:
        for separation in SEPARATIONS:
            for base in BASES:
                yield "grid", "", BaseWorld(pages, senses, base, separation), 1
    middle = BaseWorld(pages, 2, 500_000, 3.0)
    for size, corpora in ((pages // 8, 8), (pages // 2, 2), (pages * 4, 1)):
        for senses in (2, 8):
            yield "pages", "", replace(middle, pages=size, senses=senses), corpora
    for name, cause in _CAUSES.items():
        for separation in (2.0, 4.0):
            yield "causes", name, replace(middle, separation=separation, **{**_NONE, **cause}), 1


def _sums(labels: Labels, threshold: float) -> NDArray[np.float64]:
    accepted = (labels.probability >= threshold) & (threshold < 1)
    wrong = np.bincount(labels.kind[accepted & ~labels.right], minlength=3)
    right = labels.right[accepted].sum()
    return np.array([accepted.sum(), labels.probability[accepted].sum(), right, *wrong], np.float64)


def _oracle(labels: Labels) -> int:
    """Return the right labels of the lowest threshold from which on the target is reached."""
    right = np.cumsum(labels.right[np.argsort(-labels.probability, kind="stable")])
    reached = np.flatnonzero(right >= TARGET * np.arange(1, len(right) + 1))
    return int(right[reached[-1]]) if len(reached) else 0


def measure(part: str, name: str, world: BaseWorld, corpora: int) -> dict[str, Any]:
    """Pool corpora of a cell; see the head of this module."""
    start = time.perf_counter()
    drawn = [label(replace(world, seed=_FIRST_SEED + seed)) for seed in range(corpora)]
    reports = [labels.decision.calibration.report for labels in drawn]
    seeing, blind = [each for each in drawn if not each.blind], [each for each in drawn if each.blind]

    def pooled(chosen: Sequence[Labels], target: bool = False) -> NDArray[np.float64]:
        return sum((_sums(each, each.decision.threshold if target else THRESHOLD) for each in chosen), np.zeros(6))

    default, target, of_blind = pooled(seeing), pooled(seeing, target=True), pooled(blind)
    found, oracle = _ratio(default[2], default[0]), sum(map(_oracle, seeing))
    fields = asdict(world)
    del fields["seed"]
    return {
        "part": part,
        "name": name,
        **fields,
        "separation found": round(float(np.mean([report["separation"] for report in reports])), 2),
        "information": round(float(np.mean([report["information"] for report in reports])), 2),
        "blind": len(blind) / corpora,
        "accepted": int(default[0]),
        "expected": _ratio(default[1], default[0]),
        "found": found,
        "overclaim": _ratio(default[1] - default[2], default[0]),
        "error": None if found is None else round(float(np.sqrt(found * (1 - found) / default[0])), 4),
        "target_accepted": int(target[0]),
        "target_overclaim": _ratio(target[1] - target[2], target[0]),
        "oracle_right": oracle,
        "recall_over_oracle": _ratio(min(target[2], oracle), oracle),
        "blind_accepted": int(of_blind[0]),
        "blind_overclaim": _ratio(of_blind[1] - of_blind[2], of_blind[0]),
        "wrong_meaning": int(default[3]),
        "wrong_missing": int(default[4]),
        "wrong_name": int(default[5]),
        "corpora": corpora,
        "seconds": round((time.perf_counter() - start) / corpora, 1),
    }


def _ratio(part: float, whole: float) -> float | None:
    return round(float(part / whole), 4) if whole else None


def cuts(pages: int) -> Iterator[dict[str, Any]]:
    """Label the same pages in 1, 7 and 50 shards: both gaps, and how many labels are others than in one shard."""
    for base in (BASES[0], BASES[-1]):
        world, whole = BaseWorld(pages, 2, base, 3.0, _FIRST_SEED), frozenset[tuple[int, int]]()
        for shards in CUTS:
            labels = label(world, shards)
            default, target = _sums(labels, THRESHOLD), _sums(labels, labels.decision.threshold)
            accepted = labels.probability >= THRESHOLD
            listed = frozenset(zip(labels.page[accepted].tolist(), labels.entity[accepted].tolist(), strict=True))
            whole = whole or listed
            yield {
                "part": "cuts",
                **{key: value for key, value in asdict(world).items() if key != "seed"},
                "shards": shards,
                "accepted": int(default[0]),
                "overclaim": float((default[1] - default[2]) / default[0]),
                "target_overclaim": float((target[1] - target[2]) / target[0]),
                "other_labels": len(whole ^ listed),
            }


def _worst(row: dict[str, Any]) -> float:
    """Return the greater overclaim of a cell, of those with a hundred labels; −1 without any."""
    ways = ((row["accepted"], row["overclaim"]), (row["target_accepted"], row["target_overclaim"]))
    return max((gap for count, gap in ways if count >= _COUNTED), default=-1.0)


def ratios(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """`worst_gap_by_base_size` for each, of both ways; `gap_between_cuts`; the mean `recall_over_oracle`."""
    cells = [row for row in rows if row["part"] == "grid"]
    values = {
        f"worst_gap_by_base_size, {base:,}": max(_worst(row) for row in cells if row["base"] == base) for base in BASES
    }
    cut = [row for row in rows if row["part"] == "cuts"]
    between = [
        np.ptp([row[way] for row in cut if row["base"] == base])
        for base in (BASES[0], BASES[-1])
        for way in ("overclaim", "target_overclaim")
    ]
    recalls = [row["recall_over_oracle"] for row in cells if row["oracle_right"] >= _COUNTED]
    return {
        **values,
        "gap_between_cuts": float(max(between)),
        "recall_over_oracle": float(np.mean(recalls)),
        "blind_cells": float(np.mean([row["blind"] for row in cells])),
    }


def plot(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw the grid: overclaim over the size of the base, a line a separation, a panel an ambiguity."""
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    panels = figure.subplots(1, len(SENSES), sharey=True)
    for panel, senses in zip(panels, SENSES, strict=True):
        panel.axhspan(-0.05, 0.05, color="#e6e8eb", zorder=0)
        panel.axhline(0, color="#697586", linewidth=0.8)
        for colour, separation in zip(COLOURS, SEPARATIONS, strict=False):
            cells = [
                row for row in rows if (row["part"], row["senses"], row["separation"]) == ("grid", senses, separation)
            ]
            seen = [row for row in cells if row["accepted"] >= _COUNTED]
            bars = [2 * row["error"] for row in seen]
            x, y = [row["base"] for row in seen], [row["overclaim"] for row in seen]
            label = f"{separation:g} SD"
            if seen:
                panel.errorbar(x, y, bars, color=colour, marker="o", markersize=4, capsize=2, label=label)
            blind = [row for row in cells if row["blind_accepted"] >= _COUNTED]
            x, y = [row["base"] for row in blind], [row["blind_overclaim"] for row in blind]
            if blind:
                panel.plot(x, y, color=colour, marker="x", linestyle=":", label=f"{label}, blind")
        panel.set(title=f"{senses} meaning{'s' * (senses > 1)} a name", xscale="log", xlabel="entities of the base")
        panel.legend(fontsize=7, frameon=False)
    panels[0].set_ylabel(f"expected − found, from {THRESHOLD:g} on")
    figure.savefig(path, dpi=110)


def main() -> None:
    """Measure all cells; write `results/base_size.json` and `results/base_size.png`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=int, default=2000)
    parser.add_argument("--seeds", type=int, default=2, help="corpora of a cell")
    parser.add_argument("--name", default="base_size", help="of the files of results")
    arguments = parser.parse_args()
    rows = list[dict[str, Any]]()
    for part, name, world, corpora in grid(arguments.pages):
        rows.append(measure(part, name, world, corpora * arguments.seeds))
        print(" ".join(f"{key}={value}" for key, value in rows[-1].items() if value not in ("", None)), flush=True)
    for row in cuts(arguments.pages):
        rows.append(row)
        print(row, flush=True)
    harness.write_result(arguments.name, rows, ratios(rows))
    plot(rows, harness.RESULTS / f"{arguments.name}.png")


if __name__ == "__main__":
    main()
