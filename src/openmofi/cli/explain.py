"""`openmofi explain`: the reasoning for one pair."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from openmofi.cli.command import Device, Precision, output_path, print_json
from openmofi.errors import UsageError
from openmofi.terminal import plain_console, visible

if TYPE_CHECKING:
    from openmofi.labeling import Explanation


def explain(
    image: Annotated[Path, typer.Option(help="The image.")],
    text: Annotated[list[str], typer.Option(help="Its text; may be given again, each with a --text-column.")],
    kb: Annotated[str, typer.Option(help="Folder of the knowledge base.")],
    encoder: Annotated[str, typer.Option(help="Image–text encoder.")],
    text_column: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="The kind of each text, in their order, such as title and tags."),
    ] = None,
    calibration: Annotated[Path | None, typer.Option(help="A label job's calibration.json.")] = None,
    detector: Annotated[
        str, typer.Option(help="gazetteer, spacy[:MODEL], gliner:MODEL[?types=A,B]; several joined by +.")
    ] = "gazetteer",
    linker: Annotated[str, typer.Option(help="coherence, prior or fusion:PATH.")] = "coherence",
    threshold: Annotated[float, typer.Option(help="Accept from this calibrated probability on.")] = 0.8,
    template: Annotated[str, typer.Option(help="Entity text for the encoder.")] = "{name}: {description}",
    cache: Annotated[
        Path | None, typer.Option(parser=output_path, help="Keeps entity embeddings (default: ~/.cache/openmofi).")
    ] = None,
    device: Device = "auto",
    precision: Precision = "fp32",
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Show mentions, candidates with priors, coherence and image scores, and the verdict with its reason."""
    from openmofi import api

    explanation = api.explain(
        image,
        _texts(text, text_column or []),
        kb=kb,
        encoder=encoder,
        calibration=calibration,
        detector=detector,
        linker=linker,
        threshold=threshold,
        template=template,
        cache=cache,
        device=device,
        precision=precision,
        progress=not as_json,
    )
    if as_json:
        print_json(explanation.as_dict())
    else:
        _print(explanation)


def _texts(texts: list[str], columns: list[str]) -> str | dict[str, str]:
    if len(texts) == 1 and not columns:
        return texts[0]
    if len(set(columns)) != len(texts) or len(columns) != len(texts):
        raise UsageError(
            f"{len(texts)} texts, but {len(set(columns))} names of their kinds.",
            "Give each --text a --text-column of its own: --text '…' --text-column title.",
        )
    return dict(zip(columns, texts, strict=True))


def _print(explanation: Explanation) -> None:
    from rich.table import Table
    from rich.text import Text

    console = plain_console()
    line = Text(visible(explanation.text))
    for mention in explanation.mentions:
        line.stylize("bold underline", mention.start, mention.end)
    console.print(line)
    if not explanation.candidates:
        console.print(
            "The text names nothing that the knowledge base knows."
            if not explanation.mentions
            else "What the text names has no candidate in the knowledge base."
        )
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
            table.add_row(
                Text(visible(candidate.mention), style="bold").append(
                    f" in {visible(candidate.kind)}" if candidate.kind else "", style="not bold dim"
                )
            )
        last = candidate.mention
        style = "green" if candidate.reason == "accepted" else ""
        table.add_row(
            Text(visible(f"{candidate.name} ({candidate.entity})") + "\n").append(
                visible(candidate.description), style="dim"
            ),
            f"{candidate.prior:.2f}",
            f"{candidate.link_score:.2f}",
            f"{candidate.image_score:.1f}",
            f"{candidate.probability:.3f}",
            candidate.reason,
            style=style,
        )
    console.print(table)
    console.print(
        f"prior: P(entity | name) · text: after the rest of the text · image: similarity on the encoder's "
        f"scale · accepted from {explanation.threshold:.2f} on",
        style="dim",
    )
