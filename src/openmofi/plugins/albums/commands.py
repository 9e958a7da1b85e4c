"""`openmofi albums`: reads photo servers, and writes labels back as tags."""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import typer

from openmofi.cli.command import Restart, command, group, input_path, input_place, output_path, print_json
from openmofi.cli.options import Json
from openmofi.errors import OpenMofiError, UsageError

if TYPE_CHECKING:
    from openmofi.plugins.albums.immich import Immich
    from openmofi.plugins.albums.photoprism import PhotoPrism
    from openmofi.plugins.albums.tagging import Wanted

app = group("albums", "Read the images of immich or PhotoPrism, write labels back as tags, take them back.")
_MOST_CHARS = 100
_Server = Annotated[
    str, typer.Argument(metavar="SERVER", help="immich:ADDRESS or photoprism:ADDRESS, such as immich:http://nas:2283.")
]
_Journal = Annotated[Path, typer.Argument(parser=input_path, metavar="JOURNAL", help="What 'albums tag' wrote.")]


@command(app, "read")
def read(
    server: _Server,
    out: Annotated[Path, typer.Option("-o", "--out", parser=output_path, metavar="FOLDER", help="For the pairs.")],
    limit: Annotated[int, typer.Option(min=1, help="Read at most so many images.")] = 1_000_000,
    restart: Restart = False,
    as_json: Json = False,
) -> None:
    """Read a server's images into shards of pairs: previews, and what people wrote; changes nothing there.

    A job that was stopped continues with the missing shards. Then: openmofi label --help.
    """
    from openmofi.plugins.albums.reading import FAILED, READ, read_images
    from openmofi.progress import shown_progress
    from openmofi.review.commands import shell_command

    with shown_progress(not as_json) as progress:
        counts = read_images(connect(server), out, progress, limit=limit, restart=restart)
    if as_json:
        print_json(counts)
        return
    typer.echo(f"{counts[READ]:,} of {counts['rows']:,} images: {out}")
    for reason, rows in counts["errors"].items():
        typer.echo(f"  {FAILED}: {rows:,} × {reason}")
    typer.echo(f"  {shell_command('openmofi', 'label', out, '--kb', 'KB', '--encoder', 'ENCODER', '-o', 'labels')}")


@command(app, "tag")
def tag(
    server: _Server,
    labels: Annotated[str, typer.Argument(parser=input_place, metavar="LABELS", help="Of pairs of 'albums read'.")],
    journal: Annotated[
        Path, typer.Option("-o", "--out", parser=output_path, metavar="FILE", help="Journal, to take all back.")
    ],
    min_probability: Annotated[float, typer.Option(min=0, max=1, help="Leave labels below it out.")] = 0.0,
    kb: Annotated[Path | None, typer.Option(parser=input_path, help="Base with the names, if it has moved.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Write; without, only say what would be written.")] = False,
    as_json: Json = False,
) -> None:
    """Write accepted labels back as tags with probabilities; a tag that is there is left alone.

    A run that was stopped continues with the same command. To take all back: openmofi albums untag --help.
    """
    from openmofi.plugins.albums.tagging import Journal, write_tags
    from openmofi.progress import shown_progress
    from openmofi.review.commands import shell_command
    from openmofi.storage import locked

    wanted, connected = wanted_labels(labels, kb, min_probability), connect(server)
    counts: dict[str, Any] = {"images": len(wanted), "labels": sum(map(len, wanted.values())), "written": yes}
    if yes:
        with locked(journal, _wait), shown_progress(not as_json) as progress:
            counts |= write_tags(connected, wanted, Journal.create(journal, connected, wanted), progress)
    if as_json:
        print_json(counts)
        return
    typer.echo(f"{counts['labels']:,} labels of {counts['images']:,} images")
    if yes:
        typer.echo("  " + ", ".join(f"{name.replace('_', ' ')}: {counts[name]:,}" for name in list(counts)[3:]))
        typer.echo(f"To take all back: {shell_command('openmofi', 'albums', 'untag', server, journal)}")
        return
    for photo, names in list(wanted.items())[:5]:
        typer.echo(f"  {photo}: " + ", ".join(f"{name} ({each:.0%})" for name, each in names.items()))
    typer.echo("Nothing is written yet. To write them: add --yes")


@command(app, "untag")
def untag(server: _Server, journal: _Journal, as_json: Json = False) -> None:
    """Take back what 'albums tag' wrote, and nothing else; a run that was stopped continues."""
    from openmofi.plugins.albums.tagging import Journal, remove_tags
    from openmofi.progress import shown_progress
    from openmofi.storage import locked

    connected = connect(server)
    if not journal.exists():
        raise OpenMofiError(f"{journal} is missing.", "Name the file that 'openmofi albums tag' wrote.")
    with locked(journal, _wait), shown_progress(not as_json) as progress:
        counts = remove_tags(connected, Journal.read(journal, connected), progress)
    if as_json:
        print_json(counts)
    else:
        kept = "are of photos that are gone or another's, or would cost a keyword"
        typer.echo(f"{counts['removed']:,} labels are taken back; {counts['gone']:,} {kept}")


def _wait() -> None:
    typer.echo("Another run writes this journal. Waiting for it.", err=True)


def connect(server: str) -> Immich | PhotoPrism:
    """Return a client of the server `KIND:ADDRESS`; asks it nothing.

    Raises:
        UsageError: it is no such address, or there is no key.
        MissingExtraError: httpx2 is not installed.
    """
    from openmofi.plugins import json_server
    from openmofi.plugins.albums.immich import Immich
    from openmofi.plugins.albums.photoprism import PhotoPrism
    from openmofi.plugins.albums.server import KEY, MOST_BYTES

    kinds: dict[str, type[Immich | PhotoPrism]] = {"immich": Immich, "photoprism": PhotoPrism}
    name, _, address = server.partition(":")
    try:
        parts = urlsplit(address)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if name not in kinds or not good or "@" in parts.netloc or parts.query or parts.fragment:
        hint = "Write immich:http://HOST:2283 or photoprism:https://HOST, without a user, a password or a query."
        raise UsageError(f"{server!r} is not the address of a photo server.", hint)
    key = os.environ.get(KEY, "").strip()
    if not re.fullmatch(r"[!-~]{1,1000}", key):
        raise UsageError("There is no key of the photo server, or it is none.", f"Put it into the variable {KEY}.")
    kind = kinds[name]
    address = f"{address.rstrip('/').removesuffix(kind.API)}{kind.API}"
    logging.getLogger("httpx2").setLevel(logging.WARNING)  # it logs addresses, and previews have a secret in theirs
    client = json_server.client(kind.headers(key))
    hint = "Start the server, or check the address; what is finished is kept."
    return kind(address, client, "photo server", key=key, unreachable=hint, most_bytes=MOST_BYTES)


def wanted_labels(place: str, kb: Path | None, min_probability: float) -> Wanted:
    """Return what tags would say: photo → name of an entity → probability.

    Raises:
        UsageError: the labels are not of images of a photo server.
        OpenMofiError: they cannot be read, or their knowledge base is gone.
    """
    from openmofi.api.given import kb_of
    from openmofi.dataset.objects import Labels
    from openmofi.dataset.tables import labels_kb
    from openmofi.plugins.albums.server import ID

    labels = Labels.open(place)
    base = kb_of(kb) if kb else labels_kb(labels.folder)
    if base is None:
        raise OpenMofiError(f"The knowledge base of {place} is not where it was, or changed.", "Name it with --kb.")
    wanted: dict[str, dict[str, float]] = {}
    for row in labels.accepted().to_pylist():
        if not re.match(ID, row["key"]):
            hint = "Label what 'openmofi albums read' wrote."
            raise UsageError(f"{place} has the key {row['key']!r}, which no photo server gives.", hint)
        entity, probability = row["entity"], round(row["probability"], 6)  # of 32 bits
        name = base[entity].name if entity in base else entity
        name = " ".join("".join(filter(str.isprintable, name.replace("/", "-"))).split())[:_MOST_CHARS]
        if name and probability >= min_probability:
            names = wanted.setdefault(row["key"], {})
            names[name] = max(probability, names.get(name, 0))
    return wanted
