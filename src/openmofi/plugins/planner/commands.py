"""`openmofi train RECIPE --plan`."""

from dataclasses import asdict

import typer

from openmofi.cli.command import print_json
from openmofi.cli.tables import print_table
from openmofi.dataset.tables import Folder
from openmofi.errors import UsageError, did_you_mean
from openmofi.plugins.planner.fake_passes import measured_towers
from openmofi.plugins.planner.plan_memory import CLASSES, GPUS, PAIRS, RESERVE, UTILISATION, planned
from openmofi.training.data import read_footers
from openmofi.training.model import inputs_of
from openmofi.training.recipe import Recipe
from openmofi.training.recipe.rules import require_length


def print_plan(recipe: Recipe, name: str, gpus: int, nodes: int, classes: int | None, as_json: bool) -> None:
    """Print what each GPU would hold, and how long the run would take.

    Args:
        recipe: see `Recipe`.
        name, gpus: kind (see `GPUS`) and number of GPUs of a node.
        nodes: number of nodes.
        classes: of the class head; those of the recipe's dataset, or `CLASSES`, where not given.
        as_json: print the plan as JSON.

    Raises:
        UsageError: the kind is unknown, the recipe has no length, or the batch cannot be shared by the GPUs.
    """
    require_length(recipe.run)
    if name not in GPUS:
        raise UsageError(
            f"unknown value {name!r} for --gpu.{did_you_mean(name, GPUS)}", f"Known are {', '.join(GPUS)}."
        )
    pairs, known = PAIRS, CLASSES
    if recipe.data.dataset:
        dataset = Folder.open(recipe.data.dataset, "dataset")
        pairs, known = int(read_footers(dataset)[0][-1]), len(dataset.vocabulary)
        pairs = min(pairs, recipe.data.limit or pairs)
    towers = measured_towers(recipe, inputs_of(recipe.model))
    counts = {"classes": classes or known, "pairs": pairs, "nodes": nodes}
    found = planned(recipe, towers, GPUS[name], gpus=gpus * nodes, **counts)
    if as_json:
        print_json(
            {"plan": found.verdict, "hint": found.hint, "left": found.left, "utilisation": UTILISATION, **asdict(found)}
        )
        return
    rows = [(part.replace("_", " "), f"{size / 2**30:.1f}") for part, size in found.memory.items()]
    print_table(("on each GPU", "GiB"), [*rows, ("together", f"{sum(found.memory.values()) / 2**30:.1f}")])
    typer.echo(f"{found.verdict} {found.hint}".rstrip())
    typer.echo(f"{found.trained:,} of the towers' {found.parameters:,} parameters are trained")
    if recipe.run.epochs:
        typer.echo(f"{recipe.run.epochs:g} epochs of {pairs:,} pairs are about {found.steps:,} steps")
    heads = f"{found.classes:,} classes; " if found.classes else ""
    typer.echo(
        f"{heads}{(found.flops + found.loss_flops) / 1e12:,.1f} TFLOP a step on each GPU, "
        f"{found.hours:,.1f} hours at {UTILISATION:.0%} of its peak (assumed); "
        f"{found.host * gpus / 2**30:.1f} GiB of shared memory for the loaders of a node"
    )
    typer.echo(
        f"Estimated, as without torch.compile, which keeps less; {RESERVE >> 30} GiB are assumed for CUDA and NCCL."
    )
