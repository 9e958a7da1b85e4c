"""`openmofi kb`: build a knowledge base and look into it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from openmofi.cli.command import Restart, input_path, output_path, print_json

app = typer.Typer(no_args_is_help=True)

_JSON = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_KB = Annotated[Path, typer.Argument(parser=input_path, help="Folder of the knowledge base.", metavar="KB")]


@app.command()
def build(
    builder: Annotated[Literal["wordnet", "table", "sample"], typer.Argument(
        help="wordnet: WordNet's dict folder; table: a folder of Parquet tables; sample: a sample world.")],
    source: Annotated[Path, typer.Argument(parser=input_path, help="What to build it of.", metavar="SRC")],
    out: Annotated[Path, typer.Option("-o", "--out", parser=output_path, help="Folder of the knowledge base.")],
    candidates: Annotated[int, typer.Option(min=1, help="Most entities a name keeps.")] = 30,
    restart: Restart = False,
    as_json: _JSON = False,
) -> None:
    """Build a knowledge base; the same source gives the same bytes."""
    from openmofi import api

    manifest = api.build_kb("table" if builder == "sample" else builder, source, out, candidates=candidates,
                            restart=restart).manifest
    _print_facts({**manifest.counts, "fingerprint": manifest.fingerprint}, as_json)


@app.command()
def info(kb: _KB, as_json: _JSON = False) -> None:
    """Show what a knowledge base holds and what made it."""
    from openmofi.knowledge import KnowledgeBase

    opened = KnowledgeBase.open(kb)
    manifest = opened.manifest
    _print_facts({**manifest.counts, "builder": manifest.settings["builder"], "dim": opened.dim,
                           "fingerprint": manifest.fingerprint, "inputs": manifest.inputs}, as_json)


@app.command()
def lookup(
    kb: _KB,
    name: Annotated[str, typer.Argument(help="A name, as a text would spell it.")],
    limit: Annotated[int, typer.Option(min=1, help="Most candidates to show.")] = 30,
    as_json: _JSON = False,
) -> None:
    """Show what a name may mean, commonest first."""
    from openmofi.knowledge import look_up

    meanings = look_up(kb, name, limit)
    if as_json:
        print_json(meanings)
        return
    if not meanings["candidates"]:
        typer.echo(f"The knowledge base does not know {name!r} (key {meanings['key']!r}).")
        return
    from openmofi.cli.show.tables import print_table

    print_table(("prior", "id", "name", "types", "description"), [
        (f"{row['prior']:.3f}", row["id"], row["name"], ", ".join(row["types"]), row["description"])
        for row in meanings["candidates"]], numbers=(0,),
        title=f"{name} (key {meanings['key']!r}, link probability {meanings['link_probability']:.2f})")


def _print_facts(facts: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(facts)
        return
    from openmofi.cli.show.tables import print_facts

    text = {}
    for name, value in facts.items():
        if name == "files":
            text["size on disk"] = f"{sum(value.values()) / 2**20:,.1f} MiB"
        elif isinstance(value, dict):
            text[name] = "\n".join(f"{key} {part}" for key, part in value.items())
        else:
            text[name] = f"{value:,}" if isinstance(value, int) else str(value)
    print_facts(text)
