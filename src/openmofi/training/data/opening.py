"""Opens a dataset to train on: checks it, locates its images, computes features of locked encoders."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from openmofi.arrays import Ints
from openmofi.dataset.tables import Folder
from openmofi.encoders import Preprocessing
from openmofi.engine import Progress
from openmofi.errors import UsageError
from openmofi.extensions import extension
from openmofi.knowledge import KnowledgeBase
from openmofi.storage.addresses import is_remote
from openmofi.training.data.augmentation import KeptImages, TrainingImages
from openmofi.training.data.faults import Faults
from openmofi.training.data.hard_negatives import HardNegatives
from openmofi.training.data.held_out import HeldOut, draws_of, hold_out
from openmofi.training.data.loader import Sources, Teachers, TrainingData
from openmofi.training.data.locked_features import TextFeatures, image_features, text_features
from openmofi.training.data.pairs import read_footers, require_labelled_images, shard_fingerprints
from openmofi.training.data.plan import ClassPlan, InstancePlan, Plan, RepeatPlan, TrainingPlan, members_of_classes
from openmofi.training.data.rows import Rows, labels_of, open_rows
from openmofi.training.data.texts import TextPlan, plan_texts
from openmofi.training.model.towers import ModelInputs
from openmofi.training.recipe.schema import DataSettings, EvaluateSettings

_LIMIT = "limit"


@dataclass(frozen=True)
class Subset:
    """The rows that are trained on, and their labels.

    Attributes:
        rows, classes: (labels,) int64 of each label, ordered by rows.
        left_out: (m,) int64 all other rows, ascending.
    """

    rows: Ints
    classes: Ints
    left_out: Ints


def subset_of(rows: Rows, held_out: Ints, min_probability: float, limit: int, seed: int) -> Subset:
    """Choose the rows.

    Args:
        rows: of the dataset.
        held_out: (n,) rows that are not trained on.
        min_probability: labels below it do not count.
        limit: most rows, those whose keys have the lowest draws; 0 for all.
        seed: of the draws.

    Raises:
        UsageError: no row is left, or fewer than `limit`.
    """
    row, label, probability = labels_of(rows)
    kept = (probability >= np.float32(min_probability)) & ~np.isin(row, held_out)
    chosen = np.unique(row[kept])
    if not len(chosen):
        raise UsageError(
            f"data.min_probability is {min_probability:g}, which leaves no row to train on.",
            f"The greatest probability of a label is {probability.max():.3f}.",
        )
    if limit > len(chosen):
        raise UsageError(
            f"data.limit is {limit:,}, and there are {len(chosen):,} rows to train on.",
            "Set a lower one, or 0 for all.",
        )
    if limit:
        draws = draws_of(rows.take(chosen, ["key"])["key"].to_pylist(), seed, _LIMIT)
        chosen = np.sort(chosen[np.argsort(draws, kind="stable")[:limit]])
        kept &= np.isin(row, chosen)
    return Subset(row[kept], label[kept], np.setdiff1d(np.arange(rows.starts[-1]), chosen))


_KEPT_BYTES = 256 << 20
"""Of decoded images, in each process that makes batches."""


def open_data(
    settings: DataSettings,
    inputs: ModelInputs,
    *,
    seed: int,
    cache: str | Path,
    progress: Progress,
    evaluate: EvaluateSettings | None = None,
) -> TrainingData:
    """Open `settings.dataset` for a model that takes `inputs`.

    What is computed once (where the images lie; features of locked encoders) is kept in `cache`. Of ranks and runs of
    one machine that open the same data at once, one computes the features and the others wait; let one rank go first.

    Args:
        settings: see `DataSettings`.
        inputs: what the model takes.
        seed: of order, texts and augmentation.
        cache: a local folder.
        progress: follows what is computed.
        evaluate: which rows are held out; `None`, or an `every` of 0, for none.

    Raises:
        UsageError: settings that do not work.
        OpenMofiError: the dataset is missing, unfinished or empty; a shard of pairs is missing or has changed.
    """
    if not settings.dataset:
        raise UsageError("data.dataset is empty.", "Set it to the folder that `openmofi dataset build` wrote.")
    if is_remote(cache):
        raise UsageError(f"data.cache is {cache}; it is mapped into memory and must be local.")
    dataset = Folder.open(settings.dataset, "dataset")
    vocabulary = dataset.vocabulary
    folder = Path(cache)
    starts, origins, tables = read_footers(dataset)
    class_ids, names = vocabulary["id"].to_pylist(), vocabulary["name"].to_pylist()
    counts = vocabulary["images"].to_numpy().astype(np.int64)
    live = inputs.image_encoder is None
    sources = shard_fingerprints(dataset, folder) if live else []
    rows = open_rows(dataset, starts, tables, sources, folder, progress)
    if live:
        # Where teachers know the images, each one's bytes are compared, and `mismatch` says what becomes of others.
        copies = require_labelled_images(dataset, origins, sources, rows, copies=bool(settings.reinforcement.store))
        if copies:
            progress.say(
                f"{copies} of {len(origins)} shards have other bytes than when they were labelled; a sample "
                "of their images looks the same"
            )
    if not all(origin.fingerprint for origin in origins):
        progress.say(
            f"{dataset.path} does not say which shards it was labelled from: whether they have changed since "
            "is not checked; build it again to have it checked"
        )
    texts = None if inputs.text == "none" else plan_texts(settings.text, settings.kb, class_ids, names, seed)
    held_out = None
    if evaluate and evaluate.every:
        held_out = hold_out(
            rows,
            evaluate,
            class_ids,
            counts,
            names,
            settings.text.templates,
            seed if evaluate.seed is None else evaluate.seed,
        )
    plan, trained, left = _plan(settings, rows, counts, held_out.rows if held_out else np.zeros(0, np.int64), seed)
    teachers = None
    if settings.reinforcement.store:
        teachers = extension("teachers", "reinforcement")(settings, class_ids, seed, left)
    # Workers of the loader get these, and would open the encoders again.
    loaded = replace(inputs, image_encoder=None, text_encoder=None)
    batches = Sources(
        rows,
        plan,
        dataset.shards,
        settings.batch_size,
        settings.max_labels,
        seed,
        loaded,
        images=_images(inputs.preprocessing, settings, left) if inputs.preprocessing else None,
        image_features=None
        if inputs.image_encoder is None
        else image_features(dataset, origins, rows, inputs.image_encoder, folder, progress, settings.undecodable),
        texts=texts,
        text_features=_text_features(texts, rows, inputs, teachers, held_out, folder, progress),
        teachers=teachers,
        hard=_hard_negatives(settings, class_ids, seed),
        min_probability=settings.min_probability,
    )
    return TrainingData(
        int(starts[-1]),
        left,
        len(class_ids),
        class_ids,
        trained,
        dataset.manifest.fingerprint,
        batches,
        held_out,
        Faults(settings.undecodable, batches.names),
        names,
    )


def _images(preprocessing: Preprocessing, settings: DataSettings, rows: int) -> TrainingImages:
    kept = KeptImages.of_dataset(rows, preprocessing.size, _KEPT_BYTES)
    return TrainingImages(preprocessing, settings.augment, kept)


def _plan(settings: DataSettings, rows: Rows, counts: Ints, held_out: Ints, seed: int) -> tuple[Plan, Ints, int]:
    """The plan over the rows that are trained on, (classes,) their images of each class, and how many rows they are."""
    size, balanced, total = settings.batch_size, settings.sampler != "instance", int(rows.starts[-1])
    whole = not (len(held_out) or settings.limit or settings.min_probability)
    if whole and not balanced:
        return InstancePlan(rows.starts, size, settings.shuffle_shards, seed), counts, total
    subset = subset_of(rows, held_out, settings.min_probability, settings.limit, seed)
    trained, left = np.bincount(subset.classes, minlength=len(counts)), total - len(subset.left_out)
    if settings.sampler == "repeat-factor":
        return RepeatPlan.of(subset.rows, subset.classes, trained, settings.repeat_threshold, size, seed), trained, left
    if balanced:
        offsets, members = members_of_classes(subset.rows, subset.classes, len(counts))
        power = 0.0 if settings.sampler == "class-balanced" else 0.5
        return ClassPlan(offsets, members, size, power, seed), trained, left
    starts = rows.starts - np.searchsorted(subset.left_out, rows.starts)
    return TrainingPlan(InstancePlan(starts, size, settings.shuffle_shards, seed), subset.left_out), trained, left


def _hard_negatives(settings: DataSettings, class_ids: list[str], seed: int) -> HardNegatives | None:
    if not settings.hard_negatives:
        return None
    if not settings.kb:
        raise UsageError(
            "data.hard_negatives looks for namesakes and siblings, and data.kb is empty.",
            "Add --kb DIR, the knowledge base that the dataset was labelled with.",
        )
    return HardNegatives.of(KnowledgeBase.open(settings.kb), class_ids, seed)


def _text_features(
    texts: TextPlan | None,
    rows: Rows,
    inputs: ModelInputs,
    teachers: Teachers | None,
    held_out: HeldOut | None,
    cache: Path,
    progress: Progress,
) -> TextFeatures | None:
    if texts is None or inputs.text_encoder is None:
        return None
    synthetic = teachers.texts() if teachers else ()
    evaluated = [text for texts_of in held_out.texts for text in texts_of] if held_out else []
    return text_features(texts, rows, inputs.text_encoder, cache, progress, [*synthetic, *evaluated])
