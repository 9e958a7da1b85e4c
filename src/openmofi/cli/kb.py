"""`openmofi kb`: build a knowledge base and look into it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from openmofi.cli.command import Restart, input_path, input_place, output_path, print_json
from openmofi.errors import UsageError

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

_JSON = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_KB = Annotated[str, typer.Argument(
    parser=input_place, help="Folder of the knowledge base, or its address.", metavar="KB")]


_TABLES = """Build a knowledge base; the same source gives the same bytes.

\b
table: SRC is a folder of tables, each as .csv, .tsv, .jsonl or .parquet, or one
file with entities. Columns may stand in any order; lists are written a|b.
  entities   id, name [, description, types, popularity, aliases]
  names      name, entity [, count]         more names; how often each means it
  relations  head, tail [, relation]        entities that belong together
  surfaces   name, link_probability         how often a name is meant at all
Only entities are needed; their names and aliases are found in texts. So this
entities.csv is a whole source:
\b
  id,name,description,types,aliases
  Q1,Grey crane,a wading bird,bird,crane|common crane
  Q2,Tower crane,"a machine that lifts, on a mast",machine,crane
  Q3,White stork,a bird that nests on chimneys,bird,stork
  Q4,Port of Hamburg,a seaport on the Elbe,place,
  Q5,Elbe,a river,place,River Elbe
\b
wordnet: SRC is WordNet's dict folder.  sample: SRC is a sample world.
"""


@app.command(help=_TABLES)
def build(
    builder: Annotated[Literal["wordnet", "table", "sample"], typer.Argument(help="See above.")],
    source: Annotated[Path, typer.Argument(parser=input_path, help="What to build it of.", metavar="SRC")],
    out: Annotated[Path | None, typer.Option(
        "-o", "--out", parser=output_path, help="Folder of the knowledge base.")] = None,
    candidates: Annotated[int, typer.Option(min=1, help="Most entities a name keeps.")] = 30,
    check: Annotated[bool, typer.Option("--check", help="Build nothing: say how the tables are understood.")] = False,
    restart: Restart = False,
    as_json: _JSON = False,
) -> None:
    """See `_TABLES`."""
    if check:
        if builder == "wordnet":
            raise UsageError("--check is for tables.", "Leave it out.")
        _print_check(source, as_json)
        return
    if out is None:
        raise UsageError("The knowledge base has no folder.", "Add -o FOLDER, or --check to build nothing.")
    from openmofi import api

    manifest = api.build_kb("table" if builder == "sample" else builder, source, out, candidates=candidates,
                            restart=restart).manifest
    _print_facts({**manifest.counts, "fingerprint": manifest.fingerprint}, as_json)


@app.command()
def anchors(
    dumps: Annotated[list[Path], typer.Argument(
        parser=input_path, metavar="DUMP...",
        help="pages-articles of a Wikipedia: .xml, .xml.bz2, .xml.gz or .xml.zst.")],
    out: Annotated[Path, typer.Option("-o", "--out", parser=output_path, help="Parquet file for the names.")],
    language: Annotated[str | None, typer.Option(help="The wiki's code, where a dump does not say it.")] = None,
    min_seen: Annotated[int, typer.Option(min=1, help="Find link probabilities of names seen so often.")] = 2,
    memory: Annotated[int, typer.Option(min=64, help="MiB in which the counts are summed up.")] = 2048,
    as_json: _JSON = False,
) -> None:
    """Count by which names Wikipedia's links call its articles, and how often a name is a link at all.

    The link probabilities are written beside the names: names.parquet, names.link-probability.parquet.
    """
    from openmofi.knowledge.anchors import AnchorSettings, build_anchors, probabilities_path
    from openmofi.progress import shown_progress

    settings = AnchorSettings(language, min_seen, memory_mib=memory)
    with shown_progress(False if as_json else None) as progress:
        counts = build_anchors(dumps, out, settings, progress=progress)
    _print_facts({**counts, "written": f"{out}\n{probabilities_path(out)}"}, as_json)


@app.command()
def info(kb: _KB, as_json: _JSON = False) -> None:
    """Show what a knowledge base holds and what made it."""
    from openmofi.knowledge import KnowledgeBase
    from openmofi.progress import shown_progress

    with shown_progress(not as_json) as progress:
        opened = KnowledgeBase.open(kb, progress=progress)
    manifest = opened.manifest
    _print_facts({**manifest.counts, "builder": manifest.settings["builder"], "dim": opened.dim,
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


def _print_check(source: Path, as_json: bool) -> None:
    from openmofi.cli.show.tables import print_counts, print_table
    from openmofi.knowledge import check_table

    understood = check_table(source)
    if as_json:
        print_json(understood)
    else:
        print_table(("table", "rows", "columns", "not given, so"), [
            (table["file"], f"{table['rows']:,}", ", ".join(table["columns"]),
             ", ".join(f"{column} = {default!r}" for column, default in table["defaults"].items()))
            for table in understood["tables"].values()], numbers=(1,))
        if understood["counts"]:
            typer.echo()
            print_counts("which comes to", {name.replace("_", " "): count
                                            for name, count in understood["counts"].items()})
        for line in (*understood["ignored"], *understood["problems"]):
            typer.echo(line)
        typer.echo(f"{len(understood['problems'])} problems" if understood["problems"] else "no problems")
    if understood["problems"]:
        raise typer.Exit(1)


def _print_facts(facts: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(facts)
        return
    from openmofi.cli.show.tables import print_facts

    text = {}
    for name, value in facts.items():
        if name == "digests":
            continue
        if name == "files":
            text["size on disk"] = f"{sum(value.values()) / 2**20:,.1f} MiB"
        elif isinstance(value, dict):
            text[name] = "\n".join(f"{key} {part}" for key, part in value.items())
        else:
            text[name] = f"{value:,}" if isinstance(value, int) else str(value)
    print_facts(text)
