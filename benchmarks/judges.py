"""What a judge beyond the encoder (`--judge`) adds, by judges of known rates: simulated, and on the tiny demo's labels.

    openmofi demo --tiny -o runs/tiny && python benchmarks/judges.py runs/tiny

Truth makes the judge's answers and scores the result; `openmofi.labeling.witness` sees answers alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from scipy.special import expit, logit
from sklearn.metrics import average_precision_score

from openmofi.labeling.witness import NONE, OTHER, YES, fit_rates
from openmofi.plugins.judge.asking import DOUBTFUL

DRAWS, MENTIONS, DECOYS, THRESHOLD = 10, 750, 250, 0.8
JUDGES = {
    "good": (0.95, 0.05, 0.95, 0.05),
    "fair": (0.85, 0.15, 0.8, 0.15),
    "poor": (0.7, 0.4, 0.5, 0.4),
    "easy decoys": (0.9, 0.4, 0.8, 0.1),
    "always yes": (1, 1, 0, 1),
}
"""t, f and g of `openmofi.labeling.witness`, and f of decoys."""


@dataclass(frozen=True)
class Mentions:
    """(n,) probabilities of candidates, numbers of their mentions, and whether they are shown."""

    probability: np.ndarray
    group: np.ndarray
    right: np.ndarray

    def doubtful(self) -> np.ndarray:
        """(n,) whether a candidate's mention is asked about."""
        unsure = (self.probability >= DOUBTFUL[0]) & (self.probability <= DOUBTFUL[1])
        return np.isin(self.group, self.group[unsure])

    def heard(self, judge: str, draw: np.random.Generator) -> np.ndarray:
        """(n,) probabilities with the answers of a judge."""
        shown, absent, senses, of_decoys = JUDGES[judge]
        asked = self.doubtful()
        group = np.unique(self.group[asked], return_inverse=True)[1]
        count, right = np.bincount(group), self.right[asked]
        first = np.cumsum(count) - count
        place = np.arange(len(group)) - first[group]
        truth = np.where(np.bincount(group, right) > 0, np.bincount(group, place * right), -1).astype(int)
        some = draw.random(len(count)) < np.where(truth >= 0, shown, absent)
        picked = np.where((truth >= 0) & (draw.random(len(count)) < senses), truth, draw.integers(count))
        said = np.where(some[group], np.where(picked[group] == place, YES, OTHER), NONE)
        decoys = int((draw.random(min(DECOYS, len(count))) < of_decoys).sum())
        rates = fit_rates(self.probability[asked], group, said, (decoys, min(DECOYS, len(count)) - decoys))
        weighed = self.probability.copy()
        weighed[asked] = rates.weigh(self.probability[asked], group, said) if rates else self.probability[asked]
        return weighed


def simulated(shift: float, draw: np.random.Generator) -> Mentions:
    """Doubtful mentions of one, two or four senses; the encoder claims log odds `shift` too much that any is shown."""
    count = draw.choice([1, 2, 4], 4 * MENTIONS)
    parts = [draw.dirichlet(np.ones(size)) * draw.beta(2, 2) for size in count]
    right = np.concatenate([draw.multinomial(1, [*part, 1 - part.sum()])[:-1] for part in parts]).astype(bool)
    all_of_them = Mentions(np.concatenate(parts), np.repeat(np.arange(len(count)), count), right)
    kept = np.isin(all_of_them.group, np.unique(all_of_them.group[all_of_them.doubtful()])[:MENTIONS])
    group = np.unique(all_of_them.group[kept], return_inverse=True)[1]
    probability = all_of_them.probability[kept]
    some = np.bincount(group, probability)
    return Mentions(probability * (expit(logit(some) + shift) / some)[group], group, right[kept])


def labelled(folder: Path) -> Mentions:
    """The labels of the tiny demo, and their truth."""
    truth = {row["key"]: row["entity"] for row in pq.read_table(folder / "truth.parquet").to_pylist()}
    (table,) = (folder / "labels/labels").glob("*.parquet")
    rows = list(_once(pq.read_table(table, columns=["key", "entities"]).to_pylist(), truth))
    probability, mention, right = zip(*rows, strict=True)
    return Mentions(np.array(probability), np.unique(mention, axis=0, return_inverse=True)[1].ravel(), np.array(right))


def _once(rows: list[dict], truth: dict[str, str]) -> Iterator[tuple[float, tuple[int, int], bool]]:
    for number, row in enumerate(rows):
        once = {entity["entity"]: entity for entity in reversed(row["entities"])}
        for each in sorted(once.values(), key=lambda entity: entity["mention"]):
            yield each["probability"], (number, each["mention"]), each["entity"] == truth.get(row["key"])


def print_row(name: str, judge: str, worlds: list[Mentions]) -> None:
    """Print what is accepted with the answers, pooled over the worlds."""
    heard = [world.heard(judge, np.random.default_rng([seed, 1])) for seed, world in enumerate(worlds)]
    before, after = np.concatenate([world.probability for world in worlds]), np.concatenate(heard)
    right = np.concatenate([world.right for world in worlds])
    cells = [name, judge]
    for probability in (before, after):
        accepted = probability >= THRESHOLD
        found, claimed = (values[accepted].mean() if accepted.any() else np.nan for values in (right, probability))
        recall = right[accepted].sum() / right.sum()
        cells.append(f"{found:.3f} / {claimed:.3f}, {recall:.3f}, {average_precision_score(right, probability):.3f}")
    print("| " + " | ".join(cells) + " |", flush=True)


def main() -> None:
    """Print the table of docs/labels.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("demo", type=Path)
    demo = labelled(parser.parse_args().demo)
    print("| pairs | judge | before: found / claimed, recall, average precision | after |\n|---|---|---|---|")
    for judge in JUDGES:
        print_row("tiny demo", judge, [demo] * DRAWS)
    for name, shift in (("simulated", 0.0), ("simulated, timid", -1.0), ("simulated, bold", 1.0)):
        worlds = [simulated(shift, np.random.default_rng(seed)) for seed in range(DRAWS)]
        for judge in JUDGES:
            print_row(name, judge, worlds)


if __name__ == "__main__":
    main()
