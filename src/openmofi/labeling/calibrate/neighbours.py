"""What the texts of images that look alike name: neighbour voting.

An image shows an entity the more probably, the more of the images that look like it are named by the entity too, beside
what as many images at random would be (Li, Snoek and Worring 2009, "Learning social tag relevance by neighbor voting",
IEEE Transactions on Multimedia 11(7)). It asks nothing of the encoder's text side, so that an entity whose text the
encoder understands badly can be judged all the same. With v the votes of an image's nearest neighbours for an entity
and b what random images would give:

    votes(i, e) = log (v + 1) / (b + 1)

A witness must be independent: an image that is nearly the same, and one whose text shares over two fifths of its words,
does not count. Collections repeat their texts, and would else bear themselves out.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy.linalg import eigh
from scipy.sparse import csr_array

from openmofi.arrays import Doubles, Floats, Ints
from openmofi.errors import OpenMofiError
from openmofi.mentions.patterns import STOP_NAMES
from openmofi.storage.addresses import open_address
from openmofi.storage.atomic import atomic_path

MOST, FEWEST, PART = 50, 5, 40
"""Neighbours of an image: a fortieth of the gallery, at least 5 and at most 50."""
FEWEST_WITNESSES = 100
"""Pairs of a gallery, at least."""
_POOL = 4
_GROUPS = 4
FITTED_ON = 3072
"""Images that a space is fitted on, at most."""
_DIMENSIONS, _FLOOR = 256, 1e-3
_SAME_IMAGE = 0.995
_SHARED_WORDS, _SHARED_PART = 2, 0.4
_WORD_BITS = 20
_SELDOM_SHOWN = -0.7
_ROWS, _VOTE_ROWS, _PRODUCTS = 256, 1024, 1 << 15
_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True)
class Space:
    """Whitened principal components of the images' features: in it no direction outweighs the others.

    Attributes:
        mean: (features,) float32.
        axes: (features, ≤ 256) float32.
    """

    mean: NDArray[np.float32]
    axes: NDArray[np.float32]

    @classmethod
    def of(cls, features: Floats) -> Space:
        """Fit a space to (n, features); without rows one in which everything is 0."""
        sample = features.astype(np.float32) if len(features) else np.zeros((1, features.shape[1]), np.float32)
        mean = sample.mean(axis=0)
        deviation, axes = _components(sample - mean)
        return cls(mean, (axes / (deviation + _FLOOR * deviation[0] + 1e-12)).astype(np.float32))

    def project(self, features: Floats) -> NDArray[np.float32]:
        """Project (n, features) to (n, ≤ 256), L2-normalised."""
        projected = (features.astype(np.float32) - self.mean) @ self.axes
        return projected / np.maximum(np.linalg.norm(projected, axis=1, keepdims=True), np.float32(1e-9))


def _components(centred: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return standard deviations and axes (features, k) of the k = min(features, 256) main components.

    Only what is wanted is computed: all of 2,768 directions would take longer than the rest of a small label job. Where
    there are fewer images than directions, the axes beyond their span are 0.
    """
    rows, size = centred.shape
    dimensions = min(size, _DIMENSIONS)
    if rows > size:
        variance, axes = eigh(centred.T @ centred / np.float32(rows), subset_by_index=(size - dimensions, size - 1))
        return np.sqrt(np.maximum(variance[::-1], 0.0)), axes[:, ::-1]
    _, singular, directions = np.linalg.svd(centred, full_matrices=False)
    deviation, axes = np.zeros(dimensions, np.float32), np.zeros((size, dimensions), np.float32)
    available = min(rows, dimensions)
    deviation[:available], axes[:, :available] = singular[:available] / np.sqrt(rows), directions[:available].T
    return deviation, axes


@dataclass(frozen=True)
class Gallery:
    """The pairs whose texts vote on what similar images show, the witnesses.

    Attributes:
        space: of their features.
        vectors: (g, d) float16, their images in it.
        words: (g, 2^20) the content words of their texts, hashed.
        ids: identifiers of the entities that they name, sorted.
        weights: (g, ids) how much each speaks for each entity, 0..1.
    """

    space: Space
    vectors: NDArray[np.float16]
    words: csr_array
    ids: pa.Array
    weights: csr_array

    @classmethod
    def of(
        cls,
        space: Space,
        vectors: NDArray[np.float16],
        texts: Sequence[str],
        ids: Sequence[str],
        pair: Ints,
        entity: Ints,
        weight: Floats,
    ) -> Gallery:
        """Make a gallery of (g, d) images and their texts; `pair`, `entity` (rows of both), `weight` of candidates."""
        nothing = csr_array((len(texts), len(ids)), dtype=np.float32)
        gallery = cls(space, vectors, hashed_words(texts), pa.array(ids, pa.string()), nothing)
        return gallery.weighing(pair, entity, weight)

    def __len__(self) -> int:
        return len(self.vectors)

    def weighing(self, pair: Ints, entity: Ints, weight: Floats) -> Gallery:
        """Return the same pairs with other weights of (n,) candidates."""
        return replace(self, weights=csr_array((weight.astype(np.float32), (pair, entity)), shape=self.weights.shape))

    def naming(self, ids: Sequence[str]) -> Gallery:
        """Return the same witnesses with votes for these entities alone."""
        column_of_id = self.places(pa.array(ids, pa.string()))
        column = np.flatnonzero(column_of_id >= 0)
        selected = self.weights.tocsc()[:, column_of_id[column]].tocoo()
        weights = csr_array(
            (selected.data, (selected.coords[0], column[selected.coords[1]])), shape=(len(self), len(ids))
        )
        return replace(self, ids=pa.array(ids, pa.string()), weights=weights)

    def nearest(self, images: Floats, words: csr_array, own: Ints | None = None) -> csr_array:
        """Find the gallery's images that look most like others and may vote for them.

        Args:
            images: (n, d) these, in the gallery's space.
            words: (n, 2^20) of their texts, see `hashed_words`.
            own: (n,) their place in the gallery, where they are of it.

        Returns:
            (n, g) float32, 1 at the neighbours.
        """
        if not len(self) or not len(images):
            return csr_array((len(images), len(self)), dtype=np.float32)
        count = int(np.clip(len(self) // PART, FEWEST, MOST))
        pool = min(count * _POOL, len(self))
        vectors, size = self.vectors.astype(np.float32), np.diff(self.words.indptr)
        rows, columns = [], []
        for start in range(0, len(images), _ROWS):
            part = slice(start, start + _ROWS)
            similarity = images[part].astype(np.float32) @ vectors.T
            if own is not None:
                similarity[np.arange(len(similarity)), own[part]] = -2.0
            np.copyto(similarity, np.float32(-2.0), where=similarity > _SAME_IMAGE)
            best = greatest(similarity, pool)
            row = np.repeat(np.arange(len(best)), pool)
            shared = _shared(words[part], row, self.words, best.ravel())
            least = np.minimum(np.diff(words[part].indptr)[row], size[best.ravel()])
            alike = (shared >= _SHARED_WORDS) & (shared > _SHARED_PART * least)
            usable = ~alike.reshape(best.shape) & (np.take_along_axis(similarity, best, axis=1) > -2.0)
            chosen, position = np.nonzero(usable & (np.cumsum(usable, axis=1) <= count))
            rows.append(chosen + start)
            columns.append(best[chosen, position])
        row, column = np.concatenate(rows), np.concatenate(columns)
        return csr_array((np.ones(len(row), np.float32), (row, column)), shape=(len(images), len(self)))

    def split(self, nearest: csr_array, row: Ints, entity: Ints) -> csr_array:
        """Return `nearest` with each witness's part of a vote, which it splits over the image's candidates it names.

        Where texts name a companion again and again, those that name the shown one alone then decide.

        Args:
            nearest: see there.
            row, entity: (n,) the images' candidates, see `votes`.
        """
        in_gallery = entity >= 0
        named = csr_array(
            (np.ones(int(in_gallery.sum()), np.float32), (row[in_gallery], entity[in_gallery])),
            shape=(nearest.shape[0], self.weights.shape[1]),
        )
        named.data[:] = 1.0
        nearest = csr_array(nearest)
        given = _shared(
            named, np.repeat(np.arange(nearest.shape[0]), np.diff(nearest.indptr)), self.weights, nearest.indices
        )
        return csr_array((nearest.data / np.maximum(given, 1.0), nearest.indices, nearest.indptr), shape=nearest.shape)

    def votes(self, nearest: csr_array, row: Ints, entity: Ints, without: Ints | None = None) -> Doubles:
        """Return (n,) votes for candidates, see the head of this module.

        Args:
            nearest: see there, and `split`.
            row: (n,) row of each candidate's image in `nearest`.
            entity: (n,) place of its entity in `ids`; −1 for those that no witness names, which have 0.
            without: (n,) a place in the gallery whose vote does not count, for each.
        """
        given = np.zeros(len(row))
        for start in range(0, nearest.shape[0], _VOTE_ROWS):
            inside = np.flatnonzero((row >= start) & (row < start + _VOTE_ROWS) & (entity >= 0))
            given[inside] = _at(nearest[start : start + _VOTE_ROWS] @ self.weights, row[inside] - start, entity[inside])
        if without is not None:
            given -= _at(nearest, row, without) * _at(self.weights, without, entity)
        share = np.asarray(self.weights.sum(axis=0)).ravel() / max(len(self), 1)
        expected = np.where(entity >= 0, share[np.maximum(entity, 0)] if len(share) else 0.0, 0.0)
        return np.log((np.maximum(given, 0.0) + 1) / (expected * np.diff(nearest.indptr)[row] + 1))

    def places(self, ids: pa.Array) -> Ints:
        """Return (len(ids),) the position of each entity in `ids`, −1 where it is not there."""
        return pc.fill_null(pc.index_in(ids.cast(pa.string()), value_set=self.ids), -1).to_numpy().astype(np.int64)

    def save(self, path: str | Path) -> None:
        """Write as one file, atomically."""
        ids = self.ids.to_pylist()
        with atomic_path(path) as temporary, open(temporary, "wb") as handle:
            np.savez(
                handle,
                mean=self.space.mean,
                axes=self.space.axes,
                vectors=self.vectors,
                ids=np.array(ids, "U"),
                **{
                    f"{name}_{part}": getattr(table, part)
                    for name, table in self._tables().items()
                    for part in ("data", "indices", "indptr", "shape")
                },
            )

    def _tables(self) -> dict[str, csr_array]:
        return {"words": self.words, "weights": self.weights}

    @classmethod
    def load(cls, path: str | Path) -> Gallery:
        """Read what `save` wrote.

        Raises:
            OpenMofiError: it cannot be read.
        """
        try:
            with open_address(path) as file, np.load(file, allow_pickle=False) as raw:
                words, weights = (
                    csr_array(
                        (raw[f"{name}_data"], raw[f"{name}_indices"], raw[f"{name}_indptr"]),
                        shape=tuple(raw[f"{name}_shape"]),
                    )
                    for name in ("words", "weights")
                )
                return cls(
                    Space(raw["mean"], raw["axes"]),
                    raw["vectors"],
                    words,
                    pa.array(raw["ids"].tolist(), pa.string()),
                    weights,
                )
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise OpenMofiError(
                f"{path} cannot be read, or is damaged.", "Label again with --restart; what was read is kept."
            ) from error


def counted(votes: Doubles, log_odds: Floats) -> Doubles:
    """Return (n,) votes, those for what is seldom shown only where they speak against it.

    The images of a place, an author or a field look alike and name it, and do not show it.

    Args:
        votes: see `Gallery.votes`.
        log_odds: (n,) of the candidates' entities by type, see `openmofi.knowledge.projection`.
    """
    return np.where(log_odds < _SELDOM_SHOWN, np.minimum(votes, 0.0), votes)


def greatest(values: NDArray[np.float32], count: int) -> Ints:
    """Return (n, count) columns of each row's greatest `values` (n, m), greatest first; of equal ones the first.

    What numpy's `argpartition` and `argsort` find, in a tenth of the time, and in an order that does not depend on the
    processor where some are equal. A row is cut into four times `count` groups or more, where it is that long. As many
    of them as are wanted hold a value that is no less than the `count`-th of their maxima: what is less is not wanted,
    and little is left to be sorted.
    """
    rows, width = values.shape
    size = max(1, width // (_GROUPS * count))
    groups = width // size
    maxima = values[:, : size * groups].reshape(rows, size, groups).max(axis=1)
    least = np.partition(maxima, groups - count, axis=1)[:, groups - count, None]
    row, column = np.divmod(np.flatnonzero(~(values < least)), width)
    order = np.lexsort((-values[row, column], row))
    starts = np.searchsorted(row, np.arange(rows))
    # `row` is ascending, and stays so.
    among_first = np.arange(len(row)) - starts[row] < count
    return column[order][among_first].reshape(rows, count)


def hashed_words(texts: Sequence[str]) -> csr_array:
    """Return (n, 2^20) float32, 1 at the hashes of each text's content words."""
    rows = [
        sorted(
            {
                zlib.crc32(word.encode()) >> (32 - _WORD_BITS)
                for word in _WORD.findall(text.lower())
                if word not in STOP_NAMES
            }
        )
        for text in texts
    ]
    indptr = np.concatenate([[0], np.cumsum([len(row) for row in rows], dtype=np.int64)])
    indices = np.array([word for row in rows for word in row], np.int64)
    return csr_array((np.ones(len(indices), np.float32), indices, indptr), shape=(len(texts), 1 << _WORD_BITS))


def _shared(table: csr_array, row: Ints, others: csr_array, other: Ints) -> Floats:
    """Return (n,) products of rows `row` of one table with rows `other` of another: how many words texts share."""
    result = np.empty(len(row))
    for start in range(0, len(row), _PRODUCTS):
        part = slice(start, start + _PRODUCTS)
        result[part] = np.asarray(table[row[part]].multiply(others[other[part]]).sum(axis=1)).ravel()
    return result


def _at(table: csr_array, row: Ints, column: Ints) -> Floats:
    """Return (n,) the values at these positions."""
    table.sort_indices()
    width = table.shape[1]
    held = np.repeat(np.arange(table.shape[0]), np.diff(table.indptr)) * width + table.indices
    wanted = row * width + column
    position = np.minimum(np.searchsorted(held, wanted), len(held) - 1)
    return np.where(held[position] == wanted, table.data[position], 0.0) if len(held) else np.zeros(len(row))
