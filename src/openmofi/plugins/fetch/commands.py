"""`openmofi.fetch` and `openmofi fetch`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Unpack

import typer

from openmofi.api.given import Folder, Pairs, public, shards_of
from openmofi.cli.command import print_json
from openmofi.cli.options import MANY, OUT_STORE, Call, Json, made_of
from openmofi.config import changed
from openmofi.errors import MissingExtraError
from openmofi.plugins.fetch import STATUSES, FetchSettings
from openmofi.progress import shown_progress

if TYPE_CHECKING:
    from openmofi.api.changes import FetchChanges
    from openmofi.engine import Progress


@public(FetchSettings)
def fetch(
    tables: Pairs,
    out: Folder,
    *,
    retry_failed: bool = False,
    engine: str = "local",
    restart: bool = False,
    progress: bool | Progress | None = None,
    **changes: Unpack[FetchChanges],
) -> Mapping[str, Any]:
    """Download the images of tables of URLs and texts into shards of pairs, as img2dataset lays them out.

    A job that was stopped continues with the missing shards.

    Args:
        tables: CSV, TSV, JSON-lines or Parquet tables, or folders of Parquet.
        out: the folder to write; also in a store such as s3://….
        retry_failed: download the failed rows of finished shards again.
        engine: `local`, `processes:N`, `ray` or `ray:ADDRESS`; connection limits apply to each process. See
            docs/scale.md.

    Returns:
        `rows`, the rows of each status, `bytes` of images, and the most frequent errors and hosts of failed rows.

    Raises:
        MissingExtraError: `openmofi[fetch]` is not installed.
        UsageError: a table has no column of URLs or texts.
        OpenMofiError: a table cannot be read, `out` was made with other settings, or no image was fetched.
    """
    from openmofi.engine import engine_named

    try:
        from openmofi.plugins.fetch.job import fetch_pairs
    except ModuleNotFoundError as error:
        raise MissingExtraError.of(error.name or "aiohttp", "fetch") from error
    settings = changed(FetchSettings(), changes)
    with shown_progress(progress) as console:
        return fetch_pairs(
            shards_of(tables),
            out,
            settings,
            engine=engine_named(engine),
            progress=console,
            restart=restart,
            retry_failed=retry_failed,
        )


@made_of(
    fetch,
    first=("out", "retry_failed"),
    out=OUT_STORE,
    tables=Annotated[list[str], typer.Argument(metavar="TABLES")],
    keep_columns=MANY,
)
def fetch_command(call: Call, out: str, as_json: Json = False) -> None:
    """Download the images of tables of URLs and texts into shards of pairs, as img2dataset lays them out.

    A job that was stopped continues with the missing shards. Then: openmofi label --help.
    """
    from openmofi.cli.tables import print_counts
    from openmofi.review.commands import shell_command

    counts = call(progress=not as_json)
    if as_json:
        print_json(counts)
        return
    print_counts("rows", {name: counts[name] for name in STATUSES})
    if counts["errors"]:
        print_counts("failed rows by reason", counts["errors"])
        print_counts("failed rows by host", counts["hosts"])
        print("Add --retry-failed to download these rows again. To continue:")
    print(f"  {shell_command('openmofi', 'label', out, '--kb', 'KB', '--encoder', 'ENCODER', '-o', 'labels')}")
