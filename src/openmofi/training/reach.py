"""How far a class head's rows can move in a run: whether its optimiser and learning rate let classes be learned.

A row starts with length 1 (`MarginSoftmax`), and a cosine classifier sees its direction alone: to point at its class's
images it has to move by about its own length. Row-wise Adagrad divides a gradient by the root of the sum of all
earlier squares, so n updates with gradients of one size move a row of D weights by no more than
lr · √D · Σ 1/√i ≈ 2 · lr · √(D · n); AdamW moves every weight by up to lr in each, a row by lr · √D · n.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from openmofi.training.data.plan import repeat_factors
from openmofi.training.optimization import learning_rate

if TYPE_CHECKING:
    from openmofi.training.recipe.schema import DataSettings, OptimizerSettings, Recipe

Floats = NDArray[np.float64]
_POWER = {"instance": 1.0, "sqrt": 0.5, "class-balanced": 0.0}
_NEEDED = 1.0
_STEPS_LOOKED_AT = 1000


def class_weights(counts: NDArray[np.int64], data: DataSettings) -> Floats:
    """(classes,) how often each class is drawn, relative to the others, by `data.sampler`."""
    if data.sampler == "repeat-factor":
        return counts * repeat_factors(counts, int(counts.sum()), data.repeat_threshold)
    return np.where(counts > 0, counts.astype(np.float64) ** _POWER[data.sampler], 0.0)


def expected_updates(weights: Floats, *, steps: int, batch_size: int) -> Floats:
    """In how many steps of a run the batch is expected to hold an image of each class.

    Args:
        weights: (classes,) of `class_weights`.
        steps: of the run.
        batch_size: of the global batch; an image counts for one class.

    Returns:
        (classes,) float64; several images in one batch are one update.
    """
    share = weights / weights.sum()
    updates: Floats = steps * -np.expm1(-batch_size * share)
    return updates


def greatest_move(updates: Floats, dim: int, steps: int, settings: OptimizerSettings) -> Floats:
    """The bound of the module's head on how far a row moves, in units of its first length.

    Args:
        updates: (classes,) of each row, see `expected_updates`; spread evenly over the run.
        dim: of the embeddings.
        steps: of the run.
        settings: the head's optimiser and the schedule of learning rates.

    Returns:
        (classes,) float64.
    """
    looked_at = np.unique(np.linspace(0, steps - 1, min(steps, _STEPS_LOOKED_AT)).astype(np.int64))
    rates = np.array([learning_rate(int(step), steps, settings) for step in looked_at])
    rates *= settings.class_head_lr / settings.lr
    if settings.head == "row-adagrad":
        # Update i of n comes at the share i / n of the run: Σ lr_i / √i is √n times a mean of lr / √(i / n).
        done = (looked_at + 0.5) / steps
        factor = float(np.mean(rates / np.sqrt(done))) * np.sqrt(updates)
    else:
        factor = float(np.mean(rates)) * updates
    moves: Floats = np.sqrt(dim) * factor
    return moves


def stuck_head(recipe: Recipe, counts: NDArray[np.int64]) -> str:
    """A warning where half of the classes cannot turn towards their images within the run; else an empty text.

    Args:
        recipe: with a class head.
        counts: (classes,) images of each class that are trained on.
    """
    settings, run = recipe.optimizer, recipe.run
    counts = counts[counts > 0]
    if recipe.model.start == "labels" or not recipe.objectives.margin_softmax.weight or not len(counts):
        return ""
    updates = expected_updates(class_weights(counts, recipe.data), steps=run.steps, batch_size=recipe.data.batch_size)
    moves = greatest_move(updates, recipe.model.dim, run.steps, settings)
    middle, move = float(np.median(updates)), float(np.median(moves))
    if move >= _NEEDED:
        return ""
    return (
        f"the class head cannot learn half of its {len(counts):,} classes: {settings.head} at a learning rate of "
        f"{settings.class_head_lr:g} moves the vector of a class with {middle:,.0f} updates by at most "
        f"{move:.2g} of its length in {run.steps:,} steps; set optimizer.head_lr to {_advised(settings, move):.1g} "
        "or more, or train longer"
    )


def _advised(settings: OptimizerSettings, move: float) -> float:
    """The learning rate with which the bound is twice what is needed."""
    return settings.class_head_lr * 2 * _NEEDED / move
