"""What the training loop evaluates, as a recipe says, and the metrics of that."""

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta

from openmofi.config import NonNegativeInt, PositiveInt, Settings

EVALUATION_METRICS = {
    "retrieval/map": ("retrieval", True),
    "retrieval/recall_at_1": ("retrieval", True),
    "knn/accuracy": ("knn", True),
    "zero_shot/accuracy": ("zero_shot", True),
    "zero_shot/accuracy_top5": ("zero_shot", True),
    "held_out/loss": ("loss", False),
}
"""Metric of an evaluator → its setting in `EvaluateSettings`, and whether more is better."""


@dataclass(frozen=True)
class EvaluateSettings(Settings):
    """What the loop evaluates on rows that are held out of training; see `openmofi.training.evaluators`.

    Attributes:
        every: steps between evaluations; the last step has one too. With 0 nothing is evaluated or held out.
        retrieval: mAP and recall at 1 among the held-out images (`evaluation.metrics.retrieval`).
        knn: accuracy of weighted nearest neighbours in a random half of them, for the other half.
        zero_shot: accuracy by the names of their classes; needs a text tower.
        loss: the loss, in batches of `data.batch_size` without random augmentation.
        held_out: share of the rows, or of the classes, that is held out; `seed` and keys decide which.
        held_out_by: `row`, or `class`: all rows with one of the classes.
        limit: most rows that are held out.
        neighbours: of `knn`.
        seed: of what is held out; `None` for `run.seed`.
    """

    every: NonNegativeInt = 0
    retrieval: bool = False
    knn: bool = False
    zero_shot: bool = False
    loss: bool = False
    held_out: Annotated[float, Meta(gt=0, lt=1)] = 0.02
    held_out_by: Literal["row", "class"] = "row"
    limit: PositiveInt = 10_000
    neighbours: PositiveInt = 10
    seed: NonNegativeInt | None = None

    @property
    def names(self) -> list[str]:
        """The metrics of the evaluators that are on."""
        return [name for name, (setting, _) in EVALUATION_METRICS.items() if self.every and getattr(self, setting)]
