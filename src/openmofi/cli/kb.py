"""`openmofi kb`: build a knowledge base and look into it; packages add commands."""

from itertools import islice
from typing import Annotated

import typer

from openmofi.cli import kb_build
from openmofi.cli.command import Commands, command, group, input_place, print_checked, print_json
from openmofi.cli.options import Json
from openmofi.cli.tables import print_manifest_facts


class _Kb(Commands):
    order = ("info", "verify", "lookup", "diff", "sample", "export", "union", "build")


app = group("kb", "Build knowledge bases, look into them, compare, slice and export them.", _Kb)

_TYPES = 10
KB = Annotated[
    str, typer.Argument(parser=input_place, help="Folder of the knowledge base, or its address.", metavar="KB")
]


app.add_typer(kb_build.app, name="build", help="Build a knowledge base; the same source gives the same bytes.")


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
