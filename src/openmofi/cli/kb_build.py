"""`openmofi kb build`: a knowledge base of tables, WordNet, registries' packages, or Wikidata's dumps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from openmofi.api import knowledge as api
from openmofi.cli.command import Restart, command, group, input_path, output_path, print_json
from openmofi.cli.options import Call, Json, made_of
from openmofi.cli.tables import print_manifest_facts
from openmofi.errors import UsageError

if TYPE_CHECKING:
    from openmofi.knowledge import KnowledgeBase

app = group("kb build", "Build a knowledge base; the same source gives the same bytes.")

_Source = Annotated[Path, typer.Argument(parser=input_path, metavar="SRC")]
_Out = Annotated[Path, typer.Option("-o", "--out", parser=output_path, help="Folder of the knowledge base.")]
_Candidates = Annotated[int, typer.Option(min=1, help="Most entities a name keeps.")]

Anchors = Annotated[
    list[Path] | None,
    typer.Option(
        parser=input_path,
        help="Output of 'openmofi kb anchors', by whose links names mean what they mean; again for each language.",
        metavar="FILE",
    ),
]
Pageviews = Annotated[
    Path | None,
    typer.Option(
        parser=input_path,
        help="QRank's table (Entity,QRank; .csv or .csv.gz): popularity, and priors where there are no links.",
        metavar="QRANK",
    ),
]
Redirects = Annotated[
    Path | None,
    typer.Option(
        parser=input_path,
        help="Ids that are gone and what they were merged into: lines of Q1,Q2, or of owl:sameAs in RDF.",
        metavar="FILE",
    ),
]
Columns = Annotated[
    Path | None,
    typer.Option(
        parser=input_path,
        help="TOML: which columns of Parquet that others publish hold ids, labels, claims … (docs/knowledge-base.md).",
        metavar="FILE",
    ),
]
Memory = Annotated[str, typer.Option(help="That the build may use, beside the processes that parse.")]
Workers = Annotated[int, typer.Option(min=0, help="Processes that parse; 0: one a core.")]

_TABLES = """Build a knowledge base of tables; the same tables give the same bytes.

\b
SRC is a folder of tables, each as .csv, .tsv, .jsonl or .parquet, or one file
with entities. Columns may stand in any order; lists are written a|b.
  entities   id, name [, description, types, popularity, aliases]
  names      name, entity [, count]         more names; how often each means it
  relations  head, tail [, relation]        entities that belong together
  surfaces   name, link_probability         how often a name is meant at all
  languages  name, language                 which languages a name comes from
Only entities are needed; their names and aliases are found in texts. So this
entities.csv is a whole source:
\b
  id,name,description,types,aliases
  Q1,Grey crane,a wading bird,bird,crane|common crane
  Q2,Tower crane,"a machine that lifts, on a mast",machine,crane
  Q3,White stork,a bird that nests on chimneys,bird,stork
  Q4,Port of Hamburg,a seaport on the Elbe,place,
  Q5,Elbe,a river,place,River Elbe
"""


_MIN = Annotated[int, typer.Option(min=1)]


@command(app, help=_TABLES)
@made_of(
    api.build_kb,
    builder=None,
    source=_Source,
    out=Annotated[Path | None, typer.Option("-o", "--out", parser=output_path, metavar="FOLDER")],
    candidates=_MIN,
)
def table(
    call: Call,
    source: Path,
    out: Path | None,
    check: Annotated[bool, typer.Option("--check", help="Build nothing: say how the tables are understood.")] = False,
    as_json: Json = False,
) -> None:
    """See `_TABLES`."""
    if check:
        _print_check(source, as_json)
        return
    if out is None:
        raise UsageError("The knowledge base has no folder.", "Add -o FOLDER, or --check to build nothing.")
    _print_built(call(builder="table"), as_json)


@command(app)
@made_of(api.build_kb, builder=None, source=_Source, candidates=_MIN)
def wordnet(call: Call, as_json: Json = False) -> None:
    """Build a knowledge base of WordNet's nouns; SRC is its dict folder."""
    _print_built(call(builder="wordnet"), as_json)


@command(app)
@made_of(api.build_kb, builder=None, source=_Source, candidates=_MIN)
def sample(call: Call, as_json: Json = False) -> None:
    """Build the knowledge base of a sample world, SRC."""
    _print_built(call(builder="table"), as_json)


@command(app)
def starter(
    out: _Out,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--from",
            parser=input_path,
            help="Folder with the packages' files, instead of fetching them.",
            metavar="FOLDER",
        ),
    ] = None,
    candidates: _Candidates = 30,
    restart: Restart = False,
    as_json: Json = False,
) -> None:
    """Build a general knowledge base, of packages of PyPI and npm that it fetches (90 MB, with pip and npm).

    WordNet's nouns, countries, cities, languages, currencies, brands, birds, and what Wikipedia lists as vital: people,
    works, landmarks. Sources and licences: ATTRIBUTION.md in OUT, docs/knowledge-base.md.
    """
    from openmofi.plugins.starter.build import build_starter
    from openmofi.progress import shown_progress

    with shown_progress(not as_json) as progress:
        kb = build_starter(out, folder=folder, candidates=candidates, progress=progress, restart=restart)
    _print_built(kb, as_json)


@command(app)
def wikidata(
    dumps: Annotated[
        list[Path],
        typer.Argument(
            parser=input_path,
            help="JSON dumps (.json.gz, .bz2, .zst or plain), whole or in parts; Parquet that "
            "others publish; or folders of them.",
            metavar="DUMP...",
        ),
    ],
    out: _Out,
    languages: Annotated[
        str, typer.Option(help="Of names and descriptions, such as en,de; the preferred one first.")
    ] = "en",
    transliterate: Annotated[
        str, typer.Option(help="Languages such as ru,el, whose names count in Latin letters too (Москва: Moskva).")
    ] = "",
    kinds: Annotated[str, typer.Option(help="Classes such as Q5,Q16521: only their members stay.")] = "",
    drop: Annotated[str, typer.Option(help="Classes that go, with those below them.")] = "",
    visual_only: Annotated[
        bool,
        typer.Option("--visual-only", help="Drop what no image shows as itself: articles, given names, stars, genes."),
    ] = False,
    anchors: Anchors = None,
    pageviews: Pageviews = None,
    redirects: Redirects = None,
    columns: Columns = None,
    external_ids: Annotated[
        str, typer.Option(help="Properties such as P214,P227, whose values are kept in external_ids.parquet.")
    ] = "",
    candidates: _Candidates = 30,
    memory: Memory = "4GB",
    workers: Workers = 0,
    max_broken: Annotated[
        float, typer.Option(min=0, max=1, help="Share of unreadable lines above which a dump counts as damaged.")
    ] = 0.001,
    work: Annotated[
        Path | None,
        typer.Option(
            parser=output_path,
            help="Folder for what was read, with which later builds begin.  [default: OUT.work]",
            show_default=False,
        ),
    ] = None,
    restart: Restart = False,
    as_json: Json = False,
) -> None:
    """Build a knowledge base of Wikidata's dumps; the same dumps give the same bytes. It goes on where it stopped.

    Dumps: https://dumps.wikimedia.org/wikidatawiki/entities/
    """
    from openmofi.plugins.wikidata.build import Extras, WikidataSettings, build_wikidata
    from openmofi.progress import shown_progress

    settings = WikidataSettings(
        candidates,
        languages=_listed(languages),
        kinds=_listed(kinds),
        drop=_listed(drop),
        visual_only=visual_only,
        max_broken=max_broken,
        external_ids=_listed(external_ids),
        transliterate=_listed(transliterate),
    )
    with shown_progress(not as_json) as progress:
        manifest = build_wikidata(
            dumps,
            out,
            settings,
            extras=Extras.of(anchors or (), pageviews, redirects, columns),
            work=work,
            memory=memory,
            workers=workers,
            progress=progress,
            restart=restart,
        )
    print_manifest_facts({**manifest.counts, "fingerprint": manifest.fingerprint}, as_json)


def _listed(value: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in value.split(",") if part.strip())


def _print_built(kb: KnowledgeBase, as_json: bool) -> None:
    print_manifest_facts({**kb.manifest.counts, "fingerprint": kb.manifest.fingerprint}, as_json)


def _print_check(source: Path, as_json: bool) -> None:
    from openmofi.cli.tables import print_counts, print_table
    from openmofi.knowledge import check_table

    understood = check_table(source)
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
        typer.echo(f"{len(understood['problems'])} problems" if understood["problems"] else "no problems")
    if understood["problems"]:
        raise typer.Exit(1)
