"""Opens a dataset to train on: checks it and its shards, locates its images, computes features of locked encoders."""

import stat
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from openmofi.arrays import Ints
from openmofi.dataset.origin import Origin
from openmofi.dataset.tables import Folder
from openmofi.encoders import Preprocessing as Preprocessing
from openmofi.engine import Progress
from openmofi.errors import OpenMofiError, UsageError
from openmofi.extensions import extension
from openmofi.knowledge import KnowledgeBase
from openmofi.pairs.index import ImageBytes
from openmofi.storage import Shard, file_fingerprint, fingerprint, read_json, write_json
from openmofi.storage.addresses import in_threads, is_remote
from openmofi.storage.copies import most_bytes
from openmofi.storage.table_files import parquet_metadata
from openmofi.training.data.features import TextFeatures, image_features, text_features
from openmofi.training.data.images import KeptImages, TrainingImages
from openmofi.training.data.loader import Sources, Teachers, TrainingData
from openmofi.training.data.plan import Faults
from openmofi.training.data.rows import DatasetRows, open_rows
from openmofi.training.data.subset import HeldOut, Subsets, hold_out
from openmofi.training.data.texts import HardNegatives, TextPlan, plan_texts
from openmofi.training.model.towers import ModelInputs
from openmofi.training.recipe import DataSettings, EvaluateSettings

_KNOWN = "shards.json"
_THREADS = 16
_COMPARED = 64


def read_footers(dataset: Folder) -> tuple[Ints, list[Origin], str]:
    """Read the footers of a dataset's tables.

    Returns:
        (shards + 1,) int64 first row of each shard, and the number of rows; the origin of each shard; a fingerprint of
        the tables' sizes and times.

    Raises:
        OpenMofiError: a file is missing or damaged, or there are no rows at all.
    """
    counts, origins, marks = [], [], []
    for path, footer, mark in in_threads(_read_footer, map(dataset.file, dataset.shards)):
        counts.append(footer.num_rows)
        origins.append(Origin.parse(path, footer.metadata))
        marks.append(mark)
    if not sum(counts):
        raise OpenMofiError(f"{dataset.path} has no rows.", "Label more pairs and build the dataset again.")
    return np.r_[0, np.cumsum(counts)].astype(np.int64), origins, fingerprint(marks)


def _read_footer(path: str) -> tuple[str, pq.FileMetaData, str]:
    """Return the path, the footer of the file, and a mark that changes with the file."""
    try:
        return path, parquet_metadata(path), file_fingerprint(path) if is_remote(path) else _mark(path)
    except (pa.ArrowException, OSError) as error:
        reason = "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read: {error}"
        raise OpenMofiError(f"{path} {reason}.", "Build the dataset again.") from error


def shard_fingerprints(dataset: Folder, cache: Path) -> list[str]:
    """The fingerprint of each shard of pairs as it is now.

    A local file's is kept in the cache with its size and times, so that 100,000 unchanged shards cost as many calls of
    `stat`.

    Raises:
        OpenMofiError: one is missing.
    """
    path = cache / _KNOWN
    cached, marks = _cached_marks(path), [_mark_of(shard) for shard in dataset.shards]

    def current(shard: Shard, mark: str) -> str:
        entry = cached.get(shard.path)
        return entry[1] if mark and entry and entry[0] == mark else file_fingerprint(shard.path)

    try:
        with ThreadPoolExecutor(_THREADS) as pool:
            prints = list(pool.map(current, dataset.shards, marks))
    except OpenMofiError as error:
        raise OpenMofiError(
            f"The images of {dataset.path} are not where they were labelled: {error.message}",
            "Put them or a link to them there, or label and build again from where they are now.",
        ) from error
    fresh = {
        shard.path: [mark, value]
        for shard, mark, value in zip(dataset.shards, marks, prints, strict=True)
        if mark and cached.get(shard.path) != [mark, value]
    }
    if fresh:
        write_json(path, cached | fresh)
    return prints


def require_labelled_images(
    dataset: Folder, origins: Sequence[Origin], fingerprints: Sequence[str], rows: DatasetRows, *, copies: bool
) -> int:
    """Compare the shards with those that were labelled, and some images with how they looked then.

    Args:
        dataset: the dataset.
        origins: of its shards.
        fingerprints: of the shards as they are now.
        rows: with the places of their images.
        copies: a shard may be another copy, whose images look the same in other sizes and bytes.

    Returns:
        How many shards are other copies.

    Raises:
        OpenMofiError: a shard has changed, an image is another one, or cannot be read.
    """
    if not copies:
        for shard, origin, value in zip(dataset.shards, origins, fingerprints, strict=True):
            origin.require_same(shard, value)
    changed = {
        number
        for number, (origin, value) in enumerate(zip(origins, fingerprints, strict=True))
        if not origin.is_same(value)
    }
    same = [number for number, origin in enumerate(origins) if origin.sample and number not in changed]
    few = same[:: -(-len(same) // _COMPARED) or 1]
    reader = ImageBytes()
    for number in [*sorted(changed), *few]:
        sample = origins[number].sample
        within = [seen.row for seen in sample[:: 1 if number in changed else -(-len(sample) * len(few) // _COMPARED)]]
        columns = (
            rows.batch(number).select(["key", "file", "offset", "size"]).take(pa.array(within, pa.int64())).to_pydict()
        )
        data = reader.fetch(
            dataset.shards[number], columns["file"], np.array(columns["offset"]), np.array(columns["size"])
        )
        images = dict(zip(within, zip(columns["key"], data, strict=True), strict=True))
        origins[number].require_seen(dataset.shards[number], images, any_size=number in changed)
    reader.close()
    return len(changed)


def _mark_of(shard: Shard) -> str:
    """See `_mark`; empty where a shard is no local file."""
    try:
        return "" if is_remote(shard.path) else _mark(shard.path.removeprefix("file://"))
    except OSError:
        return ""


def _mark(path: str) -> str:
    """Changes whenever a file is written to; empty for a folder."""
    entry = Path(path).stat()
    times = f"{entry.st_mtime_ns}-{entry.st_ctime_ns}"
    return f"{entry.st_size}-{times}-{entry.st_ino}" if stat.S_ISREG(entry.st_mode) else ""


def _cached_marks(path: Path) -> dict[str, Any]:
    """Path → its mark and fingerprint, as an earlier run wrote them; nothing where the file is missing or damaged."""
    try:
        return read_json(path, dict[str, tuple[str, str]], "", missing={})
    except OpenMofiError:
        return {}


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

    What is computed once (where the images lie; which rows are drawn; features of locked encoders) is kept in `cache`.
    Of ranks and runs of one machine that open the same data at once, one computes the rows and features and the others
    wait; let one rank go first.

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
    dataset, folder = _dataset(settings, cache), Path(cache)
    vocabulary = dataset.vocabulary
    starts, origins, tables = read_footers(dataset)
    class_ids, names = vocabulary["id"].to_pylist(), vocabulary["name"].to_pylist()
    counts = vocabulary["images"].to_numpy().astype(np.int64)
    live = inputs.image_encoder is None
    sources = shard_fingerprints(dataset, folder) if live else []
    rows = open_rows(dataset, starts, tables, sources, folder, progress)
    _check_shards(dataset, origins, sources, rows, progress, live=live, copies=bool(settings.reinforcement.store))
    texts = None if inputs.text == "none" else plan_texts(settings.text, settings.kb, class_ids, names, seed)
    held_out, subsets = None, Subsets(rows, seed, folder, progress)
    if evaluate and evaluate.every:
        held_out = hold_out(subsets, evaluate, class_ids, counts, names, settings.text.templates)
    plan, trained, left = subsets.plan(settings, counts, held_out.rows if held_out else np.zeros(0, np.int64))
    teachers = None
    if settings.reinforcement.store:
        teachers = extension("teachers", "reinforcement")(settings, class_ids, seed, left)
    streams = _streams(settings, dataset.shards, rows, left, progress) if live else 0
    for shard, value in zip(dataset.shards, sources, strict=True) if streams else ():
        vars(shard)["fingerprint"] = value  # travels to workers
    batches = Sources(
        rows,
        plan,
        dataset.shards,
        settings.batch_size,
        settings.max_labels,
        seed,
        # Workers of the loader get these, and would open the encoders again.
        replace(inputs, image_encoder=None, text_encoder=None),
        images=_images(settings, inputs, left),
        image_features=None
        if inputs.image_encoder is None
        else image_features(dataset, origins, rows, inputs.image_encoder, folder, progress, settings.undecodable),
        texts=texts,
        text_features=_text_features(texts, rows, inputs, teachers, held_out, folder, progress),
        teachers=teachers,
        hard=_hard_negatives(settings, class_ids, seed),
        min_probability=settings.min_probability,
        _bytes=ImageBytes(streams),
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


def _dataset(settings: DataSettings, cache: str | Path) -> Folder:
    if not settings.dataset:
        raise UsageError("data.dataset is empty.", "Set it to the folder that `openmofi dataset build` wrote.")
    if is_remote(cache):
        raise UsageError(f"data.cache is {cache}; it is mapped into memory and must be local.")
    return Folder.open(settings.dataset, "dataset")


def _streams(
    settings: DataSettings, shards: Sequence[Shard], rows: DatasetRows, trained: int, progress: Progress
) -> int:
    """Return for how many windows of remote shards there is room among the copies on this machine; see
    `ImageBytes.streams`. 0 where an epoch wants less than an eighth of their bytes, or goes not window by window.
    """
    window = [number for number, shard in enumerate(shards) if is_remote(shard.path)][: settings.shuffle_shards]
    wanted = whole = 0
    for number in window if settings.sampler == "instance" else ():
        images = rows.batch(number)
        if len(images) and images["file"][0].as_py():  # copied to this machine, or files of their own
            return 0
        offsets, sizes = (images[name].to_numpy() for name in ("offset", "size"))
        wanted, whole = wanted + int(sizes.sum()), whole + int((offsets + sizes).max(initial=0))
    if not 0 < whole <= 8 * wanted * trained / max(int(rows.starts[-1]), 1):
        return 0
    if whole > (most := most_bytes()):
        progress.say(
            f"each image is a request of its own: {len(window)} shards (data.shuffle_shards) are {whole / 2**30:.0f} "
            f"GiB, more than the {most / 2**30:.0f} that OPENMOFI_COPIES_GIB allows for copies on this machine"
        )
    return int(most // whole)


def _images(settings: DataSettings, inputs: ModelInputs, count: int) -> TrainingImages | None:
    """Return how the `count` images to train on are decoded; `None` where the model takes features."""
    if not inputs.preprocessing:
        return None
    decoded = KeptImages.of_dataset(count, inputs.preprocessing.size, _KEPT_BYTES)
    return TrainingImages(inputs.preprocessing, settings.augment, decoded, inputs.first_sizes)


def _check_shards(
    dataset: Folder,
    origins: Sequence[Origin],
    sources: Sequence[str],
    rows: DatasetRows,
    progress: Progress,
    *,
    live: bool,
    copies: bool,
) -> None:
    """Compare the shards with those that were labelled, where their images are read, and say what is known of them."""
    if live:
        # Where teachers know the images, each one's bytes are compared, and `mismatch` says what becomes of others.
        changed = require_labelled_images(dataset, origins, sources, rows, copies=copies)
        if changed:
            progress.say(
                f"{changed} of {len(origins)} shards have other bytes than when they were labelled; a sample "
                "of their images looks the same"
            )
    if not all(origin.fingerprint for origin in origins):
        progress.say(
            f"{dataset.path} does not say which shards it was labelled from: whether they have changed since "
            "is not checked; build it again to have it checked"
        )


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
    rows: DatasetRows,
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
