"""The batches of a training run: rows are planned, fetched and made into tensors, by `workers` or in this process."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa
import torch

from openmofi.arrays import Ints
from openmofi.errors import UsageError
from openmofi.pairs.index import ImageBytes
from openmofi.storage import Shard, is_remote
from openmofi.training.data.features import StoredArray, TextFeatures
from openmofi.training.data.images import NO_AUGMENTATION, StoredAugmentation, TrainingImages, UndecodableError
from openmofi.training.data.plan import GREY, Faults, Plan, Refused, SequencePlan, other_row, replaced
from openmofi.training.data.rows import DatasetRows, padded_labels
from openmofi.training.data.subset import HeldOut
from openmofi.training.data.texts import HardNegatives, TextPlan, text_id
from openmofi.training.data.workers import Made, made_by_workers
from openmofi.training.model.towers import ModelInputs

if TYPE_CHECKING:
    from openmofi.objectives.margin_softmax import MarginSoftmax
    from openmofi.objectives.protocol import Batch, Objective
    from openmofi.training.recipe import Recipe

_AHEAD = 8
"""Steps before which a remote block is asked for: some of the next window, while this one is used."""
_IMAGES = 5  # sets these random numbers apart from those of `plan` and `texts`


@dataclass(frozen=True)
class TeacherBatch:
    """What teachers know of the images of a batch.

    Attributes:
        augmentations: of each image, which the teachers saw; `None` where they know nothing of it.
        captions: a synthetic text of each image, `""` for none; empty where there are none at all.
        tensors: entries of the batch.
    """

    augmentations: Sequence[StoredAugmentation | None]
    captions: Sequence[str]
    tensors: Batch


class Teachers(Protocol):
    """What teachers know of a dataset's images, as a package opens it for a run; picklable.

    A package names a function in the entry points `openmofi.teachers`. It takes the `DataSettings`, the classes'
    identifiers, the run's seed, and how many rows are trained on.
    """

    @property
    def fingerprint(self) -> str:
        """Fingerprint of what they know."""

    def check(self, recipe: Recipe) -> None:
        """Check that they know what the recipe's objectives ask for.

        Raises:
            UsageError: they do not.
        """

    def texts(self) -> Iterable[str]:
        """All synthetic texts, repetitions included."""

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
        """What is known of a rank's images.

        Args:
            step: the step.
            size: of the global batch.
            share: this rank's part of it.
            shards, keys, data: (n,) names, keys and encoded images of the samples of that part.
            name: of a sample, by its position, for errors.

        Raises:
            OpenMofiError: nothing is known of an image, and the settings ask to stop there.
        """

    def objective(self, name: str, recipe: Recipe, head: MarginSoftmax | None) -> Objective:
        """The objective that a recipe calls `name`, and which learns from them; `head` is the class head."""


@dataclass
class Sources:
    """The inputs of batches; picklable, each worker has its own copy.

    Attributes:
        rows, plan: which rows, and what they hold.
        shards: shards of pairs, in the order of the dataset.
        batch_size: of the global batch.
        max_labels: columns of `labels`.
        seed: of texts and augmentation.
        inputs: see `ModelInputs`.
        images: live images, or `None`.
        image_features: of a locked encoder, or `None`; refused rows hold those of a grey image.
        texts: or `None` where there are none.
        text_features: of a locked text encoder, or `None`.
        teachers: see there, or `None`.
        hard: finds what each row's class is easily taken for, or `None`.
        blank: an image that cannot be decoded is a grey one, instead of another row's.
        min_probability: labels below it are left out.
    """

    rows: DatasetRows
    plan: Plan
    shards: Sequence[Shard]
    batch_size: int
    max_labels: int
    seed: int
    inputs: ModelInputs
    images: TrainingImages | None = None
    image_features: StoredArray | None = None
    texts: TextPlan | None = None
    text_features: TextFeatures | None = None
    teachers: Teachers | None = None
    hard: HardNegatives | None = None
    blank: bool = False
    min_probability: float = 0.0
    _bytes: ImageBytes = field(default_factory=ImageBytes, repr=False)
    _refused: dict[int, str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if self.image_features:
            self._refused.update(self.image_features.refused)

    def batch(self, step: int, rank: int, world: int, *, stop: int = 0) -> Made:
        """A rank's share of the global batch of `step`, and its rows whose images cannot be decoded.

        What later steps read of remote shards is asked for ahead, until the step `stop`, with which a run ends: images
        grow until then. Without it they have the model's size.
        """
        images = self.images and self.images.at(step, stop)
        share = slice(rank * self.batch_size // world, (rank + 1) * self.batch_size // world)
        if step + _AHEAD < stop and self._bytes.streams:
            self._bytes.ask_ahead(self._places(self.plan.rows(step + _AHEAD)[share]))
        planned = self.plan.rows(step)[share]
        while True:
            # Known from earlier steps, or from the last try.
            chosen, refused = replaced(
                planned,
                self._refused,
                lambda position: self._other(step, share.start + position, int(planned[position])),
            )
            try:
                batch = self._batch(step, share, chosen, images)
            except UndecodableError as error:
                self._refused.update((int(chosen[position]), why) for position, why in error.why.items())
                continue
            if self.images or self.image_features:
                batch["undecodable"] = torch.from_numpy(np.isin(planned, [row for row, _ in refused]))
            return batch, refused

    def _other(self, step: int, position: int, row: int) -> int:
        if self.blank:
            return row
        steps = max(1, int(self.rows.starts[-1]) // self.batch_size)
        return other_row(self.plan, self.seed, step, position, self._refused, steps)

    def names(self, rows: Sequence[int]) -> list[str]:
        """Return the names of rows' images, as messages give them."""
        return self.rows.names(rows, self.shards)

    def _batch(self, step: int, share: slice, chosen: Ints, images: TrainingImages | None) -> Batch:
        table = self.rows.take(
            chosen,
            [
                "key",
                "classes",
                "scores",
                *(["text"] if self.texts else []),
                *(["file", "offset", "size"] if images else []),
            ],
        )
        labels, weights = padded_labels(table, self.max_labels)
        labels[weights < np.float32(self.min_probability)] = -1
        batch = {
            "row": torch.from_numpy(chosen.copy()),
            "labels": torch.from_numpy(labels),
            "label_weights": torch.from_numpy(weights),
        }
        texts: list[str] = []
        if self.image_features is not None:
            batch["image_features"] = self.image_features.take(chosen)
        if self.texts:
            choices = self.texts.choices(step, self.batch_size)[share]
            texts = self.texts.pick(choices, labels[:, 0], table["text"])
            batch.update(self.text_batch(texts, "text"))
        if self.hard:
            batch.update(self._hard(self.hard, step, share, labels[:, 0], table))
        if images:
            draws = np.random.default_rng([self.seed, _IMAGES, step]).integers(0, 1 << 63, self.batch_size)
            batch.update(self._seen(images, step, share, chosen, table, draws[share], texts))
        return batch

    def _hard(self, hard: HardNegatives, step: int, share: slice, classes: Ints, table: Any) -> Batch:
        """Return for each row a class that it is not of, and the text of that class."""
        drawn = hard.draw(classes, step, self.batch_size, share)
        batch = {"hard_class": torch.from_numpy(drawn)}
        if self.texts and self.texts.templates:
            # Also where the row's own text is its alt-text: another class has none.
            choices = np.maximum(self.texts.choices(step, self.batch_size)[share], 1)
            texts = self.texts.pick(choices, np.maximum(drawn, 0), table["text"])
            batch.update(self.text_batch(texts, "hard"))
        return batch

    def _seen(
        self, images: TrainingImages, step: int, share: slice, chosen: Ints, table: Any, seeds: Ints, texts: list[str]
    ) -> Batch:
        """The images, and what teachers know of them."""
        data = self._bytes_of(chosen, table)
        if self.teachers is None:
            return {"image": images.batch(data, seeds.tolist())}
        shards = [self.shards[number].name for number in self.rows.shards(chosen)]
        keys = table["key"].to_pylist()
        recalled = self.teachers.batch(
            step, self.batch_size, share, shards, keys, data, lambda position: self.names([int(chosen[position])])[0]
        )
        batch = {"image": images.batch(data, seeds.tolist(), recalled.augmentations), **recalled.tensors}
        if texts and recalled.captions:
            # Without a synthetic text a pair has its own one again.
            captions = [new or old for new, old in zip(recalled.captions, texts, strict=True)]
            batch.update(self.text_batch(captions, "caption"))
        return batch

    def _bytes_of(self, chosen: Ints, table: Any) -> list[bytes]:
        """The encoded images."""
        data: list[bytes] = [b""] * len(chosen)
        files = table["file"].to_pylist()
        offsets, sizes = table["offset"].to_numpy(), table["size"].to_numpy()
        for shard, group, _ in self.rows.by_shard(chosen):
            contents = self._bytes.fetch(self.shards[shard], [files[i] for i in group], offsets[group], sizes[group])
            for position, content in zip(group.tolist(), contents, strict=True):
                data[position] = content
        for position in np.flatnonzero(np.isin(chosen, list(self._refused))).tolist() if self.blank else ():
            data[position] = GREY
        return data

    def _places(self, rows: Ints) -> Iterator[tuple[Shard, Ints, Ints]]:
        for shard, _, within in self.rows.by_shard(rows):
            table = self.rows.batch(shard).select(["file", "offset", "size"]).take(pa.array(within))
            if is_remote(self.shards[shard].path) and not any(table["file"].to_pylist()):
                yield self.shards[shard], table["offset"].to_numpy(), table["size"].to_numpy()

    def text_batch(self, texts: list[str], kind: str = "text") -> Batch:
        """N texts → `KIND_id` (n,) and `KIND_tokens` or `KIND_features`; see `objectives.protocol.Batch`."""
        ids = np.fromiter((text_id(text) for text in texts), np.int64, len(texts))
        batch = {f"{kind}_id": torch.from_numpy(ids)}
        if self.text_features:
            batch[f"{kind}_features"] = self.text_features.take(ids)
        elif self.inputs.tokenize:
            batch[f"{kind}_tokens"] = self.inputs.tokenize(texts)
        return batch


@dataclass
class TrainingData:
    """A dataset to train on.

    Attributes:
        rows: images.
        trained: images that are trained on.
        classes: classes of the vocabulary.
        class_ids: their entities' identifiers; a label is a position here.
        class_counts: (classes,) int64 images of each class.
        fingerprint: names the dataset.
        sources: of batches.
        held_out: rows that evaluators see and batches do not hold, or `None`.
        faults: images that could not be decoded.
        class_names: of the classes.
    """

    rows: int
    trained: int
    classes: int
    class_ids: list[str] = field(repr=False)
    class_counts: Ints = field(repr=False)
    fingerprint: str
    sources: Sources = field(repr=False)
    held_out: HeldOut | None = field(default=None, repr=False)
    faults: Faults = field(default_factory=lambda: Faults(0.0, lambda rows: [str(row) for row in rows]), repr=False)
    class_names: list[str] = field(default_factory=list, repr=False)

    def batches(self, start: int, stop: int, *, rank: int = 0, world: int = 1, workers: int = 0) -> Generator[Batch]:
        """The batches of the steps `start` to `stop` (exclusive), in order; see `objectives.protocol.Batch`.

        A batch depends on the settings, the seed and its step alone: rank r of R gets its rows r·B/R to (r+1)·B/R. In
        pinned memory where there is CUDA.

        Args:
            start: first step.
            stop: step to stop before, and the end of the run, by which the sizes of its images go.
            rank: this rank.
            world: number of ranks.
            workers: processes that make batches ahead; 0 makes them here.

        Raises:
            UsageError: the batch cannot be shared out evenly.
            OpenMofiError: an image cannot be read; too many cannot be decoded.
        """
        if world < 1 or not 0 <= rank < world or self.sources.batch_size % world:
            raise UsageError(
                f"A batch of {self.sources.batch_size} cannot be shared by {world} ranks.",
                "Set data.batch_size to a multiple of the number of ranks.",
            )
        make, size = partial(self.sources.batch, stop=stop), self.sources.batch_size // world
        return _followed(made_by_workers(make, range(start, stop), rank, world, workers, size), self.faults.note)

    def held_out_batches(self, *, images_only: bool, rank: int, world: int, workers: int) -> Iterator[Batch]:
        """The held-out rows in their order, in batches as of `batches`; the last one is filled up with the first rows.

        Images are not augmented, but where teachers know an augmentation, which is replayed; one that cannot be decoded
        is grey.

        Args:
            images_only: without texts, teachers and hard negatives, and never augmented.
            rank, world, workers: see `batches`.
        """
        assert self.held_out is not None
        sources, plan = self.sources, SequencePlan(self.held_out.rows, self.sources.batch_size)
        images = sources.images and replace(sources.images, augment=NO_AUGMENTATION)
        # A few of each shard: fetched by themselves.
        sources = replace(sources, plan=plan, images=images, blank=True, _bytes=ImageBytes())
        if images_only:
            sources = replace(sources, texts=None, teachers=None, hard=None)
        return _followed(
            made_by_workers(sources.batch, range(plan.steps), rank, world, workers, sources.batch_size // world),
            self.faults.note_held_out,
        )


def _followed(made: Generator[Made], note: Callable[[int, Refused], None]) -> Generator[Batch]:
    with closing(made):
        for batch, refused in made:
            note(len(batch["row"]), refused)
            yield batch
