"""`openmofi reinforce`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from openmofi.cli import recipes
from openmofi.cli.command import output_path, print_json
from openmofi.cli.options import READ, Call, Json, made_of
from openmofi.errors import MissingExtraError
from openmofi.plugins.reinforcement import api


@made_of(
    api.reinforce,
    groups=True,
    first=("labels", "teachers", "out", "kb", "dataset", "augmentations", "captions"),
    pairs=Annotated[list[str], typer.Argument(metavar="PAIRS")],
    labels=READ,
    teachers=Annotated[str, typer.Option(metavar="SPEC:SCALE[,…]")],
    out=Annotated[Path | None, typer.Option("--out", "-o", parser=output_path, metavar="STORE")],
    kb=READ,
    dataset=READ,
    augmentations=Annotated[int, typer.Option("--augs")],
    entity_scores=Annotated[int, typer.Option(metavar="K")],
)
def reinforce(
    call: Call,
    pairs: list[str],
    teachers: str,
    labels: Path | None,
    out: Path | None,
    device: str,
    seed: int,
    precision: str,
    tune_scale: Annotated[
        bool, typer.Option("--tune-scale", help="Find the teachers' scales on these held-out pairs, and store nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Store augmentations, synthetic texts and teachers' embeddings of labelled pairs; no image is copied."""
    try:
        from openmofi.plugins import reinforcement
        from openmofi.plugins.reinforcement import job as _  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingExtraError.of(error.name or "torchvision", "train") from error
    if tune_scale:
        from openmofi.storage import expand_shards

        held_out = expand_shards(pairs)
        _print_scales(
            [
                {"spec": spec, **asdict(reinforcement.tune_scale(held_out, spec, seed=seed, device=device))}
                for spec in reinforcement.parse_specs(teachers)
            ],
            as_json,
        )
        return
    recipes.required(labels, "folder of labels", "Add --labels LABELS.")
    recipes.required(out, "folder for the store", "Add -o STORE.")
    counts = call(progress=not as_json)
    if as_json:
        print_json(counts)
    else:
        _print_store(counts, out, precision)


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


def _print_store(counts: Mapping[str, Any], out: Path | None, precision: str) -> None:
    from openmofi.cli.tables import print_table

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
