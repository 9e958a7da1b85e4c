"""`openmofi train`: labelled dataset → encoder; `openmofi reinforce`: what teachers know of labelled pairs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from openmofi.api import training as api
from openmofi.cli import recipes
from openmofi.cli.command import input_path, output_path, print_json
from openmofi.cli.options import Call, Json, made_of
from openmofi.errors import MissingExtraError

_READ = Annotated[Path | None, typer.Option(parser=input_path, metavar="DIR")]


@made_of(
    api.train,
    recipe=recipes.RecipeName,
    out=recipes.Run,
    dataset=_READ,
    labels=_READ,
    kb=_READ,
    encoder=Annotated[str, typer.Option(metavar="SPEC")],
)
def train(
    call: Call,
    recipe: str | None,
    out: Path | None,
    dataset: Path | None,
    kb: Path | None,
    encoder: str,
    resume: bool,
    restart: bool,
    changes: recipes.Set = None,
    show: recipes.Show = False,
    list_recipes: recipes.ListRecipes = False,
    as_json: Json = False,
) -> None:
    """Train an image encoder on a labelled dataset, as a recipe says.

    Ctrl-C writes a checkpoint and leaves; the same command with --resume goes on. On several GPUs:
    torchrun --nproc-per-node 8 -m openmofi train RECIPE -o RUN
    """
    from openmofi.config.layers import leaves_of
    from openmofi.training.recipe.rules import RECIPES, load_recipe
    from openmofi.training.recipe.schema import Recipe

    overrides = recipes.changes(changes, {"data.dataset": dataset, "data.kb": kb})
    if encoder and show:
        from openmofi.training.entity_head.over import over_encoder

        overrides = [*over_encoder(load_recipe(recipes.named(recipe), overrides), encoder), *overrides]
    recipes.recipe_to_train(
        recipe, overrides, RECIPES, load_recipe, show=show, list_recipes=list_recipes, as_json=as_json
    )
    recipes.check_start(resume=resume, restart=restart)
    # torchrun starts this command once a rank; the first one speaks for all.
    first = os.environ.get("RANK", "0") == "0"
    recipes.run_folder(out)
    with recipes.resumable():
        run = call(progress=first and not as_json, **leaves_of(Recipe, changes or ()))
    if not first:
        return
    if as_json:
        print_json({"run": str(out), **run.summary})
    else:
        _print_summary(run.summary, run.path)


def _print_summary(summary: Mapping[str, Any], path: Path) -> None:
    """What was trained, how well, and where it lies."""
    from openmofi.progress import training_line

    # A run that was resumed at its very end has trained nothing.
    line = f": {training_line(summary['metrics'])}" if summary.get("metrics") else ""
    typer.echo(f"{summary['steps']:,} steps{line}")
    if best := summary.get("best"):
        typer.echo(f"best {best['metric']}: {best['value']:.4f} at step {best['step']:,}")
    if results := summary.get("results"):
        _print_results(results)
        typer.echo(f"report: {path / 'report.html'}")
    typer.echo(f"encoder: run:{path / 'encoder'}")


def _print_results(results: Mapping[str, Any]) -> None:
    """What the head does with entities that it never saw, beside the encoder under it."""
    from openmofi.cli.tables import print_table

    names = {"map_excl_query": "mAP, query excluded", "recall_at_1": "recall at 1", "zero_shot": "zero-shot"}
    rows = [
        (
            f"{title}, {length} dimensions",
            *("–" if (value := figures[key]) is None else f"{value:.3f}" for key in names),
        )
        for side, title in (("before", "encoder"), ("after", "with the head"))
        for length, figures in results[side].items()
    ]
    print_table(
        ("", *names.values()),
        rows,
        title=f"{results['rows']:,} images of {results['entities']:,} entities that were held out",
    )


@made_of(
    api.reinforce,
    groups=True,
    first=("labels", "teachers", "out", "kb", "dataset", "augmentations", "captions"),
    pairs=Annotated[list[str], typer.Argument(metavar="PAIRS")],
    labels=_READ,
    teachers=Annotated[str, typer.Option(metavar="SPEC:SCALE[,…]")],
    out=Annotated[Path | None, typer.Option("--out", "-o", parser=output_path, metavar="STORE")],
    kb=_READ,
    dataset=_READ,
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
        from openmofi import reinforcement
        from openmofi.reinforcement import job as _  # noqa: F401
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
