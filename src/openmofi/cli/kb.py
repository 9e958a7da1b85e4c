"""`openmofi kb`: build a knowledge base and look into it."""

from __future__ import annotations

from typing import Annotated

import typer

from openmofi.cli import kb_build
from openmofi.cli.command import input_place, print_json
from openmofi.cli.show.tables import print_manifest_facts

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

_JSON = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_KB = Annotated[str, typer.Argument(
    parser=input_place, help="Folder of the knowledge base, or its address.", metavar="KB")]


app.add_typer(kb_build.app, name="build", help="Build a knowledge base; the same source gives the same bytes.")


@app.command()
def info(kb: _KB, as_json: _JSON = False) -> None:
    """Show what a knowledge base holds and what made it."""
    from openmofi.knowledge import KnowledgeBase
    from openmofi.progress import shown_progress

    with shown_progress(not as_json) as progress:
        opened = KnowledgeBase.open(kb, progress=progress)
    manifest = opened.manifest
    print_manifest_facts({**manifest.counts, "builder": manifest.settings["builder"], "dim": opened.dim,
                  "fingerprint": manifest.fingerprint, "inputs": manifest.inputs}, as_json)


@app.command()
def verify(kb: _KB, as_json: _JSON = False) -> None:
    """Read all of a knowledge base and compare it with what was built; exits with 1 where a file is damaged."""
    from openmofi.knowledge import verify as verify_kb
    from openmofi.progress import shown_progress

    with shown_progress(not as_json) as progress:
        problems = verify_kb(kb, progress)
    whole = not any(problems.values())
    if as_json:
        print_json({"whole": whole, "files": {name: problem or "whole" for name, problem in problems.items()}})
    else:
        for name, problem in problems.items():
            typer.echo(f"{'NOT' if problem else 'ok '} {name}{': ' if problem else ''}{problem}")
    if not whole:
        raise typer.Exit(1)


@app.command()
def lookup(
    kb: _KB,
    name: Annotated[str, typer.Argument(help="A name, as a text would spell it.")],
    limit: Annotated[int, typer.Option(min=1, help="Most candidates to show.")] = 30,
    as_json: _JSON = False,
) -> None:
    """Show what a name may mean, commonest first; exits with 1 where it is unknown."""
    from openmofi.knowledge import look_up
    from openmofi.progress import shown_progress

    with shown_progress(not as_json) as progress:
        meanings = look_up(kb, name, limit, progress=progress)
    if as_json:
        print_json(meanings)
    elif meanings["candidates"]:
        from openmofi.cli.show.tables import print_table

        print_table(("prior", "id", "name", "types", "description"), [
            (f"{row['prior']:.3f}", row["id"], row["name"], ", ".join(row["types"]), row["description"])
            for row in meanings["candidates"]], numbers=(0,),
            title=f"{name} (key {meanings['key']!r}, link probability {meanings['link_probability']:.2f})")
    else:
        nearest = f" Names spelt alike: {', '.join(meanings['nearest'])}." if meanings["nearest"] else ""
        typer.echo(f"The knowledge base does not know {name!r} (key {meanings['key']!r}).{nearest}")
    if not meanings["candidates"]:
        raise typer.Exit(1)
