"""`openmofi kb`: build a knowledge base, look into it, compare, slice and export it."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from openmofi.api import knowledge as api
from openmofi.cli import kb_build
from openmofi.cli.command import (
    Restart,
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

if TYPE_CHECKING:
    from openmofi.knowledge import Differences

app = group("kb", "Build knowledge bases, look into them, compare, slice and export them.")

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
    from openmofi.knowledge import look_up
    from openmofi.progress import shown_progress

    with shown_progress(not as_json) as progress:
        meanings = look_up(kb, name, limit, language or (), progress=progress)
    if as_json:
        print_json(meanings)
    elif meanings["candidates"]:
        from openmofi.cli.tables import print_table

        known = ("from",) if "prior_from" in meanings["candidates"][0] else ()
        print_table(
            ("prior", *known, "id", "name", "types", "description"),
            [
                (
                    f"{row['prior']:.3f}",
                    *(row["prior_from"] for _ in known),
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


@command(app)
def diff(
    old: Annotated[str, typer.Argument(parser=input_place, help="Folder of the older base.", metavar="OLD")],
    new: Annotated[str, typer.Argument(parser=input_place, help="Folder of the newer base.", metavar="NEW")],
    labels: Annotated[
        str | None,
        typer.Option(parser=input_place, help="Of entities that were judged in this folder of labels alone."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", parser=output_path, help="A .parquet file that gets all changes.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show what changed between two builds: entities added, removed, merged, renamed, described anew."""
    import openmofi

    ids = None
    if labels is not None:
        from openmofi.dataset.objects import Labels

        ids = Labels.open(labels).entities()
    print_differences(openmofi.diff_kb(old, new, ids=ids, out=out), as_json)


def print_differences(differences: Differences, as_json: bool) -> None:
    """Print counts, and the first changes of each kind."""
    if as_json:
        print_json(differences.plain())
        return
    from openmofi.cli.tables import print_counts, print_table

    print_counts("entities", {"unchanged": differences.unchanged, **differences.counts})
    rows = [row for kind, count in differences.counts.items() if count for row in differences.first(kind)]
    if rows:
        print_table(
            ("change", "id", "name", "before", "after"),
            [tuple(value or "" for value in row.values()) for row in rows],
            numbers=(),
            title="the most popular of each",
        )


@command(app)
@made_of(
    api.sample_kb,
    types=Annotated[str, typer.Option(metavar="TYPE[,…]")],
    entities=Annotated[Path | None, typer.Option(parser=input_path, metavar="FILE")],
    most=Annotated[int | None, typer.Option("--max", min=1)],
)
def sample(call: Call, types: str, as_json: Json = False) -> None:
    """Write a slice of a knowledge base: some entities, and their names, priors and vectors as they are."""
    manifest = call(types=[name.strip() for name in types.split(",") if name.strip()]).manifest
    print_manifest_facts({**manifest.counts, "fingerprint": manifest.fingerprint, "inputs": manifest.inputs}, as_json)


@command(app)
def export(
    kb: KB,
    out: Annotated[Path, typer.Option("-o", "--out", parser=output_path, help="Folder of the tables.")],
    restart: Restart = False,
    as_json: Json = False,
) -> None:
    """Write a knowledge base as the Parquet tables that 'kb build table' takes."""
    import openmofi

    counts = openmofi.export_kb(kb, out, restart=restart).counts
    print_manifest_facts(counts, as_json)
    if not as_json:
        most = max(counts["most_candidates"], 30)
        typer.echo(f"\nTo build it again: openmofi kb build table {out} --candidates {most} -o KB")


@command(app)
def union(
    bases: Annotated[
        list[Path],
        typer.Argument(parser=input_path, metavar="KB...", help="Folders of knowledge bases, or of the tables of one."),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", parser=output_path, help="Folder of the union.")],
    same_as: Annotated[
        Path | None,
        typer.Option(
            parser=input_path, help="A table with the columns id, same_as: what one base calls same_as is id."
        ),
    ] = None,
    weights: Annotated[str, typer.Option(help="Of each base's counts, such as 2,1.", metavar="W,…")] = "",
    candidates: Annotated[
        int | None,
        typer.Option(
            min=1, help="Most entities a name keeps.  [default: 30, or as many as a base has]", show_default=False
        ),
    ] = None,
    restart: Restart = False,
    as_json: Json = False,
) -> None:
    """Build one knowledge base of several, in whatever order; its tables stay in OUT.tables."""
    import openmofi
    from openmofi.errors import UsageError

    try:
        numbers = [float(weight) for weight in weights.split(",")] if weights else None
    except ValueError as error:
        raise UsageError(f"--weights is {weights!r}, which is no list of numbers.", "Write it as 2,1.") from error
    manifest = openmofi.union_kb(
        bases, out, weights=numbers, same_as=same_as, candidates=candidates, restart=restart
    ).manifest
    print_manifest_facts({**manifest.counts, "fingerprint": manifest.fingerprint}, as_json)
