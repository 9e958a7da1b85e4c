"""Coherence vectors, by random projection over the graph of relations; and how likely images show a type of entity.

Chen, Sultan, Tian, Chen, Skiena: Fast and Accurate Network Embeddings via Very Sparse Random Projection, CIKM 2019.
Each entity has a random vector R; U_k = (D⁻¹A)^k · D^β · R sums those of the entities k steps away, and a vector is
Σ_k w_k · U_k / |U_k|. Here R is made from a hash of the identifier, so that an entity's neighbourhood alone decides its
vector: neither its row nor how many other entities there are.

A slice of dimensions is done at a time, in two passes: the lengths |U_k| are those of all dimensions.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike

from openmofi.arrays import Array, Codes, Halves, Octets
from openmofi.knowledge.build_settings import ProjectionSettings
from openmofi.storage.atomic import write_error

if TYPE_CHECKING:
    from scipy import sparse

    from openmofi.knowledge.store import KnowledgeBase


# A prior for those who have no data of the entity yet (`depictability.toml`, with a reason for each type), never a
# gate: images that show a rare exception outweigh it. Hypernyms are not looked at: a built knowledge base does not keep
# them, and WordNet's lexicographer files are their coarse form.


@cache
def type_log_odds() -> dict[str, float]:
    """Type → prior log-odds, as in `depictability.toml`."""
    table = tomllib.loads(Path(__file__).with_name("depictability.toml").read_text("utf-8"))
    return {name: float(entry["log_odds"]) for name, entry in table.items()}


def depictability(kb: KnowledgeBase, rows: ArrayLike) -> Array:
    """Prior log-odds that an image shows an entity which its text names, relative to an entity of unknown type.

    Args:
        kb: the knowledge base.
        rows: (n,) entity rows.

    Returns:
        (n,) float32 natural log-odds: the largest of the entity's types that have a value, 0 where none has.
    """
    from pyarrow import compute as pc

    odds = type_log_odds()
    types = kb.types(rows)
    odds_index = pc.index_in(types.flatten(), value_set=pa.array(list(odds))).to_numpy(zero_copy_only=False)
    entity = pc.list_parent_indices(types).to_numpy(zero_copy_only=False)
    held = ~np.isnan(odds_index)
    prior = np.full(len(types), -np.inf, np.float32)
    np.maximum.at(prior, entity[held], np.array(list(odds.values()), np.float32)[odds_index[held].astype(np.int64)])
    return np.where(np.isneginf(prior), np.float32(0), prior)


_BITS_A_DIGEST = 512
WIDTHS = (16, 8)
"""Dimensions that may be done at a time: a row of 16 fills a line of the processor's cache, 8 take a third less memory
and a third more time. The vectors are the same to the bit.
"""
_ADDED = 8
"""Squares are added up for so many dimensions at once, whatever is done at a time."""
_BLOCK = 1 << 15
_LEAST = np.float32(1e-12)


def random_bits(ids: Sequence[str], settings: ProjectionSettings) -> Octets:
    """(n, dim / 8) random bits, each row decided by its identifier and the seed alone."""
    dim, digests = settings.dim, -(-settings.dim // _BITS_A_DIGEST)
    size = _BITS_A_DIGEST // 8 if digests > 1 else dim // 8
    bits = bytearray()
    for entity_id in ids:
        row = b"".join(
            hashlib.blake2b(f"{settings.seed}:{part}:{entity_id}".encode(), digest_size=size).digest()
            for part in range(digests)
        )
        bits += row[: dim // 8]
    return np.frombuffer(bits, np.uint8).reshape(len(ids), dim // 8)


def memory_needed(entities: int, links: int, settings: ProjectionSettings, width: int = WIDTHS[-1]) -> int:
    """Bytes that `project` needs, its arguments included."""
    return entities * (3 * 4 * width + 4 * (len(settings.weights) + 4) + settings.dim // 8) + 8 * links


def project(
    bits: Octets,
    degree: Codes,
    tails: Codes,
    settings: ProjectionSettings,
    work: Path,
    width: int = WIDTHS[0],
) -> Iterator[Halves]:
    """The vectors, blocks of (rows, dim) float16, L2-normalised; zeros for an entity without relations.

    Args:
        bits: (n, dim / 8), see `random_bits`.
        degree: (n) how many other entities each is related to, in either direction.
        tails: (sum of degrees) their rows, those of each entity ascending.
        settings: see there.
        work: folder for four bytes a number of the vectors, while they are made.
        width: one of `WIDTHS`.

    Raises:
        OpenMofiError: the disk is full.
    """
    from scipy import sparse

    starts = np.zeros(len(degree) + 1, np.int32 if len(tails) <= np.iinfo(np.int32).max else np.int64)
    np.cumsum(degree, out=starts[1:])
    shares = np.repeat(1.0 / np.maximum(degree, 1).astype(np.float32), degree)
    walk = sparse.csr_array((shares, tails, starts), shape=(len(degree), len(degree)))
    scale = np.maximum(degree, 1).astype(np.float32) ** np.float32(settings.hub_exponent)
    slices = [bits[:, start : start + width // 8] for start in range(0, bits.shape[1], width // 8)]
    lengths = np.zeros((len(settings.weights), len(degree)), np.float32)
    for each in slices:
        for hop, current in _hops(each, scale, walk, len(settings.weights)):
            _add_squares(lengths[hop], current)
    np.sqrt(lengths, out=lengths)
    np.maximum(lengths, _LEAST, out=lengths)
    for weight, of_hop in zip(settings.weights, lengths, strict=True):
        np.divide(np.float32(weight), of_hop, out=of_hop)
    lengths[:, degree == 0] = 0.0
    squares = np.zeros(len(degree), np.float32)
    paths = [work / f"slice-{number}" for number in range(len(slices))]
    for each, path in zip(slices, paths, strict=True):
        total = np.zeros((len(degree), each.shape[1] * 8), np.float32)
        for hop, current in _hops(each, scale, walk, len(settings.weights)):
            _add(total, current, lengths[hop])
        _add_squares(squares, total)
        _store(path, total)
    del walk, shares, lengths, total
    yield from _joined(paths, np.maximum(np.sqrt(squares), _LEAST))


def _hops(bits: Octets, scale: Array, walk: sparse.csr_array, hops: int) -> Iterator[tuple[int, Array]]:
    """U_0, U_1, … of a slice of dimensions, (n, dimensions) float32."""
    current = np.unpackbits(bits, axis=1).astype(np.float32)
    current *= 2
    current -= 1
    current *= scale[:, None]
    yield 0, current
    for hop in range(1, hops):
        current = walk @ current
        yield hop, current


def _add(total: Array, current: Array, weights: Array) -> None:
    """Add rows times their weights; in blocks, since the product would be as large as they are."""
    for start in range(0, len(total), _BLOCK):
        rows = slice(start, start + _BLOCK)
        total[rows] += current[rows] * weights[rows, None]


def _add_squares(sums: Array, rows: Array) -> None:
    for start in range(0, rows.shape[1], _ADDED):
        part = rows[:, start : start + _ADDED]
        sums += np.einsum("ij,ij->i", part, part)


def _store(path: Path, rows: Array) -> None:
    try:
        with open(path, "wb") as handle:
            handle.write(rows.data)
    except OSError as error:
        raise write_error(error, path) from error


def _joined(paths: Sequence[Path], lengths: Array) -> Iterator[Halves]:
    """The slices side by side, each row divided by its length."""
    with ExitStack() as stack:
        files = [(stack.enter_context(open(path, "rb")), path.stat().st_size // (4 * len(lengths))) for path in paths]
        for start in range(0, len(lengths), _BLOCK):
            rows = len(lengths[start : start + _BLOCK])
            block = np.concatenate(
                [np.fromfile(file, np.float32, rows * width).reshape(rows, width) for file, width in files], axis=1
            )
            yield (block / lengths[start : start + rows, None]).astype(np.float16)
