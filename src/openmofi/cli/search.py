"""`openmofi search`: images of an index by image, text and entity; `recognise`: what many images show, by an index."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from openmofi.api import indexes as api
from openmofi.cli.command import Device, input_path, output_path, print_json
from openmofi.cli.options import INDEX, OUT_STORE, SHARDS, Call, IndexPlace, Json, MovedEncoder, made_of
from openmofi.errors import OpenMofiError, UsageError
from openmofi.terminal import visible

if TYPE_CHECKING:
    from openmofi.search import Index, Query, Results


def search(
    index: IndexPlace,
    images: Annotated[
        list[Path] | None, typer.Argument(parser=input_path, metavar="[IMAGE]...", help="Images to search by.")
    ] = None,
    text: Annotated[str, typer.Option(help="Text: its meaning, and its words as keywords.")] = "",
    entity: Annotated[str, typer.Option(help="Entity: its identifier or name.")] = "",
    less: Annotated[list[Path] | None, typer.Option(parser=input_path, metavar="IMAGE", help="Not like this.")] = None,
    region: Annotated[
        str,
        typer.Option(metavar="LEFT,TOP,RIGHT,BOTTOM", help="The part of the first image that is meant, in fractions."),
    ] = "",
    like: Annotated[list[int] | None, typer.Option(help="Id of an image of the index that is right.")] = None,
    unlike: Annotated[list[int] | None, typer.Option(help="Id of one that is wrong.")] = None,
    labelled: Annotated[str, typer.Option(help="Only images labelled with this entity or a subtype.")] = "",
    type: Annotated[str, typer.Option(help="Only images labelled with an entity of this type.")] = "",
    min_probability: Annotated[float, typer.Option(help="Of that label.")] = 0.0,
    folder: Annotated[str, typer.Option(help="Only images below this folder, or of this shard.")] = "",
    since: Annotated[str, typer.Option(help="From this day on, of the column 'date'.")] = "",
    before: Annotated[str, typer.Option(help="Up to this day, likewise.")] = "",
    licence: Annotated[str, typer.Option(help="Of the column 'licence', such as 'cc-by*'.")] = "",
    where: Annotated[list[str] | None, typer.Option(metavar="COLUMN=VALUE", help="Of any other column.")] = None,
    keywords: Annotated[bool, typer.Option(help="Look for the text's words, too.")] = True,
    as_words: Annotated[bool, typer.Option("--as-words", help="Take the text for words, not for a name.")] = False,
    until: Annotated[
        float | None, typer.Option(help="End where results are expected to be right with this precision, such as .9.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", help="Results, at most.")] = 20,
    offset: Annotated[int, typer.Option(help="Results to pass over before.")] = 0,
    fold: Annotated[bool, typer.Option(help="Show near-duplicates as one result.")] = True,
    encoder: MovedEncoder = None,
    device: Device = "auto",
    html: Annotated[
        Path | None, typer.Option(parser=output_path, metavar="PAGE.html", help="Write a contact sheet.")
    ] = None,
    show: Annotated[bool, typer.Option("--open", help="Open a contact sheet in the browser.")] = False,
    as_json: Json = False,
) -> None:
    """Search an index by images, text and entity, joined; without any, its images are listed."""
    from openmofi.search import Example, Filters, Index, Query, Region

    if region and not images:
        raise UsageError("--region is given without an image.", "Name the image that it is a part of.")
    opened = Index.open(index, encoder, device=device)
    examples = [
        Example(str(image), 1.0, Region.parse(region) if region and not number else None)
        for number, image in enumerate(images or ())
    ]
    if gone := [image for image in images or () if not image.exists()]:
        raise UsageError(f"There is no image {gone[0]}.", "Images are files; give a text with --text.")
    examples += [Example(str(image), -1.0) for image in less or ()]
    columns = dict(map(_pair, where or ()))
    within = Filters(_entity(opened, labelled), type, min_probability, folder, since, before, licence, columns)
    marked = tuple(like or ()), tuple(unlike or ())
    meant = _entity(opened, entity)
    query = Query(tuple(examples), text, meant, *marked, within, keywords, until, limit, offset, fold, not as_words)
    results = opened.search(query)
    if html or show:
        _sheet(opened, query, results, html, show)
    if as_json:
        print_json(asdict(results))
    else:
        _print(results, query)


def _entity(index: Index, given: str) -> str:
    return index.find_entity(given).id if given else ""


def _pair(entry: str) -> tuple[str, str]:
    name, equals, value = entry.partition("=")
    if not (name and equals):
        raise UsageError(f"--where {entry!r} is not COLUMN=VALUE.", "Write e.g. --where author=Doe.")
    return name, value


def _sheet(index: Index, query: Query, results: Results, html: Path | None, show: bool) -> None:
    """Write results as one HTML file, thumbnails inlined; it loads nothing and runs nothing."""
    import tempfile
    import webbrowser

    from openmofi.dataset.report.examples import template
    from openmofi.storage import write_text

    if html is None:
        html = Path(tempfile.mkdtemp(prefix="openmofi-")) / "search.html"
    parts = [
        f"“{query.text}”" if query.text else "",
        index.entity(query.entity).name if query.entity else "",
        f"{len(query.examples)} image{'s' * (len(query.examples) > 1)}" if query.examples else "",
    ]
    thumbnails = [_thumbnail(index, hit.image.id) for hit in results.hits]
    asked_for = ", ".join(filter(None, parts)) or "all images"
    page = template(__package__, "contact_sheet.html.j2")
    write_text(html, page.render(asked=asked_for, results=results, thumbnails=thumbnails))
    if show and not webbrowser.open(html.absolute().as_uri()):
        typer.echo(visible(f"No browser was found; the contact sheet is {html}."), err=True)


def _thumbnail(index: Index, image: int) -> str:
    """A data URI; empty where the image cannot be shown."""
    try:
        return "data:image/webp;base64," + base64.b64encode(index.thumbnail(image)).decode()
    except OpenMofiError:
        return ""


def _print(results: Results, query: Query) -> None:
    from openmofi.cli.tables import print_table

    rows = []
    for hit in results.hits:
        image = hit.image
        labels = ", ".join(f"{label.name} {label.probability:.2f}" for label in image.labels[:3] if label.accepted)
        text = re.sub(r"\s+", " ", image.text)
        folded = f" (+{len(hit.duplicates)} near-duplicates)" if hit.duplicates else ""
        name = f"{image.path or f'{image.shard}/{image.key}'}{folded}"
        rows.append(
            (
                str(hit.rank),
                str(image.id),
                "" if hit.probability is None else f"{hit.probability:.2f}",
                "" if hit.cosine is None else f"{hit.cosine:.3f}",
                "\n".join(part for part in (name, text[:100], labels) if part),
            )
        )
    if rows:
        print_table(("", "id", "P(right)", "cosine", "image"), rows, numbers=(0, 1, 2, 3), whole=(0, 1, 2, 3))
    typer.echo(_ending(results, query))


def _ending(results: Results, query: Query) -> str:
    said = f"{len(results.hits):,} of {results.total:,} ranked, {results.seconds:.2f} s."
    if results.end is not None and results.expected_right is not None:
        said += (
            f" {results.end:,} {'are' if query.until else 'would be'} expected to be right with precision "
            f"{results.until:g}: {results.expected_right:,.0f} of them."
        )
    taken = ""
    if query.text and results.entity != query.entity:
        first, *others = (f"{each.name} ({each.id})" for each in results.meant)
        taken = f"The text was taken for {first}{', not ' * bool(others)}{' or '.join(others[:3])}."
    return " ".join(filter(None, (said, taken, results.note, results.uncalibrated)))


@made_of(
    api.recognise,
    first=("index", "out", "limit", "unnamed", "encoder"),
    groups=True,
    images=SHARDS,
    index=INDEX,
    out=OUT_STORE,
    limit=Annotated[int, typer.Option("--limit", "-n")],
)
def recognise(call: Call, out: str, as_json: Json = False) -> None:
    """Say what many images may show, with probabilities and evidence: a row an image, rows in = rows out."""
    counts = call(progress=not as_json)
    if as_json:
        print_json(counts)
    else:
        _print_recognised(counts, out, call.keywords["index"])


def _print_recognised(counts: Mapping[str, Any], out: str, index: object) -> None:
    from openmofi.cli.tables import print_table

    print_table(
        ("status", "images"),
        [(status, f"{count:,}") for status, count in sorted(counts["status"].items(), key=lambda item: -item[1])],
        title=f"{counts['rows_out']:,} images in {out}",
    )
    if named := counts["status"].get("recognised"):
        typer.echo(f"of the likeliest entities of {named:,} images {counts['expected']:,.0f} are expected to be right")
    if uncalibrated := counts["status"].get("uncalibrated"):
        typer.echo(f"{uncalibrated:,} images have no probabilities: openmofi index info {index} says what to do")
    if "unnamed" in counts:
        typer.echo(
            f"the share that shows what no label names is at most {counts['unnamed']:.0%} by how these images "
            f"look (--unnamed): with that, {counts['expected_unnamed']:,.0f} of these entities are expected to be right"
        )
