"""The interface of an objective: a module that turns embeddings and a named batch into one loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor, nn

Batch = dict[str, "Tensor"]
"""A batch by name. B is this rank's share of the global batch, equal on all ranks.

`image` (B, 3, H, W) uint8 pixels, or float32 ones that are normalised; or `image_features` (B, F) float32 of a frozen
encoder;
`text_tokens` (B, L) int64, or `text_features` (B, F) float32, where the recipe trains on texts;
`labels` (B, K) int64 classes, padded with −1 anywhere; `label_weights` (B, K) float32, 0 where padded;
`undecodable` (B,) bool: another row stands for one whose image can no longer be decoded;
`hard_class` (B,) int64: a class that is easily taken for one of the row's, −1 for none, and `hard_tokens` or
`hard_features` of its text;
`text_id` (B,) int64: equal exactly where the texts are equal; `row` (B,) int64: the row of the dataset.
With a store of teachers' knowledge: `known` (B,) bool; `caption_tokens` or `caption_features`, and `caption_id`, of
synthetic texts; `teacher/NAME/image`, `…/text` and `…/caption` (B, D_k) float32, L2-normalised, 0 where not known;
with entity scores `teacher/NAME/entity_ids` (B, K) int64 classes, −1 for none, and `…/entity_scores` (B, K) float32.
"""

Embeddings = Mapping[str, "Tensor"]
"""`image` and, where there are texts, `text`, `caption` (synthetic ones) and `hard` (of `hard_class`): (B, D),
L2-normalised, float32."""


@dataclass(frozen=True)
class ObjectiveResult:
    """The loss of a batch and its metrics.

    Attributes:
        loss: scalar with a gradient: the mean over the *global* batch, the same number on every rank. Its gradient
            at this rank's embeddings is `world size` times the true one, so that the average over ranks that
            distributed data parallel takes of the encoder's gradients is the true gradient.
        metrics: scalars without a gradient, for the log.
    """

    loss: Tensor
    metrics: Mapping[str, Tensor] = field(default_factory=dict)


class Objective(Protocol):
    """A `torch.nn.Module`; it does not know the trainer or the encoder.

    Replicated parameters (a logit scale) get this rank's part of the gradient: the trainer averages them over the
    ranks. Parameters named by `sharded_parameters` are this rank's rows of a matrix that is split over the ranks by
    class; their gradient is already the true one.
    """

    def __call__(self, embeddings: Embeddings, batch: Batch) -> ObjectiveResult:
        """The loss of a batch."""

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """See `torch.nn.Module.named_parameters`."""

    def sharded_parameters(self) -> dict[str, int]:
        """Names of sharded parameters → the number of rows of the whole matrix."""

    def after_step(self) -> None:
        """Called after each optimiser step, for example to clamp a scale."""


class Replicated:
    """The part of an `Objective` that has no sharded parameters and nothing to clamp."""

    def sharded_parameters(self) -> dict[str, int]:
        """Return nothing: all parameters are replicated."""
        return {}

    def after_step(self) -> None:
        """Does nothing."""
