"""`openmofi label`: the main job; `label check`: what it could use; `label audit`: a look by a person at what it made;
`explain`: one pair.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Annotated, Any

import typer

from openmofi.api import labels as api
from openmofi.api.checks import check_pairs
from openmofi.cli.command import index_place, input_path, output_path, print_json
from openmofi.cli.options import FILE, MANY, OUT_STORE, PLACE, SHARDS, TEXT, Call, Json, made_of
from openmofi.errors import OpenMofiError, UsageError
from openmofi.terminal import plain_console, visible

if TYPE_CHECKING:
    from openmofi.labeling import Explanation

_VERDICTS = Annotated[Any, typer.Option(parser=index_place, metavar="FILE|INDEX")]
_GUESS = Annotated[
    bool, typer.Option("--guess", help="Recognise a table's columns, encoding and folder of images by what they hold.")
]
_FIRST = ("kb", "encoder", "out", "threshold", "target_precision", "confidence", "detector", "linker", "device")


@made_of(
    api.label, first=_FIRST, groups=True, pairs=SHARDS, kb=TEXT, out=OUT_STORE, calibration=FILE, verdicts=_VERDICTS
)
def label(
    call: Call,
    pairs: list[str],
    out: str,
    guess: _GUESS = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --guess: do not ask whether it is right.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Show some accepted labels as they come.")] = False,
    as_json: Json = False,
) -> None:
    """Label image–text pairs: one label Parquet a shard, rows in = rows out. Then: openmofi label audit --help."""
    from openmofi.pairs.problems import REASONS
    from openmofi.progress import shown_progress, watched_progress

    if guess:
        call = _recognised(call, pairs, show=not as_json, ask=not yes)
    with watched_progress() if watch else shown_progress(not as_json) as progress:
        labels = call(progress=progress)
    if as_json:
        print_json(labels.summary)
    else:
        _print_counts(labels.summary, out)
    status = labels.summary["status"]
    if all(name in REASONS for name in status):
        counts = ", ".join(f"{name} {count:,}" for name, count in status.items())
        raise OpenMofiError(
            f"No pair can be used: {counts or 'there is none'}.", " ".join(REASONS[name] for name in status)
        )


def _recognised(call: Call, pairs: list[str], *, show: bool, ask: bool) -> Call:
    """Return the call with what it leaves open of how its tables are read, as far as it can be recognised."""
    from openmofi.extensions import extension

    return partial(call, **extension("guesses", "tables")(pairs, call.keywords, show=show, ask=ask))


def _print_counts(counts: Mapping[str, Any], out: str) -> None:
    from openmofi.cli.tables import print_table
    from openmofi.pairs.problems import PROBLEMS_FILE, REASONS

    print_table(
        ("status", "pairs"),
        [(status, f"{count:,}") for status, count in sorted(counts["status"].items(), key=lambda item: -item[1])],
        title=f"{counts['rows_out']:,} of {counts['rows_in']:,} pairs in {out}",
    )
    if unread := counts.get("unread_formats"):
        from openmofi.pairs.images.formats import shown_formats

        typer.echo(f"{sum(unread.values()):,} images in a format that is not read ({shown_formats(unread)})")
    if Path(out, PROBLEMS_FILE).is_file() and any(status in REASONS for status in counts["status"]):
        typer.echo(f"rows that could not be used, and why: {out}/{PROBLEMS_FILE}")
    precision = counts["expected_precision"]
    accepted, threshold = counts["accepted"], counts["threshold"]
    typer.echo(
        (f"{accepted:,} labels accepted from probability {threshold:.3f} on" if threshold < 1 else "no label accepted")
        + ("" if precision is None else f"; expected precision {precision:.3f}, an estimate")
    )
    if (device := counts.get("device", "cpu")) != "cpu":
        typer.echo(
            f"the encoder ran on {device} in {counts.get('precision', 'fp32')}"
            + (", compiled" if counts.get("compiled") else "")
        )
    if (marked := counts["boilerplate"])["marked"]:
        pieces = [(piece, rows) for piece, rows in marked["pieces"] if rows > 1]
        commonest = "; ".join(f"{rows:,} × {shorten(piece, 48)!r}" for piece, rows in pieces[:3])
        typer.echo(
            f"boilerplate: {marked['marked']:,} of {marked['mentions']:,} mentions"
            + (f"; repeated most: {commonest}" if commonest else "")
        )
    if said := counts.get("verdicts"):
        _print_verdicts(said, counts["accepted"])
    if adapter := counts.get("adapter"):
        typer.echo(adapter["why"])
    if judge := counts.get("judge"):
        typer.echo(f"{judge['why']} Without it {judge['accepted_without']:,} labels would be accepted.")


def _print_verdicts(said: Mapping[str, Any], accepted: int) -> None:
    from openmofi.review.precision import FEW

    guarantee, corrected = said.get("guarantee"), said["corrected_precision"]
    if not guarantee:
        basis = f"threshold by {said['judged']:,} verdicts ({said['unsure']:,} unsure left out)"
    else:
        basis = f"threshold by {said['judged'] + said['unsure']:,} verdicts of this look, unsure ones as no" + (
            f": at least {guarantee['target']:g} right with confidence {guarantee['confidence']:g}" if accepted else ""
        )
    if corrected is None or not accepted:
        typer.echo(basis)
        return
    low, high = said["interval"]
    typer.echo(f"{basis}; precision corrected by them {corrected:.3f} ({low:.3f}–{high:.3f})")
    if said["judged"] < FEW and not guarantee:
        typer.echo(f"So few verdicts say little: judge {FEW} or more before you use this threshold.")


def audit(
    labels: Annotated[Path, typer.Argument(parser=input_path, help="Folder written by `openmofi label`.")],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", parser=output_path, metavar="PAGE.html", help="Write a page on which a person judges."
        ),
    ] = None,
    verdicts: Annotated[
        Any,
        typer.Option(
            parser=index_place,
            metavar="FILE|INDEX",
            help="Correct the precision by what it saved, or by an index; with -o, draw what its guarantee needs next.",
        ),
    ] = None,
    sample: Annotated[
        int | None,
        typer.Option(
            "--sample",
            "-n",
            help="Labels to draw: 200, or as many as the guarantee needs next.",
            show_default=False,
        ),
    ] = None,
    target_precision: Annotated[
        float | None, typer.Option(help="Draw for a guarantee that labels are right so often, 0..1 …")
    ] = None,
    confidence: Annotated[float | None, typer.Option(help="… with this confidence, 0..1.")] = None,
    by: Annotated[str, typer.Option(help="What strata are made of: probability, type or both.")] = "probability,type",
    seed: Annotated[int, typer.Option(min=0, help="Of the draw.")] = 0,
    kb: Annotated[
        Path | None,
        typer.Option(parser=input_path, help="Knowledge base: names, descriptions, types; by default the labels' own."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Draw labels for a page on which a person judges them, or correct the labels' precision by the verdicts."""
    if out is None and verdicts is None:
        raise UsageError(
            "A look at labels writes a page or reads what it saved.", "Give -o PAGE.html, or --verdicts FILE."
        )
    from openmofi.api.given import verdicts_of
    from openmofi.cli.next_steps import print_drawn, print_next
    from openmofi.dataset.objects import Labels
    from openmofi.knowledge import KnowledgeBase

    opened, base = Labels.open(labels), KnowledgeBase.open(kb) if kb else None
    judged = verdicts_of(verdicts) if verdicts else None
    if out is not None:
        drawn = opened.audit_page(
            out,
            sample=sample,
            by=[part.strip() for part in by.split(",")],
            seed=seed,
            kb=base,
            target_precision=target_precision,
            confidence=confidence,
            verdicts=judged,
        )
        print_drawn(opened.folder, out, drawn, as_json)
    elif target_precision is not None or confidence is not None:
        raise UsageError(
            "The first draw decided what its verdicts are to show.", "Leave out --target-precision and --confidence."
        )
    elif judged is not None:
        corrected = opened.corrected(judged, kb=base)
        if as_json:
            print_json(corrected.as_dict())
        else:
            from openmofi.cli.tables import print_corrected

            print_corrected(corrected.as_dict())
            print_next(opened.folder, judged, corrected)


@made_of(check_pairs, pairs=SHARDS)
def check(call: Call, pairs: list[str], guess: _GUESS = False, as_json: Json = False) -> None:
    """Read the first pairs as a job would, and say which can be used, and why others cannot."""
    from openmofi.cli.next_steps import options
    from openmofi.cli.tables import print_pairs, print_table
    from openmofi.pairs.problems import REASONS
    from openmofi.pairs.read_settings import ReadSettings
    from openmofi.review.commands import shell_command
    from openmofi.schema import PairStatus

    if guess:
        call = _recognised(call, pairs, show=not as_json, ask=False)
    checked = call()
    total, usable = sum(checked.status.values()), checked.status.get(PairStatus.OK, 0)
    if as_json:
        print_json(asdict(checked))
    else:
        print_table(
            ("status", "pairs", "why"),
            [(name, f"{count:,}", REASONS.get(name, "Can be used.")) for name, count in checked.status.items()],
            numbers=(1,),
            title=f"{total:,} pairs of {checked.shards:,} shards were read",
        )
        print_pairs([*checked.examples, *checked.unusable])
    if not usable:
        raise OpenMofiError("No pair can be used.", " ".join(REASONS[name] for name in checked.status))
    if not as_json:
        said = options(call.keywords, ReadSettings().as_dict())
        words = ("--kb", "KB", "--encoder", "photo", "-o", "labels", *said)
        typer.echo(f"next: {shell_command('openmofi', 'label', *pairs, *words)}")


@made_of(
    api.explain,
    config=None,
    image=FILE,
    text=MANY,
    kb=PLACE,
    encoder=Annotated[str | None, typer.Option()],
    calibration=FILE,
)
def explain(
    call: Call,
    labels: Annotated[
        Path | None,
        typer.Argument(parser=input_path, metavar="LABELS", help="Folder of labels: explain one of its pairs, --key."),
    ] = None,
    key: Annotated[str | None, typer.Option(metavar="KEY", help="With LABELS: the pair.")] = None,
    shard: Annotated[str, typer.Option(help="With LABELS: the pair's shard, where several have the key.")] = "",
    text: list[str] | None = None,
    text_column: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="The kind of each text, in their order, such as title and tags."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show mentions, candidates with priors, coherence and image scores, and each decision with its reason.

    Of a pair that a job labelled: openmofi explain LABELS --key KEY. Of any other: --image, --text, --kb and --encoder.
    """
    given = call.keywords
    if labels is not None:
        explanation = _labelled(labels, key, shard, given.get("kb"))
    elif missing := [f"--{name}" for name in ("image", "text", "kb", "encoder") if not given.get(name)]:
        raise UsageError(
            f"A pair that no job labelled is explained from its image and text; {', '.join(missing)} is missing.",
            "Give all of --image, --text, --kb and --encoder, or LABELS and --key.",
        )
    else:
        explanation = call(text=_texts(text or [], text_column or []), progress=not as_json)
    if as_json:
        print_json(explanation.as_dict())
    else:
        print_explanation(explanation)


def _labelled(labels: Path, key: str | None, shard: str, kb: str | None) -> Explanation:
    from openmofi.dataset.objects import Labels
    from openmofi.knowledge import KnowledgeBase

    if key is None:
        raise UsageError(f"Which pair of {labels} to explain is not said.", "Add --key KEY.")
    return Labels.open(labels).explain(key, shard=shard, kb=KnowledgeBase.open(kb) if kb else None)


def _texts(texts: list[str], columns: list[str]) -> str | dict[str, str]:
    if len(texts) == 1 and not columns:
        return texts[0]
    if len(set(columns)) != len(texts) or len(columns) != len(texts):
        raise UsageError(
            f"{len(texts)} texts, but {len(set(columns))} names of their kinds.",
            "Give each --text a --text-column of its own: --text '…' --text-column title.",
        )
    return dict(zip(columns, texts, strict=True))


def print_explanation(explanation: Explanation) -> None:
    """Print an explanation as a table."""
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
    table.add_column("decision", no_wrap=True)
    last = None
    for candidate in explanation.candidates:
        if (named := (candidate.mention, candidate.kind)) != last:
            table.add_row(
                Text(visible(candidate.mention), style="bold").append(
                    f" in {visible(candidate.kind)}" if candidate.kind else "", style="not bold dim"
                )
            )
        last = named
        style = "green" if candidate.reason == "accepted" else ""
        table.add_row(
            Text(visible(f"{candidate.name} ({candidate.entity})") + "\n").append(
                visible(candidate.description) + (f"; the judge says: {candidate.judge}" if candidate.judge else ""),
                style="dim",
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
