"""`openmofi explain`: the reasoning for one pair."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from openmofi.cli.command import Device, Precision, output_path, print_json, visible

if TYPE_CHECKING:
    from openmofi.labeling import Explanation


def explain(
    image: Annotated[Path, typer.Option(help="The image.")],
    text: Annotated[str, typer.Option(help="Its text.")],
    kb: Annotated[str, typer.Option(help="Folder of the knowledge base.")],
    encoder: Annotated[str, typer.Option(help="Image–text encoder.")],
    calibration: Annotated[Path | None, typer.Option(help="A label job's calibration.json.")] = None,
    detector: Annotated[str, typer.Option(
        help="gazetteer, spacy[:MODEL], gliner:MODEL[?types=A,B]; several joined by +.")] = "gazetteer",
    linker: Annotated[str, typer.Option(help="coherence, prior or fusion:PATH.")] = "coherence",
    threshold: Annotated[float, typer.Option(help="Accept from this calibrated probability on.")] = 0.8,
    template: Annotated[str, typer.Option(help="Entity text for the encoder.")] = "{name}: {description}",
    cache: Annotated[Path | None, typer.Option(
        parser=output_path, help="Keeps entity embeddings (default: ~/.cache/openmofi).")] = None,
    device: Device = "auto",
    precision: Precision = "fp32",
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Show mentions, candidates with priors, coherence and image scores, and the verdict with its reason."""
    from openmofi import api

    explanation = api.explain(
        image, text, kb=kb, encoder=encoder, calibration=calibration, detector=detector, linker=linker,
        threshold=threshold, template=template, cache=cache, device=device, precision=precision, progress=not as_json)
    if as_json:
        print_json(explanation.as_dict())
    else:
        _print(explanation)


def _print(explanation: Explanation) -> None:
    from rich.table import Table
    from rich.text import Text

    from openmofi.progress import plain_console

    console = plain_console()
    line = Text(visible(explanation.text))
    for mention in explanation.mentions:
        line.stylize("bold underline", mention.start, mention.end)
    console.print(line)
    if not explanation.candidates:
        console.print("The text names nothing that the knowledge base knows." if not explanation.mentions
                      else "What the text names has no candidate in the knowledge base.")
        return
    # What may be long shares one column, so that all fits 80 columns whatever the names.
    table = Table(box=None, pad_edge=False)
    table.add_column("mention, candidates", overflow="fold", ratio=1)
    for column in ("prior", "text", "image", "P(shown)"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    last = None
    for candidate in explanation.candidates:
        if candidate.mention != last:
            table.add_row(Text(visible(candidate.mention), style="bold"))
        last = candidate.mention
        style = "green" if candidate.reason == "accepted" else ""
        table.add_row(
            Text(visible(f"{candidate.name} ({candidate.entity})") + "\n").append(
                visible(candidate.description), style="dim"),
            f"{candidate.prior:.2f}", f"{candidate.link_score:.2f}", f"{candidate.image_score:.1f}",
            f"{candidate.probability:.3f}", candidate.reason, style=style)
    console.print(table)
    console.print(f"prior: P(entity | name) · text: after the rest of the text · image: similarity on the encoder's "
                  f"scale · accepted from {explanation.threshold:.2f} on", style="dim")
