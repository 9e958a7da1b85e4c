"""`openmofi reinforce`: what teachers know of labelled pairs, computed once and stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from openmofi.cli.command import EngineName, Restart, input_path, output_path, print_json
from openmofi.cli.recipes import required
from openmofi.errors import MissingExtraError


def reinforce(
    shards: Annotated[list[str], typer.Argument(metavar="PAIRS", help="Shards of pairs, as `openmofi label` took.")],
    teachers: Annotated[str, typer.Option(metavar="SPEC:SCALE[,…]", help="Encoders, each with its own scale.")],
    labels: Annotated[Path | None, typer.Option(parser=input_path, help="Folder written by `openmofi label`.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", parser=output_path, metavar="STORE", help="Folder of the store.")
    ] = None,
    kb: Annotated[
        Path | None, typer.Option(parser=input_path, help="Knowledge base of the labels: describes entities.")
    ] = None,
    dataset: Annotated[
        Path | None,
        typer.Option(
            parser=input_path, help="Only the rows of this dataset, built from the labels (default: every usable pair)."
        ),
    ] = None,
    augmentations: Annotated[int, typer.Option("--augs", help="Augmentations a sample.")] = 5,
    captions: Annotated[int, typer.Option(help="Synthetic texts a sample.")] = 2,
    captioner: Annotated[
        str, typer.Option(help="hf:PATH-OR-ID of an image-to-text model (default: texts of the accepted entities).")
    ] = "",
    entity_scores: Annotated[
        int, typer.Option(metavar="K", help="Keep each teacher's K likeliest of the accepted entities (default: none).")
    ] = 0,
    precision: Annotated[Literal["fp16", "bf16", "int8"], typer.Option(help="Of the stored embeddings.")] = "fp16",
    size: Annotated[int, typer.Option(help="Pixels a side of an augmentation (default: the largest teacher's).")] = 0,
    batch_size: Annotated[int, typer.Option(help="Augmentations a forward pass.")] = 64,
    device: Annotated[str, typer.Option(help="Of the teachers: auto, cpu, cuda, cuda:1 …")] = "auto",
    teacher_precision: Annotated[str, typer.Option(help="Of the teachers' towers: fp32, bf16 or fp16.")] = "fp32",
    engine: EngineName = "auto",
    seed: Annotated[int, typer.Option(help="Of the augmentations and texts.")] = 0,
    restart: Restart = False,
    tune_scale: Annotated[
        bool, typer.Option("--tune-scale", help="Find the teachers' scales on these held-out pairs, and store nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as JSON.")] = False,
) -> None:
    """Store augmentations, synthetic texts and teachers' embeddings of labelled pairs; no image is copied."""
    try:
        from openmofi import api_training, reinforcement
    except ModuleNotFoundError as error:
        raise MissingExtraError.of(error.name or "torchvision", "train") from error
    if tune_scale:
        from openmofi.storage import expand_shards

        held_out = expand_shards(shards)
        _print_scales(
            [
                {"spec": spec, **asdict(reinforcement.tune_scale(held_out, spec, seed=seed, device=device))}
                for spec in reinforcement.parse_specs(teachers)
            ],
            as_json,
        )
        return
    counts = api_training.reinforce(
        shards,
        labels=required(labels, "folder of labels", "Add --labels LABELS."),
        teachers=teachers,
        out=required(out, "folder for the store", "Add -o STORE."),
        kb=kb,
        dataset=dataset,
        device=device,
        teacher_precision=teacher_precision,
        engine=engine,
        restart=restart,
        progress=not as_json,
        augmentations=augmentations,
        captions=captions,
        captioner=captioner,
        entity_scores=entity_scores,
        precision=precision,
        size=size,
        batch_size=batch_size,
        seed=seed,
    )
    if as_json:
        print_json(counts)
    else:
        _print(counts, out, precision)


def _print_scales(scales: Sequence[Mapping[str, Any]], as_json: bool) -> None:
    if as_json:
        print_json(scales)
        return
    for scale in scales:
        typer.echo(
            f"{scale['spec']}: scale {scale['scale']:.1f}, cross-entropy {scale['cross_entropy']:.3f} and "
            f"{scale['accuracy']:.1%} right in batches of {scale['batch']} ({scale['pairs']:,} pairs)"
        )
    typer.echo("--teachers " + ",".join(f"{scale['spec']}:{scale['scale']:.1f}" for scale in scales))


def _print(counts: Mapping[str, Any], out: Path | None, precision: str) -> None:
    from openmofi.cli.show.tables import print_table

    statuses = sorted(counts["status"].items(), key=lambda item: -item[1])
    typer.echo(
        f"{counts['rows']:,} pairs in {out}: {', '.join(f'{count:,} {status}' for status, count in statuses)}; "
        f"{counts['bytes_per_sample']:,} bytes a sample"
    )
    for refused in counts["refused"]:
        typer.echo(f"  {refused}")
    if counts["own_texts"]:
        typer.echo(f"{counts['own_texts']:,} samples have no accepted entity or no caption: their own text stands in")
    print_table(
        ("teacher", "precision", "KL (nats)", "mean |difference|"),
        [
            (
                teacher,
                f"{name} (stored)" if name == precision else name,
                f"{errors['kl']:.2e}",
                f"{errors['absolute']:.2e}",
            )
            for teacher, precisions in counts["fidelity"].items()
            for name, errors in precisions.items()
        ],
        numbers=(2, 3),
        title=f"similarities as stored, over {counts['fidelity_samples']:,} samples",
    )
