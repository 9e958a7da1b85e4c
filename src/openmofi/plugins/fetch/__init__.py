"""Settings of `openmofi fetch`."""

import re
from dataclasses import dataclass
from typing import Annotated

from openmofi.config import FREE, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, Settings
from openmofi.errors import UsageError
from openmofi.storage.encodings import check_encoding
from openmofi.version import __version__

STATUSES = (SUCCESS, *FAILED) = ("success", "failed_to_download", "failed_to_decode")
IMG2DATASET = ("url", "caption", "key", "status", "error_message", "width", "height", "sha256")
OWN = (*IMG2DATASET, "final_url", "http_status", "fetched_at", "license", "creator")
"""Columns of the log beside a tar, and fields of an image's JSON."""


@dataclass(frozen=True)
class FetchSettings(Settings):
    """What is downloaded, and how.

    Attributes:
        shard_size: rows per shard.
        url_column: column with the URLs of the images; empty uses the first common name, such as `url`.
        text_column: column with the texts; empty uses the first common name, such as `caption`.
        license_column: column with the licences; empty uses the first common name, if there is one.
        creator_column: column with the authors; empty uses the first common name, if there is one.
        keep_columns: further columns to keep, as text.
        encoding: of CSV, TSV and JSON-lines tables, such as `cp1252`; see docs/pairs.md.
        max_bytes: larger images are not downloaded.
        ignore_robots: download what `robots.txt` disallows.
        allow_noai: download what an `X-Robots-Tag` of `noai`, `noimageai`, `noindex` or `noimageindex` refuses.
        allow_private: connect to private networks and to this machine.
        user_agent: the `User-Agent` header, such as `NAME/1 (me@example.org)`; `robots.txt` and `X-Robots-Tag` are read
            for NAME.
        concurrency: simultaneous connections of a process.
        per_host: simultaneous connections of a process to one host.
        host_interval: seconds between the starts of two requests to one host.
        connect_timeout: seconds to wait for a connection.
        read_timeout: seconds to wait for further data.
        timeout: seconds for each attempt to download an image.
        retries: further attempts after a status of 408, 425, 429 or 5xx or a failed connection, with exponential
            backoff, and not before the server's `Retry-After`.
    """

    shard_size: PositiveInt = 10_000
    url_column: str = ""
    text_column: str = ""
    license_column: str = ""
    creator_column: str = ""
    keep_columns: tuple[str, ...] = ()
    encoding: str = ""
    max_bytes: PositiveInt = 50_000_000
    ignore_robots: bool = False
    allow_noai: bool = False
    allow_private: bool = False
    user_agent: Annotated[str, FREE] = f"openmofi/{__version__}"
    concurrency: Annotated[PositiveInt, FREE] = 64
    per_host: Annotated[PositiveInt, FREE] = 4
    host_interval: Annotated[NonNegativeFloat, FREE] = 0.0
    connect_timeout: Annotated[PositiveFloat, FREE] = 10.0
    read_timeout: Annotated[PositiveFloat, FREE] = 20.0
    timeout: Annotated[PositiveFloat, FREE] = 60.0
    retries: Annotated[NonNegativeInt, FREE] = 2

    @property
    def agent(self) -> str:
        """Return the name in the user agent, in lower case."""
        return re.split(r"[/\s]", self.user_agent.strip().lower())[0]

    def __post_init__(self) -> None:
        super().__post_init__()
        check_encoding(self.encoding)
        if taken := [name for name in self.keep_columns if name in OWN]:
            raise UsageError(f"--keep-columns names {taken[0]!r}, which is a column of the output.", "Rename it.")
