"""The schema of a training recipe: what `recipes/*.yaml` may set, with constraints and defaults."""

from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

from msgspec import Meta

from openmofi.config import (
    FREE,
    Fraction,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveFraction,
    PositiveInt,
    ProperFraction,
    Settings,
    check_ascending,
)
from openmofi.errors import UsageError
from openmofi.knowledge.texts import DEFAULT_TEMPLATE, check_template
from openmofi.objectives.objective_settings import (
    ContrastiveSettings,
    EntityDistillationSettings,
    FeatureDistillationSettings,
    MarginSoftmaxSettings,
    ReinforcedSettings,
    Reinforcement,
)
from openmofi.training.recipe.evaluation import EVALUATION_METRICS as EVALUATION_METRICS
from openmofi.training.recipe.evaluation import EvaluateSettings


@dataclass(frozen=True)
class Lora(Settings):
    """Low-rank adapters of a tower's weights (LoRA, arXiv 2106.09685): W + alpha / rank · B A, of which A and B are
    trained, beside the tower's head. The encoder that is written has their sums, as plain weights.

    Attributes:
        rank: of B A, whose B is zero before training; 0 is off.
        alpha: the factor of B A is alpha / rank.
        targets: weights whose names match one of these patterns (fnmatch) have an adapter, if that is smaller than they
            are: of linear layers, attention and convolutions, embeddings never.
        dropout: share of A that is zeroed in a training step.
    """

    rank: NonNegativeInt = 0
    alpha: PositiveFloat = 16.0
    targets: tuple[str, ...] = ("trunk.*",)
    dropout: ProperFraction = 0.0


@dataclass(frozen=True)
class ImageModel(Settings):
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
        residual: of a locked encoder with a joint space: the head's output is added to the encoder's embedding (so
            `model.dim` must be that of its joint space) and is zero before training, so that nothing is changed yet;
            both sides have it or neither. A text side that shall stay as it is: `freeze: [head.*]`.
        standardise: the head's input is standardised with the mean and deviation found on the first images.
        feature_dropout: share of the features zeroed before the head in a training step.
        freeze: parameters whose name matches one of these patterns (fnmatch) are not trained.
        freeze_steps: so many first steps only; without `freeze` the whole trunk then waits for the head. 0 is always.
        lora: see `Lora`.
        layer_decay: learning rate of a block as a factor of the next one's; 1 is off.
        gradient_checkpointing: recompute activations in the backward pass.
        drop_path: stochastic depth (timm only).
        patch_dropout: share of an image's patches that a training step leaves out (FLIP, arXiv 2212.00794); of vision
            transformers of timm and open_clip.
        first_sizes: pixels a side, below `size`, at which a run begins (progressive resizing; CLIPA, arXiv 2305.07017),
            each for as many steps; of timm's vision transformers and towers that take any size.
        first_share: share of the run's steps that these have together; the others have `size`.
    """

    spec: Annotated[
        str,
        Meta(
            pattern="^(timm|open_clip|hf|encoder|backbone):.",
            description="timm:NAME, open_clip:ARCH, hf:PATH-OR-ID, encoder:SPEC or backbone:NAME",
        ),
    ] = "timm:vit_base_patch16_224"
    pretrained: str = ""
    size: NonNegativeInt = 0
    head: Literal["linear", "mlp", "none"] = "linear"
    head_hidden: NonNegativeInt = 0
    residual: bool = False
    standardise: bool = False
    feature_dropout: ProperFraction = 0.0
    freeze: tuple[str, ...] = ()
    freeze_steps: NonNegativeInt = 0
    lora: Lora = field(default_factory=Lora)
    layer_decay: PositiveFraction = 1.0
    gradient_checkpointing: bool = False
    drop_path: ProperFraction = 0.0
    patch_dropout: ProperFraction = 0.0
    first_sizes: tuple[PositiveInt, ...] = ()
    first_share: ProperFraction = 0.8


@dataclass(frozen=True)
class TextModel(Settings):
    """The text tower.

    Attributes:
        spec: `open_clip:ARCH` (its text tower, trained), `hf:PATH-OR-ID` (a CLIP's, trained), `mobile:mct`
            (MobileCLIP's, from scratch), `encoder:SPEC` (the text half of any encoder, frozen, with a trained
            projection), or `none` where no objective looks at texts.
        pretrained, head, head_hidden, residual, freeze, freeze_steps, lora, layer_decay, gradient_checkpointing: as of
            `ImageModel`.
    """

    spec: Annotated[
        str,
        Meta(
            pattern="^((open_clip|hf|mobile|encoder):.|none$)",
            description="open_clip:ARCH, hf:PATH-OR-ID, mobile:mct, encoder:SPEC or none",
        ),
    ] = "none"
    pretrained: str = ""
    head: Literal["linear", "mlp", "none"] = "linear"
    head_hidden: NonNegativeInt = 0
    residual: bool = False
    freeze: tuple[str, ...] = ()
    freeze_steps: NonNegativeInt = 0
    lora: Lora = field(default_factory=Lora)
    layer_decay: PositiveFraction = 1.0
    gradient_checkpointing: bool = False


@dataclass(frozen=True)
class ModelSettings(Settings):
    """Both towers and the dimension of their joint space.

    Attributes:
        image, text: see there.
        dim: of the joint space.
        nested: lengths of prefixes of an embedding that are trained to be embeddings themselves: each objective's loss
            is the mean over them and the whole (Matryoshka, arXiv 2205.13147).
        start: of heads over locked encoders that are not residual: `random` weights, or `labels`, in closed form of
            all images, or of 32,768 that are drawn by class: the image head at the linear discriminants of their
            classes, the text head at the ridge regression of texts to embeddings, class vectors at class means.
        start_share: of the weights before training in those that are evaluated and written, which lie between start and
            end (WiSE-FT, arXiv 2109.01903); needs a start from the labels, residual heads, or pretrained towers whose
            output is the embedding.
    """

    image: ImageModel = field(default_factory=ImageModel)
    text: TextModel = field(default_factory=TextModel)
    dim: PositiveInt = 512
    nested: tuple[PositiveInt, ...] = ()
    start: Literal["random", "labels"] = "random"
    start_share: ProperFraction = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if list(self.nested) != sorted(set(self.nested), reverse=True) or max(self.nested, default=0) >= self.dim:
            raise UsageError(
                f"model.nested is {list(self.nested)}; it must fall, from below model.dim = {self.dim}.",
                "Set model.nested: [256, 128, 64, 32], say.",
            )


@dataclass(frozen=True)
class TextSource(Settings):
    """Which text a sample is given; the probabilities are normalised.

    Attributes:
        alt_text: probability of the pair's own text.
        name: of the entity's name.
        name_description: of name and description.
        templates: of the entity's name; one is drawn; `{name}` and `{description}` are filled in.
        description_templates: the same for name and description.
    """

    alt_text: NonNegativeFloat = 1.0
    name: NonNegativeFloat = 0.0
    name_description: NonNegativeFloat = 0.0
    templates: tuple[str, ...] = ("{name}",)
    description_templates: tuple[str, ...] = (DEFAULT_TEMPLATE,)

    def __post_init__(self) -> None:
        super().__post_init__()
        for key, probability in (("templates", self.name), ("description_templates", self.name_description)):
            templates = getattr(self, key)
            if probability and not templates:
                raise UsageError(f"{key} is empty, and texts are to be made of it.", "Give one, such as '{name}'.")
            for template in templates:
                check_template(template)


@dataclass(frozen=True)
class Augment(Settings):
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

    scale: tuple[PositiveFraction, PositiveFraction] = (0.4, 1.0)
    ratio: tuple[PositiveFloat, PositiveFloat] = (0.75, 1.3333333333333333)
    flip: Fraction = 0.5
    color_jitter: NonNegativeFloat = 0.0
    grayscale: Fraction = 0.0
    rand_augment: NonNegativeInt = 0
    rand_augment_magnitude: Annotated[int, Meta(ge=0, le=30)] = 9

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ascending(scale=self.scale, ratio=self.ratio)


@dataclass(frozen=True)
class DataSettings(Settings):
    """What is trained on.

    Attributes:
        dataset: folder that `openmofi dataset build` wrote.
        kb: folder of the knowledge base; needed where names and descriptions are texts.
        cache: folder of cached features and tar indices; empty for `RUN/.cache`.
        batch_size: of the global batch, over all ranks.
        sampler: `instance`, `class-balanced`, `sqrt` (classes with the square root of their count), or `repeat-factor`
            (images of rare classes more often, by the square root of how much rarer than `repeat_threshold` they are).
        repeat_threshold: share of the images from which on a class is seen as it occurs.
        shuffle_shards: rows are shuffled within windows of so many shards, which are drawn anew each epoch.
        workers: processes that decode, a rank, and without CUDA share each batch; 0 for none.
        text: see `TextSource`.
        augment: see `Augment`.
        reinforcement: see `Reinforcement`.
        max_labels: columns of `labels`; the best-scored are kept.
        undecodable: greatest share of images that can no longer be decoded (others stand in); beyond it a run ends.
        hard_negatives: each row has a class that is easily taken for its own, drawn anew in each step: one that shares
            a name with it in the knowledge base, or a class above it. A sampled head scores it in any case, and its
            text is a negative of the contrastive loss.
        min_probability: labels below it are left out, and rows without another label.
        limit: most rows that are trained on, drawn by `run.seed` and keys: fewer are a part of more. 0 is all.
    """

    dataset: Annotated[str, FREE] = ""
    kb: Annotated[str, FREE] = ""
    cache: Annotated[str, FREE] = ""
    batch_size: PositiveInt = 1024
    sampler: Literal["instance", "class-balanced", "sqrt", "repeat-factor"] = "instance"
    repeat_threshold: PositiveFraction = 0.001
    shuffle_shards: PositiveInt = 64
    workers: Annotated[NonNegativeInt, FREE] = 2
    text: TextSource = field(default_factory=TextSource)
    augment: Augment = field(default_factory=Augment)
    reinforcement: Reinforcement = field(default_factory=Reinforcement)
    max_labels: PositiveInt = 8
    undecodable: Annotated[Fraction, FREE] = 0.01
    hard_negatives: bool = False
    min_probability: Fraction = 0.0
    limit: NonNegativeInt = 0


@dataclass(frozen=True)
class Objectives(Settings):
    """The losses; what is trained is their sum, each with its weight."""

    margin_softmax: MarginSoftmaxSettings = field(default_factory=MarginSoftmaxSettings)
    contrastive: ContrastiveSettings = field(default_factory=ContrastiveSettings)
    reinforced: ReinforcedSettings = field(default_factory=ReinforcedSettings)
    entity_distillation: EntityDistillationSettings = field(default_factory=EntityDistillationSettings)
    feature_distillation: FeatureDistillationSettings = field(default_factory=FeatureDistillationSettings)


_ADAGRAD_LR = 0.01


@dataclass(frozen=True)
class OptimizerSettings(Settings):
    """AdamW with cosine decay after a linear warm-up.

    Attributes:
        lr: peak learning rate.
        text_lr_multiplier: factor for the text tower.
        betas, eps, weight_decay: of AdamW; biases, norms and scales are not decayed.
        head: row-sparse optimiser of a sampled head: `row-adamw` or `row-adagrad`.
        head_lr: peak learning rate of the class head, on the same schedule; 0 stands for `lr` with `row-adamw`, and for
            0.01 with `row-adagrad`, whose steps shrink with the number of a row's updates: see `training.reach`.
        warmup: steps; a run of no more steps warms up until its last one.
        min_lr: final learning rate as a share of the peak.
        clip: greatest gradient norm over all parameters but the class head's rows; 0 is off.
        head_clip: the same for the class head, over all its shards; 0 is off.
        ema: decay of the weights' moving average, from step 0; 0 is off.
    """

    lr: PositiveFloat = 5e-4
    text_lr_multiplier: PositiveFloat = 1.0
    betas: tuple[ProperFraction, ProperFraction] = (0.9, 0.98)
    eps: PositiveFloat = 1e-6
    weight_decay: NonNegativeFloat = 0.2
    head: Literal["row-adamw", "row-adagrad"] = "row-adamw"
    head_lr: NonNegativeFloat = 0.0
    warmup: NonNegativeInt = 2000
    min_lr: Fraction = 0.0
    clip: NonNegativeFloat = 1.0
    head_clip: NonNegativeFloat = 0.0
    ema: ProperFraction = 0.0

    @property
    def class_head_lr(self) -> float:
        """Peak learning rate of the class head."""
        return self.head_lr or (_ADAGRAD_LR if self.head == "row-adagrad" else self.lr)


@dataclass(frozen=True)
class RunSettings(Settings):
    """How it runs.

    Attributes:
        steps: optimiser steps; warm-up and all that comes every so often is in steps too.
        epochs: in place of `steps`: so many times as many images as are trained on; 0 is off.
        seed: of initialisation, order, augmentation, dropout and sampled classes.
        accumulate: micro-batches that a batch is cut into; representations are cached, so that contrastive losses
            still see the whole batch (GradCache, arXiv 2101.06983). 0: as many as the memory of the GPUs needs by
            an estimate (`--plan`), one on CPUs; a resumed run keeps its number, or takes more where it needs more.
        precision: `fp32` or `bf16` (autocast of the towers; losses are fp32, their products of matrices TF32 on CUDA).
        compile: `torch.compile` the towers.
        channels_last: memory format of images.
        fsdp: shard the towers (FSDP2), whose blocks are gathered in bf16 where `precision` is; replicated otherwise.
        shard_over: what they are sharded over: `all` ranks, or those of a `node`, with a replica on each node (HSDP).
        log_every: steps between lines of the log.
        checkpoint_every: steps between checkpoints; the last step always has one.
        keep: last checkpoints kept; the best one is kept besides.
        best: metric by which a checkpoint is the best: an evaluator's, such as `retrieval/map`, and the best checkpoint
            becomes the encoder; or one of the log's means, with `-` in front where less is better.
        threads: of torch, a process; 0 leaves its choice.
        trackers: what gets the log's scalars too: `tensorboard`, `wandb`, `mlflow`, `trackio`, or what a package adds.
        project: of the trackers; groups runs.
        profile: steps that `torch.profiler` records after the first two: `trace.json`, for ui.perfetto.dev, and
            `profile.txt`.
        curves: write `curves.html`, a page of the learning curves, when the run ends or is stopped.
        report: measure the head of a locked encoder on the held-out rows beside the encoder itself, by length of the
            embedding and by how frequent an entity is: `results.json`, and `report.html` as a page.
        patience: evaluations without a better `best` before the run stops; 0 is never.
        evaluate: see `EvaluateSettings`.
    """

    steps: PositiveInt | None = None
    epochs: NonNegativeFloat = 0.0
    seed: NonNegativeInt = 0
    accumulate: NonNegativeInt = 1
    precision: Literal["fp32", "bf16"] = "fp32"
    compile: Annotated[bool, FREE] = False
    channels_last: bool = True
    fsdp: Annotated[bool, FREE] = False
    shard_over: Annotated[Literal["all", "node"], FREE] = "all"
    log_every: Annotated[PositiveInt, FREE] = 50
    checkpoint_every: Annotated[PositiveInt, FREE] = 1000
    keep: Annotated[PositiveInt, FREE] = 3
    best: Annotated[str, Meta(pattern="^(-.|[^-])", description="a metric of the log, such as -loss")] = "-loss"
    threads: Annotated[NonNegativeInt, FREE] = 0
    trackers: Annotated[tuple[str, ...], FREE] = ("tensorboard",)
    project: Annotated[str, FREE] = "openmofi"
    profile: Annotated[NonNegativeInt, FREE] = 0
    curves: Annotated[bool, FREE] = True
    report: Annotated[bool, FREE] = False
    patience: NonNegativeInt = 0
    evaluate: EvaluateSettings = field(default_factory=EvaluateSettings)

    @property
    def length(self) -> int:
        """`steps` of a run that knows them."""
        assert self.steps is not None
        return self.steps


@dataclass(frozen=True)
class Recipe(Settings):
    """All that decides a training run."""

    name: str = "recipe"
    data: DataSettings = field(default_factory=DataSettings)
    model: ModelSettings = field(default_factory=ModelSettings)
    objectives: Objectives = field(default_factory=Objectives)
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    run: RunSettings = field(default_factory=RunSettings)

    def over(self, rows: int) -> "Recipe":
        """With `run.steps`, where it counts epochs of so many rows: at least one step."""
        steps = self.run.steps or max(1, round(self.run.epochs * rows / self.data.batch_size))
        return replace(self, run=replace(self.run, steps=steps))
