"""Simulated pairs: how near expected precision comes to found precision, and recall beside the oracle's.

Each corpus is drawn from a model (below), gives the arrays that the label job gives to its calibration, and is fitted
by the job's own `fit_rounds`. A threshold is then chosen at an expected precision of .95, as `--target-precision`
does; what is accepted is compared with the truth.

A pair shows something that its text names with probability `share`: one mention, and each other one with probability
`several`; a shown mention shows one of its candidates by their link scores. Evidence is normal with SD 1: mean 0 for
decoys, `separation` for what is shown, and for what is named and not shown:
- `companions` none: 0;
- `pairs`: `shift` in pairs that show something, 0 in others;
- `mentions`: the same, but the losing senses of a shown mention keep 0;
- `all`: `shift` in every pair, so that no decoy is alike.
`offsets`: SD of what an entity adds to all of its evidence, decoys included. `boilerplate`: share of pairs whose text
is one of ten and says nothing of the image; `style` is the SD of what each adds to its entities' evidence there.

The oracle knows the model and its parameters, each entity's offset and which texts are boilerplate; its posterior
chooses its own threshold at the same target. Cells are drawn again and again until 400 labels were accepted, or so
often as the size allows, and pooled. A gap is counted where at least 50 labels were accepted in all.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

import harness
from openmofi.labeling.calibrate.calibration import threshold_for_precision
from openmofi.labeling.calibrate.evidence import Evidence
from openmofi.labeling.calibrate.rounds import CalibrationSample, fit_rounds

TARGET = 0.95
_ENOUGH, _COUNTED = 400, 50
_FIRST_SEED = 10_000
"""The calibration's constants were chosen while corpora of the seeds from 0 on were looked at."""
_ROUNDS = {300: 20, 1_000: 30, 10_000: 5, 100_000: 1}
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class World:
    """A cell of the grid; see the head of this module."""

    candidates: int
    share: float
    separation: float
    companions: str = "none"
    shift: float = 0.0
    several: float = 0.0
    offsets: float = 0.0
    boilerplate: float = 0.0
    style: float = 0.0


@dataclass(frozen=True)
class Corpus:
    """What was drawn: the sample, (n,) the truth and (n,) the oracle's posterior."""

    sample: CalibrationSample
    truth: NDArray[np.bool_]
    oracle: Floats


@dataclass(frozen=True)
class _Texts:
    """Candidates by mention and pair, before anything is shown; `template` is a pair's boilerplate text or −1."""

    link: Floats
    group: Ints
    pair: Ints
    entity: Ints
    template: Ints

    @property
    def pair_of_mention(self) -> Ints:
        return self.pair[np.unique(self.group, return_index=True)[1]]


def _texts(world: World, draw: np.random.Generator) -> _Texts:
    """1 + Poisson(1.2) mentions a pair, 1–3 candidates a mention, link scores that sum to .7–1."""
    pairs, templates = max(int(world.candidates / 4.4), 1), 10
    template = np.where(draw.random(pairs) < world.boilerplate, draw.integers(0, templates, pairs), -1)
    mentions = 1 + draw.poisson(1.2, pairs)
    fixed_mentions = 1 + draw.poisson(1.2, templates)
    mentions = np.where(template >= 0, fixed_mentions[template], mentions)
    pair_of_mention = np.repeat(np.arange(pairs), mentions)
    slot = np.arange(len(pair_of_mention)) - np.repeat(np.cumsum(mentions) - mentions, mentions)
    sizes = draw.integers(1, 4, len(pair_of_mention))
    fixed = template[pair_of_mention] >= 0
    sizes[fixed] = 1 + (template[pair_of_mention][fixed] * 7 + slot[fixed] * 3) % 3
    group = np.repeat(np.arange(len(sizes)), sizes)
    link = draw.random(len(group)) + 0.05
    link *= draw.uniform(0.7, 1.0, len(sizes))[group] / np.bincount(group, link)[group]
    entities = max(8, world.candidates // 25)
    entity = (entities * draw.random(len(group)) ** 2).astype(np.int64)
    place = np.arange(len(group)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    boiler = fixed[group]
    of_template = template[pair_of_mention[group[boiler]]]
    entity[boiler] = (of_template * 31 + slot[group[boiler]] * 5 + place[boiler]) % entities
    return _Texts(link, group, pair_of_mention[group], entity, template)


def _shown(world: World, texts: _Texts, draw: np.random.Generator) -> tuple[NDArray[np.bool_], ...]:
    """(pairs,) which show something, (mentions,) which are shown, (n,) the truth."""
    pair_of_mention = texts.pair_of_mention
    shows = (draw.random(len(texts.template)) < world.share) & (texts.template < 0)
    counts = np.bincount(pair_of_mention)
    first = np.cumsum(counts) - counts + (draw.random(len(counts)) * counts).astype(np.int64)
    chosen = draw.random(len(pair_of_mention)) < world.several
    chosen[first] = True
    chosen &= shows[pair_of_mention]
    # Candidate whose stretch of the mention's link mass holds a uniform number; beyond the mass none is shown.
    mass = np.cumsum(texts.link)
    before = mass - texts.link
    starts = np.unique(texts.group, return_index=True)[1]
    point = (before[starts] + draw.random(len(starts)))[texts.group]
    truth = chosen[texts.group] & (before <= point) & (point < mass)
    return shows, chosen, truth


def simulate(world: World, seed: int) -> Corpus:
    """Draw a corpus."""
    draw = np.random.default_rng(seed)
    texts = _texts(world, draw)
    shows, chosen, truth = _shown(world, texts, draw)
    shifted = {
        "none": np.zeros(len(truth), bool),
        "pairs": shows[texts.pair],
        "mentions": shows[texts.pair] & ~chosen[texts.group],
        "all": np.ones(len(truth), bool),
    }[world.companions]
    own = np.where(truth, world.separation, np.where(shifted, world.shift, 0.0)) + draw.standard_normal(len(truth))
    offset = world.offsets * draw.standard_normal(int(texts.entity.max()) + 1)
    style = world.style * draw.standard_normal((10, len(offset)))
    template = texts.template[texts.pair]
    real = own + offset[texts.entity] + np.where(template >= 0, style[template, texts.entity], 0.0)
    # A decoy is an image of some other pair, so it has the style of that pair's text.
    template_of = np.concatenate([texts.template, [-1]])

    def elsewhere(count: int) -> tuple[Ints, Floats]:
        other = draw.integers(0, len(texts.template), count * len(truth))
        entity, of = np.tile(texts.entity, count), template_of[other]
        own = draw.standard_normal(len(other)) + offset[entity]
        return other, own + np.where(of >= 0, style[of, entity], 0.0)

    other, decoys = elsewhere(1)
    _, random = elsewhere(4)
    rival = _rival(texts.group)
    beside, of = texts.entity[rival], template_of[other]
    rivals = draw.standard_normal(len(truth)) + offset[beside] + np.where(of >= 0, style[of, beside], 0.0)
    evidence = Evidence(
        real.astype(np.float32),
        decoys.astype(np.float32),
        texts.link.astype(np.float32),
        texts.group,
        texts.pair,
        texts.entity,
        np.arange(len(truth)),
        other,
        random.astype(np.float32),
        np.tile(texts.entity, 4),
        np.zeros(len(truth), np.int64),
        rival,
        np.where(rival >= 0, rivals, np.nan).astype(np.float32),
    )
    ids = [str(number) for number in range(len(offset))]
    # Every entity has one name, and no image looks like another's.
    groups, pair_group = _groups(texts)
    sample = CalibrationSample(
        evidence, ids, np.zeros(len(ids), np.float32), ids, texts.entity, pair_group, groups, None, None
    )
    oracle = np.where(template >= 0, 0.0, _oracle(world, texts, own))
    return Corpus(sample, truth, oracle)


def _rival(group: Ints) -> Ints:
    """(n,) the next candidate of the same mention, after the last the first; −1 where there is none."""
    size, start = np.bincount(group)[group], np.searchsorted(group, group)
    return np.where(size > 1, start + (np.arange(len(group)) - start + 1) % size, -1)


def _groups(texts: _Texts) -> tuple[NDArray[np.uint64], Ints]:
    """(groups,) and (pairs,) which of them each is in: pairs of a boilerplate text are in one."""
    alone = np.arange(len(texts.template)) + int(texts.template.max()) + 1
    groups, number = np.unique(np.where(texts.template >= 0, texts.template, alone), return_inverse=True)
    return groups.astype(np.uint64), number.astype(np.int64)


def _oracle(world: World, texts: _Texts, own: Floats) -> Floats:
    """(n,) P(shown) under the model that drew the evidence `own` (offsets and styles taken off)."""
    group, pair_of_mention = texts.group, texts.pair_of_mention
    zero = world.shift if world.companions == "all" else 0.0
    absent = norm.logpdf(own, zero)
    ratio = np.exp(norm.logpdf(own, world.separation) - absent)
    companion = np.ones_like(own)
    if world.companions in ("pairs", "mentions"):
        companion = np.exp(norm.logpdf(own, world.shift) - absent)
    sibling = companion if world.companions == "pairs" else np.ones_like(own)
    product = lambda values, runs: np.exp(np.bincount(runs, np.log(values)))  # noqa: E731
    unchosen, siblings = product(companion, group), product(sibling, group)
    weight = texts.link * ratio * siblings[group] / sibling
    picked = np.bincount(group, weight) + (1 - np.bincount(group, texts.link)) * siblings
    either = (1 - world.several) * unchosen + world.several * picked
    every = product(either, pair_of_mention)
    firsts = np.bincount(pair_of_mention, picked / either)
    count = np.bincount(pair_of_mention)
    total = 1 - world.share + world.share * every * firsts / count
    others = 1 + world.several * (firsts[pair_of_mention] - picked / either)
    of_mention = world.share * every[pair_of_mention] / either * others / count[pair_of_mention]
    return weight * of_mention[group] / total[texts.pair]


def grid() -> Iterator[World]:
    """Size × share × separation; around five of these each complication by itself, and some together."""
    sizes = tuple(_ROUNDS)
    for size in sizes:
        for share in (0.05, 0.1, 0.3, 0.5, 0.7, 0.9):
            for separation in (1.5, 2.0, 3.0, 4.0):
                yield World(size, share, separation)
    for size in sizes[1:]:
        for share, separation in ((0.1, 4.0), (0.3, 3.0), (0.5, 4.0), (0.7, 3.0), (0.9, 3.0)):
            plain = World(size, share, separation)
            for companions in ("pairs", "mentions", "all"):
                for shift in (1.0, 2.0):
                    yield replace(plain, companions=companions, shift=shift)
            yield replace(plain, several=0.5)
            yield replace(plain, several=0.5, companions="pairs", shift=1.0)
            yield replace(plain, offsets=1.5)
            yield replace(plain, boilerplate=0.5)
            yield replace(plain, boilerplate=0.5, style=1.0)
            yield replace(plain, boilerplate=0.3, style=1.0, offsets=1.5, companions="pairs", shift=1.0, several=0.3)


def measure(world: World, rounds: int) -> dict[str, Any]:
    """Pool as many corpora as it takes; see the head of this module."""
    sums = np.zeros(6)
    start = time.perf_counter()
    for seed in range(rounds):
        corpus = simulate(world, _FIRST_SEED + seed)
        probability = fit_rounds(corpus.sample).probability
        assert probability is not None
        accepted = probability >= threshold_for_precision(probability, TARGET)
        best = corpus.oracle >= threshold_for_precision(corpus.oracle, TARGET)
        sums += (
            accepted.sum(),
            probability[accepted].sum(),
            corpus.truth[accepted].sum(),
            corpus.truth.sum(),
            best.sum(),
            corpus.truth[best].sum(),
        )
        if sums[0] >= _ENOUGH and seed >= min(rounds, 3) - 1:
            break
    accepted_sum, expected, right, shown, oracle, oracle_right = sums
    return {
        **asdict(world),
        "accepted": int(accepted_sum),
        "expected": _ratio(expected, accepted_sum),
        "found": _ratio(right, accepted_sum),
        "gap": _ratio(right - expected, accepted_sum),
        "recall": _ratio(right, shown),
        "oracle_found": _ratio(oracle_right, oracle),
        "oracle_recall": _ratio(oracle_right, shown),
        "corpora": seed + 1,
        "seconds": round((time.perf_counter() - start) / (seed + 1), 2),
    }


def _ratio(part: float, whole: float) -> float | None:
    return round(float(part / whole), 4) if whole else None


def ratios(rows: list[dict[str, Any]]) -> dict[str, float]:
    """`worst_gap_from_1000` (expected − found, all cells), the same without shifted companions, `worst_timid` (found −
    expected); `recall_over_oracle`, the mean over cells in which the oracle recalls at least .05.
    """
    large = [row for row in rows if row["candidates"] >= 1_000]
    counted = [row for row in large if row["accepted"] >= _COUNTED]
    plain = [row["gap"] for row in counted if row["companions"] == "none"]
    recalls = [(row["recall"] or 0.0) / row["oracle_recall"] for row in large if (row["oracle_recall"] or 0.0) >= 0.05]
    return {
        "worst_gap_from_1000": -min(row["gap"] for row in counted),
        "worst_gap_without_companions": -min(plain),
        "worst_timid_from_1000": max(row["gap"] for row in counted),
        "cells_within_03": float(np.mean([abs(row["gap"]) <= 0.03 for row in counted])),
        "recall_over_oracle": float(np.mean(recalls)),
    }


def main() -> None:
    """Run the grid and write `results/calibration.json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", default="calibration", help="of the file of results")
    parser.add_argument("--largest", type=int, default=max(_ROUNDS), help="skip larger corpora")
    arguments = parser.parse_args()
    rows = []
    for world in grid():
        if world.candidates <= arguments.largest:
            rows.append(measure(world, _ROUNDS[world.candidates]))
            shown = {key: value for key, value in rows[-1].items() if value not in (0.0, "none")}
            print(" ".join(f"{key}={value}" for key, value in shown.items()), flush=True)
    harness.write_result(arguments.name, rows, ratios(rows))


if __name__ == "__main__":
    main()
