"""A linker's training from a recipe to a folder that `--linker fusion:PATH` opens. Loop, optimiser and checkpoints are
those of encoders (`openmofi.training`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from openmofi.config.recipes import recipe_dict
from openmofi.errors import UsageError
from openmofi.linking.corpora.examples import NIL, Example, read_examples
from openmofi.linking.fusion.build import Fusion, build_fusion
from openmofi.linking.fusion.linker import Floats, Question, scores_of
from openmofi.linking.fusion.store import save_fusion
from openmofi.storage import claim_folder, file_fingerprint, finish_manifest
from openmofi.training.allocator import keep_freed_memory
from openmofi.training.checkpoint import Progressed
from openmofi.training.distributed import Ranks, joined_ranks
from openmofi.training.grad_cache import Term
from openmofi.training.linking.data import LinkExamples
from openmofi.training.linking.recipe import LinkRecipe
from openmofi.training.linking.steps import MeanLoss, fusion_forward, fusion_optimizer
from openmofi.training.linking.validated import run_validated, spread_evenly
from openmofi.training.log import Watcher
from openmofi.training.run import deciding_settings
from openmofi.training.state import RunState

LINKER = "linker"


@dataclass(frozen=True)
class _Run:
    recipe: LinkRecipe
    out: Path
    fusion: Fusion
    data: LinkExamples
    state: RunState
    validation: Sequence[Example]


def train_linker(recipe: LinkRecipe, out: str | Path, *, resume: bool = False, watcher: Watcher) -> dict[str, Any]:
    """Train a fusion decoder and write it to `OUT/linker`, with the best checkpoint's weights.

    Args:
        recipe: see `LinkRecipe`.
        out: folder of the run: `manifest.json`, `log.jsonl`, `tensorboard/`, `checkpoints/`, `linker/`.
        resume: go on from the latest checkpoint; without one, start. What is learned is the same to the bit.
        watcher: told of each interval of the log.

    Returns:
        `steps`, the last `metrics`, `best`, `temperature`, and `accuracy` on the split of the validation.

    Raises:
        UsageError: the recipe names no examples, or a split that the table does not have.
        OpenMofiError: the folder holds a run that was stopped and `resume` is not set, or one of another recipe; the
            examples cannot be read; the loss was not finite three times in a row.
        KeyboardInterrupt: SIGINT or SIGTERM came; a checkpoint is written.
    """
    out = Path(out)
    keep_freed_memory()
    if recipe.run.threads:
        torch.set_num_threads(recipe.run.threads)
    with joined_ranks() as ranks:
        if ranks.world > 1:
            raise UsageError("A linker is trained by one process.", "Start the command without torchrun.")
        train, validation = split_examples(recipe)
        manifest = claim_folder(out, "run", deciding_settings(recipe),
                                {"/examples": file_fingerprint(recipe.data.examples)})
        if manifest.finished:
            return dict(manifest.counts)
        run = _set_up(recipe, out, train, validation, ranks)
        counts = _train(run, resume=resume, watcher=watcher)
        finish_manifest(out, manifest, counts)
        return counts


def split_examples(recipe: LinkRecipe) -> tuple[list[Example], list[Example]]:
    """The recipe's examples for training and for validation.

    Raises:
        UsageError: it names none, or a split that the table does not have.
    """
    if not recipe.data.examples:
        raise UsageError("The recipe does not say what to train on: data.examples is empty.",
                         "Add --examples FILE; `openmofi link examples` writes one.")
    split = recipe.stopping.split
    found = read_examples(recipe.data.examples, [*recipe.data.train, split])
    there = {example.split for example in found}
    for wanted in (*recipe.data.train, *([split] if split else [])):
        if wanted not in there:
            raise UsageError(f"{recipe.data.examples} has no example of the split {wanted!r}.",
                             f"It has: {', '.join(sorted(there)) or 'none of those that the recipe names'}.")
    return ([example for example in found if example.split in recipe.data.train],
            [example for example in found if example.split == split])


def _set_up(recipe: LinkRecipe, out: Path, train: Sequence[Example], validation: Sequence[Example],
            ranks: Ranks) -> _Run:
    fusion = build_fusion(recipe.model, seed=recipe.run.seed)
    data = LinkExamples(train, recipe.data, fusion.tokens, recipe.run.seed)
    fusion = replace(fusion, nil=data.nil)
    fusion.model.to(ranks.device)
    state = RunState(fusion.model, {recipe.model.head: Term(MeanLoss(), 1.0)},
                     {"linker": fusion_optimizer(fusion, recipe)}, None, ranks)
    return _Run(recipe, out, fusion, data, state, validation)


def _train(run: _Run, *, resume: bool, watcher: Watcher) -> dict[str, Any]:
    looked_at = spread_evenly(run.validation, run.recipe.stopping.limit)
    forward = fusion_forward(run.fusion, run.data, run.state.ranks.device, bf16=run.recipe.run.precision == "bf16")
    done, last = run_validated(run.state, run.recipe, run.out, run.data.batches, forward, resume=resume,
                               watcher=watcher,
                               measure=(lambda: accuracy(run.fusion, looked_at)) if looked_at else None)
    return _finish(run, done, last)


def _finish(run: _Run, done: Progressed, last: Mapping[str, float]) -> dict[str, Any]:
    """Keep the weights, with the temperature that they need."""
    run.state.model.eval()
    reachable = [example for example in run.validation if example.reachable and example.listed]
    scores = scores_of(run.fusion, [question_of(example) for example in reachable])
    targets = [target_of(example) for example in reachable]
    temperature = fitted_temperature(scores, targets, nil=run.fusion.nil)
    save_fusion(run.out / LINKER, replace(run.fusion, temperature=temperature), recipe_dict(run.recipe))
    right = sum(int(found.argmax()) == target for found, target in zip(scores, targets, strict=True))
    return {"steps": done.step, "metrics": dict(last), "temperature": temperature,
            "accuracy": right / len(run.validation) if run.validation else None,
            "best": best_of(done, run.recipe)}


def best_of(done: Progressed, recipe: LinkRecipe) -> dict[str, Any] | None:
    """`metric`, `value` and `step` of a run's best checkpoint, if it has one."""
    if done.best is None:
        return None
    return {"metric": recipe.run.best.removeprefix("-"), "value": done.best[0], "step": done.best[1]}


def accuracy(fusion: Fusion, examples: Sequence[Example]) -> float:
    """Share of the examples that are answered right; one whose gold is not listed cannot be."""
    training = fusion.model.training
    fusion.model.eval()
    scores = scores_of(fusion, [question_of(example) for example in examples])
    fusion.model.train(training)
    right = sum(example.reachable and int(found.argmax()) == target_of(example)
                for found, example in zip(scores, examples, strict=True))
    return right / len(examples)


def fitted_temperature(scores: Sequence[Floats], targets: Sequence[int], *, nil: bool) -> float:
    """The temperature at which the right answers are likeliest (Guo et al., arXiv 1706.04599); 1 without any example.

    Args:
        scores: of candidates and NIL, each.
        targets: the place of the right one.
        nil: whether NIL takes part; if not, its scores are left out.
    """
    from scipy.optimize import minimize_scalar

    kept = [(found if nil else found[:-1], target) for found, target in zip(scores, targets, strict=True)
            if nil or target < len(found) - 1]
    if not kept:
        return 1.0

    def loss(log_temperature: float) -> float:
        scaled = [found / np.exp(log_temperature) for found, _ in kept]
        return float(np.mean([np.logaddexp.reduce(values) - values[target]
                              for values, (_, target) in zip(scaled, kept, strict=True)]))

    return round(float(np.exp(minimize_scalar(loss, bounds=(-4.0, 4.0), method="bounded").x)), 4)


def question_of(example: Example) -> Question:
    """An example without its answer."""
    return Question(example.text, example.start, example.end, example.listed)


def target_of(example: Example) -> int:
    """The place of the right answer among listed candidates and NIL."""
    ids = [candidate.id for candidate in example.listed]
    return len(ids) if example.gold == NIL or example.gold not in ids else ids.index(example.gold)
