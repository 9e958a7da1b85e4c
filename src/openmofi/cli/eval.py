"""`openmofi eval`: how good an encoder or a linker is, by published protocols; and results compared."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
import typer.core

from openmofi.cli.command import Precision, output_path, print_json
from openmofi.errors import UsageError


class _Protocols(typer.core.TyperGroup):
    """Each protocol is a command; they share one function, which finds its own name in the context."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Any name but `compare`, `sources` and `mteb` is a protocol's."""
        name, *rest = args
        if name in self.commands or name.startswith("-"):
            return super().resolve_command(ctx, args)
        from openmofi.evaluation.run import check_protocol

        check_protocol(name)
        return name, self.commands["PROTOCOL"], rest


app = typer.Typer(
    cls=_Protocols,
    rich_markup_mode=None,
    no_args_is_help=True,
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
        from openmofi.cli.show.tables import print_names
        from openmofi.evaluation.run import protocols

        print_names({name: what for name, (_, what) in protocols().items()}, as_json)
        raise typer.Exit
    if context.invoked_subcommand is None:
        raise UsageError("No protocol is given.", "Name one; openmofi eval --list shows them.")


@app.command("PROTOCOL")
def run(
    context: typer.Context,
    data: Annotated[Path, typer.Option("--data", metavar="DIR", help="The data, in the protocol's layout.")],
    encoder: Annotated[str | None, typer.Option("--encoder", metavar="SPEC", help="As openmofi encoder info.")] = None,
    linker: Annotated[
        str,
        typer.Option(
            "--linker",
            metavar="SPEC",
            help="prior, fusion:PATH, coherence:KB; of linking: prior, coherence, fusion:PATH.",
        ),
    ] = "",
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            parser=output_path,
            metavar="DIR",
            help="Write the result there (JSON, and Parquet of all items).",
        ),
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option(
            parser=output_path, metavar="DIR", help="Keeps features for all protocols (default: ~/.cache/openmofi)."
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a setting of the protocol; may be repeated."),
    ] = None,
    features: Annotated[str, typer.Option(help="joint, backbone, or auto: joint where there is one.")] = "auto",
    half: Annotated[bool, typer.Option("--half", help="Keep features as float16.")] = False,
    failures: Annotated[int, typer.Option(min=0, help="Worst queries on the page beside the result.")] = 20,
    bands: Annotated[
        str | None,
        typer.Option(
            "--bands", metavar="DATASET", help="Give metrics by how many images of a class this label dataset has, too."
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="Of the encoder or linker: auto, cpu, cuda, cuda:1 …")] = "auto",
    precision: Precision = "fp32",
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Evaluate an encoder, or a linker, by a protocol of `openmofi eval --list`, named in place of PROTOCOL."""
    name = str(context.info_name)
    from openmofi import api
    from openmofi.evaluation.result import result_path

    result = api.evaluate(
        name,
        data=data,
        encoder=encoder,
        linker=linker,
        out=out,
        cache=cache,
        settings=settings or (),
        features=features,
        half=half,
        failures=failures,
        device=device,
        precision=precision,
        bands=bands,
        progress=not as_json,
    )
    plain = result.as_dict() | ({"written": str(result_path(out, result))} if out else {})
    if as_json:
        print_json(plain)
        return
    from openmofi.cli.show.tables import print_evaluation

    print_evaluation(plain)
    if out:
        typer.echo(f"written: {plain['written']}")


@app.command("mteb")
def mteb(
    tasks: Annotated[list[str], typer.Argument(metavar="TASKS...", help="Tasks or benchmarks of mteb: 'MIEB(lite)'.")],
    encoder: Annotated[str, typer.Option("--encoder", metavar="SPEC", help="As openmofi encoder info.")],
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", parser=output_path, metavar="DIR", help="Write a JSON of each result there."),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images or texts of a forward pass.")] = 32,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 …")] = "auto",
    precision: Precision = "fp32",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Run image tasks of mteb (openmofi[mteb]), which downloads their data itself; compare reads the results."""
    from openmofi.encoders import open_encoder
    from openmofi.evaluation.mteb import run_tasks

    results = run_tasks(
        open_encoder(encoder, device=device, precision=precision), tasks, out=out, batch_size=batch_size
    )
    if as_json:
        print_json([result.as_dict() for result in results])
        return
    for result in results:
        typer.echo(
            f"{result.metrics[result.headline]:.4f}  {result.headline} "
            f"({result.data['split']}, {result.data['subset']})"
        )


@app.command("sources")
def sources(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="A dataset; all are listed without.")] = None,
    check: Annotated[
        Path | None,
        typer.Option("--check", metavar="DIR", help="Check what is in this folder: counts, checksums of archives."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
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
            f"{key + ':':<11} {', '.join(entry) if isinstance(entry, tuple) else entry}"
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
        "archives": tuple(f"{file} (MD5 {digest})" for file, digest in source.archives.items())
    }


@app.command("compare")
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
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
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
        from openmofi.cli.show.tables import print_comparison

        for protocol in compared:
            print_comparison(protocol.results[0].protocol, comparing.table_rows(protocol))
    else:
        typer.echo((comparing.markdown if style == "markdown" else comparing.as_csv)(compared), nl=False)
