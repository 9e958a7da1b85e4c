"""A shard of the store: one uncompressed Arrow file, memory-mapped, rows as in the shard of pairs; its embeddings.

Columns: `key`, `status` (a `PairStatus` or a `StoreStatus`), `width`, `height`, `hash` of the image; `crop` (4
float64 an augmentation), `flip`, `op` and `magnitude` (positions in `OPS` and signed values); `texts`, the synthetic
ones; and of the teacher number t its embeddings `image_t` (dim values an augmentation), `text_t`, `caption_t`, with
`…_scale` for int8, and its `entity_t` (rows of the store's entities, an augmentation's likeliest first) with
`entity_score_t`. All but `key` and `status` are null where the status is not `ok`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.special import log_softmax

from openmofi.arrays import Array
from openmofi.plugins.reinforcement.augmentation import OPS, Augmentation
from openmofi.plugins.reinforcement.reinforce_settings import ReinforceSettings
from openmofi.schema import PairStatus
from openmofi.storage import atomic_path

Codes = NDArray[Any]

PRECISIONS: Mapping[str, pa.DataType] = {"fp16": pa.float16(), "bf16": pa.uint16(), "int8": pa.int8()}
"""Name → Arrow's type; Arrow has no bfloat16, which is kept as its 16 bits."""

_GREATEST = 127


def encode(vectors: Array, precision: str) -> tuple[Codes, Array]:
    """Encode (…, dim) float32 for storage.

    Returns:
        codes: (…, dim) float16, uint16 or int8. The error of components between −1 and 1 is at most 2⁻¹² of their
            size (or 2⁻²⁵) for fp16, 2⁻⁸ of it for bf16, half the vector's scale for int8.
        scales: (…) float32; 1 except for int8, where a component is code × scale.
    """
    ones: Array = np.ones(vectors.shape[:-1], np.float32)
    if precision == "fp16":
        return vectors.astype(np.float16), ones
    if precision == "bf16":
        bits = np.ascontiguousarray(vectors, np.float32).view(np.uint32)
        # Round to nearest, ties to even; numpy has no bfloat16.
        return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16), ones
    scales: Array = (np.abs(vectors).max(-1) / np.float32(_GREATEST)).astype(np.float32)
    safe = np.where(scales > 0, scales, np.float32(1))
    codes = np.clip(np.rint(vectors / safe[..., None]), -_GREATEST, _GREATEST).astype(np.int8)
    return codes, scales


def decode(codes: Codes, scales: Array, precision: str) -> Array:
    """Decode what `encode` returned: (…, dim) float32, not normalised."""
    if precision == "fp16":
        return codes.astype(np.float32)
    if precision == "bf16":
        return (codes.astype(np.uint32) << 16).view(np.float32)
    return np.asarray(codes.astype(np.float32) * scales[..., None])


def normalised(vectors: Array) -> Array:
    """Divide each row of (…, dim) by its length; zeros stay zeros."""
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.where(norms > 0, norms, np.float32(1)), vectors.dtype)


def stored(vectors: Array, precision: str) -> Array:
    """Return embeddings as a reader of the store sees them: encoded, decoded, L2-normalised."""
    return normalised(decode(*encode(vectors, precision), precision))


def affinity_fidelity(image: Array, text: Array, scale: float, precision: str) -> dict[str, float]:
    """Measure how storage changes a teacher's affinities softmax(s · Ψ_image Ψ_textᵀ) over a batch, both ways.

    Args:
        image, text: (n, dim) float32 embeddings of the teacher.
        scale: s.
        precision: of the storage.

    Returns:
        `kl`: mean of KL(exact ‖ stored) over rows and columns, in nats; `absolute`: mean of |exact − stored|.
    """
    exact, rounded = (
        scale * a.astype(np.float64) @ b.astype(np.float64).T
        for a, b in ((image, text), (stored(image, precision), stored(text, precision)))
    )
    divergence, difference = [], []
    for axis in (0, 1):
        p, q = log_softmax(exact, axis), log_softmax(rounded, axis)
        divergence.append(float((np.exp(p) * (p - q)).sum(axis).mean()))
        difference.append(float(np.abs(np.exp(p) - np.exp(q)).mean()))
    return {"kl": float(np.mean(divergence)), "absolute": float(np.mean(difference))}


KIND = "knowledge_store"
"""Kind of the store's manifest."""
PARTS = ("image", "text", "caption")
MEASURED = "reinforcement"
"""Key of the file's metadata: JSON with what was measured while the file was written."""


def shard_path(store: object, name: str) -> str:
    """Return the path of a shard's file in a store."""
    return f"{store}/samples/{name}.arrow"


class StoreStatus(StrEnum):
    """Why a usable pair has no knowledge in the store."""

    NOT_IN_DATASET = "not_in_dataset"


@dataclass(frozen=True)
class StoredSample:
    """A row without its embeddings.

    Attributes:
        key, status: as in the table.
        width, height, hash: of the image.
        augmentations, texts: as many as the store has of them; empty where the status is not `ok`.
    """

    key: str
    status: PairStatus | StoreStatus
    width: int = 0
    height: int = 0
    hash: int = 0
    augmentations: tuple[Augmentation, ...] = ()
    texts: tuple[str, ...] = ()


def shard_table(
    samples: Sequence[StoredSample],
    values: Mapping[str, NDArray[Any]],
    settings: ReinforceSettings,
    metadata: Mapping[str, str],
) -> pa.RecordBatch:
    """Build the table of a shard.

    Args:
        samples: all rows.
        values: `image_0`, `image_0_scale`, `entity_0` … → (m, values a row), of the rows with status `ok`, in order.
        settings: how many augmentations and ops there are.
        metadata: kept in the file's schema.
    """
    is_ok = np.array([sample.status == PairStatus.OK for sample in samples], bool)
    usable = [sample for sample in samples if sample.status == PairStatus.OK]
    drawn = [augmentation for sample in usable for augmentation in sample.augmentations]
    count, ops = settings.augmentations, settings.augment.ops
    columns: dict[str, pa.Array] = {
        "key": pa.array([sample.key for sample in samples], pa.string()),
        "status": pa.array([str(sample.status) for sample in samples], pa.string()),
    }
    for name, kind in (("width", np.int32), ("height", np.int32), ("hash", np.uint64)):
        columns[name] = pa.array(np.array([getattr(sample, name) for sample in samples], kind), mask=~is_ok)
    for name, size, numbers in (
        ("crop", 4, np.array([a.crop for a in drawn], np.float64)),
        ("flip", 1, np.array([a.flip for a in drawn], np.int8)),
        ("op", ops, np.array([[OPS.index(op) for op, _ in a.ops] for a in drawn], np.int8)),
        ("magnitude", ops, np.array([[value for _, value in a.ops] for a in drawn], np.float64)),
    ):
        if size:
            columns[name] = _lists(numbers.reshape(len(usable), count * size), is_ok)
    columns["texts"] = pa.array(
        [list(s.texts) if ok else None for s, ok in zip(samples, is_ok, strict=True)], pa.list_(pa.string())
    )
    columns |= {name: _lists(numbers, is_ok) for name, numbers in values.items()}
    schema = pa.schema([pa.field(name, column.type) for name, column in columns.items()], dict(metadata))
    return pa.RecordBatch.from_arrays(list(columns.values()), schema=schema)


def _lists(values: NDArray[Any], is_ok: NDArray[np.bool_]) -> pa.Array:
    """Spread (m, width) values of the usable rows to a fixed-size list column of all rows, null elsewhere."""
    whole = np.zeros((len(is_ok), values.shape[1]), values.dtype)
    whole[is_ok] = values
    return pa.FixedSizeListArray.from_arrays(pa.array(whole.reshape(-1)), values.shape[1], mask=pa.array(~is_ok))


def write_shard(path: str, rows: pa.RecordBatch) -> None:
    """Write a shard's table atomically as one record batch; equal tables give equal bytes."""
    with atomic_path(path) as temporary, pa.ipc.new_file(str(temporary), rows.schema) as writer:
        writer.write_batch(rows)
