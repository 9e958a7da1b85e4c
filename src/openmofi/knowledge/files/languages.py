"""Which languages the names of a knowledge base come from: a bit a language, for each name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from openmofi.config import did_you_mean
from openmofi.errors import OpenMofiError, UsageError
from openmofi.knowledge.files.arrays import appended, mapped
from openmofi.knowledge.files.database import connected, part_file, quoted, tables_of
from openmofi.knowledge.files.tries import Names
from openmofi.storage.tables.blocks import read_table_blocks

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

LANGUAGES_FILE = "candidates/languages.npy"
EVERY = "mul"
"""Wikidata's code of names that hold in all languages."""
MOST = 64
_ALL = np.uint64((1 << MOST) - 1)


@dataclass(frozen=True)
class Languages:
    """The languages of names.

    Attributes:
        codes: of the languages, such as `en`; the place of each is that of its bit.
        masks: (names) uint64: the bits of the languages that a name comes from; all bits where that is not known.
    """

    codes: tuple[str, ...]
    masks: NDArray[np.uint64]

    @classmethod
    def of(cls, folder: Path, codes: Sequence[str]) -> Languages | None:
        """Map what `write_languages` wrote; `None` where a base has no languages."""
        return cls(tuple(codes), mapped(folder / LANGUAGES_FILE)) if (folder / LANGUAGES_FILE).is_file() else None

    def mask(self, wanted: Sequence[str]) -> np.uint64:
        """The bits of languages.

        Raises:
            UsageError: the base has no names of one of them.
        """
        for code in wanted:
            if code not in self.codes:
                raise UsageError(
                    f"The knowledge base has no names of the language {code!r}; it has those of "
                    f"{', '.join(self.codes)}.{did_you_mean(code, self.codes)}"
                )
        return np.uint64(sum(1 << self.codes.index(code) for code in set(wanted)))

    def of_name(self, number: int) -> list[str]:
        """The languages that a name comes from; all of them where that is not known."""
        mask = int(self.masks[number])
        return [code for bit, code in enumerate(self.codes) if mask >> bit & 1]


def mask_of(languages: Languages | None, wanted: Sequence[str], base: Path) -> np.uint64:
    """`Languages.mask`, of a base that may have none.

    Raises:
        UsageError: see there; the base does not know the languages of its names.
    """
    if languages is None:
        raise UsageError(
            f"The knowledge base {base} does not know which languages its names are of.",
            "Build it with a table of languages, or of Wikidata with several --languages.",
        )
    return languages.mask(wanted)


def gather_languages(connection: DuckDBPyConnection, path: Path) -> list[str]:
    """Write the bits of each key.

    Args:
        connection: has `languages_part` (key, language).
        path: gets a Parquet file of them, where there are any.

    Returns:
        The codes, ascending; empty where nothing is known of any name.

    Raises:
        OpenMofiError: there are more than `MOST`; the disk is full.
    """
    connection.execute(f"""
        CREATE TABLE tongue AS SELECT language, row_number() OVER (ORDER BY language) - 1 AS bit
        FROM (SELECT DISTINCT language FROM languages_part WHERE language <> '{EVERY}')""")
    codes = [code for (code,) in connection.execute("SELECT language FROM tongue ORDER BY bit").fetchall()]
    if len(codes) > MOST:
        raise OpenMofiError(f"The names are of {len(codes)} languages.", f"Leave some out: {MOST} can be told apart.")
    if codes:
        with part_file(path, _MASKED) as add:
            for part in tables_of(connection, _MASKS):
                add(part)
    return codes


def write_languages(folder: Path, names: Names, gathered: Path, memory: int) -> None:
    """Write the languages of the names of a base.

    Args:
        folder: of the base; gets `LANGUAGES_FILE`.
        names: the base's.
        gathered: what `gather_languages` wrote; its folder gets what is made on the way.
        memory: bytes that the join may use.

    Raises:
        OpenMofiError: the disk is full.
    """
    placed = gathered.with_name("languages_placed.parquet")
    with part_file(placed, _PLACED) as add:
        for part in read_table_blocks(gathered):
            ids = pa.array([names.get(key) for key in part.column("key").to_pylist()], pa.int64())
            add(pa.table([ids, part.column("mask")], schema=_PLACED).filter(pc.is_valid(ids)))
    with (
        connected(gathered.parent, memory) as connection,
        appended(folder / LANGUAGES_FILE, np.uint64, (len(names),)) as append,
    ):
        begin = 0
        for part in tables_of(connection, f"SELECT * FROM read_parquet({quoted(placed)}) ORDER BY id"):
            ids = part.column("id").to_numpy()
            block = np.full(ids[-1] + 1 - begin, _ALL)
            block[ids - begin] = part.column("mask").to_numpy()
            append(block)
            begin = int(ids[-1]) + 1
        append(np.full(len(names) - begin, _ALL))


_MASKED = pa.schema([("key", pa.string()), ("mask", pa.uint64())])
_PLACED = pa.schema([("id", pa.int64()), ("mask", pa.uint64())])
_MASKS = f"""
    SELECT key, bit_or(CASE WHEN bit IS NULL THEN {int(_ALL)}::UBIGINT ELSE 1::UBIGINT << bit::UBIGINT END) AS mask
    FROM languages_part LEFT JOIN tongue USING (language) WHERE key <> '' GROUP BY key"""
