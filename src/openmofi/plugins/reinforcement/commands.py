"""`openmofi.reinforce` and `openmofi reinforce`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Unpack

import typer

from openmofi.api.given import Folder, Pairs, check_placement, place_of, public, shards_of
from openmofi.cli import recipes
from openmofi.cli.command import output_path, print_json
from openmofi.cli.options import READ, Call, Json, made_of
from openmofi.config import changed
from openmofi.errors import MissingExtraError
from openmofi.plugins.reinforcement.reinforce_settings import ReinforceSettings
from openmofi.progress import shown_progress

if TYPE_CHECKING:
    from openmofi.api.changes import ReinforceChanges
    from openmofi.dataset.objects import Dataset, Labels
    from openmofi.engine import Progress
    from openmofi.knowledge import KnowledgeBase


@public(ReinforceSettings, without=("teachers", "augment"))
def reinforce(
    pairs: Pairs,
    *,
    labels: Labels | Folder,
    teachers: str,
    out: Folder,
    kb: KnowledgeBase | Folder | None = None,
    dataset: Dataset | Folder | None = None,
    settings: ReinforceSettings | None = None,
    device: str = "auto",
    teacher_precision: str = "fp32",
    engine: str = "auto",
    restart: bool = False,
    progress: bool | Progress | None = None,
    **changes: Unpack[ReinforceChanges],
) -> Mapping[str, Any]:
    """Store augmentations, synthetic texts and teachers' embeddings of labelled pairs; no image is copied.

    Args:
        pairs: shards of pairs, as `label` took them.
        labels: folder of their labels. In Python also what `label` returned.
        teachers: `SPEC:SCALE[,…]`, encoders, each with its own scale.
        out: folder of the store.
        kb: knowledge base of the labels; describes entities in the synthetic texts.
        dataset: only the rows of this dataset, built of the labels; by default every usable pair.
        device: of the teachers: `cpu`, `cuda`, `cuda:1` …; `auto` is `cuda` where there is one.
        teacher_precision: of the teachers' towers: `fp32`, `bf16` or `fp16`.

    Returns:
        Counts: `rows`, `status`, `bytes_per_sample`, `fidelity` …

    Raises:
        UsageError: a setting is unknown or out of its range.
        OpenMofiError: the labels are of other pairs, or a teacher cannot be opened.
    """
    from openmofi.engine import engine_named
    from openmofi.plugins import reinforcement

    check_placement(device, teacher_precision)
    specs = reinforcement.parse_teachers(teachers)
    settings = changed(settings or ReinforceSettings(specs), {**changes, "teachers": specs})
    with shown_progress(progress) as console:
        return reinforcement.reinforce(
            shards_of(pairs),
            place_of(labels),
            out,
            settings,
            kb=None if kb is None else place_of(kb),
            dataset=None if dataset is None else place_of(dataset),
            device=device,
            teacher_precision=teacher_precision,
            engine=engine_named(engine),
            progress=console,
            restart=restart,
        )


@made_of(
    reinforce,
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
def reinforce_command(
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
