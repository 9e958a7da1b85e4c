"""`openmofi sample`: the sample world, real images with known truth."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from openmofi.cli.command import Restart, command, group, output_path, print_json

app = group("sample", "The sample world: real images with known truth, and its encoder.")

_JSON = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@command(app)
def fetch(as_json: _JSON = False) -> None:
    """Fetch the images and names with npm, as the lock file pins them; fetched packages are not fetched again."""
    from studies.world.images import packages

    folder = packages.fetch()
    if as_json:
        print_json({"folder": str(folder), "packages": packages.package_versions()})
    else:
        print(folder)


@command(app)
def world(
    out: Annotated[Path, typer.Option("-o", "--out", parser=output_path, help="Folder of the world.", metavar="WORLD")],
    seed: Annotated[int | None, typer.Option(help="Seed of everything drawn.")] = None,
    max_entities: Annotated[
        int, typer.Option(min=0, help="Keep only so many pictured entities (0: all); a small world for trying things.")
    ] = 0,
    workers: Annotated[int, typer.Option(min=0, help="Processes; 0: one a core.")] = 0,
    restart: Restart = False,
    as_json: _JSON = False,
) -> None:
    """Build the sample world; started again it goes on where it stopped, and equal settings give equal bytes."""
    from openmofi.engine import engine_named
    from openmofi.progress import shown_progress
    from studies.world.images import packages
    from studies.world.world import build_world
    from studies.world.world_settings import world_settings

    engine = engine_named(f"processes:{workers}" if workers else "processes")
    with shown_progress(not as_json) as progress:
        manifest = build_world(
            packages.fetch(), out, world_settings(seed, max_entities), engine, progress, restart=restart
        )
    if as_json:
        print_json({"world": str(out), "fingerprint": manifest.fingerprint, **manifest.counts})
    else:
        print_world(str(out), manifest.counts)


@command(app)
def encoder(
    shards: Annotated[list[str], typer.Argument(help="Pages to fit on: WORLD/pages/train.")],
    kb: Annotated[str, typer.Option(help="Folder of the knowledge base.")],
    out: Annotated[Path, typer.Option("-o", "--out", parser=output_path, help="Gets partial-labels/ and alt-text/.")],
    cache: Annotated[
        Path | None, typer.Option(parser=output_path, help="Shared with the label job (default: OUT/cache).")
    ] = None,
    restart: Restart = False,
    as_json: _JSON = False,
) -> None:
    """Train the `sample` encoders: heads over frozen backbones, on the pages' own links and captions."""
    from openmofi.progress import shown_progress
    from openmofi.storage import expand_shards
    from studies.world.encoder import train_sample_encoders

    with shown_progress(not as_json) as progress:
        counts = train_sample_encoders(
            expand_shards(shards), kb, out, cache=cache or out / "cache", progress=progress, restart=restart
        )
    if as_json:
        print_json(counts)
        return
    for name, fit in counts.items():
        print(f"{out / name}: loss {fit['first_loss']:.3f} → {fit['loss']:.3f} on {fit['pairs']:,} pairs")


@command(app)
def demo(
    out: Annotated[Path, typer.Option("-o", "--out", parser=output_path, help="Folder of the demo.")] = Path(
        "runs/demo"
    ),
    max_entities: Annotated[int, typer.Option(min=0, help="A smaller world (0: all).")] = 0,
    restart: Restart = False,
    as_json: _JSON = False,
) -> None:
    """The whole job on the sample world: build, label, audit, report; goes on where it was stopped."""
    from openmofi.progress import shown_progress
    from studies.world.demo import page_command, run_demo
    from studies.world.world_settings import world_settings

    with shown_progress(not as_json) as progress:
        metrics = run_demo(out, progress, settings=world_settings(None, max_entities), restart=restart)
    if as_json:
        print_json(metrics)
    else:
        print_demo(str(out), metrics)
        print(f"search, review and look at it: {page_command(out)}")


def print_world(title: str, counts: Mapping[str, Any]) -> None:
    """Print a sample world's counts: totals, then icons by domain and the rule that named them."""
    from openmofi.cli.tables import print_counts, print_table

    print_counts(title, {name: count for name, count in counts.items() if isinstance(count, int)})
    for name in ("pairs_by_split", "entities_by_kind"):
        print_counts(name.replace("_", " "), counts[name])
    rules: dict[str, dict[str, int]] = {}
    for key, count in counts["pictures_by_rule"].items():
        domain, _, rule = key.partition("/")
        rules.setdefault(domain, {})[rule] = count
    columns = sorted({rule for row in rules.values() for rule in row})
    print_table(
        ("icons by rule", *columns),
        [
            (domain, *(f"{row[column]:,}" if column in row else "" for column in columns))
            for domain, row in rules.items()
        ],
    )


def print_demo(out: str, metrics: Mapping[str, Any]) -> None:
    """Print the demo's figures."""
    from openmofi.cli.tables import print_table

    labels = metrics["labels"]
    rows = [
        (name, *("–" if labels[key] is None else f"{labels[key]:.3f}" for key in keys))
        for name, keys in (
            ("all pages", ("precision", "recall")),
            ("  ambiguous names", ("ambiguous_precision", "ambiguous_recall")),
            ("held-out pages", ("heldout_precision", "heldout_recall")),
            ("  ambiguous names", ("heldout_ambiguous_precision", "heldout_ambiguous_recall")),
            ("text only, same recall", ("text_only_precision", "recall")),
            ("contrastive on alt-text, same recall", ("alt_text_encoder_precision", "recall")),
        )
    ]
    print_table(
        ("", "precision", "recall"), rows, title=f"Labels of {metrics['rows_out']:,} pages ({metrics['rows_in']:,} in)"
    )
    print(
        f"expected precision, an estimate without any truth: {labels['expected_precision']:.3f}; "
        f"{metrics['seconds']['total']:.0f} s in all; report: {out}/report.html"
    )
