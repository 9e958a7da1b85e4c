"""Images of one entity whose features are alike: semantic duplicates (SemDeDup, https://arxiv.org/abs/2303.09540).

- Entry points: `openmofi.filters` `semantic_duplicates`
- Needs: nothing
- Use: `openmofi dataset build LABELS --semantic-duplicates .95 …`
- Never: embeds an image, unless an encoder is named
- Tests: `tests/plugins/test_semantic_duplicates.py`, `tests/dataset/test_semantic_duplicates.py`
- Documentation: `docs/dataset.md`
"""

import re
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from openmofi.arrays import Array, Bools, Floats, Halves, Ints
from openmofi.dataset.collect import Collected
from openmofi.dataset.features import labelled_features, labelled_shards, labels_store
from openmofi.dataset.filters import LabelArrays, blocks
from openmofi.dataset.matching import nearest_features
from openmofi.dataset.tables import Folder, run_starts
from openmofi.encoders import Encoder, normalised
from openmofi.errors import OpenMofiError
from openmofi.features.notes import noted_cache, read_note
from openmofi.features.store import StoredFeatures
from openmofi.storage import Shard, exists, read_arrow, write_error

# Two images are alike when they share an entity and their L2-normalised features have at least a given cosine. Images
# are decided by the greatest probability of their labels, ties in reading order: one is dropped, with all its labels,
# exactly when an image before it that is *kept* is like it. So every dropped image has a kept twin, and no two kept are
# alike. An entity of more than `WHOLE` images is cut into cells by k-means, and only images of one cell are compared:
# the cost grows linearly with the entity, and alike images on two sides of a border stay. The features of the labelled
# images lie in a file, 2 bytes a dimension; one cell of them is in memory.

WHOLE, CELL = 1 << 14, 1 << 13
"""Images of an entity that are all compared with each other; of a cell of a larger one, in the mean."""
_ROWS = 1024
_FITTED_ON = 64


def semantic_duplicates(
    source: Folder, collected: Collected, cosine: float, encoder: Encoder | None, scratch: Path
) -> Callable[[Bools], Bools]:
    """The filter of `DatasetSettings.semantic_duplicates`.

    Args:
        source: the labels.
        collected: of them.
        cosine: least one of images that are alike.
        encoder: gives the features, which are computed where the label job's cache lacks them; `None` for its own.
        scratch: folder for the file of the features.

    Returns:
        a function of the labels that count, bool (labels,), which says what images are dropped, bool (images,).

    Raises:
        OpenMofiError: features are not where the label job noted them and there is no encoder, they are of other
            images, or a shard of pairs cannot be read.
    """
    return partial(repeating, collected.labels, cosine=cosine, features=_gathered(source, collected, encoder, scratch))


def _gathered(source: Folder, collected: Collected, encoder: Encoder | None, scratch: Path) -> Halves:
    """(images, d) mapped float16, L2-normalised."""
    store = labels_store(source, encoder) if encoder else None
    path, dims = scratch / "features", set[int]()
    try:
        with open(path, "wb") as file:
            for shard, low, high in labelled_shards(source, collected):
                stored = labelled_features(source, shard, store) if store else _noted(source, shard)
                rows, kinds = collected.row[low:high], {field.name: field.type for field in stored.table.schema}
                dims.add(getattr(kinds.get("feature"), "list_size", 0))
                if rows.max() >= len(stored.table) or 0 in dims or len(dims) > 1:
                    raise OpenMofiError(
                        f"The features that {source.path} notes are not of the images of its shard {shard.name}.",
                        "Label the pairs again, or build the dataset without --semantic-duplicates.",
                    )
                file.write(normalised(stored.values[rows].astype(np.float32)).astype(np.float16).tobytes())
    except OSError as error:
        raise write_error(error, path) from error
    return (
        np.memmap(path, np.float16, "r").reshape(collected.labels.images, -1) if dims else np.zeros((0, 1), np.float16)
    )


def noted_features(folder: str | Path) -> str:
    """The folder of the features of the label job that `folder` came from (see `FeatureStore.folder`); `""` where it is
    not noted.

    Raises:
        OpenMofiError: the note is damaged.
    """
    note, cache = read_note(folder), noted_cache(folder)
    return f"{cache}/features/{note.key}" if note and note.key.isalnum() and cache else ""


def _noted(source: Folder, shard: Shard) -> StoredFeatures:
    folder, stamp = noted_features(source.path), source.manifest.inputs.get(shard.name, "")
    spec = source.manifest.settings.get("encoder", "SPEC")
    path = f"{folder}/{shard.name}-{stamp}.arrow"
    if not (folder and re.fullmatch("[0-9a-f]+", stamp) and exists(path)):
        raise OpenMofiError(
            f"The features of {source.path} are not where its job kept them: {path if folder else 'it notes nothing'}.",
            f"Name an encoder, which embeds the images again: --encoder {spec}.",
        )
    return StoredFeatures(read_arrow(path))


def repeating(labels: LabelArrays, named: Bools, *, cosine: float, features: Floats) -> Bools:
    """Which images are like a kept one before them.

    Args:
        labels: see there.
        named: bool (labels,), those that count.
        cosine: least one of images that are alike.
        features: (images, d), L2-normalised; an image whose features are not finite is like none.

    Returns:
        bool (images,).
    """
    best = np.zeros(labels.images, np.float32)
    for block in blocks(len(named)):
        chosen = named[block]
        np.maximum.at(best, labels.image[block][chosen], labels.probability[block][chosen])
    rows = (features[start : start + CELL] for start in range(0, labels.images, CELL))
    finite = np.concatenate([np.zeros(0, bool), *(np.isfinite(some).all(axis=1) for some in rows)])
    dropped, undecided = np.zeros(labels.images, bool), np.ones(labels.images, bool)
    twins = np.empty((2, 0), np.int64)  # dropped images, each with a kept one before it
    # An entity is decided by itself. Where another drops an image that kept some out, these are decided again, in all
    # their entities; the image that goes first in the order is decided for good each time, so this ends.
    while undecided.any():
        found = [twins]
        for images in _entities(labels, named, best):
            images = images[finite[images]]
            if undecided[images].any():
                found.extend(_alike(images, dropped, cosine, features))
        twins = np.concatenate(found, axis=1)
        orphaned = dropped[twins[1]]
        undecided[:] = False
        undecided[twins[0, orphaned]] = True
        dropped[undecided] = False
        twins = twins[:, ~orphaned]
    return dropped


def _entities(labels: LabelArrays, named: Bools, best: Array) -> Iterator[Ints]:
    """The images of each entity that has several, in their order."""
    for part in labels.parts():
        part = part[named[part]]
        entity, image = labels.entity[part], labels.image[part]
        order = np.lexsort((image, -best[image], entity))
        starts = np.flatnonzero(run_starts(entity[order]))
        yield from (images for images in np.split(image[order], starts[1:]) if len(images) > 1)


def _alike(images: Ints, dropped: Bools, cosine: float, features: Floats) -> Iterator[Ints]:
    """Drop images that are like a kept one before them; yield (2, n) these with it, in several arrays."""
    for cell in _cells(images, features):
        cell = cell[~dropped[cell]]
        kept, count = np.empty((len(cell), features.shape[1]), np.float32), 0
        names = np.empty(len(cell), np.int64)
        for start in range(0, len(cell), _ROWS):
            rows = cell[start : start + _ROWS]
            values = normalised(features[rows].astype(np.float32))
            twin = np.full(len(rows), -1, np.int64)
            if count:
                position, nearest = nearest_features(values, kept[:count])
                twin = np.where(nearest >= cosine, names[position], -1)
            near = np.triu(values @ values.T >= cosine, 1)
            for row in np.flatnonzero(near.any(axis=1)):
                if twin[row] < 0:
                    twin[near[row] & (twin < 0)] = rows[row]
            new = np.flatnonzero(twin < 0)
            kept[count : count + len(new)], names[count : count + len(new)] = values[new], rows[new]
            count += len(new)
            dropped[rows[twin >= 0]] = True
            yield np.stack([rows[twin >= 0], twin[twin >= 0]])


def _cells(images: Ints, features: Floats) -> Iterator[Ints]:
    """Cut the images of an entity into cells of similar ones; the order of each stays."""
    if len(images) <= WHOLE:
        yield images
        return
    from scipy.cluster.vq import kmeans2

    cells = -(-len(images) // CELL)
    drawn = np.sort(np.random.default_rng(0).permutation(len(images))[: cells * _FITTED_ON])
    with warnings.catch_warnings(action="ignore"):  # of equal images some cells stay empty
        centres, _ = kmeans2(features[images[drawn]].astype(np.float32), cells, minit="points", seed=0)
    cell = np.concatenate(
        [
            nearest_features(features[images[start : start + CELL]], normalised(centres))[0]
            for start in range(0, len(images), CELL)
        ]
    )
    yield from (images[cell == number] for number in range(cells))
