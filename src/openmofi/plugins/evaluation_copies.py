"""Labelled images that are copies of evaluation images: what is a copy, by hash or by embedding, and stays out.

Hashes: at most `bits` bits apart, as for near duplicates, but whatever the labels say, and never with a hash of a
nearly empty image, which says little. Embeddings: the frozen backbone's features that the label job kept, since those
of heads trained on labels bring images of one entity together that are no copies. Both see what the other does not:
a hash survives a change of colours, features survive cropping and mirroring.

- Entry points: `openmofi.filters` `evaluation_copies`
- Needs: nothing
- Use: `openmofi dataset build LABELS --exclude EVALUATION_IMAGES …`
- Never: decides what an evaluation set is (`openmofi.dataset.evaluation_sets`)
- Tests: `tests/dataset/exclusion`
- Documentation: `docs/dataset.md`
"""

import io
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain, pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image, ImageOps

from openmofi.arrays import Bools, Codes, Floats, Hashes, Ints
from openmofi.dataset.collect import Collected
from openmofi.dataset.evaluation_sets import EvaluationSet, Excluded, ExclusionSettings, hash_images, some_images
from openmofi.dataset.features import computed, labelled_features, labelled_shards, labels_store
from openmofi.dataset.filters import SAYS_LITTLE, bands
from openmofi.dataset.matching import NONE, ImageSample, nearest_features
from openmofi.dataset.tables import Folder
from openmofi.encoders import Encoder, normalised
from openmofi.errors import OpenMofiError
from openmofi.features.images import ImageSource
from openmofi.features.store import FeatureStore
from openmofi.pairs import ImageRefused
from openmofi.pairs.images.decode import decoding
from openmofi.schema import EXCLUDED, PairStatus

# Up to 128 images of the set are saved anew as JPEG of quality 30, halved in size, cropped by a tenth a side and
# mirrored. The threshold is the cosine at which 95 % of each of the first three kinds are found; mirrored ones are only
# counted. What is alike and no copy may not go out, though: the threshold is at least the cosine that only one labelled
# image in a thousand reaches among as many images *of other entities* as the set has (`ImageSample.nearest`). Fewer
# copies may be found then; both shares are reported.

_SAMPLE = 128
_FOUND, _ALIKE = 0.05, 0.999
_ROUNDING = 1e-4
_PAIRS_AT_ONCE = 1 << 22


def informative(phash: Hashes) -> Bools:
    """Which hashes are informative: none of a nearly empty image, nor 0, which stands for no hash."""
    count = np.bitwise_count(phash)
    return (count >= SAYS_LITTLE) & (count <= 64 - SAYS_LITTLE)


def nearest_hashes(phash: Hashes, others: Hashes, bits: int) -> tuple[Ints, Ints]:
    """For each hash the nearest of `others` within `bits` bits, ties to the first; uninformative ones have none.

    Hashes that differ in at most b bits agree on one of b + 1 bands; only those are compared.

    Args:
        phash: (n,) uint64.
        others: (m,) uint64.
        bits: greatest Hamming distance.

    Returns:
        (n,) positions in `others`, -1 for none; (n,) distances in bits.
    """
    rows, columns = np.flatnonzero(informative(phash)), np.flatnonzero(informative(others))
    best = np.full(len(phash), (bits + 1) << 40, np.int64)  # the distance, then the position: one minimum finds both
    for shift, mask in bands(bits):
        values = (others[columns] >> shift) & mask
        order = np.argsort(values, kind="stable")
        values, there = values[order], columns[order]
        sought = (phash[rows] >> shift) & mask
        low, high = np.searchsorted(values, sought, "left"), np.searchsorted(values, sought, "right")
        for part in _parts(high - low):
            counts = high[part] - low[part]
            here = np.repeat(rows[part], counts)
            within = np.arange(len(here)) - np.repeat(np.cumsum(counts) - counts, counts)
            other = there[np.repeat(low[part], counts) + within]
            apart = np.bitwise_count(phash[here] ^ others[other]).astype(np.int64)
            np.minimum.at(best, here, (apart << 40) + other)
    distance = best >> 40
    return np.where(distance <= bits, best & ((1 << 40) - 1), NONE), distance


def _parts(counts: Ints) -> list[slice]:
    """Consecutive slices of at most about `_PAIRS_AT_ONCE` pairs."""
    piece = np.cumsum(counts) // _PAIRS_AT_ONCE
    edges = np.r_[0, np.flatnonzero(np.diff(piece)) + 1, len(counts)]
    return [slice(int(low), int(high)) for low, high in pairwise(edges)]


def _saved(image: Image.Image) -> Image.Image:
    data = io.BytesIO()
    image.save(data, "JPEG", quality=30)
    return Image.open(data).convert("RGB")


def _cropped(image: Image.Image) -> Image.Image:
    width, height = image.width // 20, image.height // 20
    return image.crop((width, height, image.width - width, image.height - height))


DECIDING: Mapping[str, Callable[[Image.Image], Image.Image]] = {
    "jpeg_quality_30": _saved,
    "half_size": lambda image: image.resize(
        (max(1, image.width // 2), max(1, image.height // 2)), Image.Resampling.LANCZOS
    ),
    "cropped_by_a_tenth": _cropped,
}
COPIES = {**DECIDING, "mirrored": ImageOps.mirror}
"""Kinds of copies; the first three decide."""


@dataclass(frozen=True)
class Threshold:
    """The cosine from which on an image is a copy.

    Attributes:
        cosine: it.
        sampled: images that it was measured on; 0 where it was given.
        found: kind of copy → share found, 0..1.
        alike: share of labelled images that are as near to one of as many images of other entities: no copies.
    """

    cosine: float
    sampled: int = 0
    found: Mapping[str, float] | None = None
    alike: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


def measure_threshold(
    sources: Sequence[ImageSource],
    rows: Sequence[int],
    features: Floats,
    nearest: Floats,
    store: FeatureStore,
    given: float | None = None,
) -> Threshold:
    """The threshold of a set, and what it finds; a `given` one is only looked at.

    Args:
        sources: the images of the set.
        rows: (n,) which of their images could be used, counted over all sources.
        features: (n, d) L2-normalised, of these.
        nearest: cosines of labelled images to the nearest of n that they have nothing to do with.
        store: reads images as it read those.
        given: the cosine that a user chose.
    """
    chosen = np.unique(np.linspace(0, len(rows) - 1, _SAMPLE).round().astype(int))
    position_of = {rows[number]: int(number) for number in chosen}
    cosines: dict[str, list[Floats]] = {kind: [] for kind in COPIES}
    for row, load in some_images(sources, list(position_of)):
        image = load().image
        try:
            with decoding(image or b"", max_pixels=store.max_pixels) as decoded:
                copies = [make(decoded.image.convert("RGB")) for make in COPIES.values()]
        except ImageRefused:  # it changed meanwhile
            continue
        for kind, copy in zip(COPIES, _features(copies, store.encoder), strict=True):
            cosines[kind].append(copy @ features[position_of[row]])
    measured = {kind: np.array(values, np.float32) for kind, values in cosines.items()}
    cosine = given if given is not None else _threshold([measured[kind] for kind in DECIDING], nearest)
    return Threshold(
        cosine,
        len(chosen),
        {kind: round(float((values >= cosine).mean()), 4) for kind, values in measured.items()},
        round(float((nearest >= cosine).mean()), 4),
    )


def _features(images: Sequence[Image.Image], encoder: Encoder) -> Floats:
    return normalised(encoder.image_features(encoder.batch([encoder.preprocess(image) for image in images])))


def _threshold(copies: Sequence[Floats], nearest: Floats) -> float:
    least = min(float(np.quantile(values, _FOUND, method="lower")) for values in copies)
    floor = float(np.quantile(nearest, _ALIKE, method="higher")) + _ROUNDING
    # An exact copy is one for any encoder.
    return math.floor(1e6 * np.clip(max(least, floor), _ROUNDING, 1 - _ROUNDING)) / 1e6


@dataclass(frozen=True)
class ExcludedSet:
    """How much of an evaluation set was found among the labelled images.

    Attributes:
        images, unusable: of the set; unusable ones have no part.
        by_hash, by_embedding, by_both: labelled images that are copies, by each and by both.
        removed: by either.
        copied: images of the set that one of them is a copy of.
        threshold: of the embedding; `None` where features were not compared.
    """

    images: int
    unusable: int
    by_hash: int
    by_embedding: int
    by_both: int
    removed: int
    copied: int
    threshold: Threshold | None


@dataclass(frozen=True)
class _Images:
    keys: Sequence[str]
    phash: Hashes
    images: int
    unusable: int
    features: Floats | None = None
    threshold: Threshold | None = None


def evaluation_copies(
    source: Folder,
    collected: Collected,
    sets: Sequence[EvaluationSet],
    settings: ExclusionSettings,
    encoder: Encoder | None,
) -> Excluded:
    """Find the labelled images that are copies of images of evaluation sets.

    An evaluation set's features are held in memory, 4 bytes a dimension and image, and 24 bytes a labelled image and
    set. They are kept in the label job's cache, as its own are; what is missing there is computed.

    Args:
        source: the labels.
        collected: of them.
        sets: see `find_set`.
        settings: what counts as a copy.
        encoder: gives the features; needed where `settings.embedding` is set and a set has images.

    Raises:
        OpenMofiError: a set has no usable image or cannot be read, shards of pairs have changed since they were
            labelled, or it is not known how the labels' features were made.
    """
    store = labels_store(source, encoder) if encoder and any(each.sources for each in sets) else None
    gallery = (
        ImageSample.of(collected, lambda number: labelled_features(source, source.shards[number], store).values)
        if store
        else None
    )
    opened = [_open(each, settings, store, gallery) for each in sets]
    bits = [nearest_hashes(collected.labels.phash, each.phash, settings.bits) for each in opened]
    nearest: list[tuple[Codes, Floats]] = [
        (np.full(collected.labels.images, NONE, np.int32), np.zeros(collected.labels.images, np.float32))
        for _ in opened
    ]
    if store is not None:
        _look_up(source, collected, store, opened, nearest)
    out, tables, figures = np.zeros(collected.labels.images, bool), [], {}
    for each, images, (hashed, distance), (seen, cosine) in zip(sets, opened, bits, nearest, strict=True):
        by_hash, by_features = hashed != NONE, seen != NONE
        copies = by_hash | by_features
        out |= copies
        figures[each.name] = ExcludedSet(
            images.images,
            images.unusable,
            int(by_hash.sum()),
            int(by_features.sum()),
            int((by_hash & by_features).sum()),
            int(copies.sum()),
            len(np.union1d(hashed[by_hash], seen[by_features])),
            images.threshold,
        )
        rows = np.flatnonzero(copies)
        match = np.where(seen[rows] != NONE, seen[rows], hashed[rows])
        tables.append(
            pa.table(
                {
                    "row": rows,
                    "set": pa.array([each.name] * len(rows), pa.string()),
                    "image": pa.array([images.keys[number] for number in match.tolist()], pa.string()),
                    "bits": pa.array(distance[rows], pa.int8(), mask=hashed[rows] == NONE),
                    "cosine": pa.array(cosine[rows], pa.float32(), mask=seen[rows] == NONE),
                }
            )
        )
    return Excluded(out, _named(source, collected, tables), {name: asdict(each) for name, each in figures.items()})


def _look_up(
    source: Folder,
    collected: Collected,
    store: FeatureStore,
    opened: Sequence[_Images],
    nearest: Sequence[tuple[Codes, Floats]],
) -> None:
    """Fill in the nearest image of each set, from its threshold on, and the cosine."""
    for shard, low, high in labelled_shards(source, collected):
        values = labelled_features(source, shard, store).values[collected.row[low:high]]
        for each, (position, cosine) in zip(opened, nearest, strict=True):
            if each.features is not None and each.threshold is not None:
                match, cosine[low:high] = nearest_features(values, each.features)
                position[low:high] = np.where(cosine[low:high] >= each.threshold.cosine, match, NONE)


def _named(source: Folder, collected: Collected, tables: Sequence[pa.Table]) -> pa.Table:
    """The tables by shard and key in place of the number of a labelled image; in its order."""
    joined = pa.concat_tables(tables).sort_by([("row", "ascending"), ("set", "ascending")])
    rows, parts = joined["row"].to_numpy(), [EXCLUDED.empty_table()]
    for shard, low, high in labelled_shards(source, collected):
        first, past = np.searchsorted(rows, [low, high]).tolist()
        part = joined.slice(first, past - first)
        if not len(part):
            continue
        keys = source.read(shard, ["key"])["key"].take(pa.array(collected.row[part["row"].to_numpy()]))
        parts.append(
            pa.table([pa.array([shard.name] * len(part)), keys, *part.columns[1:]], names=EXCLUDED.names).cast(EXCLUDED)
        )
    return pa.concat_tables(parts)


def _open(
    each: EvaluationSet, settings: ExclusionSettings, store: FeatureStore | None, gallery: ImageSample | None
) -> _Images:
    """The usable images of a set.

    Raises:
        OpenMofiError: there are none; or as `compute_features`.
    """
    if each.hashes is not None:
        return _Images(each.keys, each.hashes, len(each.hashes), int((each.hashes == 0).sum()))
    if store is None or gallery is None:
        unusable: Counter[str] = Counter()
        hashed = list(chain.from_iterable(hash_images(source, unusable) for source in each.sources))
        refused = sum(unusable.values())
        _require_some(each, len(hashed), refused)
        return _Images(
            [key for key, _ in hashed],
            np.array([phash for _, phash in hashed], np.uint64),
            len(hashed) + refused,
            refused,
        )
    parts = [computed(source, store) for source in each.sources]
    rows = np.flatnonzero(np.concatenate([part.usable for part in parts]))
    table = pa.concat_tables([part.table.select(["key", "status", "phash"]) for part in parts])
    _require_some(each, len(rows), len(table) - len(rows))
    usable = table.filter(pa.array(np.array(table["status"].to_pylist(), object) == PairStatus.OK))
    features = np.concatenate([normalised(part.values[part.usable].astype(np.float32)) for part in parts])
    phash = usable["phash"].fill_null(0).to_numpy()
    threshold = measure_threshold(
        each.sources, rows.tolist(), features, gallery.nearest(len(rows)), store, settings.cosine
    )
    return _Images(usable["key"].to_pylist(), phash, len(table), len(table) - len(rows), features, threshold)


def _require_some(each: EvaluationSet, usable: int, unusable: int) -> None:
    if not usable:
        raise OpenMofiError(
            f"The evaluation set {each.name!r} has no usable image among {unusable} at {each.path}.", "Check the path."
        )
