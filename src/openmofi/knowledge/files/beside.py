"""What may lie beside a knowledge base's arrays: relations, details of entities, ids elsewhere, ids that are gone.

The languages of names (`openmofi.knowledge.files.languages`) lie there too, and are no more than listed here.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from openmofi.knowledge.files import relations
from openmofi.knowledge.files.languages import LANGUAGES_FILE
from openmofi.knowledge.files.relations import Relations
from openmofi.storage import write_arrow, write_bytes
from openmofi.storage.tables.blocks import table_blocks

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


@dataclass(frozen=True)
class Beside:
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
    def of(cls, folder: Path) -> Beside:
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
        """The identifier that one which is gone was merged into."""
        if self.redirects is None:
            return None
        ids = self.redirects.column("id")
        place = bisect_left(ids, entity_id, key=lambda each: each.as_py())
        there = place < len(ids) and ids[place].as_py() == entity_id
        return self.redirects.column("into")[place].as_py() if there else None

    def current(self, ids: pa.StringArray, known: Callable[[str], bool]) -> pa.StringArray:
        """Identifiers, those that are gone replaced by what they were merged into.

        Args:
            ids: without nulls.
            known: whether the base has an identifier.
        """
        if self.redirects is None:
            return ids
        encoded = ids.dictionary_encode()
        now = [each if known(each) else self.into(each) or each for each in encoded.dictionary.to_pylist()]
        return pa.array(now, pa.string()).take(encoded.indices)

    def write_slice(self, folder: Path, ids: pa.StringArray, rows: NDArray[np.int64]) -> dict[str, int]:
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
        """File → what cannot be in it, of a base of so many entities."""
        problems = {}
        if self.details is not None and len(self.details) != size:
            problems[DETAILS_FILE] = f"has {len(self.details):,} rows for {size:,} entities"
        return problems | ({} if self.relations is None else self.relations.wrong_contents(size))


def sizes(folder: Path) -> dict[str, int]:
    """File → bytes, of those of `FILES` that are there."""
    return {name: (folder / name).stat().st_size for name in FILES if (folder / name).is_file()}


def keep_attribution(source: Path, folder: Path) -> None:
    """Copy what a base, or the folder of its tables, says of where it comes from.

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
