"""`openmofi reinforce`: what teachers know of labelled pairs, computed once and stored."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from openmofi.errors import MissingExtraError, UsageError


def reinforce(
    shards: Annotated[list[str], typer.Argument(metavar="PAIRS", help="Shards of pairs, as `openmofi label` took.")],
    teachers: Annotated[str, typer.Option(metavar="SPEC:SCALE[,…]", help="Encoders, each with its own scale.")],
    labels: Annotated[Path | None, typer.Option(help="Folder written by `openmofi label`.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="STORE", help="Folder of the store.")] = None,
    kb: Annotated[Path | None, typer.Option(help="Knowledge base of the labels: describes entities.")] = None,
    dataset: Annotated[Path | None, typer.Option(
        help="Only the rows of this dataset, built from the labels (default: every usable pair).")] = None,
    augmentations: Annotated[int, typer.Option("--augs", help="Augmentations a sample.")] = 5,
    captions: Annotated[int, typer.Option(help="Synthetic texts a sample.")] = 2,
    captioner: Annotated[str, typer.Option(
        help="hf:PATH-OR-ID of an image-to-text model (default: texts of the accepted entities).")] = "",
    entity_scores: Annotated[int, typer.Option(
        metavar="K", help="Keep each teacher's K likeliest of the accepted entities (default: none).")] = 0,
    precision: Annotated[Literal["fp16", "bf16", "int8"], typer.Option(help="Of the stored embeddings.")] = "fp16",
    size: Annotated[int, typer.Option(help="Pixels a side of an augmentation (default: the largest teacher's).")] = 0,
    batch_size: Annotated[int, typer.Option(help="Augmentations a forward pass.")] = 64,
    device: Annotated[str, typer.Option(help="Of the teachers: cpu, cuda, cuda:1 …, or auto.")] = "cpu",
    engine: Annotated[str, typer.Option(help="local, processes:N, ray or ray:ADDRESS.")] = "local",
    seed: Annotated[int, typer.Option(help="Of the augmentations and texts.")] = 0,
    tune_scale: Annotated[bool, typer.Option(
        "--tune-scale", help="Find the teachers' scales on these held-out pairs, and store nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as JSON.")] = False,
) -> None:
    """Store augmentations, synthetic texts and teachers' embeddings of labelled pairs; no image is copied."""
    try:
        from openmofi import reinforcement
    except ModuleNotFoundError as error:
        raise MissingExtraError.of(error.name or "torchvision", "train") from error
    from openmofi.engine import engine_named
    from openmofi.progress import shown_progress
    from openmofi.storage import expand_shards

    if tune_scale:
        held_out = expand_shards(shards)
        found = [{"spec": spec, **asdict(reinforcement.tune_scale(held_out, spec, seed=seed, device=device))}
                 for spec in reinforcement.parse_specs(teachers)]
        _print_scales(found, as_json)
        return
    settings = reinforcement.ReinforceSettings(
        reinforcement.parse_teachers(teachers), augmentations, captions, precision, size, captioner,
        batch_size=batch_size, seed=seed, entity_scores=entity_scores)
    if labels is None or out is None:
        raise UsageError(f"There is no {'folder of labels' if labels is None else 'folder for the store'}.",
                         "Add --labels LABELS." if labels is None else "Add -o STORE.")
    with shown_progress(not as_json) as progress:
        counts = reinforcement.reinforce(expand_shards(shards), labels, out, settings, kb=kb, dataset=dataset,
                                         device=device, engine=engine_named(engine), progress=progress)
    if as_json:
        typer.echo(json.dumps(counts, indent=2, ensure_ascii=False))
        return
    _print(counts, out, precision)


def _print_scales(found: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    for one in found:
        typer.echo(f"{one['spec']}: scale {one['scale']:.1f}, cross-entropy {one['cross_entropy']:.3f} and "
                   f"{one['accuracy']:.1%} right in batches of {one['batch']} ({one['pairs']:,} pairs)")
    typer.echo("--teachers " + ",".join(f"{one['spec']}:{one['scale']:.1f}" for one in found))


def _print(counts: dict[str, Any], out: Path, precision: str) -> None:
    from rich.console import Console
    from rich.table import Table

    told = ", ".join(f"{count:,} {status}" for status, count in sorted(counts["status"].items(), key=lambda i: -i[1]))
    typer.echo(f"{counts['rows']:,} pairs in {out}: {told}; {counts['bytes_per_sample']:,} bytes a sample")
    for refused in counts["refused"]:
        typer.echo(f"  {refused}")
    if counts["own_texts"]:
        typer.echo(f"{counts['own_texts']:,} samples have no accepted entity or no caption: their own text stands in")
    table = Table(title=f"similarities as stored, over {counts['fidelity_samples']:,} samples", title_justify="left")
    for heading in ("teacher", "precision", "KL (nats)", "mean |difference|"):
        table.add_column(heading, justify="left" if heading in ("teacher", "precision") else "right")
    for teacher, figures in counts["fidelity"].items():
        for name, measured in figures.items():
            shown = f"{name} (stored)" if name == precision else name
            table.add_row(teacher, shown, f"{measured['kl']:.2e}", f"{measured['absolute']:.2e}")
    Console().print(table)
