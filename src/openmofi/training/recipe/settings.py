"""A training recipe as frozen dataclasses; `recipes/*.yaml` are read into them, and unknown keys are errors."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field

from openmofi.errors import UsageError
from openmofi.objectives.settings import (
    ContrastiveSettings,
    EntityDistillationSettings,
    FeatureDistillationSettings,
    MarginSoftmaxSettings,
    ReinforcedSettings,
)


@dataclass(frozen=True)
class ImageModel:
    """The image tower.

    Attributes:
        spec: `timm:NAME` (any timm image model), `open_clip:ARCH` (its image tower), `hf:PATH-OR-ID` (a CLIP's), or
            `encoder:SPEC` for any encoder that `open_encoder` opens, locked: its features are computed once, kept by
            the fingerprints of encoder and data, and a head is trained on them. `backbone:efficientnet-lite0` is the
            sample world's, from ImageNet weights, with the features of several depths that the locked one has.
        pretrained: weights: empty for random, `default` for timm's own, a tag of open_clip, or a file. `hf:` and
            `backbone:` name a checkpoint already and take none.
        size: pixels a side; 0 for the model's own.
        head: what maps the tower's output to the joint space: `linear`, `mlp` (linear and a residual GELU layer), or
            `none` (the tower's output is the embedding; its dimension must be `model.dim`).
        head_hidden: hidden width of `mlp`; 0 stands for the joint dimension.
        standardise: the head's input is standardised with the mean and deviation found on the first images.
        feature_dropout: share of the features zeroed before the head in a training step.
        freeze: parameters whose name matches one of these patterns (fnmatch) are not trained.
        layer_decay: learning rate of a block as a factor of the next one's; 1 is off.
        gradient_checkpointing: recompute activations in the backward pass.
        drop_path: stochastic depth (timm only).
    """

    spec: str = "timm:vit_base_patch16_224"
    pretrained: str = ""
    size: int = 0
    head: str = "linear"
    head_hidden: int = 0
    standardise: bool = False
    feature_dropout: float = 0.0
    freeze: tuple[str, ...] = ()
    layer_decay: float = 1.0
    gradient_checkpointing: bool = False
    drop_path: float = 0.0


@dataclass(frozen=True)
class TextModel:
    """The text tower.

    Attributes:
        spec: `open_clip:ARCH` (its text tower, trained), `hf:PATH-OR-ID` (a CLIP's, trained), `mobile:mct`
            (MobileCLIP's, from scratch), `encoder:SPEC` (the text half of any encoder, frozen, with a trained
            projection), or `none` where no objective looks at texts.
        pretrained, head, head_hidden, freeze, gradient_checkpointing: as of `ImageModel`.
    """

    spec: str = "none"
    pretrained: str = ""
    head: str = "linear"
    head_hidden: int = 0
    freeze: tuple[str, ...] = ()
    gradient_checkpointing: bool = False


@dataclass(frozen=True)
class ModelSettings:
    """Both towers and the dimension of their joint space."""

    image: ImageModel = field(default_factory=ImageModel)
    text: TextModel = field(default_factory=TextModel)
    dim: int = 512


@dataclass(frozen=True)
class TextSource:
    """Which text a sample is given; the probabilities are normalised.

    Attributes:
        alt_text: probability of the pair's own text.
        name: of the entity's name.
        name_description: of name and description.
        templates: of the entity's name; one is drawn; `{name}` and `{description}` are filled in.
        description_templates: the same for name and description.
    """

    alt_text: float = 1.0
    name: float = 0.0
    name_description: float = 0.0
    templates: tuple[str, ...] = ("{name}",)
    description_templates: tuple[str, ...] = ("{name}: {description}",)


@dataclass(frozen=True)
class Augment:
    """What is done to a training image (torchvision v2). Values of 0 are off.

    Attributes:
        scale: least and greatest share of the area of RandomResizedCrop; (1, 1) takes the evaluation's preprocessing.
        ratio: least and greatest aspect ratio of the crop.
        flip: probability of a horizontal flip.
        color_jitter: brightness, contrast and saturation strength.
        grayscale: probability.
        rand_augment: number of RandAugment operations.
        rand_augment_magnitude: 0 to 30.
    """

    scale: tuple[float, float] = (0.4, 1.0)
    ratio: tuple[float, float] = (0.75, 1.3333333333333333)
    flip: float = 0.5
    color_jitter: float = 0.0
    grayscale: float = 0.0
    rand_augment: int = 0
    rand_augment_magnitude: int = 9


@dataclass(frozen=True)
class Reinforcement:
    """What teachers know of the dataset, as `openmofi reinforce` stored it.

    Where there is a store, its augmentations are replayed in place of `data.augment`: to the pixel where the model's
    size and filter are the store's.

    Attributes:
        store: its folder; empty for none.
        mismatch: what to do with an image whose bytes are not those that were reinforced, or that the store lacks:
            `plain` learns from it without teachers (with `data.augment`) and counts it, `stop` ends the run.
    """

    store: str = ""
    mismatch: str = "plain"


@dataclass(frozen=True)
class DataSettings:
    """What is trained on.

    Attributes:
        dataset: folder that `openmofi dataset build` wrote.
        kb: folder of the knowledge base; needed where names and descriptions are texts.
        cache: folder of cached features and tar indices; empty for `RUN/.cache`.
        batch_size: of the global batch, over all ranks.
        sampler: `instance`, `class-balanced`, or `sqrt` (classes with the square root of their count).
        shuffle_shards: rows are shuffled within windows of so many shards, which are drawn anew each epoch.
        workers: processes that decode, a rank; 0 for none.
        text: see `TextSource`.
        augment: see `Augment`.
        reinforcement: see `Reinforcement`.
        max_labels: columns of `labels`; the best-scored are kept.
    """

    dataset: str = ""
    kb: str = ""
    cache: str = ""
    batch_size: int = 1024
    sampler: str = "instance"
    shuffle_shards: int = 64
    workers: int = 2
    text: TextSource = field(default_factory=TextSource)
    augment: Augment = field(default_factory=Augment)
    reinforcement: Reinforcement = field(default_factory=Reinforcement)
    max_labels: int = 8


@dataclass(frozen=True)
class Objectives:
    """The losses; what is trained is their sum, each with its weight."""

    margin_softmax: MarginSoftmaxSettings = field(default_factory=MarginSoftmaxSettings)
    contrastive: ContrastiveSettings = field(default_factory=ContrastiveSettings)
    reinforced: ReinforcedSettings = field(default_factory=ReinforcedSettings)
    entity_distillation: EntityDistillationSettings = field(default_factory=EntityDistillationSettings)
    feature_distillation: FeatureDistillationSettings = field(default_factory=FeatureDistillationSettings)


@dataclass(frozen=True)
class OptimizerSettings:
    """AdamW with cosine decay after a linear warm-up.

    Attributes:
        lr: peak learning rate.
        text_lr_multiplier: factor for the text tower.
        betas, eps, weight_decay: of AdamW; biases, norms and scales are not decayed.
        head: row-sparse optimiser of a sampled head: `row-adamw` or `row-adagrad`.
        warmup: steps.
        min_lr: final learning rate as a share of the peak.
        clip: greatest gradient norm over all parameters but the class head's rows; 0 is off.
        head_clip: the same for the class head, over all its shards; 0 is off.
        ema: decay of the weights' moving average, from step 0; 0 is off.
    """

    lr: float = 5e-4
    text_lr_multiplier: float = 1.0
    betas: tuple[float, float] = (0.9, 0.98)
    eps: float = 1e-6
    weight_decay: float = 0.2
    head: str = "row-adamw"
    warmup: int = 2000
    min_lr: float = 0.0
    clip: float = 1.0
    head_clip: float = 0.0
    ema: float = 0.0


EVALUATION_METRICS = {
    "retrieval/map": ("retrieval", True), "retrieval/recall_at_1": ("retrieval", True), "knn/accuracy": ("knn", True),
    "zero_shot/accuracy": ("zero_shot", True), "zero_shot/accuracy_top5": ("zero_shot", True),
    "held_out/loss": ("loss", False),
}
"""Metric of an evaluator → its setting in `EvaluateSettings`, and whether more is better."""


@dataclass(frozen=True)
class EvaluateSettings:
    """What the loop evaluates on rows that are held out of training; see `openmofi.training.evaluators`.

    Attributes:
        every: steps between evaluations; the last step has one too. With 0 nothing is evaluated or held out.
        retrieval: mAP and recall at 1 among the held-out images (`evaluation.metrics.retrieval`).
        knn: accuracy of weighted nearest neighbours in a random half of them, for the other half.
        zero_shot: accuracy by the names of their classes; needs a text tower.
        loss: the loss, in batches of `data.batch_size` without random augmentation.
        held_out: share of the rows, or of the classes, that is held out; `run.seed` and keys decide which.
        held_out_by: `row`, or `class`: all rows with one of the classes.
        limit: most rows that are held out.
        neighbours: of `knn`.
    """

    every: int = 0
    retrieval: bool = False
    knn: bool = False
    zero_shot: bool = False
    loss: bool = False
    held_out: float = 0.02
    held_out_by: str = "row"
    limit: int = 10_000
    neighbours: int = 10

    @property
    def names(self) -> list[str]:
        """The metrics of the evaluators that are on."""
        return [name for name, (setting, _) in EVALUATION_METRICS.items() if self.every and getattr(self, setting)]


@dataclass(frozen=True)
class RunSettings:
    """How it runs.

    Attributes:
        steps: optimiser steps.
        seed: of initialisation, order, augmentation, dropout and sampled classes.
        accumulate: micro-batches that a batch is cut into; representations are cached, so that contrastive losses
            still see the whole batch (GradCache, arXiv 2101.06983).
        precision: `fp32` or `bf16` (autocast of the towers; losses are fp32).
        compile: `torch.compile` the towers.
        channels_last: memory format of images.
        fsdp: shard the towers (FSDP2); replicated otherwise.
        log_every: steps between lines of the log.
        checkpoint_every: steps between checkpoints; the last step always has one.
        keep: last checkpoints kept; the best one is kept besides.
        best: metric by which a checkpoint is the best: an evaluator's, such as `retrieval/map`, and the best checkpoint
            becomes the encoder; or one of the log's means, with `-` in front where less is better.
        threads: of torch, a process; 0 leaves its choice.
        patience: evaluations without a better `best` before the run stops; 0 is never.
        evaluate: see `EvaluateSettings`.
    """

    steps: int = 100_000
    seed: int = 0
    accumulate: int = 1
    precision: str = "fp32"
    compile: bool = False
    channels_last: bool = True
    fsdp: bool = False
    log_every: int = 50
    checkpoint_every: int = 1000
    keep: int = 3
    best: str = "-loss"
    threads: int = 0
    patience: int = 0
    evaluate: EvaluateSettings = field(default_factory=EvaluateSettings)


def check_evaluation(run: RunSettings, *, texts: bool) -> None:
    """Check `run.evaluate`, and `run.best` and `run.patience` as far as evaluators decide them.

    Args:
        run: the settings.
        texts: whether there is a text tower.

    Raises:
        UsageError: a value out of its range, no evaluator, or a metric that no evaluator measures.
    """
    settings, best = run.evaluate, run.best.removeprefix("-")
    prefix = "run.evaluate"
    if settings.held_out_by not in ("row", "class"):
        raise UsageError(f"unknown value {settings.held_out_by!r} for {prefix}.held_out_by; use row or class.")
    if not 0 < settings.held_out < 1:
        raise UsageError(f"{prefix}.held_out is {settings.held_out:g}, and must be above 0 and below 1.")
    for name in ("limit", "neighbours"):
        if getattr(settings, name) < 1:
            raise UsageError(f"{prefix}.{name} is {getattr(settings, name)}, and must be at least 1.")
    if settings.every and not settings.names:
        raise UsageError(f"{prefix}.every is {settings.every}, and every evaluator is off.",
                         f"Set {prefix}.retrieval: true, say.")
    if settings.every and settings.zero_shot and not texts:
        raise UsageError(f"{prefix}.zero_shot needs texts, and model.text.spec is none.",
                         f"Set model.text.spec, or {prefix}.zero_shot: false.")
    if best in EVALUATION_METRICS and best not in settings.names:
        raise UsageError(f"run.best is {best}, which nothing measures.",
                         f"Set {prefix}.every, and {prefix}.{EVALUATION_METRICS[best][0]}: true.")
    if best in EVALUATION_METRICS and EVALUATION_METRICS[best][1] and run.best.startswith("-"):
        raise UsageError(f"run.best is {run.best}, and of {best} more is better.", f"Set run.best: {best}.")
    families = {name.partition("/")[0] for name in EVALUATION_METRICS}
    close = difflib.get_close_matches(best, EVALUATION_METRICS, n=1, cutoff=0.8)
    if best not in EVALUATION_METRICS and (close or best.partition("/")[0] in families):
        raise UsageError(f"unknown value {run.best!r} for run.best{nearest(best, EVALUATION_METRICS)}",
                         f"Evaluators measure {', '.join(EVALUATION_METRICS)}.")
    if run.patience and best not in settings.names:
        raise UsageError(f"run.patience counts evaluations, and run.best is {run.best}, which none measures"
                         f"{nearest(best, EVALUATION_METRICS)}", "Set run.best: retrieval/map, say.")


def nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean NAME?`, or a full stop where nothing is near."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else "."


@dataclass(frozen=True)
class Recipe:
    """All that decides a training run."""

    name: str = "recipe"
    data: DataSettings = field(default_factory=DataSettings)
    model: ModelSettings = field(default_factory=ModelSettings)
    objectives: Objectives = field(default_factory=Objectives)
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    run: RunSettings = field(default_factory=RunSettings)
