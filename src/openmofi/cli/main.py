"""The `openmofi` command: registers the verbs."""

from __future__ import annotations

import logging
import os
from typing import Annotated, Any

import typer

from openmofi.cli import (
    dataset,
    demo,
    encoder,
    eval,
    explain,
    export,
    index,
    jobs,
    kb,
    label,
    link,
    mcp,
    recognise,
    reinforce,
    sample,
    schema,
    search,
    serve,
    study,
    train,
)
from openmofi.cli.command import Commands, run_app
from openmofi.terminal import VisibleLines
from openmofi.version import __version__


class _Commands(Commands):
    # `label` takes shards, so no group can stand there: `label audit` is a command whose name has two words.
    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        return super().resolve_command(ctx, ["label audit", *args[2:]] if args[:2] == ["label", "audit"] else args)


app = typer.Typer(
    name="openmofi",
    cls=_Commands,
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Noisy image–text pairs in, an entity-labelled image dataset out.",
    epilog="Start here: openmofi demo --tiny, then: openmofi explain --help",
)
app.command("demo")(demo.demo)
app.add_typer(kb.app, name="kb", help="Build knowledge bases, look into them, compare, slice and export them.")
app.command("label", help="Label image–text pairs with the entities that their images show.")(label.label)
app.command("label audit", help="Let a person judge drawn labels; correct their precision by it.")(label.audit)
app.command("explain", help="Show the whole reasoning for one image and its text.")(explain.explain)
app.add_typer(dataset.app, name="dataset", help="Turn labels into a dataset, report on it, audit it.")
app.command("reinforce")(reinforce.reinforce)
app.command("train")(train.train)
app.add_typer(study.app, name="study", help="Compare ways to train on a dataset, with size and noise held equal.")
app.add_typer(link.app, name="link", help="Train linkers: which entity a mention means.")
app.add_typer(eval.app, name="eval")
app.add_typer(encoder.app, name="encoder", help="Look into image–text encoders.")
app.command("export", help="Export an encoder for ONNX, OpenVINO or its library, where it agrees.")(export.export)
app.add_typer(index.app, name="index", help="Build an index over images, keep it up to date and whole.")
app.command("search", help="Search an index by image, text and entity.")(search.search)
app.command("recognise", help="Say what many images may show, by an index.")(recognise.recognise)
app.command("serve", help="Serve an index: the page to search, recognise and review on, and its HTTP API.")(serve.serve)
app.command("mcp", help="Offer search and recognition over an index as MCP tools, over stdio.")(mcp.mcp)
app.command("schema")(schema.schema)
app.add_typer(jobs.app, name="jobs", help="Look at jobs that run; go on with what failed.")
app.add_typer(sample.app, name="sample", help="The sample world: real images with known truth, and its encoder.")


def _version(show: bool) -> None:
    if show:
        typer.echo(f"openmofi {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.", envvar="OPENMOFI_DEBUG")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log what the stages do.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    # The variable is read by `openmofi.cli.command`, outside of typer.
    os.environ["OPENMOFI_DEBUG"] = "1" if debug else ""
    os.environ.setdefault("OPENMOFI_SAMPLE_ENCODERS", "runs/demo/encoders")
    level = logging.INFO if verbose else logging.WARNING
    logged = logging.StreamHandler()
    logged.setFormatter(VisibleLines("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[logged])


def run() -> None:
    """The console script; see `run_app`."""
    # Python starts workers by `-c`, which imports from the working directory before all else, and a stranger's files
    # may lie there.
    os.environ["PYTHONSAFEPATH"] = "1"
    run_app(app)
