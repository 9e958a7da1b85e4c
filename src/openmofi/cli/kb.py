"""`openmofi kb`: build a knowledge base and look into it."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(no_args_is_help=True)

_JSON = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_KB = Annotated[Path, typer.Argument(help="Folder of the knowledge base.", metavar="KB")]


class Builder(StrEnum):
    """What a knowledge base is built of."""

    WORDNET = "wordnet"
    TABLE = "table"
    SAMPLE = "sample"


@app.command()
def build(
    builder: Annotated[Builder, typer.Argument(
        help="wordnet: WordNet's dict folder; table: a folder of Parquet tables; sample: a sample world.")],
    source: Annotated[Path, typer.Argument(help="What to build it of.", metavar="SRC")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of the knowledge base.")],
    candidates: Annotated[int, typer.Option(min=1, help="Most entities a name keeps.")] = 30,
    as_json: _JSON = False,
) -> None:
    """Build a knowledge base; the same source gives the same bytes."""
    from openmofi.knowledge import BuildSettings, build_table, build_wordnet
    make = build_wordnet if builder is Builder.WORDNET else build_table
    manifest = make(source, out, BuildSettings(candidates=candidates))
    _show_counts(str(out), {**manifest.counts, "fingerprint": manifest.fingerprint}, as_json)


@app.command()
def info(kb: _KB, as_json: _JSON = False) -> None:
    """Show what a knowledge base holds and what made it."""
    from openmofi.knowledge import KnowledgeBase
    opened = KnowledgeBase.open(kb)
    manifest = opened.manifest
    _show_counts(str(kb), {**manifest.counts, "builder": manifest.settings["builder"], "dim": opened.dim,
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
    found = look_up(kb, name, limit)
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False, indent=2))
        return
    if not found["candidates"]:
        typer.echo(f"The knowledge base does not know {name!r} (key {found['key']!r}).")
        return
    from rich.console import Console
    from rich.table import Table
    table = Table(title=f"{name} (key {found['key']!r}, link probability {found['link_probability']:.2f})")
    table.add_column("prior", justify="right")
    for heading in ("id", "name", "types", "description"):
        table.add_column(heading)
    for row in found["candidates"]:
        table.add_row(f"{row['prior']:.3f}", row["id"], row["name"], ", ".join(row["types"]), row["description"])
    Console().print(table)


def _show_counts(title: str, counts: dict[str, Any], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(counts, ensure_ascii=False, indent=2))
        return
    from rich.console import Console
    from rich.table import Table
    table = Table(title=title, show_header=False)
    table.add_column("what")
    table.add_column("value", justify="right")
    for key, value in counts.items():
        if key == "files":
            table.add_row("size on disk", f"{sum(value.values()) / 2**20:,.1f} MiB")
        elif isinstance(value, dict):
            table.add_row(key, "\n".join(f"{name} {text}" for name, text in value.items()))
        else:
            table.add_row(key.replace("_", " "), f"{value:,}" if isinstance(value, int) else str(value))
    Console().print(table)
