"""Optional files of a knowledge base: details of entities, ids elsewhere, redirects, languages of names."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from openmofi.arrays import Codes, Hashes, Ints
from openmofi.errors import OpenMofiError, UsageError, did_you_mean
from openmofi.knowledge import relations
from openmofi.knowledge.arrays import Names, appended, mapped
from openmofi.knowledge.database import connected, part_file, quoted, tables_of
from openmofi.knowledge.relations import Relations
from openmofi.storage import read_table_blocks, table_blocks, write_arrow, write_bytes

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
    masks: Hashes

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


DETAILS_FILE, EXTERNAL_IDS_FILE, REDIRECTS_FILE = "details.arrow", "external_ids.parquet", "redirects.arrow"
FILES = (DETAILS_FILE, EXTERNAL_IDS_FILE, REDIRECTS_FILE, *relations.FILES, LANGUAGES_FILE)
"""Files that a base may have beside those that all have."""
ATTRIBUTION = "ATTRIBUTION.md"
"""What a base is made of, and under which licences; it goes with all that is made of the base."""

DETAILS = pa.schema([("image", pa.string()), ("prior", pa.string())])
"""details: rows as in the entities: the name of an image's file on Wikimedia Commons, or null; what the prior is known
by, such as `links`."""
EXTERNAL_IDS = pa.schema([("id", pa.string()), ("property", pa.string()), ("value", pa.string())])
"""external_ids: an entity's identifier elsewhere, by the property of Wikidata that says so, such as `P214`."""
REDIRECTS = pa.schema([("id", pa.string()), ("into", pa.string())])
"""redirects: an identifier that is gone, ascending, and that of the entity that it was merged into."""


IMAGES_STEM = "images"
IMAGES = pa.schema([("id", pa.string()), ("image", pa.binary()), ("content", pa.string()), ("source", pa.string())])
"""images: reference images by ascending identifier of their entity: a JPEG, the digest of the bytes that it was made of
(`openmofi.features.store.content_digits`), and where these came from. The file's name has the images' digest, so that a
base can get others while it is used."""


def images_file(files: Collection[str]) -> str:
    """Name of the file of reference images among the files of a base; empty where there is none."""
    return next((name for name in files if name.startswith(f"{IMAGES_STEM}.") and "/" not in name), "")


def open_images(folder: Path, files: Collection[str]) -> pa.Table | None:
    """Map the reference images of a base (`IMAGES`); `None` where it has none.

    Raises:
        ValueError: the file has other columns.
    """
    name = images_file(files)
    return _mapped(folder / name, IMAGES) if name else None


def bad_images(images: pa.Table, rows_of: Callable[[Sequence[str]], Codes]) -> str:
    """What is wrong with reference images, where `rows_of` gives entities' rows; else `""`."""
    try:
        images.validate(full=True)
    except pa.ArrowException as error:
        return f"is no valid table: {str(error).partition(chr(10))[0].rstrip('.')}"
    ids = images.column("id").combine_chunks()
    if any(column.null_count for column in images.columns) or pc.any(pc.greater(ids[:-1], ids[1:])).as_py():
        return "does not hold images by ascending identifier"
    return "" if (rows_of(ids.unique().to_pylist()) >= 0).all() else "has images of unknown entities"


@dataclass(frozen=True)
class OptionalFiles:
    """The optional files of a base, memory-mapped.

    Attributes:
        folder: of the base.
        details: `DETAILS`, or `None`.
        redirects: `REDIRECTS`, or `None`.
        relations: see there, or `None`.
    """

    folder: Path
    details: pa.Table | None
    redirects: pa.Table | None
    relations: Relations | None

    @classmethod
    def of(cls, folder: Path) -> OptionalFiles:
        """Map the files that a folder has.

        Raises:
            ValueError: one of them is not what was written.
        """
        return cls(
            folder,
            _mapped(folder / DETAILS_FILE, DETAILS),
            _mapped(folder / REDIRECTS_FILE, REDIRECTS),
            Relations.of(folder),
        )

    def details_of(self, row: int) -> Mapping[str, Any]:
        """`image` and `prior` of an entity, where the base has them."""
        return (
            {}
            if self.details is None
            else {name: self.details.column(name)[row].as_py() or "" for name in DETAILS.names}
        )

    def into(self, entity_id: str) -> str | None:
        """Return the identifier that a removed one was merged into; `None` for any other."""
        if self.redirects is None:
            return None
        ids = self.redirects.column("id")
        position = bisect_left(ids, entity_id, key=lambda each: each.as_py())
        there = position < len(ids) and ids[position].as_py() == entity_id
        return self.redirects.column("into")[position].as_py() if there else None

    def current(self, ids: pa.StringArray, known: Callable[[str], bool]) -> pa.StringArray:
        """Return identifiers, removed ones replaced by those that they were merged into.

        Args:
            ids: without nulls.
            known: whether the base has an identifier.
        """
        if self.redirects is None:
            return ids
        encoded = ids.dictionary_encode()
        now = [each if known(each) else self.into(each) or each for each in encoded.dictionary.to_pylist()]
        return pa.array(now, pa.string()).take(encoded.indices)

    def write_slice(self, folder: Path, ids: pa.StringArray, rows: Ints) -> dict[str, int]:
        """Write what lies beside the base into the folder of a slice; file → bytes, without `ATTRIBUTION`.

        Args:
            folder: of the slice.
            ids, rows: of the entities that stay, by ascending row.
        """
        keep_attribution(self.folder, folder)
        if self.details is not None:
            write_arrow(folder / DETAILS_FILE, self.details.take(pa.array(rows)))
        if self.redirects is not None:
            write_arrow(
                folder / REDIRECTS_FILE, self.redirects.filter(pc.is_in(self.redirects.column("into"), value_set=ids))
            )
        if (self.folder / EXTERNAL_IDS_FILE).is_file():
            with table_blocks(folder / EXTERNAL_IDS_FILE, EXTERNAL_IDS) as add:
                for table in self.external_ids():
                    add(table.filter(pc.is_in(table.column("id"), value_set=ids)))
        if self.relations is not None:
            self.relations.write_slice(folder, rows)
        return sizes(folder)

    def external_ids(self) -> Iterator[pa.Table]:
        """The rows of `EXTERNAL_IDS`, in tables; none where the base has no such file."""
        if (self.folder / EXTERNAL_IDS_FILE).is_file():
            with pq.ParquetFile(self.folder / EXTERNAL_IDS_FILE) as file:
                for batch in file.iter_batches():
                    yield pa.Table.from_batches([batch]).cast(EXTERNAL_IDS)

    def wrong_contents(self, size: int) -> dict[str, str]:
        """Return file → what is wrong with its content, for a base of so many entities."""
        problems = {}
        if self.details is not None and len(self.details) != size:
            problems[DETAILS_FILE] = f"has {len(self.details):,} rows for {size:,} entities"
        return problems | ({} if self.relations is None else self.relations.wrong_contents(size))


def sizes(folder: Path) -> dict[str, int]:
    """Return file → bytes, of those of `FILES` that exist."""
    return {name: (folder / name).stat().st_size for name in FILES if (folder / name).is_file()}


def keep_attribution(source: Path, folder: Path) -> None:
    """Copy the attribution of a base, or of the folder of its tables.

    Raises:
        OpenMofiError: `folder` cannot be written.
    """
    if (source / ATTRIBUTION).is_file():
        write_bytes(folder / ATTRIBUTION, (source / ATTRIBUTION).read_bytes())


def _mapped(path: Path, schema: pa.Schema) -> pa.Table | None:
    if not path.is_file():
        return None
    table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
    if table.schema != schema:
        raise ValueError(f"{path.name} has other columns")
    return table if len(table) else None
