"""`openmofi demo`: the whole job, to see what comes out."""

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from openmofi.cli.command import Restart, output_path, print_json
from openmofi.cli.options import Json
from openmofi.errors import UsageError, install_command
from openmofi.extensions import extension

AMBIGUOUS = "100000900"
"""The page "All about church or bus stop": a church may be a building, a body, a service."""


def demo(
    tiny: Annotated[
        bool, typer.Option("--tiny", help="A thousand pages that lie in the package: a minute, no network, no PyTorch.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            parser=output_path,
            metavar="FOLDER",
            help="Folder of the demo (default: openmofi-demo with --tiny, else runs/demo).",
        ),
    ] = None,
    max_entities: Annotated[int, typer.Option(min=0, help="Without --tiny: a smaller world (0: all).")] = 0,
    restart: Restart = False,
    as_json: Json = False,
) -> None:
    """Label images with known truth and say how good the labels are; goes on where it was stopped."""
    if not tiny:
        whole = extension("demos", "sample")
        if whole is None:
            raise UsageError(
                "The whole demo builds the sample world, which is no part of the package.",
                "Run openmofi demo --tiny, or make world in a checkout.",
            )
        whole(out=out or Path("runs/demo"), max_entities=max_entities, restart=restart, as_json=as_json)
        return
    from openmofi.plugins.demo.job import run_tiny
    from openmofi.progress import shown_progress

    folder = out or Path("openmofi-demo")
    with shown_progress(not as_json) as progress:
        metrics = run_tiny(folder, progress, restart=restart)
    if as_json:
        print_json(metrics)
    else:
        _print_tiny(folder, metrics)


def _print_tiny(folder: Path, metrics: dict[str, Any]) -> None:
    from openmofi.cli.tables import print_table

    def share(name: str) -> tuple[str, str]:
        low, high = metrics[f"{name}_interval"]
        return f"{metrics[name]:.3f}", f"{low:.3f}–{high:.3f}"

    print_table(
        ("labels against the truth", "", "95 % interval"),
        [
            ("precision: accepted labels that are true", *share("precision")),
            ("recall: of pages that name their entity", *share("recall")),
            ("precision of the text alone, same recall", f"{metrics['text_only_precision']:.3f}", ""),
        ],
        numbers=(1,),
        title=f"{metrics['accepted']:,} labels accepted; {metrics['rows_out']:,} of {metrics['rows_in']:,} pages out",
    )
    print(f"expected precision, an estimate without any truth: {metrics['expected_precision']:.3f}")
    print(f"look: {folder / 'report.html'}")
    print(f"search: openmofi search {folder / 'index'} --text 'a person riding a bicycle'")
    print(f"why?    openmofi explain {folder / 'labels'} --key {AMBIGUOUS}")
    install = "" if find_spec("fastapi") else f"{install_command('serve,map')} && "
    print(f"the page: {install}openmofi serve {folder / 'index'} --open")
