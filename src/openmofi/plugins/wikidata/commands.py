"""`openmofi kb build wikidata`, `kb anchors` and `kb update`."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from openmofi.cli.command import Restart, input_path, output_path
from openmofi.cli.kb import KB, CandidatesOption, Out
from openmofi.cli.options import Json
from openmofi.cli.tables import print_manifest_facts
from openmofi.errors import UsageError
from openmofi.plugins.bases.commands import print_differences

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
        help="QRank's table, or item_signals of qrank.toolforge.org: popularity, and priors where there are no links.",
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
        help="Of Parquet of others: wmde, permutans, or TOML: which columns hold what (docs/knowledge-base.md).",
        metavar="LAYOUT",
    ),
]
Memory = Annotated[str, typer.Option(help="That the build may use, beside the processes that parse.")]
Workers = Annotated[int, typer.Option(min=0, help="Processes that parse; 0: one a core.")]


def anchors(
    dumps: Annotated[
        list[Path],
        typer.Argument(
            parser=input_path,
            metavar="DUMP...",
            help="pages-articles of a Wikipedia: .xml, .xml.bz2, .xml.gz or .xml.zst.",
        ),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", parser=output_path, help="Parquet file for the names.")],
    language: Annotated[str | None, typer.Option(help="The wiki's code, where a dump does not say it.")] = None,
    min_seen: Annotated[int, typer.Option(min=1, help="Find link probabilities of names seen so often.")] = 2,
    memory: Annotated[int, typer.Option(min=64, help="MiB in which the counts are summed up.")] = 2048,
    workers: Workers = 0,
    as_json: Json = False,
) -> None:
    """Count by which names Wikipedia's links call its articles, and how often a name is a link at all.

    The link probabilities are written beside the names: names.parquet, names.link-probability.parquet.
    """
    from openmofi.plugins.wikidata.anchor_tables import probabilities_path
    from openmofi.plugins.wikidata.anchors import AnchorSettings, build_anchors
    from openmofi.progress import shown_progress

    settings = AnchorSettings(language, min_seen, memory_mib=memory)
    with shown_progress(False if as_json else None) as progress:
        counts = build_anchors(dumps, out, settings, workers=workers, progress=progress)
    print_manifest_facts({**counts, "written": f"{out}\n{probabilities_path(out)}"}, as_json)


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
    out: Out,
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
    candidates: CandidatesOption = 30,
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


def update(
    kb: KB,
    out: Annotated[Path, typer.Option("-o", "--out", parser=output_path, help="Folder of the new base.")],
    dumps: Annotated[
        list[Path] | None,
        typer.Argument(
            parser=input_path, help="Newer JSON dumps of Wikidata, whole, or folders of them.", metavar="DUMP"
        ),
    ] = None,
    changed: Annotated[
        list[Path] | None,
        typer.Option(
            parser=input_path,
            help="In place of dumps: JSON of the items that were changed or added, or a folder; may be given again.",
            metavar="FILE",
        ),
    ] = None,
    deleted: Annotated[
        Path | None,
        typer.Option(parser=input_path, help="With or without --changed: ids that were deleted, one a line."),
    ] = None,
    since: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ"],
            help="Ask Wikidata what was edited since this time (UTC), at most 30 days ago.",
            metavar="DATE",
        ),
    ] = None,
    contact: Annotated[
        str, typer.Option(help="With --since: mail address or page of who asks, which Wikimedia wants to know.")
    ] = "",
    anchors: Anchors = None,
    pageviews: Pageviews = None,
    redirects: Redirects = None,
    columns: Columns = None,
    memory: Memory = "4GB",
    workers: Workers = 0,
    work: Annotated[
        Path | None,
        typer.Option(parser=output_path, help="Folder for what was read.  [default: KB.work]", show_default=False),
    ] = None,
    restart: Restart = False,
    as_json: Json = False,
) -> None:
    """Bring a base of Wikidata up to date under its own settings, by newer dumps or by edits; show what changed.

    Newer dumps: files that are the same are not read again. Edits (--changed, --deleted and --redirects, or --since)
    are applied to what was read for KB, which KB.work has; OUT.work gets it too, for the next edits. KB stays as it is.
    Priors need their files anew.
    """
    from openmofi.plugins.wikidata.build import Extras
    from openmofi.plugins.wikidata.recent_changes import Api
    from openmofi.plugins.wikidata.update import apply_edits, update_kb, update_since
    from openmofi.progress import shown_progress

    if bool(dumps) + bool(changed or deleted) + bool(since) > 1 or (since and redirects):
        raise UsageError(
            "Dumps have all items, --changed, --deleted and --redirects edits, and --since asks for edits.",
            "Give one of the three.",
        )
    with shown_progress(not as_json) as progress:
        how: dict[str, Any] = {
            "extras": Extras.of(anchors or (), pageviews, redirects, columns),
            "work": work,
            "memory": memory,
            "workers": workers,
            "progress": progress,
            "restart": restart,
        }
        if dumps:
            differences = update_kb(kb, dumps, out, **how)
        elif since:
            differences = update_since(kb, since.replace(tzinfo=UTC), out, api=Api(contact=contact), **how)
        else:
            differences = apply_edits(kb, changed or (), out, deleted=deleted, **how)
    print_differences(differences, as_json)


def _listed(value: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in value.split(",") if part.strip())
