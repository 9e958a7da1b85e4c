"""Two towers side by side, each a trunk (or a locked encoder's features) and a head."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, normalize

from openmofi.arrays import Array
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
        first_sizes: `first_sizes` and `first_share` of `training.recipe.ImageModel`.
    """

    preprocessing: Preprocessing | None
    image_encoder: Encoder | None = None
    text: str = "none"
    text_encoder: Encoder | None = None
    tokenize: Callable[[Sequence[str]], Tensor] | None = None
    first_sizes: tuple[tuple[int, ...], float] = ((), 0.0)


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
