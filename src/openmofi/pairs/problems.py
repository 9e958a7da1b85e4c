"""`problems.csv`: which rows of a job could not be used, where they are, and why."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice

from openmofi.schema import PairStatus
from openmofi.storage import Shard, read_table_blocks, write_text
from openmofi.storage.addresses import in_object_store

PROBLEMS_FILE = "problems.csv"
MOST_PROBLEMS = 10_000
REASONS: Mapping[str, str] = {
    PairStatus.TEXT_MISSING: "There is no text: an empty cell, no file beside the image, or a column of another name.",
    PairStatus.TEXT_EMPTY: "The text is blank.",
    PairStatus.TEXT_INVALID: "The text is not UTF-8. Name its encoding with --encoding.",
    PairStatus.TEXT_TOO_LONG: "The text is longer than --max-text-chars.",
    PairStatus.IMAGE_MISSING: "There is no image, or its path leads out of the folder. Name one with --image-root.",
    PairStatus.IMAGE_BROKEN: "The image cannot be decoded: it is cut off or damaged.",
    PairStatus.IMAGE_TOO_LARGE: "The image has more pixels than --max-image-pixels, or bytes than --max-image-bytes.",
    PairStatus.IMAGE_UNSUPPORTED_FORMAT: "The image is in a format that is not read.",
    PairStatus.DUPLICATE_KEY: "An earlier row of the same shard has this key.",
}
"""What each status says of a row that cannot be used."""
_COMPUTED = ("=", "+", "-", "@", "\t", "\r")  # https://owasp.org/www-community/attacks/CSV_Injection


_Row = tuple[int | str, str, str, str, str]


def uncomputed(cell: str) -> str:
    """A cell of a table that spreadsheets may open, with an apostrophe in front of what they would compute."""
    return f"'{cell}" if cell[:1] in _COMPUTED and cell else cell


def write_problems(out: str, rows: Iterable[_Row]) -> None:
    """Write `problems.csv`: row (from 1, in its shard), key, file, status and reason of what could not be used. A cell
    that a spreadsheet would compute has an apostrophe in front.

    Args:
        out: folder, or its address. Nothing is written into a store, where reading tables again costs a request and a
            transfer each.
        rows: in the order of these columns.

    Raises:
        OpenMofiError: the file cannot be written.
    """
    if in_object_store(out):
        return
    written = io.StringIO()
    table = csv.writer(written, lineterminator="\n")
    table.writerow(("row", "key", "file", "status", "reason"))
    for row in rows:
        table.writerow([uncomputed(str(cell)) for cell in row])
    write_text(f"{out}/{PROBLEMS_FILE}", written.getvalue())


def problems_of(out: str, part: str, shards: Sequence[Shard], counts: Mapping[str, object]) -> Iterator[_Row]:
    """Yield each shard of a job that failed, and the first 10,000 rows that could not be used.

    Args:
        out: folder of the job, or its address.
        part: the folder in it with a table of keys and statuses for each shard.
        shards: all of the job.
        counts: of the job: `status`, and `failed` where shards did.

    Raises:
        OpenMofiError: a table is missing or damaged.
    """
    status, failed = counts["status"], counts.get("failed", {})
    assert isinstance(status, Mapping)
    assert isinstance(failed, Mapping)
    yield from (("", "", shard.path, "failed", failed[shard.name]) for shard in shards if shard.name in failed)
    rows = (
        (number, row["key"], shard.path, row["status"])
        for shard in shards
        if shard.name not in failed
        for blocks in [read_table_blocks(f"{out}/{part}/{shard.name}.parquet", ["key", "status"])]
        for number, row in enumerate(chain.from_iterable(block.to_pylist() for block in blocks), 1)
    )
    most = min(sum(rows for name, rows in status.items() if name in REASONS), MOST_PROBLEMS)
    yield from islice(((*row, REASONS[row[-1]]) for row in rows if row[-1] in REASONS), most)
