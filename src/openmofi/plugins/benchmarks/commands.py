"""`openmofi eval mteb`, `eval sources` and `eval compare`."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from openmofi.cli.command import output_path, print_json
from openmofi.cli.options import Json
from openmofi.errors import UsageError


def mteb(
    tasks: Annotated[list[str], typer.Argument(metavar="TASKS...", help="Tasks or benchmarks of mteb: 'MIEB(lite)'.")],
    encoder: Annotated[str, typer.Option("--encoder", metavar="SPEC", help="As openmofi encoder info.")],
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", parser=output_path, metavar="DIR", help="Write a JSON of each result there."),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images or texts of a forward pass.")] = 32,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 …")] = "auto",
    precision: Annotated[str, typer.Option(help="Of the encoder's towers: fp32, bf16 or fp16.")] = "fp32",
    as_json: Json = False,
) -> None:
    """Run image tasks of mteb (openmofi[mteb]), which downloads their data itself; compare reads the results."""
    from openmofi.encoders import open_encoder
    from openmofi.plugins.benchmarks.mteb import run_tasks

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


def sources(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="A dataset; all are listed without.")] = None,
    check: Annotated[
        Path | None,
        typer.Option("--check", metavar="DIR", help="Check what is in this folder: counts, checksums of archives."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Say where datasets come from, their licences and layouts; with --check, whether a folder is whole."""
    from openmofi.plugins.benchmarks.sources import check_source, data_sources, source_named

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
    """Print encoders side by side, with p-values of their paired differences to the first of each protocol."""
    from openmofi.plugins.benchmarks import compare as comparing

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
        for protocol in compared:
            print_comparison(protocol.results[0].protocol, comparing.table_rows(protocol))
            for said in comparing.cautions(protocol):
                typer.echo(said)
    else:
        typer.echo((comparing.markdown if style == "markdown" else comparing.as_csv)(compared), nl=False)


def print_comparison(title: str, rows: list[list[str]]) -> None:
    """Print a header and rows of cells, turned: a column an encoder."""
    from openmofi.cli.tables import print_table

    head, *encoders = zip(*rows, strict=True)
    print_table(head, [(row[0].removeprefix(f"{title}/"), *row[1:]) for row in encoders], title=title)
