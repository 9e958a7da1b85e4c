"""A linker's training from a recipe to a folder that `--linker fusion:PATH` opens, in the loop that trains encoders."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from openmofi.config.recipes import recipe_dict
from openmofi.errors import UsageError
from openmofi.objectives.protocol import Batch, Embeddings, ObjectiveResult
from openmofi.plugins.fusion.examples import NIL, LinkExample, read_examples
from openmofi.plugins.fusion.fusion_settings import LinkRecipe
from openmofi.plugins.fusion.linker import answers_of, scores_of
from openmofi.plugins.fusion.model import segment_log_softmax
from openmofi.plugins.fusion.questions import LinkQuestion, fitted_calibration, log_priors
from openmofi.plugins.fusion.store import (
    Fusion,
    build_fusion,
    fusion_fingerprint,
    open_fusion,
    save_fusion,
)
from openmofi.plugins.fusion.text import title_losses
from openmofi.plugins.fusion.training_data import LinkExamples, TrainingMention, labelled_examples
from openmofi.storage import claimed, file_fingerprint, finish_manifest, read_manifest
from openmofi.training.checkpoint import Checkpoints
from openmofi.training.distributed import training_process
from openmofi.training.log import Watcher
from openmofi.training.loop import Evaluation, train_loop
from openmofi.training.model import freeze
from openmofi.training.optimization import Optimizer, dense_optimizer, grouped
from openmofi.training.report import write_curves
from openmofi.training.run import OUTPUTS, deciding_settings
from openmofi.training.state import Forward, RunState, Term

_PRETRAINED = ("encoder.", "embedding.")


class MeanLoss(nn.Module):
    """The mean of the mentions' losses, which are the model's outputs; an `Objective`."""

    def forward(self, embeddings: Embeddings, batch: Batch) -> ObjectiveResult:
        """Average (B,) `loss` and `right` over the batch."""
        return ObjectiveResult(embeddings["loss"].mean(), {"accuracy": embeddings["right"].detach().mean()})

    def sharded_parameters(self) -> dict[str, int]:
        """Return no parameters."""
        return {}

    def after_step(self) -> None:
        """Do nothing."""


def fusion_forward(fusion: Fusion, data: LinkExamples, device: torch.device, *, bf16: bool) -> Forward:
    """Map a batch of rows to `loss` (B,) float32 and `right` (B,): 1 where the answer is right (`select` only)."""
    generates = fusion.tokens.settings.head == "generate"
    pad = fusion.tokens.markers.pad

    def forward(batch: Batch) -> Mapping[str, Tensor]:
        packed, mentions = data.packed(batch)
        packed = packed.to(device)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16):
            if generates:
                loss = title_losses(fusion.model, packed, data.titles(mentions), pad)
                return {"loss": loss, "right": torch.full_like(loss, torch.nan)}
            scores = fusion.model(packed, pad)
        return select_losses(scores, packed.mention, mentions, nil=data.nil)

    return forward


def select_losses(scores: Tensor, mention: Tensor, mentions: list[TrainingMention], *, nil: bool) -> dict[str, Tensor]:
    """Compute each mention's softmax cross-entropy over its candidates and, if some mentions mean it, NIL.

    Args:
        scores: (N + M,), see `FusionModel.select`.
        mention: (N,) int64.
        mentions: the M mentions.
        nil: whether NIL takes part.
    """
    count, device = len(mentions), scores.device
    flat = scores.float() if nil else scores[: len(mention)].float()
    segment = torch.cat([mention, torch.arange(count, device=device)]) if nil else mention
    logs = segment_log_softmax(flat, segment, count)
    sizes = torch.tensor([len(drawn.candidates) for drawn in mentions])
    index = sizes.cumsum(0) - sizes + torch.tensor([drawn.target for drawn in mentions])
    is_nil = torch.tensor([drawn.target for drawn in mentions]) == sizes
    index = torch.where(is_nil, len(mention) + torch.arange(count), index).to(device)
    best = logs.new_full((count,), -torch.inf).scatter_reduce(0, segment, logs.detach(), "amax")
    chosen = logs[index]
    return {"loss": -chosen, "right": (chosen.detach() >= best).float()}


def fusion_optimizer(fusion: Fusion, recipe: LinkRecipe) -> Optimizer:
    """Make AdamW: pretrained weights learn at `text_lr_multiplier` of the rate; one-dimensional ones do not decay.

    Raises:
        UsageError: a pattern of `freeze` matches nothing.
    """
    freeze(fusion.model, recipe.freeze, "freeze")
    settings = recipe.optimizer
    whole = recipe.model.base.startswith("hf:") and "t5" in fusion.configs
    pretrained = () if recipe.model.base == "scratch" else (*_PRETRAINED, *(("decoder.", "output.") if whole else ()))
    groups = grouped(
        (
            name,
            parameter,
            settings.text_lr_multiplier if name.startswith(pretrained) else 1.0,
            settings.weight_decay if parameter.ndim > 1 else 0.0,
        )
        for name, parameter in fusion.model.named_parameters()
    )
    return dense_optimizer(groups, settings, settings.clip)


LINKER = "linker"
ACCURACY = "validation_accuracy"


def train_linker(
    recipe: LinkRecipe, out: str | Path, *, resume: bool = False, watcher: Watcher, restart: bool = False
) -> dict[str, Any]:
    """Train a fusion decoder and write it to `OUT/linker`, with the best checkpoint's weights.

    Args:
        recipe: see `LinkRecipe`.
        out: folder of the run: `manifest.json`, `log.jsonl`, `tensorboard/`, `checkpoints/`, `linker/`.
        resume: resume from the latest checkpoint; without one, start. What is learned is the same to the bit.
        watcher: follows the log.
        restart: remove what an earlier run left in `out`, and begin anew.

    Returns:
        `steps`, the last `metrics`, `best`, `temperature`, `prior_weight`, and `accuracy` on the split of the
        validation.

    Raises:
        UsageError: the recipe names no examples, or a split that they do not have.
        OpenMofiError: the folder holds a run that was stopped and `resume` is not set, or one of another recipe; the
            examples cannot be read; the loss was not finite three times in a row.
        KeyboardInterrupt: SIGINT or SIGTERM came; a checkpoint is written.
    """
    out = Path(out)
    with training_process(recipe.run.threads) as ranks:
        if ranks.world > 1:
            raise UsageError("A linker is trained by one process.", "Start the command without torchrun.")
        train, validation = split_examples(recipe)
        with claimed(
            out, "run", deciding_settings(recipe), _inputs(recipe), outputs=OUTPUTS, restart=restart
        ) as manifest:
            if manifest.finished:
                return dict(manifest.counts)
            fusion = (
                open_fusion(recipe.start, recipe.model)
                if recipe.start
                else build_fusion(recipe.model, seed=recipe.run.seed)
            )
            data = LinkExamples(train, recipe.data, fusion.tokens, recipe.run.seed)
            fusion = replace(fusion, nil=data.nil, temperature=1.0, prior_weight=0.0)
            fusion.model.to(ranks.device)
            state = RunState(
                fusion.model,
                {recipe.model.head: Term(MeanLoss(), 1.0)},
                {"linker": fusion_optimizer(fusion, recipe)},
                None,
                ranks,
            )
            forward = fusion_forward(fusion, data, ranks.device, bf16=recipe.run.precision == "bf16")
            counts = train_linker_state(
                state, recipe, out, data, forward, validation, partial(accuracy, fusion), resume=resume, watcher=watcher
            )
            counts |= _finish(recipe, fusion, validation, out)
            finish_manifest(out, manifest, counts)
            return counts


def train_linker_state(
    state: RunState,
    recipe: LinkRecipe,
    out: Path,
    data: LinkExamples,
    forward: Forward,
    validation: Sequence[LinkExample],
    measure: Callable[[Sequence[LinkExample]], float],
    *,
    resume: bool,
    watcher: Watcher,
) -> dict[str, Any]:
    """Train to the recipe's last step or to an early end; the state then is the best checkpoint's.

    Args:
        state: what is trained.
        recipe: its settings.
        out: folder of the run.
        data: training examples.
        forward: see `training.loop`.
        validation: at most `stopping.limit` of them, evenly spread, are evaluated with each checkpoint.
        measure: examples → accuracy at present; keeps the model's mode.
        resume, watcher: see `train_linker`.

    Returns:
        `steps`, the last `metrics`, and the `best` checkpoint.

    Raises:
        OpenMofiError, KeyboardInterrupt: see `train_linker`.
    """
    stopping, steps, every = recipe.stopping, recipe.run.length, recipe.run.checkpoint_every
    checkpoints = Checkpoints(out / "checkpoints", keep=recipe.run.keep, best=recipe.run.best)
    checkpoints.latest(resume=resume)
    sample = validation[:: max(1, -(-len(validation) // stopping.limit))]
    evaluator = (lambda step: {ACCURACY: measure(sample)}) if sample else None
    evaluation = Evaluation(evaluator, every, stopping.patience, restores_best=True)
    try:
        end, scalars = train_loop(
            state, recipe, out, lambda step: data.batches(step, steps), forward, checkpoints, watcher, evaluation
        )
    finally:
        if recipe.run.curves:
            write_curves(out, recipe.name)
    return {"steps": end.step, "metrics": scalars, "best": checkpoints.best(end)}


def split_examples(recipe: LinkRecipe) -> tuple[list[LinkExample], list[LinkExample]]:
    """Return the recipe's examples for training and for validation.

    Raises:
        UsageError: it names none, or a split that the table does not have.
    """
    source = recipe.data.labels or recipe.data.examples
    if not source:
        raise UsageError(
            "The recipe does not say what to train on: data.examples is empty.",
            "Add --examples FILE (`openmofi link examples` writes one) or --labels LABELS.",
        )
    if recipe.data.labels and recipe.data.examples:
        raise UsageError("A linker learns from examples or from labels.", "Give --examples or --labels.")
    split = recipe.stopping.split
    examples = (
        labelled_examples(recipe.data) if recipe.data.labels else read_examples(source, [*recipe.data.train, split])
    )
    splits = {example.split for example in examples}
    for name in (*recipe.data.train, *([split] if split else [])):
        if name not in splits:
            raise UsageError(
                f"{source} has no example of the split {name!r}.",
                f"It has: {', '.join(sorted(splits)) or 'none of those that the recipe names'}.",
            )
    return (
        [example for example in examples if example.split in recipe.data.train],
        [example for example in examples if example.split == split],
    )


def _inputs(recipe: LinkRecipe) -> dict[str, str]:
    data = recipe.data
    inputs = (
        {"/labels": read_manifest(data.labels, "labels").fingerprint}
        if data.labels
        else {"/examples": file_fingerprint(data.examples)}
    )
    return inputs | ({"/start": fusion_fingerprint(recipe.start)} if recipe.start else {})


def _finish(recipe: LinkRecipe, fusion: Fusion, validation: Sequence[LinkExample], out: Path) -> dict[str, Any]:
    """Fit temperature and prior weight to the model as it is now, and write all of it."""
    fusion.model.eval()
    reachable = [example for example in validation if example.reachable and example.listed]
    logits = scores_of(
        fusion, [LinkQuestion(example.text, example.start, example.end, example.listed) for example in reachable]
    )
    priors = [log_priors(example.listed) for example in reachable]
    targets = [[*(candidate.id for candidate in example.listed), NIL].index(example.gold) for example in reachable]
    temperature, weight = fitted_calibration(logits, priors, targets, nil=fusion.nil)
    save_fusion(out / LINKER, replace(fusion, temperature=temperature, prior_weight=weight), recipe_dict(recipe))
    right = sum(
        int((values / temperature + weight * of_names).argmax()) == target
        for values, of_names, target in zip(logits, priors, targets, strict=True)
    )
    return {
        "temperature": temperature,
        "prior_weight": weight,
        "accuracy": right / len(validation) if validation else None,
    }


def accuracy(fusion: Fusion, examples: Sequence[LinkExample]) -> float:
    """Return the share of examples answered rightly; an example whose gold is not listed counts as wrong."""
    training = fusion.model.training
    fusion.model.eval()
    answers = answers_of(fusion, examples)
    fusion.model.train(training)
    return sum(answer == example.gold for answer, example in zip(answers, examples, strict=True)) / len(examples)
