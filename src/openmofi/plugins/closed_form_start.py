"""Where heads over a locked encoder begin: in closed form, of the labels and texts of a run's images.

The image head begins at the linear discriminants of the classes: the directions along which class means differ most
beside what varies inside a class, whose scatter is shrunk towards the identity. The variance v between classes along a
direction, in units of that inside, gives it the weight √(v / (1 + v)), as in probabilistic LDA. The text head begins at
the ridge regression from texts to the embeddings of their images, class vectors at class means.

- Entry points: `openmofi.adapters` `start`
- Needs: `openmofi[train]`
- Use: `model.start: labels` in a recipe
- Never: starts a head that is residual, or a tower that is trained
- Tests: `tests/training/model/test_start.py`, `tests/training/test_start_by_class.py`
- Documentation: `docs/training.md`
"""

from collections.abc import Iterable
from typing import cast

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from openmofi.arrays import Array, Ints
from openmofi.errors import UsageError
from openmofi.objectives.protocol import Batch
from openmofi.training.model.towers import DualEncoder, TrainedHead

SHRINKAGE, RIDGE = 0.25, 0.3
"""Shares of the mean variance of a feature, added to the scatter inside classes and to that of texts; chosen on
entities held out of training (docs/training.md).
"""
_UNUSED, _LEAST = 0.01, 1e-4


@torch.no_grad()
def start_from_labels(model: DualEncoder, batches: Iterable[Batch], classes: int) -> Tensor:
    """Set the heads of `model`, standardised already, by the rows of `batches`.

    Where there are fewer classes than dimensions, the others keep their random weights at a hundredth.

    Args:
        model: before training, on the CPU; its towers are locked and end in heads that are not residual, as
            `training.recipe.rules` demands.
        batches: with `image_features`, `labels`, and `text_features` where there is a text tower. They are held in
            memory together; equal ones on every rank give equal heads.
        classes: number of all classes.

    Returns:
        (classes, dim) float32, where each class vector begins: the normalised mean of its images' embeddings; zero for
        classes without an image in `batches`.

    Raises:
        UsageError: the labels are of fewer than two classes.
    """
    image = cast("TrainedHead", model.image.head)
    rows = [
        {
            name: values[batch["labels"][:, 0] >= 0]
            for name, values in batch.items()
            if name in ("image_features", "text_features", "labels")
        }
        for batch in batches
    ]
    labels = torch.cat([row["labels"][:, 0] for row in rows]).long() if rows else torch.zeros(0, dtype=torch.long)
    if len(labels.unique()) < 2:
        raise UsageError(
            "model.start is labels, and the dataset's labels are of fewer than two classes.", "Set model.start: random."
        )
    features = torch.cat([row["image_features"] for row in rows]).float()
    if image.standardised:
        features = (features - image.mean) / image.std
    mean = features.mean(0)
    directions = torch.from_numpy(discriminants((features - mean).numpy(), labels.numpy(), len(image.weight)))
    image.weight.mul_(_UNUSED)[: len(directions)] = directions
    # Embeddings as long as those of random weights: a learning rate then turns them as far.
    image.weight.mul_((len(image.weight) / (features @ image.weight.T).square().sum(1).mean()).sqrt())
    image.bias.copy_(-(image.weight @ mean))
    images = normalize(features @ image.weight.T + image.bias, dim=1)
    if model.text is not None:
        text = cast("TrainedHead", model.text.head)
        weight, bias = regression(torch.cat([row["text_features"] for row in rows]).numpy(), images.numpy())
        text.weight.copy_(torch.from_numpy(weight))
        text.bias.copy_(torch.from_numpy(bias))
    return normalize(torch.zeros(classes, images.shape[1]).index_add_(0, labels, images), dim=1)


def discriminants(features: Array, labels: Ints, dim: int) -> Array:
    """The weights of the first linear discriminants, float32 (n, feature_dim), n ≤ dim, the most telling first.

    Args:
        features: (rows, feature_dim) of mean zero.
        labels: (rows,) classes, at least two.
        dim: most directions; there are never more than classes − 1, nor than features.
    """
    from scipy.linalg import eigh

    _, classes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    sums = np.zeros((len(counts), features.shape[1]), np.float32)
    np.add.at(sums, classes, features)
    weighted = sums / np.sqrt(counts, dtype=np.float32)[:, None]
    total, between = features.T @ features, weighted.T @ weighted
    within = (total - between) / max(1, len(features) - len(counts))
    size = len(total)
    within[np.diag_indices(size)] += SHRINKAGE * np.trace(total) / (len(features) * size)
    count = min(dim, size, len(counts) - 1)
    values, vectors = eigh(between / len(features), within, subset_by_index=[size - count, size - 1])
    values, vectors = values[::-1], vectors[:, ::-1]
    telling = values > _LEAST * values[0]
    scale = np.sqrt(values[telling] / (1 + values[telling]))
    return np.ascontiguousarray((vectors[:, telling] * scale).T, np.float32)


def regression(inputs: Array, targets: Array) -> tuple[Array, Array]:
    """Ridge regression: weight (m, d) and bias (m,), float32.

    Args:
        inputs: (rows, d).
        targets: (rows, m).
    """
    mean, middle = inputs.mean(0), targets.mean(0)
    centred = inputs - mean
    scatter = centred.T @ centred
    scatter[np.diag_indices(len(scatter))] += RIDGE * np.trace(scatter) / len(scatter)
    weight = np.linalg.solve(scatter, centred.T @ (targets - middle)).T
    return weight.astype(np.float32), (middle - weight @ mean).astype(np.float32)
