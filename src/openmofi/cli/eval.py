"""`openmofi eval`: how good an encoder or a linker is, by published protocols; and results compared."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from openmofi.api import encoders as api
from openmofi.cli.command import Commands, command, group, output_path, print_json
from openmofi.cli.options import Call, Json, made_of
from openmofi.errors import UsageError


class _Protocols(Commands):
    """Each protocol is a command; they share one function, which finds its own name in the context."""

    order = ("PROTOCOL", "mteb")

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Any name that is not a command's is a protocol's."""
        name, *rest = args
        if name in self.list_commands(ctx) or name.startswith("-"):
            return super().resolve_command(ctx, args)
        from openmofi.evaluation.run import check_protocol

        check_protocol(name)
        return name, self.commands["PROTOCOL"], rest


app = group(
    "eval",
    "Judge an encoder or a linker as the papers do, and compare results.",
    _Protocols,
    invoke_without_command=True,
    epilog="The protocols: openmofi eval --list",
)


@app.callback()
def _group(
    context: typer.Context,
    list_protocols: Annotated[bool, typer.Option("--list", help="List the protocols.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the list as JSON.")] = False,
) -> None:
    """Judge an encoder or a linker as the papers do, and compare results."""
    if list_protocols:
        from openmofi.cli.tables import print_names
        from openmofi.evaluation.run import protocols

        print_names({name: what for name, (_, what) in protocols().items()}, as_json)
        raise typer.Exit
    if context.invoked_subcommand is None:
        raise UsageError("No protocol is given.", "Name one; openmofi eval --list shows them.")


@command(app, "PROTOCOL")
@made_of(
    api.evaluate,
    first=("data", "encoder", "linker", "out"),
    protocol=None,
    data=Annotated[Path, typer.Option(metavar="DIR")],
    out=Annotated[Path | None, typer.Option("-o", "--out", parser=output_path, metavar="DIR")],
    failures=Annotated[int, typer.Option(min=0)],
    bands=Annotated[str | None, typer.Option(metavar="DATASET")],
)
def run(
    call: Call,
    context: typer.Context,
    out: Path | None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a setting of the protocol; may be repeated."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Evaluate an encoder, or a linker, by a protocol of `openmofi eval --list`, named in place of PROTOCOL."""
    from openmofi.config import settings_from
    from openmofi.evaluation.result import result_path
    from openmofi.evaluation.run import protocol_named

    name = str(context.info_name)
    settings = settings_from(protocol_named(name).settings(), changes or ())
    result = call(name, settings=settings, progress=not as_json)
    plain = result.as_dict() | ({"written": str(result_path(out, result))} if out else {})
    if as_json:
        print_json(plain)
        return
    from openmofi.cli.tables import print_evaluation

    print_evaluation(plain)
    if out:
        typer.echo(f"written: {plain['written']}")


@command(app)
def sources(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="A dataset; all are listed without.")] = None,
    check: Annotated[
        Path | None,
        typer.Option("--check", metavar="DIR", help="Check what is in this folder: counts, checksums of archives."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Say where datasets come from, their licences and layouts; with --check, whether a folder is whole."""
    from openmofi.evaluation.sources import check_source, data_sources, source_named

    value: dict[str, Any]
    whole = True
    if check is not None:
        if name is None:
            raise UsageError("--check needs the name of a dataset.", "Write openmofi eval sources NAME --check DIR.")
        findings = check_source(name, check)
        whole = all(finding.ok for finding in findings)
        value = {"whole": whole, "findings": [asdict(finding) for finding in findings]}
        lines = [f"{'ok ' if finding.ok else 'NOT'} {finding.what}: {finding.measured}" for finding in findings]
    elif name is not None:
        value = _source(source_named(name))
        lines = [
            f"{key + ':':<11} {', '.join(entry) if isinstance(entry, list) else entry}"
            for key, entry in value.items()
            if entry
        ]
    else:
        value = {key: _source(source) for key, source in data_sources().items()}
        lines = [
            f"{key:<12} {source.counts.partition(';')[0]}; {', '.join(source.protocols)}"
            for key, source in data_sources().items()
        ]
    if as_json:
        print_json(value)
    else:
        typer.echo("\n".join(lines))
    if not whole:
        raise typer.Exit(1)


def _source(source: Any) -> dict[str, Any]:
    return {name: getattr(source, name) for name in ("protocols", "home", "licence", "layout", "counts")} | {
        "archives": [f"{file} (MD5 {digest})" for file, digest in source.archives.items()]
    }


@command(app)
def compare(
    results: Annotated[
        list[str],
        typer.Argument(
            metavar="RESULTS...", help="JSON files of `openmofi eval --out`; NAME=FILE joins the seeds of one recipe."
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            parser=output_path,
            metavar="DIR",
            help="Write compare.md, compare.csv and an SVG for each protocol.",
        ),
    ] = None,
    style: Annotated[str, typer.Option("--format", help="table, markdown or csv.")] = "table",
    as_json: Json = False,
) -> None:
    """Print encoders side by side, with p-values of paired bootstraps against the first of each protocol."""
    from openmofi.evaluation import compare as comparing

    if style not in ("table", "markdown", "csv"):
        raise UsageError(f"Unknown format {style!r}.", "Use table, markdown or csv.")
    compared = comparing.compare_results(results)
    if out:
        from openmofi.storage import write_text, written_together

        with written_together(out):
            write_text(out / "compare.md", comparing.markdown(compared))
            write_text(out / "compare.csv", comparing.as_csv(compared))
            for protocol in compared:
                write_text(out / f"{protocol.results[0].protocol}.svg", str(comparing.figure(protocol)))
    if as_json:
        print_json([protocol.as_dict() for protocol in compared])
    elif style == "table":
        from openmofi.cli.tables import print_comparison

        for protocol in compared:
            print_comparison(protocol.results[0].protocol, comparing.table_rows(protocol))
    else:
        typer.echo((comparing.markdown if style == "markdown" else comparing.as_csv)(compared), nl=False)
