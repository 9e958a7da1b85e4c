"""Two towers side by side, each a trunk (or a locked encoder's features) and a head; a start of heads from labels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, normalize

from openmofi.arrays import Array, Ints
from openmofi.encoders import Encoder, Head, Preprocessing, apply_head
from openmofi.errors import UsageError
from openmofi.objectives.protocol import Batch


@dataclass(frozen=True)
class ModelInputs:
    """How images and texts become the tensors of a batch (`objectives.protocol.Batch`).

    Attributes:
        preprocessing: of live images (`image`); `None` where the image side is locked.
        image_encoder: the locked image encoder, whose features are `image_features`; else `None`.
        text: `none`, `tokens` (`text_tokens`, by `tokenize`) or `features` (`text_features` of `text_encoder`).
        text_encoder: the locked text encoder (the image encoder itself where it is the same), else `None`.
        tokenize: n texts → (n, L) int64; it can be pickled, since workers call it.
    """

    preprocessing: Preprocessing | None
    image_encoder: Encoder | None = None
    text: str = "none"
    text_encoder: Encoder | None = None
    tokenize: Callable[[Sequence[str]], Tensor] | None = None


def normalised(pixels: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Pixels (…, 3, height, width), uint8 or float32 in 0..1 → float32, normalised on the device where they are.

    The float32 steps are those of evaluation.
    """
    mean, std = (
        torch.tensor(values, device=pixels.device).view(3, 1, 1) for values in (preprocessing.mean, preprocessing.std)
    )
    fractions = pixels.float().div_(255) if pixels.dtype == torch.uint8 else pixels.clone()
    return fractions.sub_(mean).div_(std)


_STATISTICS = ("mean", "std")
_LEAST_STD = 1e-6


def standardise(model: DualEncoder, batches: Iterable[Batch]) -> None:
    """Set the mean and deviation by which the image head standardises its input, as found on `batches`.

    In evaluation mode and without gradients; nothing is done where the head does not standardise. The same batches
    on every rank give the same numbers: nothing is exchanged. Features that never vary are left as they are.

    Args:
        model: before training; its mode is kept.
        batches: with `image` or `image_features`.

    Raises:
        UsageError: there is no image in `batches`.
    """
    head, training = model.image.head, model.training
    if not isinstance(head, TrainedHead) or not head.standardised:
        return
    device = next(head.parameters()).device
    count, total, squares = 0, torch.zeros(()), torch.zeros(())
    model.eval()
    with torch.no_grad():
        for batch in batches:
            features = model.image.trunk(model.image_input(batch).to(device)).double().cpu()
            count += len(features)
            total, squares = total + features.sum(0), squares + features.square().sum(0)
    model.train(training)
    if not count:
        raise UsageError(
            "There are no images to find the mean and deviation of the features on.",
            "Check data.dataset, or set model.image.standardise: false.",
        )
    mean = total / count
    std = (squares / count - mean.square()).clamp_min(0).sqrt()
    head.mean.copy_(mean)
    head.std.copy_(torch.where(std > _LEAST_STD, std, torch.ones_like(std)))


class TrainedHead(nn.Module):
    """A head whose parameters are named and used as those of `openmofi.encoders.Head`.

    Args:
        head: its initial parameters; `mean` and `std` become buffers.
        feature_dropout: share of the features, standardised first, that is zeroed in a training step.
        residual: the features are added to what the head gives.
    """

    weight: Tensor
    bias: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self, head: Head, *, feature_dropout: float = 0.0, residual: bool = False) -> None:
        super().__init__()
        for name, values in head.tensors().items():
            if name in _STATISTICS:
                self.register_buffer(name, values)
            else:
                self.register_parameter(name, nn.Parameter(values))
        self.standardised, self.feature_dropout = "mean" in head.parameters, feature_dropout
        self.residual = residual

    def forward(self, features: Tensor) -> Tensor:
        """(B, features) → (B, dim), not normalised."""
        inputs = features
        if self.standardised:
            inputs = (inputs.float() - self.mean) / self.std
        if self.feature_dropout:
            inputs = dropout(inputs, self.feature_dropout, self.training)
        out = apply_head(dict(self.named_parameters(recurse=False)), inputs)
        return features + out if self.residual else out


class Projected(nn.Module):
    """A locked encoder's own projection, features → joint space, L2-normalised and without a gradient.

    Args:
        projection: (n, features) → (n, dim), of arrays.
    """

    def __init__(self, projection: Callable[[Array], Array]) -> None:
        super().__init__()
        self._projection = projection

    def forward(self, features: Tensor) -> Tensor:
        """(B, features) → (B, dim) float32."""
        return torch.from_numpy(self._projection(features.detach().cpu().numpy())).to(features.device)


class Tower(nn.Module):
    """A trunk and its head.

    Args:
        trunk: (B, …) → (B, features); the identity where the features of a locked encoder are the input.
        head: a `TrainedHead`, or the identity.
        architecture: of the trunk, see `encoders.towers.Trunk`; `None` where it is locked.
    """

    def __init__(self, trunk: nn.Module, head: nn.Module, architecture: Mapping[str, Any] | None) -> None:
        super().__init__()
        self.trunk, self.head, self.architecture = trunk, head, architecture

    def forward(self, inputs: Tensor) -> Tensor:
        """→ (B, dim), L2-normalised in float32 whatever autocast says."""
        out = self.head(self.trunk(inputs))
        with torch.autocast(out.device.type, enabled=False):
            return normalize(out.float(), dim=-1)


class DualEncoder(nn.Module):
    """Images and texts to one space; without a text tower images only.

    Args:
        image, text: the towers.
        preprocessing: normalises images that come as bytes.
    """

    def __init__(self, image: Tower, text: Tower | None, preprocessing: Preprocessing | None = None) -> None:
        super().__init__()
        self.image, self.text, self.preprocessing = image, text, preprocessing

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """A batch → `image`, `text`, `caption` (of synthetic texts) and `hard`, as far as batch and model have them.

        Each (B, dim) float32, L2-normalised.
        """
        inputs = {"image": (self.image, "image" if self.image.architecture else "image_features")}
        if self.text is not None:
            kind = "tokens" if self.text.architecture else "features"
            inputs |= {name: (self.text, f"{name}_{kind}") for name in ("text", "caption", "hard")}
        return {
            name: tower(self.image_input(batch) if name == "image" else batch[entry])
            for name, (tower, entry) in inputs.items()
            if entry in batch
        }

    def image_input(self, batch: Batch) -> Tensor:
        """Return the image tower's input, of the features or images of a batch."""
        inputs = batch["image_features" if self.image.architecture is None else "image"]
        if self.preprocessing is None or inputs.dtype != torch.uint8:
            return inputs
        return normalised(inputs, self.preprocessing)

    def train(self, mode: bool = True) -> DualEncoder:
        """See `torch.nn.Module.train`; batch normalisation whose parameters are frozen keeps its statistics."""
        super().train(mode)
        for norm in self.modules():
            if isinstance(norm, nn.modules.batchnorm._BatchNorm):
                trained = [value.requires_grad for value in norm.parameters(recurse=False)]
                norm.train(norm.training and (any(trained) or not trained))
        return self


# The image head begins at the linear discriminants of the classes: the directions along which class means differ most
# beside what varies inside a class, whose scatter is shrunk towards the identity. The variance v between classes along
# a
# direction, in units of that inside, gives it the weight √(v / (1 + v)), as in probabilistic LDA. The text head begins
# at
# the ridge regression from texts to the embeddings of their images, class vectors at class means.

SHRINKAGE, RIDGE = 0.25, 0.3
"""Of the mean variance of a feature; chosen on entities held out of training (docs/training.md)."""
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
