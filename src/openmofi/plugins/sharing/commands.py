"""`openmofi kb publish` and `fetch`, `openmofi index publish` and `fetch`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from openmofi.cli.command import Restart, input_place, output_path, output_place, print_json
from openmofi.cli.kb import KB
from openmofi.cli.options import IndexPlace, Json
from openmofi.cli.tables import print_manifest_facts

_Out = Annotated[str, typer.Option("-o", "--out", parser=output_place, help="Folder, or address in a store (s3://…).")]
_Address = Annotated[str, typer.Argument(parser=input_place, metavar="ADDRESS", help="Folder, s3://… or https://….")]


def publish(
    kb: KB,
    out: _Out,
    licence: Annotated[str, typer.Option(help="Of the base, such as CC-BY-SA-4.0.", metavar="TEXT")] = "",
    part_size: Annotated[int, typer.Option(min=1, help="MiB of the base in a part, before compression.")] = 1024,
    restart: Restart = False,
    as_json: Json = False,
) -> None:
    """Write a knowledge base as an archive that others can download: parts with digests, a card, the licence.

    A job that was stopped continues with the missing parts.
    """
    from openmofi.plugins.sharing.publish import publish_kb
    from openmofi.progress import shown_progress

    with shown_progress(not as_json) as progress:
        base = publish_kb(kb, out, licence=licence, part_size=part_size << 20, restart=restart, progress=progress)
    packed = {"parts": len(base.parts), "bytes": sum(part.size for part in base.parts)}
    print_manifest_facts({**base.counts, "fingerprint": base.fingerprint, **packed}, as_json)
    if not as_json and not licence and not base.attribution:
        typer.echo("\nThe base names no licence. To state one: add --licence TEXT --restart.")
    if not as_json:
        typer.echo(f"\nTo fetch it: openmofi kb fetch {out} -o kb")


def fetch(
    address: _Address,
    out: Annotated[Path, typer.Option("-o", "--out", parser=output_path, help="Folder of the knowledge base.")],
    as_json: Json = False,
) -> None:
    """Download a knowledge base that 'kb publish' wrote, and check it.

    A download that was stopped continues where it stopped.
    """
    from openmofi.plugins.sharing.fetch import fetch_kb
    from openmofi.progress import shown_progress

    with shown_progress(not as_json) as progress:
        kb = fetch_kb(address, out, progress=progress)
    print_manifest_facts({**kb.manifest.counts, "fingerprint": kb.fingerprint}, as_json)


def publish_index(
    index: IndexPlace,
    out: _Out,
    part_size: Annotated[int, typer.Option(min=1, help="MiB of the index in a part, before compression.")] = 1024,
    as_json: Json = False,
) -> None:
    """Write an index as it is now as an archive that others can download, in place of an earlier one.

    Verdicts are in it, and where the images lie; the images are not. A job that was stopped continues with the missing
    parts.
    """
    from openmofi.plugins.sharing.indexes import publish_index
    from openmofi.progress import shown_progress

    with shown_progress(not as_json) as progress:
        published = publish_index(index, out, part_size=part_size << 20, progress=progress)
    packed = {"parts": len(published.parts), "bytes": sum(part.size for part in published.parts)}
    print_manifest_facts({**published.counts, "fingerprint": published.fingerprint, **packed}, as_json)
    if not as_json:
        typer.echo(f"\nTo fetch it: openmofi index fetch {out} -o index")


def fetch_index(
    address: _Address,
    out: Annotated[Path, typer.Option("-o", "--out", parser=output_path, help="Folder of the index.")],
    addresses: Annotated[
        bool, typer.Option("--addresses", help="Take an index whose images lie at addresses, which are asked for.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Download an index that 'index publish' wrote, and check it.

    What is added to the copy, such as verdicts, is not sent back. A download that was stopped continues where it
    stopped.
    """
    from dataclasses import asdict

    from openmofi.plugins.sharing.indexes import fetch_index
    from openmofi.progress import shown_progress

    with shown_progress(not as_json) as progress:
        info = fetch_index(address, out, addresses=addresses, progress=progress).info()
    if as_json:
        print_json(asdict(info))
    else:
        typer.echo(f"{info.images:,} images: {out}. To search it: openmofi search {out} --text …")
