"""The training loop of `openmofi.plugins.adapter.adapt`. Needs torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import dropout, normalize

from openmofi.arrays import Array
from openmofi.encoders import Head, apply_head
from openmofi.engine import Progress
from openmofi.plugins.adapter.bags import HeadSettings, Inputs
from openmofi.plugins.adapter.losses import MAX_SCALE, contrastive_loss, partial_label_loss


@dataclass(frozen=True)
class TrainedHeads:
    """The heads after training.

    Attributes:
        image, text: the heads.
        classes: (entities, dim) float32, see `ClassVectors`, or `None`.
        scale: the learned logit scale.
        loss, first_loss: means of the last and the first epoch.
    """

    image: Head
    text: Head
    classes: Array | None
    scale: float
    loss: float
    first_loss: float


@dataclass
class _Parameters:
    """The trained parameters, tensors by name."""

    image: dict[str, Tensor]
    text: dict[str, Tensor]
    classes: Tensor | None
    log_scale: Tensor
    adapter: bool

    def image_embedding(self, features: Tensor, share: float) -> Tensor:
        """Standardise, drop, project, normalise."""
        inputs = (features - self.image["mean"]) / self.image["std"] if "mean" in self.image else features
        trained = {name: values for name, values in self.image.items() if name not in ("mean", "std")}
        out = apply_head(trained, dropout(inputs, share) if share else inputs)
        return normalize(features + out if self.adapter else out, dim=-1)

    def text_embedding(self, features: Tensor, entity: Tensor | None = None) -> Tensor:
        """Project, normalise; with `entity` add what is learned of these entities."""
        out = apply_head(self.text, features)
        out = normalize(features + out if self.adapter else out, dim=-1)
        return out if entity is None or self.classes is None else normalize(out + self.classes[entity], dim=-1)


def train(inputs: Inputs, rows: np.ndarray, settings: HeadSettings, seed: int, progress: Progress) -> TrainedHeads:
    """Train on the pages `rows`; the same arguments give the same bits on the same machine."""
    torch.manual_seed(seed)
    parameters = _start(inputs, settings)
    optimiser = _optimiser(parameters, inputs, settings)
    size = min(settings.batch_size, len(rows))
    steps = settings.epochs * (len(rows) // size)
    # Of exactly ten steps a tenth is one, over which OneCycleLR divides by zero.
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, settings.learning_rate, total_steps=steps, pct_start=0.2 if steps == 10 else 0.1
    )
    whole_captions = inputs.captions is not None
    loss_of = _alt_text(parameters, inputs) if whole_captions else _partial(parameters, inputs, settings, seed)
    means = []
    for batches in _epochs(rows, size, settings.epochs, seed):
        losses = []
        for batch in batches:
            features = torch.from_numpy(inputs.images[batch].astype(np.float32))
            image = parameters.image_embedding(features, settings.feature_dropout)
            loss = loss_of(image, batch, parameters.log_scale.exp().clamp(max=MAX_SCALE))
            if inputs.adapter:
                loss = loss + settings.stay * (1 - (image * features).sum(dim=-1)).mean()
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
            losses.append(loss.item())
        means.append(float(np.mean(losses)))
        progress.advance({})
    classes = None if parameters.classes is None else parameters.classes.detach().numpy()
    return TrainedHeads(
        Head.from_tensors(parameters.image),
        Head.from_tensors(parameters.text),
        classes,
        float(parameters.log_scale.detach().exp().clamp(max=MAX_SCALE)),
        means[-1],
        means[0],
    )


def _start(inputs: Inputs, settings: HeadSettings) -> _Parameters:
    learns_classes = settings.class_vectors and inputs.captions is None
    dim = inputs.image_head.dim
    return _Parameters(
        inputs.image_head.tensors(),
        inputs.text_head.tensors(),
        torch.zeros(len(inputs.texts), dim) if learns_classes else None,
        torch.tensor(math.log(settings.scale)),
        inputs.adapter,
    )


def _optimiser(parameters: _Parameters, inputs: Inputs, settings: HeadSettings) -> torch.optim.Optimizer:
    weights = [
        side[name]
        for side, head in ((parameters.image, inputs.image_head), (parameters.text, inputs.text_head))
        for name in head.trainable
    ]
    weights += [parameters.classes] if parameters.classes is not None else []
    for weight in (*weights, parameters.log_scale):
        weight.requires_grad_()
    decayed = [weight for weight in weights if weight.ndim > 1]
    plain = [weight for weight in weights if weight.ndim < 2] + [parameters.log_scale]
    return torch.optim.AdamW(
        [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": plain, "weight_decay": 0.0}],
        lr=settings.learning_rate,
        betas=(0.9, 0.98),
    )


def _epochs(rows: np.ndarray, size: int, epochs: int, seed: int) -> Iterator[Iterator[np.ndarray]]:
    draw = np.random.default_rng(seed)
    for _ in range(epochs):
        order = draw.permutation(rows)
        yield (order[start : start + size] for start in range(0, len(order) - size + 1, size))


_Loss = Callable[[Tensor, np.ndarray, Tensor], Tensor]


def _alt_text(parameters: _Parameters, inputs: Inputs) -> _Loss:
    captions = inputs.captions
    assert captions is not None

    def loss(image: Tensor, batch: np.ndarray, scale: Tensor) -> Tensor:
        return contrastive_loss(image, parameters.text_embedding(torch.from_numpy(captions[batch])), scale)

    return loss


def _partial(parameters: _Parameters, inputs: Inputs, settings: HeadSettings, seed: int) -> _Loss:
    """Partial labels over the batch's entities and a sample of others.

    The logits are raised by the log frequency with which texts name an entity, in training only: what is named with
    every kind of image ("photo", "versus") then explains itself by that, and not by any image.
    """
    draw = np.random.default_rng(seed + 1)
    bags, texts = inputs.bags, torch.from_numpy(inputs.texts)
    named = np.bincount(bags.bag[bags.bag >= 0], bags.weight[bags.bag >= 0], len(texts)) + 0.5
    log_frequency = torch.from_numpy(np.log(named / named.sum()).astype(np.float32))

    def loss(image: Tensor, batch: np.ndarray, scale: Tensor) -> Tensor:
        bag = bags.bag[batch]
        others = draw.integers(0, len(texts), min(settings.classes, len(texts)))
        classes = np.unique(np.concatenate([others, bag[bag >= 0]]))
        local = np.where(bag >= 0, np.searchsorted(classes, np.maximum(bag, 0)), -1)
        entity = torch.from_numpy(classes)
        logits = scale * (image @ parameters.text_embedding(texts[entity], entity).T) + log_frequency[entity]
        return partial_label_loss(logits, torch.from_numpy(local), torch.from_numpy(bags.weight[batch]))

    return loss
