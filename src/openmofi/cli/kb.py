"""`openmofi kb`: build a knowledge base and look into it; packages add commands."""

from __future__ import annotations

from dataclasses import fields
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from openmofi.api import knowledge as api
from openmofi.cli.command import (
    Commands,
    command,
    group,
    input_path,
    input_place,
    output_path,
    print_checked,
    print_json,
)
from openmofi.cli.options import Call, Json, made_of
from openmofi.cli.tables import print_manifest_facts
from openmofi.errors import UsageError
from openmofi.extensions import extension
from openmofi.knowledge.build_settings import TableSettings

if TYPE_CHECKING:
    from openmofi.knowledge import KnowledgeBase


class _Kb(Commands):
    order = ("info", "verify", "lookup", "add-images", "diff", "sample", "export", "union", "publish", "fetch", "build")


app = group("kb", "Build knowledge bases, look into them, compare, slice and export them.", _Kb)

_TYPES = 10
KB = Annotated[
    str, typer.Argument(parser=input_place, help="Folder of the knowledge base, or its address.", metavar="KB")
]


@command(app)
def info(kb: KB, as_json: Json = False) -> None:
    """Show what a knowledge base holds and what made it: counts, commonest types, classes with all that belongs to
    them, sizes of files, sources of priors.
    """
    from openmofi.knowledge import KnowledgeBase
    from openmofi.knowledge.candidates import type_counts
    from openmofi.progress import shown_progress

    with shown_progress(not as_json) as progress:
        opened = KnowledgeBase.open(kb, progress=progress)
    manifest = opened.manifest
    types = dict(islice(type_counts(opened.entities).items(), _TYPES))
    relations = opened.beside.relations
    classes = {
        f"{opened.ids([row])[0]} {opened.entity(row).name}": members
        for row, members in (relations.largest(_TYPES) if relations else {}).items()
    }
    facts = {
        **manifest.counts,
        "types": types,
        "classes": classes,
        "builder": manifest.settings["builder"],
        "dim": opened.dim,
        "fingerprint": manifest.fingerprint,
        "inputs": manifest.inputs,
    }
    if not as_json:
        facts["sizes"] = {name: f"{size / 2**20:,.1f} MiB" for name, size in manifest.counts["files"].items()}
    print_manifest_facts(facts, as_json)


@command(app)
def verify(kb: KB, as_json: Json = False) -> None:
    """Read all of a knowledge base and compare it with what was built; exits with 1 where a file is damaged."""
    from openmofi.knowledge import verify as verify_kb
    from openmofi.progress import shown_progress

    with shown_progress(not as_json) as progress:
        problems = verify_kb(kb, progress)
    print_checked(problems, as_json)


@command(app)
def lookup(
    kb: KB,
    name: Annotated[str, typer.Argument(help="A name, as a text would spell it.")],
    limit: Annotated[int, typer.Option(min=1, help="Most candidates to show.")] = 30,
    language: Annotated[
        list[str] | None, typer.Option(help="Only as a name of this language, such as en; may be given again.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show what a name may mean, commonest first; exits with 1 where it is unknown."""
    from openmofi.knowledge import KnowledgeBase
    from openmofi.progress import shown_progress

    with shown_progress(not as_json) as progress:
        meanings = KnowledgeBase.open(kb, progress=progress).lookup(name, limit, language or ())
    if as_json:
        print_json(meanings)
    elif meanings["candidates"]:
        from openmofi.cli.tables import print_table

        columns = ("from",) if "prior_from" in meanings["candidates"][0] else ()
        print_table(
            ("prior", *columns, "id", "name", "types", "description"),
            [
                (
                    f"{row['prior']:.3f}",
                    *(row["prior_from"] for _ in columns),
                    row["id"],
                    row["name"],
                    ", ".join(row["types"]),
                    row["description"],
                )
                for row in meanings["candidates"]
            ],
            numbers=(0,),
            title=f"{name} (key {meanings['key']!r}, link probability {meanings['link_probability']:.2f})",
        )
    else:
        nearest = f" Names spelt alike: {', '.join(meanings['nearest'])}." if meanings["nearest"] else ""
        typer.echo(f"The knowledge base does not know {name!r} (key {meanings['key']!r}).{nearest}")
    if not meanings["candidates"]:
        raise typer.Exit(1)


class _Builders(Commands):
    order = ("table", "wordnet", "sample")


build = group("kb build", "Build a knowledge base; the same source gives the same bytes.", _Builders)

Source = Annotated[Path, typer.Argument(parser=input_path, metavar="SRC")]
Out = Annotated[Path, typer.Option("-o", "--out", parser=output_path, help="Folder of the knowledge base.")]
CandidatesOption = Annotated[int, typer.Option(min=1, help="Most entities a name keeps.")]

_TABLES = """Build a knowledge base of tables; the same tables give the same bytes.

\b
SRC is a folder of tables, each as .csv, .tsv, .jsonl or .parquet, or one file
with entities, separated by commas, semicolons or tabs. Columns may stand in any
order; lists are written a|b.
  entities   id, name [, description, types, popularity, aliases]
  names      name, entity [, count]         more names; how often each means it
  relations  head, tail [, relation]        entities that belong together
  surfaces   name, link_probability         how often a name is meant at all
  languages  name, language                 which languages a name comes from
Only entities are needed; their names and aliases are found in texts. Options
say which of their columns have other names. This entities.csv is a whole
source:
\b
  id,name,description,types,aliases
  Q1,Grey crane,a wading bird,bird,crane|common crane
  Q2,Tower crane,"a machine that lifts, on a mast",machine,crane
  Q3,White stork,a bird that nests on chimneys,bird,stork
  Q4,Port of Hamburg,a seaport on the Elbe,place,
  Q5,Elbe,a river,place,River Elbe
"""


MIN = Annotated[int, typer.Option(min=1)]
NO_TABLES: dict[str, Any] = dict.fromkeys(each.name for each in fields(TableSettings))
"""Leaves the options of tables out."""


@command(build, help=_TABLES)
@made_of(
    api.build_kb,
    builder=None,
    source=Source,
    out=Annotated[Path | None, typer.Option("-o", "--out", parser=output_path, metavar="FOLDER")],
    candidates=MIN,
)
def table(
    call: Call,
    source: Path,
    out: Path | None,
    check: Annotated[bool, typer.Option("--check", help="Build nothing: say how the tables are understood.")] = False,
    guess: Annotated[bool, typer.Option("--guess", help="Recognise the columns of the entities.")] = False,
    as_json: Json = False,
) -> None:
    """See `_TABLES`."""
    if guess:
        call = partial(call, **extension("guesses", "entities")(source, call.keywords, show=not as_json))
    if check:
        given = {name: value for name, value in call.keywords.items() if name in NO_TABLES}
        _print_check(source, TableSettings(**given), as_json)
        return
    if out is None:
        raise UsageError("The knowledge base has no folder.", "Add -o FOLDER, or --check to build nothing.")
    print_built(call(builder="table"), as_json)


@command(build)
@made_of(api.build_kb, builder=None, source=Source, candidates=MIN, **NO_TABLES)
def sample(call: Call, as_json: Json = False) -> None:
    """Build the knowledge base of a sample world, SRC."""
    print_built(call(builder="table"), as_json)


def print_built(kb: KnowledgeBase, as_json: bool) -> None:
    """Print what a base that was built holds."""
    print_manifest_facts({**kb.manifest.counts, "fingerprint": kb.manifest.fingerprint}, as_json)


def _print_check(source: Path, settings: TableSettings, as_json: bool) -> None:
    from openmofi.cli.tables import print_counts, print_table
    from openmofi.knowledge import check_table

    understood = check_table(source, settings)
    if as_json:
        print_json(understood)
    else:
        print_table(
            ("table", "rows", "columns", "not given, so"),
            [
                (
                    table["file"],
                    f"{table['rows']:,}",
                    ", ".join(table["columns"]),
                    ", ".join(f"{column} = {default!r}" for column, default in table["defaults"].items()),
                )
                for table in understood["tables"].values()
            ],
            numbers=(1,),
        )
        if understood["counts"]:
            typer.echo()
            print_counts(
                "which comes to", {name.replace("_", " "): count for name, count in understood["counts"].items()}
            )
        for line in (*understood["ignored"], *understood["problems"]):
            typer.echo(line)
        count = len(understood["problems"])
        typer.echo("no problems" if not count else "1 problem" if count == 1 else f"{count} problems")
    if understood["problems"]:
        raise typer.Exit(1)


app.add_typer(build, name="build", help="Build a knowledge base; the same source gives the same bytes.")
