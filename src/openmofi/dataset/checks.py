"""What label and dataset tables must hold: whoever reads them gets values in range, or an error naming file and row."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from openmofi.arrays import Bools, Doubles, Ints
from openmofi.errors import OpenMofiError
from openmofi.schema import LabelStatus, PairStatus, Reason

Masks = Iterator[tuple[Bools, str]]
"""Rows that are wrong, and what is wrong with them."""

_STATUSES = tuple(str(status) for status in (*LabelStatus, *PairStatus) if status != PairStatus.OK)
_REASONS = tuple(map(str, Reason))
_SHARES = ("prior", "link_score", "probability")
_ROUNDING = 1e-5


def check_labels(path: str, table: pa.Table) -> None:
    """Check the columns of `schema.LABELS` that `table` has.

    Args:
        path: its file, for the error.
        table: of a shard.

    Raises:
        OpenMofiError: a key, text or status is missing, a key comes twice, a status or reason is unknown, a mention
            does not exist, a share is outside of 0..1, a score is not finite; names the row.
    """
    _refuse_first(path, table, _label_problems(table), "the labels are damaged", "Make the labels again.")


def check_dataset(path: str, table: pa.Table, shard: str, vocabulary: Sequence[str]) -> None:
    """Check the columns of `schema.DATASET` that `table` has.

    Args:
        path: its file, for the error.
        table: of a shard.
        shard: its name.
        vocabulary: the entity of each class.

    Raises:
        OpenMofiError: a key or text is missing, a key comes twice, a row has no class, one that the vocabulary lacks,
            or another entity than its class; a score is outside of 0..1. Names the row.
    """
    _refuse_first(
        path, table, _dataset_problems(table, shard, vocabulary), "the dataset is damaged", "Build the dataset again."
    )


def check_vocabulary(path: str, table: pa.Table) -> None:
    """Check a table of `schema.VOCABULARY`.

    Raises:
        OpenMofiError: classes are not numbered from 0 on, an entity is missing or comes twice, a count is negative.
    """

    def problems() -> Masks:
        ids = table["id"]
        yield _nulls(table["class_id"]) | (_ints(table["class_id"]) != np.arange(len(table))), "is not the next class"
        yield _nulls(ids) | _equal(ids, ""), "has no entity"
        yield _repeated(ids), "has the entity of another class"
        yield _nulls(table["name"]), "has no name"
        yield _nulls(table["images"]) | (_ints(table["images"]) < 0), "has a negative count of images, or none"

    _refuse_first(path, table, problems(), "the vocabulary is damaged", "Build the dataset again.")


def _label_problems(table: pa.Table) -> Masks:
    names = set(table.column_names)
    yield from _key_and_text(table)
    if "status" in names:
        yield ~_within(table["status"], _STATUSES), "has an unknown status"
        if "key" in names:
            counted = ~_equal(table["status"], str(PairStatus.DUPLICATE_KEY))
            repeated = np.zeros(len(table), bool)
            repeated[counted] = _repeated(table["key"].filter(pa.array(counted)))
            yield repeated, "repeats a key"
    for name in ("width", "height", "phash"):
        if name in names:
            negative = name != "phash" and _ints(table[name]) < 0
            yield _nulls(table[name]) | negative, f"has no {name}"
    if "mentions" in names:
        yield from _mention_problems(table)
    if "entities" in names:
        yield from _entity_problems(table)


def _mention_problems(table: pa.Table) -> Masks:
    rows, flat = _flat(table["mentions"])
    for name in ("start", "end", "surface", "detector"):
        yield _any(rows, _nulls(flat.field(name)), len(table)), f"has a mention without {name}"


def _entity_problems(table: pa.Table) -> Masks:
    rows, flat = _flat(table["entities"])
    size = len(table)
    identifier, mention = flat.field("entity"), flat.field("mention")
    yield _any(rows, _nulls(identifier) | _equal(identifier, ""), size), "judges an entity without an identifier"
    if "mentions" in table.column_names:
        counts = _ints(pc.list_value_length(table["mentions"]))
        wrong = _nulls(mention) | (_ints(mention) < 0) | (_ints(mention) >= counts[rows])
        yield _any(rows, wrong, size), "judges an entity of a mention that it does not have"
    for name in _SHARES:
        yield _any(rows, _no_share(flat.field(name)), size), f"has a {name} that is not between 0 and 1"
    yield _any(rows, ~np.isfinite(_floats(flat.field("image_score"))), size), "has an image_score that is not a number"
    yield _any(rows, _nulls(flat.field("accepted")), size), "does not say whether an entity is accepted"
    yield _any(rows, ~_within(flat.field("reason"), _REASONS), size), "has an unknown reason"


def _dataset_problems(table: pa.Table, shard: str, vocabulary: Sequence[str]) -> Masks:
    names, size = set(table.column_names), len(table)
    yield from _key_and_text(table)
    if "key" in names:
        yield _repeated(table["key"]), "repeats a key"
    if "shard" in names:
        yield ~_equal(table["shard"], shard), "is of another shard"
    lists = [name for name in ("classes", "entities", "scores") if name in names]
    lengths = {name: _ints(pc.list_value_length(table[name])) for name in lists}
    for name in lists:
        yield lengths[name] == 0, f"has no {name}"
        yield lengths[name] != lengths[lists[0]], f"has not as many {name} as {lists[0]}"
    if "scores" in names:
        rows, scores = _flat(table["scores"])
        yield _any(rows, _no_share(scores), size), "has a score that is not between 0 and 1"
    if "classes" in names:
        rows, flat = _flat(table["classes"])
        classes = _ints(flat)
        outside = _nulls(flat) | (classes < 0) | (classes >= len(vocabulary))
        yield _any(rows, outside, size), f"has a class that is none of the {len(vocabulary)} of the vocabulary"
        if "entities" in names:
            ids = pa.array(vocabulary, pa.string()).take(pa.array(np.where(outside, 0, classes)))
            other = ~np.asarray(pc.fill_null(pc.equal(ids, _flat(table["entities"])[1]), False))
            yield _any(rows, other, size), "has an entity that is not its class's"
    elif "entities" in names:
        rows, flat = _flat(table["entities"])
        yield _any(rows, ~_within(flat, vocabulary), size), "has an entity that the vocabulary lacks"


def _key_and_text(table: pa.Table) -> Masks:
    for name in ("key", "text"):
        if name in table.column_names:
            yield _nulls(table[name]), f"has no {name}"


def _refuse_first(path: str, table: pa.Table, problems: Masks, damaged: str, hint: str) -> None:
    for wrong, what in problems:
        if wrong.any():
            row = int(np.argmax(wrong))
            key = f" (key {table['key'][row].as_py()!r})" if "key" in table.column_names else ""
            raise OpenMofiError(f"Row {row}{key} of {path} {what}: {damaged}.", hint)


def _flat(column: pa.ChunkedArray) -> tuple[Ints, Any]:
    """The row of each element of a column of lists, and the elements."""
    joined = column.combine_chunks()
    return _ints(pc.list_parent_indices(joined)), pc.list_flatten(joined)


def _any(rows: Ints, wrong: Bools, size: int) -> Bools:
    """(size,) rows that have a wrong element."""
    mask = np.zeros(size, bool)
    mask[rows[wrong]] = True
    return mask


def _repeated(values: pa.ChunkedArray) -> Bools:
    """Which values come again after their first time."""
    joined = values.combine_chunks()
    codes = joined.dictionary_encode(null_encoding="encode")
    if isinstance(codes, pa.ChunkedArray):
        codes = codes.combine_chunks()
    indices = _ints(codes.indices)
    again = np.ones(len(indices), bool)
    again[np.unique(indices, return_index=True)[1]] = False
    return again


def _ints(column: Any) -> Ints:
    """Nulls are 0."""
    return np.asarray(pc.fill_null(column, 0)).astype(np.int64)


def _floats(column: Any) -> Doubles:
    """Nulls are NaN."""
    return np.where(_nulls(column), np.nan, np.asarray(pc.fill_null(column, 0)).astype(np.float64))


def _no_share(column: Any) -> Bools:
    values = _floats(column)
    return ~((values >= -_ROUNDING) & (values <= 1 + _ROUNDING))


def _nulls(column: Any) -> Bools:
    return np.asarray(pc.is_null(column))


def _equal(column: Any, value: str) -> Bools:
    return np.asarray(pc.fill_null(pc.equal(column, value), False))


def _within(column: Any, values: Sequence[str]) -> Bools:
    return np.asarray(pc.is_in(column, value_set=pa.array(values, pa.string())))
