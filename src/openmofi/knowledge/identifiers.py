"""Identifiers of entities and their rows: sorted numbers where all are such as Q42, else a trie.

On 10 M identifiers sorted numbers need 80 MB, are searched through at a million a second, and cost nothing to open.
"""

import difflib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import marisa_trie
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from openmofi.arrays import Codes
from openmofi.knowledge.arrays import mapped, save_array, save_trie
from openmofi.knowledge.candidates import spelt_alike

NUMBERS, TRIE, ROWS = "ids.npy", "ids.marisa", "id_rows.npy"
_FORM = "^Q[1-9][0-9]{0,9}$"
_LARGEST = np.iinfo(np.int32).max
_COMPARED = 1000
_BLOCK = 1 << 22


class Identifiers(Protocol):
    """The identifiers of a base, each with its row: `rows_of`, in the order of the identifiers."""

    @property
    def rows_of(self) -> Codes:
        """(n) int32."""

    def __len__(self) -> int: ...

    def row(self, entity_id: str) -> int:
        """The row of an identifier; −1 for an unknown one."""

    def rows(self, ids: Sequence[str]) -> Codes:
        """(n) rows of identifiers; −1 for unknown ones."""

    def alike(self, entity_id: str, limit: int) -> list[str]:
        """Identifiers that are spelt like an unknown one, at most `limit`."""

    def problem(self) -> str:
        """What is wrong with them, as far as that can be seen; else `""`."""


@dataclass(frozen=True)
class NumberedIds:
    """Identifiers of the form Q42.

    Attributes:
        numbers: (n) int32, ascending.
        rows_of: (n) int32, the rows of the numbers.
    """

    numbers: Codes
    rows_of: Codes

    def __len__(self) -> int:
        return len(self.numbers)

    def row(self, entity_id: str) -> int:
        """See `Identifiers`."""
        return int(self.rows((entity_id,))[0])

    def rows(self, ids: Sequence[str]) -> Codes:
        """See `Identifiers`."""
        # 0 is no number of an identifier. A Python integer would have the whole array cast.
        wanted = np.fromiter(map(_number, ids), np.int32, len(ids))
        positions = np.minimum(np.searchsorted(self.numbers, wanted), len(self.numbers) - 1)
        return np.where(self.numbers[positions] == wanted, self.rows_of[positions], np.int32(-1))

    def alike(self, entity_id: str, limit: int) -> list[str]:
        """See `Identifiers`."""
        number = _number(entity_id.strip().upper())
        if number and self.row(f"Q{number}") >= 0:
            return [f"Q{number}"]
        position = int(np.searchsorted(self.numbers, np.int32(number)))
        near = self.numbers[max(position - _COMPARED, 0) : position + _COMPARED].tolist() if number else []
        return difflib.get_close_matches(entity_id, [f"Q{each}" for each in near], limit)

    def problem(self) -> str:
        """See `Identifiers`."""
        numbers = self.numbers
        rising = (
            len(numbers)
            and numbers[0] > 0
            and all(
                (
                    numbers[start + 1 : start + _BLOCK + 1]
                    > numbers[start : start + _BLOCK][: len(numbers) - start - 1]
                ).all()
                for start in range(0, len(numbers), _BLOCK)
            )
        )
        return "" if rising else "does not hold ascending numbers"


def _number(entity_id: str) -> int:
    digits = entity_id[1:]
    if entity_id[:1] != "Q" or not (digits.isascii() and digits.isdigit()) or digits[0] == "0" or len(digits) > 10:
        return 0
    number = int(digits)
    return number if number <= _LARGEST else 0


@dataclass(frozen=True)
class SpeltIds:
    """Identifiers of any form.

    Attributes:
        trie: of them.
        rows_of: (n) int32, the row of each of the trie's keys.
    """

    trie: marisa_trie.Trie
    rows_of: Codes

    def __len__(self) -> int:
        return len(self.trie)

    def row(self, entity_id: str) -> int:
        """See `Identifiers`."""
        key = self.trie.get(entity_id, -1)
        return int(self.rows_of[key]) if key >= 0 else -1

    def rows(self, ids: Sequence[str]) -> Codes:
        """See `Identifiers`."""
        keys = np.fromiter((self.trie.get(entity_id, -1) for entity_id in ids), np.int64, len(ids))
        return np.where(keys >= 0, self.rows_of[keys], np.int32(-1)).astype(np.int32)

    def alike(self, entity_id: str, limit: int) -> list[str]:
        """See `Identifiers`."""
        return spelt_alike(self.trie.iterkeys, entity_id, limit)

    def problem(self) -> str:
        """See `Identifiers`; a trie cannot be checked."""
        return ""


def open_ids(folder: Path, *, numbered: bool) -> Identifiers:
    """The identifiers of a base, memory-mapped."""
    rows = mapped(folder / ROWS)
    if numbered:
        numbers = mapped(folder / NUMBERS)
        if numbers.dtype != np.int32 or numbers.ndim != 1:
            raise ValueError(f"{NUMBERS} holds no numbers")
        return NumberedIds(numbers, rows)
    return SpeltIds(marisa_trie.Trie().mmap(str(folder / TRIE)), rows)


def numbers_of(ids: pa.ChunkedArray) -> Codes | None:
    """(n) numbers of identifiers such as Q42; `None` where there is another one."""
    if not pc.all(pc.match_substring_regex(ids, _FORM)).as_py():
        return None
    numbers = pc.cast(pc.utf8_slice_codeunits(ids, 1), pa.int64()).to_numpy()
    return numbers.astype(np.int32) if not len(numbers) or numbers.max() <= _LARGEST else None


def write_ids(
    folder: Path,
    blocks: Iterator[pa.ChunkedArray],
    ascending: Callable[[], Iterator[tuple[list[str], Codes]]],
) -> str:
    """Write the identifiers of a base.

    Args:
        folder: of the base.
        blocks: the identifiers in the order of their rows.
        ascending: gives them in the order of their spelling, with their rows; called where they are of another form
            than Q42.

    Returns:
        the file beside that of rows: `NUMBERS` or `TRIE`.
    """
    numbered = list[Codes]()
    for block in blocks:
        numbers = numbers_of(block)
        if numbers is None:
            break
        numbered.append(numbers)
    else:
        numbers = np.concatenate(numbered)
        rows = np.argsort(numbers, kind="stable").astype(np.int32)
        save_array(folder / NUMBERS, numbers[rows])
        save_array(folder / ROWS, rows)
        (folder / TRIE).unlink(missing_ok=True)
        return NUMBERS
    trie = marisa_trie.Trie(entity_id for ids, _ in ascending() for entity_id in ids)
    rows = np.zeros(len(trie), np.int32)
    for ids, of_ids in ascending():
        rows[[trie[entity_id] for entity_id in ids]] = of_ids
    save_trie(folder / TRIE, trie)
    save_array(folder / ROWS, rows)
    (folder / NUMBERS).unlink(missing_ok=True)
    return TRIE
