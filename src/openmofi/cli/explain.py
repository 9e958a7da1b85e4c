"""`openmofi explain`: the reasoning for one pair."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer


def explain(
    image: Annotated[Path, typer.Option(help="The image.")],
    text: Annotated[str, typer.Option(help="Its text.")],
    kb: Annotated[str, typer.Option(help="Folder of the knowledge base.")],
    encoder: Annotated[str, typer.Option(help="Image–text encoder.")],
    calibration: Annotated[Path | None, typer.Option(help="A label job's calibration.json.")] = None,
    detector: Annotated[str, typer.Option(help="gazetteer, spacy or gazetteer+spacy.")] = "gazetteer",
    linker: Annotated[str, typer.Option(help="coherence, prior or fusion:PATH.")] = "coherence",
    threshold: Annotated[float, typer.Option(help="Accept from this calibrated probability on.")] = 0.8,
    template: Annotated[str, typer.Option(help="Entity text for the encoder.")] = "{name}: {description}",
    cache: Annotated[Path | None, typer.Option(help="Keeps entity embeddings (default: ~/.cache/openmofi).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Show mentions, candidates with priors, coherence and image scores, and the verdict with its reason."""
    from openmofi.cli.show.progress import shown_progress
    from openmofi.labeling import LabelSettings, SelectionSettings, TextSettings, explain
    from openmofi.storage.paths import cache_folder

    settings = LabelSettings(encoder, TextSettings(detector, linker), SelectionSettings(template, threshold))
    with shown_progress(quiet=as_json) as progress:
        found = explain(image, text, kb, settings, cache=cache or cache_folder(), calibration=calibration,
                        progress=progress)
    if as_json:
        typer.echo(json.dumps(found.as_dict(), indent=2, ensure_ascii=False))
    else:
        _print(found)


def _print(found: Any) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    line = Text(found.text)
    for mention in found.mentions:
        line.stylize("bold underline", mention.start, mention.end)
    console.print(line)
    if not found.candidates:
        console.print("The text names nothing that the knowledge base knows." if not found.mentions
                      else "What the text names has no candidate in the knowledge base.")
        return
    table = Table()
    for column, style in (("mention", "bold"), ("candidate", ""), ("description", "dim")):
        table.add_column(column, style=style, max_width=44)
    for column in ("prior", "text", "image", "P(shown)"):
        table.add_column(column, justify="right")
    table.add_column("verdict")
    last = None
    for one in found.candidates:
        accepted = one.reason == "accepted"
        if last not in (None, one.mention):
            table.add_section()
        table.add_row("" if one.mention == last else one.mention, f"{one.name} ({one.entity})", one.description,
                      f"{one.prior:.2f}", f"{one.link_score:.2f}", f"{one.image_score:.1f}", f"{one.probability:.3f}",
                      one.reason, style="green" if accepted else None)
        last = one.mention
    console.print(table)
    console.print(f"prior: P(entity | name) · text: after the rest of the text · image: similarity on the encoder's "
                  f"scale · accepted from {found.threshold:.2f} on", style="dim")
