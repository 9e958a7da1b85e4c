"""Teachers' knowledge of the samples of a batch, from a store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from openmofi.arrays import Ints
from openmofi.errors import OpenMofiError, UsageError
from openmofi.objectives.reinforced import KNOWN, teacher_key
from openmofi.reinforcement import Knowledge, Recalled, image_hash
from openmofi.training.recipe.schema import Recipe

_TAUGHT = 6  # sets these random numbers apart from those of `plan`, `texts` and the images


@dataclass(frozen=True)
class Taught:
    """A store as a run uses it; picklable.

    Attributes:
        knowledge: the store.
        seed: of the choice among a sample's augmentations and synthetic texts.
        strict: an image that is not the one that was reinforced ends the run.
        classes: (entities of the store + 1,) int64 class of each, −1 where the dataset has none; the last, −1, is that
            of no entity.
        epoch: rows of an epoch, where the sampler goes through the dataset row by row: an image's augmentations then
            come in turn, so that none comes again before all have come. 0 draws them.
    """

    knowledge: Knowledge
    seed: int
    strict: bool
    classes: Ints
    epoch: int = 0

    def recall(self, step: int, size: int, share: slice, shards: Sequence[str], keys: Sequence[str]) -> Recalled:
        """What is known of this rank's samples.

        Args:
            step: the step.
            size: of the global batch.
            share: this rank's part of it.
            shards, keys: (n,) of the samples of that part.
        """
        draws = np.random.default_rng([self.seed, _TAUGHT, step])
        augmentation = draws.integers(0, self.knowledge.augmentations, size)[share]
        if self.epoch:
            augmentation = np.arange(step * size, (step + 1) * size)[share] // self.epoch % self.knowledge.augmentations
        caption = draws.integers(0, max(1, self.knowledge.captions), size)[share]
        return self.knowledge.take(shards, keys, augmentation, caption)

    def verified(self, recalled: Recalled, data: Sequence[bytes], name: Callable[[int], str]) -> Recalled:
        """Mark samples as unknown that the store lacks, or knows by other bytes; they have no augmentation.

        The hash covers all bytes of the image, and so its size.

        Args:
            recalled: of the samples.
            data: their encoded images.
            name: of a sample, by its place, for the error.

        Raises:
            OpenMofiError: there is one, and the run is strict.
        """
        hashes = np.fromiter((image_hash(content) for content in data), np.uint64, len(data))
        known = recalled.known & (hashes == recalled.hashes)
        if self.strict and not known.all():
            first = int(np.argmin(known))
            why = "is not the one that was reinforced" if recalled.known[first] else "was not reinforced"
            raise OpenMofiError(
                f"The image {name(first)} {why}.",
                "Reinforce the dataset as it is now, or set data.reinforcement.mismatch: plain.",
            )
        augmentations = [
            augmentation if is_known else None
            for augmentation, is_known in zip(recalled.augmentations, known.tolist(), strict=True)
        ]
        # Of other bytes nothing is known; what is not known has no class. −1 is the last of `classes`.
        ids = {name: np.where(known[:, None], self.classes[rows], -1) for name, rows in recalled.entity_ids.items()}
        return replace(recalled, known=known, augmentations=augmentations, entity_ids=ids)


def classes_of(entities: Sequence[str], class_ids: Sequence[str]) -> Ints:
    """`Taught.classes` of a store's entities, by the identifiers of the dataset's classes."""
    index = {identifier: number for number, identifier in enumerate(class_ids)}
    return np.array([*(index.get(entity, -1) for entity in entities), -1], np.int64)


def require_knowledge(recipe: Recipe, taught: Taught | None) -> None:
    """Check that the store holds what the recipe gives a weight.

    Raises:
        UsageError: it was written without synthetic texts, or without entity scores.
    """
    if taught is None:
        return
    if recipe.objectives.entity_distillation.weight and not taught.knowledge.entity_scores:
        raise UsageError(
            f"objectives.entity_distillation has a weight, and {taught.knowledge.path} holds no entity scores.",
            "Set it to 0, or reinforce with --entity-scores 8.",
        )
    reinforced = recipe.objectives.reinforced
    if reinforced.weight and reinforced.captions and not taught.knowledge.captions:
        raise UsageError(
            f"objectives.reinforced.captions is {reinforced.captions:g}, and {taught.knowledge.path} "
            "holds no synthetic texts.",
            "Set it to 0, or reinforce with --captions.",
        )


def taught_tensors(recalled: Recalled) -> dict[str, Tensor]:
    """The entries of a batch: `known` and each teacher's embeddings; see `objectives.protocol.Batch`."""
    batch = {KNOWN: torch.from_numpy(recalled.known)}
    for what in ("image", "text", "caption", "entity_ids", "entity_scores"):
        batch |= {teacher_key(name, what): torch.from_numpy(values) for name, values in getattr(recalled, what).items()}
    return batch
