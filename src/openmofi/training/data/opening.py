"""Opens a dataset to train on: checks it, finds its images, computes what is computed once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from openmofi.dataset.tables import Folder
from openmofi.engine import Progress
from openmofi.errors import OpenMofiError, UsageError
from openmofi.reinforcement import Knowledge
from openmofi.schema import VOCABULARY
from openmofi.storage.atomic import is_remote
from openmofi.training.data.augmentation import Pictures
from openmofi.training.data.loader import Sources, TrainingData
from openmofi.training.data.locked_features import image_features
from openmofi.training.data.plan import ClassPlan, InstancePlan, Ints, Plan, members_of_classes
from openmofi.training.data.rows import Rows, flat_lists, open_rows, shard_starts
from openmofi.training.data.taught import Taught, classes_of
from openmofi.training.data.text_features import TextFeatures, text_features
from openmofi.training.data.texts import TextPlan, plan_texts
from openmofi.training.inputs import ModelInputs
from openmofi.training.recipe.schema import DataSettings


def open_data(settings: DataSettings, inputs: ModelInputs, *, seed: int, cache: str | Path,
              progress: Progress) -> TrainingData:
    """Open `settings.dataset` for a model that takes `inputs`.

    What is computed once (where the images lie; features of locked encoders) is kept in `cache`. Of ranks and runs of
    one machine that open the same data at once, one computes the features and the others wait; let one rank go first.

    Args:
        settings: see `DataSettings`.
        inputs: what the model takes.
        seed: of order, texts and augmentation.
        cache: a local folder.
        progress: told of what is computed.

    Raises:
        UsageError: settings that do not work, or shards out of which no single image can be read.
        OpenMofiError: the dataset is missing, unfinished or empty; a shard of pairs is missing or has changed.
    """
    _check(settings, cache)
    dataset = Folder.open(settings.dataset, "dataset")
    vocabulary, starts, folder = _vocabulary(dataset), shard_starts(dataset), Path(cache)
    class_ids = vocabulary["id"].to_pylist()
    live = inputs.image_encoder is None
    rows = open_rows(dataset, starts, folder, progress, places=live)
    texts = None if inputs.text == "none" else plan_texts(
        settings.text, settings.kb, class_ids, vocabulary["name"].to_pylist(), seed)
    taught = _taught(settings, class_ids, seed, int(starts[-1]))
    # Workers of the loader get these, and would open the encoders again.
    loaded = replace(inputs, image_encoder=None, text_encoder=None)
    sources = Sources(
        rows, _plan(settings, rows, len(class_ids), seed), dataset.shards, settings.batch_size, settings.max_labels,
        seed, loaded, pictures=_pictures(settings, inputs) if live else None,
        image_features=None if inputs.image_encoder is None else image_features(
            dataset, rows, inputs.image_encoder, folder, progress),
        texts=texts, text_features=_text_features(texts, rows, inputs, taught, folder, progress), taught=taught)
    counts = vocabulary["images"].to_numpy().astype(np.int64)
    return TrainingData(int(starts[-1]), len(class_ids), class_ids, counts, dataset.manifest.fingerprint,
                        {} if taught is None else {one.name: one for one in taught.knowledge.teachers}, sources)


def _check(settings: DataSettings, cache: str | Path) -> None:
    if not settings.dataset:
        raise UsageError("data.dataset is empty.", "Set it to the folder that `openmofi dataset build` wrote.")
    if is_remote(cache):
        raise UsageError(f"data.cache is {cache}; it is mapped into memory and must be local.")


def _vocabulary(dataset: Folder) -> pa.Table:
    path = f"{dataset.path}/vocabulary.parquet"
    try:
        with fsspec.open(path, "rb") as handle:
            return pq.read_table(handle).select(VOCABULARY.names).cast(VOCABULARY)
    except FileNotFoundError as error:
        raise OpenMofiError(f"{path} is missing.", "Build the dataset again.") from error
    except (pa.ArrowException, OSError, KeyError) as error:
        raise OpenMofiError(f"{path} cannot be read: {error}.", "Build the dataset again.") from error


def _plan(settings: DataSettings, rows: Rows, classes: int, seed: int) -> Plan:
    if settings.sampler == "instance":
        return InstancePlan(rows.starts, settings.batch_size, settings.shuffle_shards, seed)
    found = [_labels_of(rows, shard) for shard in range(len(rows.starts) - 1)]
    row, label = (np.concatenate(part) for part in zip(*found, strict=True))
    offsets, members = members_of_classes(row, label, classes)
    return ClassPlan(offsets, members, settings.batch_size, 0.0 if settings.sampler == "class-balanced" else 0.5, seed)


def _labels_of(rows: Rows, shard: int) -> tuple[Ints, Ints]:
    lengths, classes = flat_lists(rows.batch(shard)["classes"])
    return np.repeat(np.arange(len(lengths)), lengths) + rows.starts[shard], classes.astype(np.int64)


def _pictures(settings: DataSettings, inputs: ModelInputs) -> Pictures:
    if inputs.preprocessing is None:
        raise ValueError("ModelInputs has neither `preprocessing` nor `image_encoder`")
    return Pictures(inputs.preprocessing, settings.augment)


def _taught(settings: DataSettings, class_ids: list[str], seed: int, rows: int) -> Taught | None:
    wanted = settings.reinforcement
    if not wanted.store:
        return None
    knowledge = Knowledge.open(wanted.store)
    return Taught(knowledge, seed, wanted.mismatch == "stop", classes_of(knowledge.entities(), class_ids),
                  rows if settings.sampler == "instance" else 0)


def _text_features(texts: TextPlan | None, rows: Rows, inputs: ModelInputs, taught: Taught | None, cache: Path,
                   progress: Progress) -> TextFeatures | None:
    if texts is None or inputs.text_encoder is None:
        return None
    synthetic = taught.knowledge.texts() if taught is not None and taught.knowledge.captions else ()
    return text_features(texts, rows, inputs.text_encoder, cache, progress, synthetic)
