"""What MOFI claims of its losses (arXiv 2306.07952, §4), on a simulated long tail: 200,000 classes with Zipf counts.

The worlds are made of random vectors: classes lie in groups of a hundred; an image is its class, its own variation and
more of a nuisance that says nothing, through a fixed map, as a frozen encoder would give it; a text is its class, a
little blurred, through another. One label in twenty is wrong, as a label job's at its target of .95: seven of ten by a
class of the same group, the others by any image's class (that share is assumed). Two layers for each side are trained
by the package's own objectives and optimisers, images drawn by the square root of their class's count:
- `contrastive`: InfoNCE of images and texts, a shared class being a positive;
- `sampled`: margin softmax over the batch's own classes and a hundredth of the others;
- `multi-task`: the sum of both;
- `exact`: margin softmax over all classes, where there are 20,000 (and once, last, where there are 200,000).
Each but `exact`, which takes those of `sampled`, has two settings that a world of its own (seed 0, a quarter of the
steps) chooses: from a start, half or double of either is taken while the mean mAP over the bands rises, so that no
choice lies at the edge of what was tried (`multi-task` has the others' temperature and head's rate). Then each is
trained on `--seeds` other worlds, the same for all.
New images of up to 1,000 classes a band (1–4, 5–49 and 50 or more images in training) are looked for among all new
images, by image (mAP without the query), and named by these classes' texts.

Every result is kept in `--work`: a run that was stopped goes on, and `results/longtail.json` has what there is.
Nothing here has seen an image: the figures say how the losses compare where this is what the data are like.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from threadpoolctl import threadpool_limits
from torch import nn
from torch.nn.functional import normalize

import harness
from openmofi.evaluation.metrics.retrieval import evaluate_retrieval
from openmofi.objectives.contrastive import Contrastive
from openmofi.objectives.margin_softmax import MarginSoftmax
from openmofi.objectives.objective_settings import ContrastiveSettings, MarginSoftmaxSettings
from openmofi.training.optimization import RowAdamW
from studies.paper import holm

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Setting = Mapping[str, float]
LATENT, FEATURES, HIDDEN, DIM, GROUP = 32, 128, 128, 32, 100
WRONG, SIBLINGS = 0.05, 0.7
TABLE = 1 << 16
LARGE, SMALL = 200_000, 20_000
IMAGES_A_CLASS = 5
BANDS = {"tail": (1, 4), "middle": (5, 49), "head": (50, math.inf)}
OF_BAND, NEW = 1000, 4
CONTRASTIVE, SAMPLED, MULTI, EXACT = "contrastive", "sampled", "multi-task", "exact"
STARTS: Mapping[str, Setting] = {
    CONTRASTIVE: {"lr": 6e-3, "temperature": 7.0},
    SAMPLED: {"lr": 6e-3, "head_lr": 0.1},
    MULTI: {"lr": 6e-3, "weight": 10.0},
}
FACTOR = 2.0


@dataclass(frozen=True)
class World:
    """Classes, their counts, and the images' own randomness.

    Attributes:
        means: (classes, LATENT).
        texts: (classes, FEATURES).
        counts: (classes,) images in training.
        truth: (images,) what each image shows.
        labels: (images,) what it is said to show.
        maps: of latent and of nuisance to features.
        noise: (2, TABLE, 2 · LATENT) standard normal rows; an image's own variation is the sum of one of each.
        seed: of all of it.
    """

    means: Floats
    texts: Floats
    counts: Ints
    truth: Ints
    labels: Ints
    maps: tuple[Floats, Floats]
    noise: Floats
    seed: int

    def features(self, classes: Ints, images: Ints) -> torch.Tensor:
        """(n, FEATURES) of images, whose variation depends on their number alone."""
        hashed = _hashed(images)
        own = (self.noise[0, hashed % TABLE] + self.noise[1, hashed // TABLE % TABLE]) * np.float32(0.5**0.5)
        latent = self.means[classes] + np.float32(0.7) * own[:, :LATENT]
        return torch.from_numpy(np.tanh(latent @ self.maps[0] + 1.5 * own[:, LATENT:] @ self.maps[1]))

    def batches(self, size: int, steps: int) -> Iterator[dict[str, torch.Tensor]]:
        """Training batches; classes by the square root of their counts."""
        draw = np.random.default_rng((self.seed, 1))
        ends = np.cumsum(np.sqrt(self.counts)[self.truth] / self.counts[self.truth])
        for _ in range(steps):
            images = np.searchsorted(ends, draw.random(size) * ends[-1])
            labels = self.labels[images]
            yield {
                "image": self.features(self.truth[images], images),
                "text": torch.from_numpy(self.texts[labels]),
                "labels": torch.from_numpy(labels)[:, None],
                "text_id": torch.from_numpy(labels),
            }

    def measured(self) -> dict[str, Ints]:
        """Band → its classes that are measured."""
        draw = np.random.default_rng((self.seed, 2))
        within = {
            band: np.flatnonzero((self.counts >= least) & (self.counts <= most))
            for band, (least, most) in BANDS.items()
        }
        return {band: draw.choice(there, min(OF_BAND, len(there)), replace=False) for band, there in within.items()}


def _hashed(numbers: Ints) -> NDArray[np.uint64]:
    """Numbers of 64 random-looking bits (splitmix64)."""
    mixed = numbers.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return mixed ^ (mixed >> np.uint64(31))


@lru_cache(maxsize=1)
def make_world(classes: int, seed: int) -> World:
    """Zipf's counts (exponent 1, at least one image), then truths and labels."""
    draw = np.random.default_rng((seed, 0))
    share = 1 / np.arange(1, classes + 1)
    counts = np.maximum(1, np.round(share / share.sum() * IMAGES_A_CLASS * classes)).astype(np.int64)
    draw.shuffle(counts)
    groups = draw.standard_normal((classes // GROUP + 1, LATENT)).repeat(GROUP, 0)[:classes]
    means = (0.8 * groups + 0.6 * draw.standard_normal((classes, LATENT))).astype(np.float32)
    maps = [(draw.standard_normal((LATENT, FEATURES)) / LATENT**0.5).astype(np.float32) for _ in range(3)]
    blurred = means + 0.3 * draw.standard_normal(means.shape, np.float32)
    truth = np.repeat(np.arange(classes), counts)
    labels, wrong = truth.copy(), np.flatnonzero(draw.random(len(truth)) < WRONG)
    siblings = np.minimum(truth[wrong] // GROUP * GROUP + draw.integers(GROUP, size=len(wrong)), classes - 1)
    anything = truth[draw.integers(len(truth), size=len(wrong))]
    labels[wrong] = np.where(draw.random(len(wrong)) < SIBLINGS, siblings, anything)
    noise = draw.standard_normal((2, TABLE, 2 * LATENT), np.float32)
    return World(means, np.tanh(blurred @ maps[2]), counts, truth, labels, (maps[0], maps[1]), noise, seed)


def tower() -> nn.Module:
    """Features to the joint space."""
    return nn.Sequential(nn.Linear(FEATURES, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, DIM))


def trained(world: World, arm: str, setting: Setting, steps: int, batch: int) -> tuple[nn.Module, nn.Module | None]:
    """The towers of images and, where texts were trained on, of texts, after `steps` steps."""
    torch.manual_seed(world.seed)
    image, text = tower(), tower()
    head, pairs = None, None
    if arm != CONTRASTIVE:
        softmax = MarginSoftmaxSettings(
            implementation="exact" if arm == EXACT else "sampled",
            scale=16.0,
            sample_rate=0.01,
            min_sampled=1,
            chunk=4096,  # tiles that stay in the cache; a sampled head has one
        )
        head = MarginSoftmax(len(world.counts), DIM, softmax, seed=world.seed)
    if arm in (CONTRASTIVE, MULTI):
        pairs = Contrastive(ContrastiveSettings(positives="entity-or-text", scale=setting.get("temperature", 14.0)))
    towers = [*image.parameters(), *text.parameters(), *(pairs.parameters() if pairs else ())]
    optimizers: list[tuple[torch.optim.Optimizer, float]] = [
        (torch.optim.AdamW(towers, weight_decay=0.1), setting["lr"])
    ]
    if head is not None:
        optimizers.append((RowAdamW(head.parameters(), weight_decay=0.0), setting.get("head_lr", 0.03)))
    for step, rows in enumerate(world.batches(batch, steps)):
        rate = min(1, (step + 1) / 50) * 0.5 * (1 + math.cos(math.pi * step / steps))
        for optimizer, peak in optimizers:
            optimizer.param_groups[0]["lr"] = peak * rate
            optimizer.zero_grad(set_to_none=True)
        embeddings = {"image": normalize(image(rows["image"]), dim=1)}
        if pairs is not None:
            embeddings["text"] = normalize(text(rows["text"]), dim=1)
        losses = [head(embeddings, rows).loss] if head is not None else []
        if pairs is not None:
            losses.append(setting.get("weight", 1.0) * pairs(embeddings, rows).loss)
        torch.stack(losses).sum().backward()
        for optimizer, _ in optimizers:
            optimizer.step()
        if pairs is not None:
            pairs.after_step()
    return image, None if pairs is None else text


@torch.no_grad()
def measured(world: World, image: nn.Module, text: nn.Module | None) -> dict[str, float]:
    """`map/BAND` of new images, among those of all bands, and with texts `names/BAND`, the share that is named."""
    chosen = world.measured()
    classes = np.concatenate(list(chosen.values()))
    labels = classes.repeat(NEW)
    features = world.features(labels, len(world.truth) + np.arange(len(labels)))
    embeddings = normalize(image(features), dim=1)
    values = {"map": evaluate_retrieval(embeddings.numpy(), labels, resamples=1).ap_excl_query}
    if text is not None:
        named = embeddings @ normalize(text(torch.from_numpy(world.texts[classes])), dim=1).T
        values["names"] = (classes[named.argmax(1).numpy()] == labels).astype(np.float64)
    band = np.repeat(list(chosen), [len(of_band) * NEW for of_band in chosen.values()])
    return {f"{metric}/{name}": float(each[band == name].mean()) for metric, each in values.items() for name in BANDS}


@dataclass(frozen=True)
class Runs:
    """Trains what is not there yet.

    Attributes:
        work: folder of the results.
        steps, batch: of a training.
    """

    work: Path
    steps: int
    batch: int

    def result(self, classes: int, arm: str, setting: Setting, seed: int, steps: int) -> dict[str, float]:
        """What a training reaches; see `measured`."""
        values = (f"{value:g}" for value in setting.values())
        name = "-".join([str(classes), arm, str(seed), str(steps), str(self.batch), *values])
        path = self.work / f"{name}.json"
        if not path.exists():
            world = make_world(classes, seed)
            found = measured(world, *trained(world, arm, setting, steps, self.batch))
            fresh = path.with_suffix(".part")
            fresh.write_text(json.dumps(found))
            fresh.replace(path)
            print(name, {key: round(value, 4) for key, value in found.items()}, flush=True)
        return dict(json.loads(path.read_text()))

    def chosen(self) -> dict[str, dict[str, float]]:
        """Arm → the setting that no neighbour beats on the world of seed 0; `multi-task` has the others' too."""
        best: dict[str, dict[str, float]] = {}
        for arm, start in STARTS.items():
            setting = (best[CONTRASTIVE] | best[SAMPLED] if arm == MULTI else {}) | dict(start)
            while True:
                near = [setting | {axis: setting[axis] * by} for axis in start for by in (FACTOR, 1 / FACTOR)]
                highest = max([setting, *near], key=lambda tried: self._mean(arm, tried))
                if highest is setting:
                    break
                setting = highest
            best[arm] = setting
        return best | {EXACT: best[SAMPLED]}

    def _mean(self, arm: str, setting: Setting) -> float:
        """The mean mAP over the bands of a short training on the world of seed 0."""
        found = self.result(LARGE, arm, setting, 0, self.steps // 4)
        return statistics.mean(found[f"map/{band}"] for band in BANDS)


def rows_of(classes: int, chosen: Mapping[str, Setting], arms: Mapping[str, list[dict[str, float]]]) -> list[Any]:
    """A row for each arm: means over the worlds, and 95 % t-intervals of these."""
    rows = []
    for arm, worlds in arms.items():
        row: dict[str, Any] = {"contender": f"{arm}, {classes:,} classes", "worlds": len(worlds)}
        for metric in worlds[0]:
            values = [world[metric] for world in worlds]
            row[metric] = statistics.mean(values)
            row[f"{metric}/worlds"] = values
            if len(values) > 1:
                row[f"{metric}/interval"] = _interval(values)
        rows.append(row | {"chosen": dict(chosen[arm])})
    return rows


def pairs_of(classes: int, arms: Mapping[str, list[dict[str, float]]]) -> list[Any]:
    """Every pair of arms on the worlds that both have: the difference in mAP, its t-interval, p after Holm by band."""
    rows: list[Any] = []
    for band in BANDS:
        found: list[dict[str, Any]] = []
        for theirs, ours in combinations(arms, 2):
            apart = [a[f"map/{band}"] - b[f"map/{band}"] for a, b in zip(arms[ours], arms[theirs], strict=False)]
            if len(apart) > 1:
                found.append(
                    {
                        "contender": f"{ours} over {theirs}, {band}, {classes:,} classes",
                        "difference": statistics.mean(apart),
                        "interval": _interval(apart),
                        "p_value": float(stats.ttest_1samp(apart, 0).pvalue),
                    }
                )
        adjusted = holm([row["p_value"] for row in found])
        rows += [row | {"p_holm": value} for row, value in zip(found, adjusted, strict=True)]
    return rows


def _interval(values: Sequence[float]) -> list[float]:
    """95 %, by Student's t."""
    mean, half = statistics.mean(values), stats.sem(values) * stats.t.ppf(0.975, len(values) - 1)
    return [float(mean - half), float(mean + half)]


def write(runs: Runs, chosen: Mapping[str, Setting], found: Mapping[int, Mapping[str, list[dict[str, float]]]]) -> None:
    """Write what there is to `results/longtail.json`."""
    rows: list[Any] = []
    ratios: dict[str, float] = {}
    for classes, arms in found.items():
        rows += rows_of(classes, chosen, arms) + pairs_of(classes, arms)
        for ours, theirs in ((MULTI, CONTRASTIVE), (SAMPLED, CONTRASTIVE), (MULTI, SAMPLED), (EXACT, SAMPLED)):
            for band in BANDS if ours in arms and theirs in arms else ():
                both = list(zip(arms[ours], arms[theirs], strict=False))
                of_both = [statistics.mean(world[f"map/{band}"] for world in side) for side in zip(*both, strict=True)]
                name = f"{ours.replace('-', '_')}_over_{theirs.replace('-', '_')}_{band}"
                ratios[name if classes == LARGE else f"{name}, {classes:,}"] = of_both[0] / of_both[1]
    rows.append({"contender": "settings", "steps": runs.steps, "batch": runs.batch, "dim": DIM, "wrong": WRONG})
    harness.write_result("longtail", rows, ratios)


def main() -> None:
    """Choose, train, measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/longtail"), help="Keeps the results one by one.")
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    threadpool_limits(1)
    arguments.work.mkdir(parents=True, exist_ok=True)
    runs = Runs(arguments.work, arguments.steps, arguments.batch)
    chosen = runs.chosen()
    seeds = range(1, arguments.seeds + 1)
    plan = [(classes, arm, seed) for seed in seeds for classes in (LARGE, SMALL) for arm in STARTS]
    plan += [(SMALL, EXACT, seed) for seed in seeds]
    found: dict[int, dict[str, list[dict[str, float]]]] = {}
    for classes, arm, seed in [*plan, (LARGE, EXACT, 1)]:
        result = runs.result(classes, arm, chosen[arm], seed, runs.steps)
        found.setdefault(classes, {}).setdefault(arm, []).append(result)
        if arm in (MULTI, EXACT):
            write(runs, chosen, found)


if __name__ == "__main__":
    main()
