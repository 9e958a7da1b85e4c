"""`openmofi sample`: the sample world, real images with known truth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True)

_JSON = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def fetch(as_json: _JSON = False) -> None:
    """Fetch the images and names with npm, as the lock file pins them; what is there stays."""
    from openmofi.sample.images.packages import fetch as fetch_packages
    from openmofi.sample.images.packages import package_versions

    folder = fetch_packages()
    if as_json:
        print(json.dumps({"folder": str(folder), "packages": package_versions()}, indent=2))
    else:
        print(folder)


@app.command()
def world(
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of the world.", metavar="WORLD")],
    seed: Annotated[int | None, typer.Option(help="Seed of everything drawn.")] = None,
    max_entities: Annotated[int, typer.Option(
        min=0, help="Keep only so many pictured entities (0: all); a small world for trying things.")] = 0,
    workers: Annotated[int, typer.Option(min=0, help="Processes; 0: one a core.")] = 0,
    as_json: _JSON = False,
) -> None:
    """Build the sample world; started again it goes on where it stopped, and equal settings give equal bytes."""
    from openmofi.cli.show.tables import print_world
    from openmofi.engine import engine_named
    from openmofi.progress import shown_progress
    from openmofi.sample import build_world
    from openmofi.sample import fetch as fetch_packages
    from openmofi.sample.settings import world_settings

    engine = engine_named(f"processes:{workers}" if workers else "processes")
    with shown_progress(not as_json) as progress:
        manifest = build_world(fetch_packages(), out, world_settings(seed, max_entities), engine, progress)
    if as_json:
        print(json.dumps({"world": str(out), "fingerprint": manifest.fingerprint, **manifest.counts}, indent=2,
                         ensure_ascii=False))
        return
    print_world(str(out), manifest.counts)


@app.command()
def encoder(
    shards: Annotated[list[str], typer.Argument(help="Pages to fit on: WORLD/pages/train.")],
    kb: Annotated[str, typer.Option(help="Folder of the knowledge base.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Gets partial-labels/ and alt-text/.")],
    cache: Annotated[Path | None, typer.Option(help="Shared with the label job (default: OUT/cache).")] = None,
    as_json: _JSON = False,
) -> None:
    """Train the `sample` encoders: heads over frozen backbones, on the pages' own links and captions."""
    from openmofi.progress import shown_progress
    from openmofi.sample.encoder import train_sample_encoders
    from openmofi.storage import expand_shards

    with shown_progress(not as_json) as progress:
        found = train_sample_encoders(expand_shards(shards), kb, out, cache=cache or out / "cache",
                                      progress=progress)
    if as_json:
        print(json.dumps(found, indent=2))
        return
    for name, counts in found.items():
        print(f"{out / name}: loss {counts['first_loss']:.3f} → {counts['loss']:.3f} on {counts['pairs']:,} pairs")


@app.command()
def demo(
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of the demo.")] = Path("runs/demo"),
    max_entities: Annotated[int, typer.Option(min=0, help="A smaller world (0: all).")] = 0,
    full: Annotated[bool, typer.Option("--full", help="Also train encoders end to end, three seeds each.")] = False,
    as_json: _JSON = False,
) -> None:
    """The whole job on the sample world: build, label, audit, train, report; goes on where it was stopped."""
    from openmofi.cli.show.tables import print_demo
    from openmofi.progress import shown_progress
    from openmofi.sample.demo import run_demo
    from openmofi.sample.settings import world_settings

    with shown_progress(not as_json) as progress:
        metrics = run_demo(out, progress, settings=world_settings(None, max_entities), full=full)
    if as_json:
        print(json.dumps(metrics, indent=2))
        return
    print_demo(str(out), metrics)


@app.command()
def fusion(
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of the benchmark.")] = Path("runs/fusion"),
    settings: Annotated[list[str] | None, typer.Option(
        "--set", metavar="KEY=VALUE", help="Change a setting of all runs, as run.steps=20; may be repeated.")] = None,
    curve: Annotated[bool, typer.Option("--curve", help="Also train on a quarter and a half of the examples.")] = False,
    as_json: _JSON = False,
) -> None:
    """The fusion decoder on WordNet's example sentences, beside MiniLM's bi-encoder; goes on where it was stopped."""
    from openmofi.cli.show.tables import print_fusion
    from openmofi.progress import shown_progress
    from studies.fusion import run_fusion

    with shown_progress(not as_json) as progress:
        metrics = run_fusion(out, progress, overrides=settings or (), curve=curve)
    if as_json:
        print(json.dumps(metrics, indent=2))
        return
    print_fusion(str(out), metrics)


@app.command()
def linkers(
    linker: Annotated[list[str], typer.Option(
        "--linker", metavar="SPEC", help="coherence, prior or fusion:PATH; may be repeated.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Gets a folder of labels for each.")] = Path("runs/linkers"),
    demo: Annotated[Path, typer.Option(
        help="Folder of the demo, whose world and encoder are used, and made where they are missing.",
    )] = Path("runs/demo"),
    max_entities: Annotated[int, typer.Option(min=0, help="A smaller world (0: all).")] = 0,
    as_json: _JSON = False,
) -> None:
    """Label the sample world with several linkers: precision and recall before and after the image has its say."""
    from openmofi.cli.show.tables import print_linkers
    from openmofi.progress import shown_progress
    from openmofi.sample.settings import world_settings
    from studies.linkers import compare_linkers

    with shown_progress(not as_json) as progress:
        metrics = compare_linkers(demo, out, linker, progress, settings=world_settings(None, max_entities))
    if as_json:
        print(json.dumps(metrics, indent=2))
        return
    print_linkers(metrics)


@app.command()
def reinforced(
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of the benchmark.")] = Path("runs/reinforced"),
    demo: Annotated[Path, typer.Option(
        help="Folder of the demo, whose dataset and encoders are used, and made where they are missing.",
    )] = Path("runs/demo"),
    settings: Annotated[list[str] | None, typer.Option(
        "--set", metavar="KEY=VALUE", help="Change a setting of all students, as run.steps=20; may be repeated.",
    )] = None,
    max_entities: Annotated[int, typer.Option(min=0, help="A smaller world (0: all).")] = 0,
    as_json: _JSON = False,
) -> None:
    """Small encoders from scratch, with and without teachers' stored knowledge; goes on where it was stopped."""
    from openmofi.cli.show.tables import print_reinforced
    from openmofi.progress import shown_progress
    from openmofi.sample.settings import world_settings
    from studies.reinforced import run_reinforced

    with shown_progress(not as_json) as progress:
        metrics = run_reinforced(out, demo, progress, overrides=settings or (),
                                 settings=world_settings(None, max_entities))
    if as_json:
        print(json.dumps(metrics, indent=2))
        return
    print_reinforced(str(out), metrics)
