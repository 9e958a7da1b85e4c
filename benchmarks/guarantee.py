"""How often a guarantee holds, and what it costs: draws of verdicts on labels whose truth is known.

    python benchmarks/guarantee.py [--demo runs/demo] [--tiny runs/tiny] [--noisy runs/noisy] [--real runs/real]

Each world has candidates with probabilities and a truth. 200 times, 100 labels are drawn as `openmofi label audit`
draws them for a guarantee, judged by the truth, and a threshold is chosen as `openmofi label --confidence` does. `met`:
the share of draws in which at least the target of the accepted labels is right, or nothing is accepted (`nothing`).
`found`: their precision, where there are any. `recall_over_oracle`: right labels, beside those of the lowest threshold
that reaches the target, mean over draws. `more`: likewise after the further look that is asked for.

`fitted`: pairs of `calibration.py`, with the probabilities that the calibration gives them; `claims …`: a known shift
and slope of the log odds between claims and truth. The others are labels of finished jobs, of those rows whose truth is
written: the sample world of `make world`, `openmofi demo --tiny`, its noisy variants by `python -m studies.noisy`, and
the outside worlds of `make real`. What is in doubt there is wrong, as a verdict of "unsure" is no yes. A world whose
job is not there is a row `missing`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

import harness
from calibration import World, simulate
from labelled_worlds import labelled_worlds
from openmofi.errors import OpenMofiError
from openmofi.labeling.calibrate.rounds import fit_rounds
from openmofi.labeling.correction import Recalibration
from openmofi.labeling.judge import eligible
from openmofi.labeling.label_settings import SelectionSettings
from openmofi.review.guarantee import Guarantee, grades, guaranteed, next_plan, plan_steps, tallies
from openmofi.review.verdicts import KIND, Plan, Stratum, Verdict, Verdicts

Doubles = NDArray[np.float64]
Bools = NDArray[np.bool_]


def simulated_worlds() -> Iterator[tuple[str, Doubles, Bools]]:
    """Name, probabilities and truth of candidates that a threshold accepts if it is low enough."""
    plain = World(10_000, 0.5, 3.0)
    for name, world in {
        "fitted": plain,
        "fitted, separation 4": replace(plain, separation=4.0),
        "fitted, separation 2": replace(plain, separation=2.0),
        "fitted, separation 1.5": replace(plain, separation=1.5),
        "fitted, companions": replace(plain, companions="pairs", shift=2.0),
        "fitted, companions always": replace(plain, companions="all", shift=2.0),
        "fitted, entities differ": replace(plain, offsets=1.5),
        "fitted, boilerplate": replace(plain, boilerplate=0.5, style=1.0),
        "fitted, 1,000 candidates": replace(plain, candidates=1_000),
        "fitted, 300 candidates": replace(plain, candidates=300),
    }.items():
        corpus = simulate(world, 20_000)
        evidence, probability = corpus.sample.evidence, fit_rounds(corpus.sample).probability
        assert probability is not None
        inside = eligible(evidence.pair, evidence.entity, evidence.mention, probability, SelectionSettings())
        yield name, probability[inside], corpus.truth[inside]
    draw = np.random.default_rng(0)
    for name, shift, slope, (a, b), size in (
        ("claims .6 log odds too much", -0.6, 1.0, (0.4, 0.3), 10_000),
        ("claims 1.5 too much", -1.5, 1.0, (0.4, 0.3), 10_000),
        ("claims 1 too little", 1.0, 1.0, (0.4, 0.3), 10_000),
        ("claims 2 too little", 2.0, 1.0, (2.0, 2.0), 10_000),
        ("too sure", 0.0, 0.4, (0.4, 0.3), 10_000),
        ("all alike, just below the target", float(logit(0.895)), 0.0, (4.0, 1.0), 10_000),
    ):
        probability = draw.beta(a, b, size)
        yield name, probability, draw.random(size) < expit(shift + slope * logit(np.clip(probability, 1e-6, 1 - 1e-6)))


def looks(
    probability: Doubles, truth: Bools, target: float, confidence: float, count: int, generator: np.random.Generator
) -> tuple[Guarantee, Guarantee, int]:
    """Return what a look guarantees, what it does after a further one, and how many verdicts that asks for."""
    steps, left = plan_steps(*grades(probability), target, confidence, count), np.ones(len(truth), bool)
    plan = Plan(target, confidence, steps, steps[-1].threshold, 5, 0.0)
    first, judged, rows = _look(plan, probability, truth, left, count, generator)
    left[rows] = False
    claim = Recalibration.of(judged.probability, judged.right)(probability)
    try:
        plan, further = next_plan(replace(plan, steps=tallies(judged)), first, *grades(probability, claim), None)
    except OpenMofiError:
        return first, first, 0
    return first, _look(plan, probability, truth, left, further, generator)[0], further


def _look(
    plan: Plan, probability: Doubles, truth: Bools, left: Bools, count: int, generator: np.random.Generator
) -> tuple[Guarantee, Verdicts, NDArray[np.int64]]:
    rows = generator.permutation(np.flatnonzero(left & (probability >= plan.least)))[:count]
    said = tuple(
        Verdict("a", str(row), "e", "y" if truth[row] else "n", float(probability[row]), 0) for row in rows.tolist()
    )
    strata = (Stratum("all", True, len(truth)),)
    verdicts = Verdicts(KIND, 1, "", "", "", "", (), 0, len(said), strata, said, plan=plan)
    return guaranteed(verdicts, plan.target, plan.confidence), verdicts, rows


def measure(
    probability: Doubles, truth: Bools, target: float, confidence: float, count: int, draws: int
) -> dict[str, Any]:
    """Draw again and again; see the head of this module."""
    order = np.argsort(-probability, kind="stable")
    right = np.cumsum(truth[order])
    reached = np.flatnonzero(right >= target * np.arange(1, len(order) + 1))
    oracle = int(right[reached[-1]]) if len(reached) else 0
    figures: dict[str, Any] = {"candidates": len(truth), "oracle": oracle}
    generator = np.random.default_rng(1)
    both = [looks(probability, truth, target, confidence, count, generator) for _ in range(draws)]
    for name, guarantees in zip(("", "more, "), list(zip(*both, strict=True))[:2], strict=True):
        accepted = [(probability >= each.threshold) & (each.threshold < 1) for each in guarantees]
        found = [float(truth[each].mean()) if each.any() else np.nan for each in accepted]
        recall = np.mean([truth[each].sum() for each in accepted]) / max(oracle, 1)
        figures |= {
            f"{name}met": float(np.mean([not value < target for value in found])),
            f"{name}nothing": float(np.mean(np.isnan(found))),
            f"{name}found": None if np.isnan(found).all() else round(float(np.nanmean(found)), 4),
            f"{name}recall_over_oracle": round(float(recall), 3) if oracle else None,
        }
    figures["verdicts asked for"] = int(np.median([further for *_, further in both]))
    return figures


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", type=float, default=0.9)
    parser.add_argument("--confidence", type=float, default=0.9)
    parser.add_argument("--verdicts", type=int, default=100)
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--demo", type=Path, default=Path("runs/demo"), help="folder of `make world`")
    parser.add_argument("--tiny", type=Path, default=Path("runs/tiny"), help="folder of `openmofi demo --tiny`")
    parser.add_argument("--noisy", type=Path, default=Path("runs/noisy"), help="folder of `python -m studies.noisy`")
    parser.add_argument("--noisy-demo", type=Path, help="the demo that it was made of; --demo where it is not given")
    parser.add_argument("--real", type=Path, default=Path("runs/real"), help="folder of `make real`")
    parser.add_argument("--name", default="guarantee", help="of the file of results")
    return parser.parse_args()


def _worlds(arguments: argparse.Namespace) -> Iterator[tuple[str, tuple[Doubles, Bools] | None, str]]:
    """Name, candidates (`None` where there are none), and the folder of the job; "" of simulations."""
    demo = arguments.demo
    for each in labelled_worlds(demo, arguments.tiny, arguments.noisy, arguments.noisy_demo or demo, arguments.real):
        yield each.name, each.candidates(), str(each.labels)
    for name, probability, truth in simulated_worlds():
        yield name, (probability, truth), ""


def ratios(rows: list[dict[str, Any]]) -> dict[str, float]:
    """`guarantee_met`: least share of draws; `recall_over_oracle`: mean over worlds, and of the sample world."""
    measured = [row for row in rows if "met" in row]
    recalls = {row["world"]: row["recall_over_oracle"] for row in measured if row["recall_over_oracle"] is not None}
    of_jobs = [row for row in measured if row["of"] != "simulation"]
    shares = {
        "guarantee_met": min(row["met"] for row in measured),
        "guarantee_met, after a further look": min(row["more, met"] for row in measured),
        "recall_over_oracle": round(float(np.mean(list(recalls.values()))), 3),
        "worlds_missing": len(rows) - len(measured),
    }
    if of_jobs:
        shares["guarantee_met, labels of jobs"] = min(row["met"] for row in of_jobs)
    if "sample world" in recalls:
        shares["recall_over_oracle, sample world"] = recalls["sample world"]
    return shares


def main() -> None:
    """Measure each world and write `results/guarantee.json`."""
    arguments, rows = _arguments(), list[dict[str, Any]]()
    for name, candidates, labels in _worlds(arguments):
        row: dict[str, Any] = {"world": name, "of": "labels of a job" if labels else "simulation"}
        if candidates is None:
            row["missing"] = labels
        else:
            row |= measure(*candidates, arguments.target, arguments.confidence, arguments.verdicts, arguments.draws)
        rows.append(row)
        print(row, flush=True)
    harness.write_result(arguments.name, rows, ratios(rows))


if __name__ == "__main__":
    main()
