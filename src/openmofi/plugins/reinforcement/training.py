"""A store of teachers' knowledge as a training run uses it: `openmofi.training.data.loader.Teachers`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from openmofi.arrays import Ints
from openmofi.errors import OpenMofiError, UsageError
from openmofi.plugins.reinforcement.augmentation import image_hash
from openmofi.plugins.reinforcement.objectives import (
    KNOWN,
    EntityDistillation,
    FeatureDistillation,
    Reinforced,
    teacher_key,
)
from openmofi.plugins.reinforcement.recall import Knowledge
from openmofi.training.data.loader import TeacherBatch

if TYPE_CHECKING:
    from openmofi.objectives.margin_softmax import MarginSoftmax
    from openmofi.objectives.protocol import Objective
    from openmofi.training.recipe import DataSettings, Recipe

_TEACHERS = 6  # sets these random numbers apart from those of `plan`, `texts` and the images


def open_teachers_of(settings: DataSettings, class_ids: Sequence[str], seed: int, rows: int) -> StoredTeachers:
    """Open the store of `data.reinforcement`.

    Args:
        settings: of the run.
        class_ids: identifiers of the dataset's classes.
        seed: of the run.
        rows: that are trained on.

    Raises:
        OpenMofiError: it is not a finished store, or it is damaged.
    """
    knowledge = Knowledge.open(settings.reinforcement.store)
    index = {identifier: number for number, identifier in enumerate(class_ids)}
    classes = np.array([*(index.get(entity, -1) for entity in knowledge.entities()), -1], np.int64)
    epoch = rows if settings.sampler == "instance" else 0
    return StoredTeachers(knowledge, seed, settings.reinforcement.mismatch == "stop", classes, epoch)


@dataclass(frozen=True)
class StoredTeachers:
    """The teachers of a store, as a training run asks them.

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

    @property
    def fingerprint(self) -> str:
        """See `Teachers`."""
        return self.knowledge.fingerprint

    def check(self, recipe: Recipe) -> None:
        """See `Teachers`.

        Raises:
            UsageError: the store was written without synthetic texts, or without entity scores.
        """
        objectives = recipe.objectives
        if objectives.entity_distillation.weight and not self.knowledge.entity_scores:
            raise UsageError(
                f"objectives.entity_distillation has a weight, and {self.knowledge.path} holds no entity scores.",
                "Set it to 0, or reinforce with --entity-scores 8.",
            )
        if objectives.reinforced.weight and objectives.reinforced.captions and not self.knowledge.captions:
            raise UsageError(
                f"objectives.reinforced.captions is {objectives.reinforced.captions:g}, and {self.knowledge.path} "
                "holds no synthetic texts.",
                "Set it to 0, or reinforce with --captions.",
            )

    def texts(self) -> Iterable[str]:
        """See `Teachers`."""
        return self.knowledge.texts() if self.knowledge.captions else ()

    def batch(
        self,
        step: int,
        size: int,
        share: slice,
        shards: Sequence[str],
        keys: Sequence[str],
        data: Sequence[bytes],
        name: Callable[[int], str],
    ) -> TeacherBatch:
        """See `Teachers`. Nothing is known of samples that the store lacks, or knows by other bytes.

        The hash covers all bytes of the image, and so its size.
        """
        draws = np.random.default_rng([self.seed, _TEACHERS, step])
        augmentation = draws.integers(0, self.knowledge.augmentations, size)[share]
        if self.epoch:
            augmentation = np.arange(step * size, (step + 1) * size)[share] // self.epoch % self.knowledge.augmentations
        caption = draws.integers(0, max(1, self.knowledge.captions), size)[share]
        recalled = self.knowledge.take(shards, keys, augmentation, caption)
        hashes = np.fromiter((image_hash(content) for content in data), np.uint64, len(data))
        matching = recalled.known & (hashes == recalled.hashes)
        if self.strict and not matching.all():
            first = int(np.argmin(matching))
            why = "is not the one that was reinforced" if recalled.known[first] else "was not reinforced"
            raise OpenMofiError(
                f"The image {name(first)} {why}.",
                "Reinforce the dataset as it is now, or set data.reinforcement.mismatch: plain.",
            )
        # What is not known has no class: −1 is the last of `classes`.
        ids = {name: np.where(matching[:, None], self.classes[rows], -1) for name, rows in recalled.entity_ids.items()}
        values: Mapping[str, Mapping[str, np.ndarray]] = {
            "image": recalled.image,
            "text": recalled.text,
            "caption": recalled.caption,
            "entity_ids": ids,
            "entity_scores": recalled.entity_scores,
        }
        tensors = {KNOWN: torch.from_numpy(matching)} | {
            teacher_key(teacher, what): torch.from_numpy(of_teacher)
            for what, of_teachers in values.items()
            for teacher, of_teacher in of_teachers.items()
        }
        augmentations = [
            each if is_known else None for each, is_known in zip(recalled.augmentations, matching, strict=True)
        ]
        return TeacherBatch(augmentations, recalled.captions if self.knowledge.captions else (), tensors)

    def objective(self, name: str, recipe: Recipe, head: MarginSoftmax | None) -> Objective:
        """See `Teachers`."""
        teachers = self.knowledge.teachers
        if name == "entity_distillation":
            assert head is not None
            return EntityDistillation(head, [teacher.name for teacher in teachers])
        if name == "reinforced":
            return Reinforced(recipe.objectives.reinforced, {teacher.name: teacher.scale for teacher in teachers})
        dims = {teacher.name: teacher.dim for teacher in teachers}
        return FeatureDistillation(recipe.model.dim, dims, recipe.run.seed)
