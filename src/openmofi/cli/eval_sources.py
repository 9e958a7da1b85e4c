"""`openmofi eval sources`: where published datasets come from, and whether what is on disk is whole."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from openmofi.errors import UsageError


def sources(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="A dataset; all are listed without.")] = None,
    check: Annotated[Path | None, typer.Option(
        "--check", metavar="DIR", help="Check what is in this folder: counts, checksums of archives.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say where datasets come from, their licences and layouts; with --check, whether a folder is whole."""
    from openmofi.evaluation.sources import SOURCES, source_named

    if check is not None and name is None:
        raise UsageError("--check needs the name of a dataset.", "Write openmofi eval sources NAME --check DIR.")
    if name is None:
        _print(as_json, {key: _told(source) for key, source in SOURCES.items()},
               [f"{key:<12} {source.counts.partition(';')[0]}; {', '.join(source.protocols)}"
                for key, source in SOURCES.items()])
        return
    told = _told(source_named(name))
    if check is None:
        _print(as_json, told, [f"{key + ':':<11} {', '.join(value) if isinstance(value, tuple) else value}"
                               for key, value in told.items() if value])
        return
    _check(name, check, as_json)


def _check(name: str, folder: Path, as_json: bool) -> None:
    from openmofi.evaluation.sources import check_source

    findings = check_source(name, folder)
    whole = all(one.ok for one in findings)
    _print(as_json, {"whole": whole, "findings": [asdict(one) for one in findings]},
           [f"{'ok ' if one.ok else 'NOT'} {one.what}: {one.found}" for one in findings])
    if not whole:
        raise typer.Exit(1)


def _told(source: Any) -> dict[str, Any]:
    return {name: getattr(source, name) for name in ("protocols", "home", "licence", "layout", "counts")} | {
        "archives": tuple(f"{file} (MD5 {digest})" for file, digest in source.archives.items())}


def _print(as_json: bool, value: Any, lines: list[str]) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False) if as_json else "\n".join(lines))
