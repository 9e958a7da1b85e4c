"""Tables on a terminal."""

from collections.abc import Iterable, Mapping, Sequence
from textwrap import shorten
from typing import Any

from rich.table import Table

from openmofi.api.checks import CheckedPair
from openmofi.cli.command import print_json
from openmofi.terminal import plain_console, visible


def print_table(
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    title: str | None = None,
    numbers: Sequence[int] | None = None,
    whole: Sequence[int] = (),
) -> None:
    """Print rows of cells below the names of their columns.

    Args:
        head: names of the columns.
        rows: cells as text.
        title: printed above.
        numbers: columns that are set to the right; `None`: all but the first.
        whole: columns whose cells are never folded.
    """
    console = plain_console()
    if title:
        # A table's own title is folded to the width of the table.
        console.print(visible(title), style="italic", soft_wrap=True)
    table = Table(box=None, pad_edge=False)
    for column, name in enumerate(head):
        right = column > 0 if numbers is None else column in numbers
        table.add_column(name, justify="right" if right else "left", overflow="fold", no_wrap=column in whole)
    for row in rows:
        table.add_row(*map(visible, row))
    console.print(table)


def print_pairs(pairs: Iterable[CheckedPair]) -> None:
    """Print pairs that were read, a row each."""
    rows = [
        (
            str(each.row),
            each.key,
            f"{each.width} × {each.height}" if each.width else each.status,
            shorten(each.text, 60),
        )
        for each in pairs
    ]
    print_table(("row", "key", "image", "text"), rows, numbers=(0,))


def print_counts(title: str, counts: Mapping[str, int]) -> None:
    """Print named counts."""
    print_table((title, "count"), [(name, f"{count:,}") for name, count in counts.items()])
    print()


def print_facts(facts: Mapping[str, str]) -> None:
    """Print named values, one a line."""
    print_table(("what", "value"), [(name.replace("_", " "), value) for name, value in facts.items()], numbers=())


def print_manifest_facts(facts: Mapping[str, Any], as_json: bool) -> None:
    """Print what a knowledge base's manifest says, its files as their size together; all of it as JSON."""
    if as_json:
        print_json(facts)
        return
    text = {}
    for name, value in facts.items():
        if name == "digests" or value == {}:
            continue
        if name == "files":
            text["size on disk"] = f"{sum(value.values()) / 2**20:,.1f} MiB"
        elif isinstance(value, dict):
            text[name] = "\n".join(
                f"{key} {part:,}" if isinstance(part, int) else f"{key} {part}" for key, part in value.items()
            )
        else:
            text[name] = f"{value:,}" if isinstance(value, int) else str(value)
    print_facts(text)


def print_names(names: Mapping[str, str], as_json: bool) -> None:
    """Print names with a line on each, or both as JSON."""
    if as_json:
        print_json(names)
        return
    width = max(map(len, names))
    for name, what in names.items():
        print(f"{name:<{width}}  {what}")


def print_corrected(result: Mapping[str, Any]) -> None:
    """Print labels' precision corrected by verdicts: a row a stratum."""
    rows = [("all labels", result["labels"])]
    rows += [
        (f"{group} {name}", row) for group in ("probability", "type", "below") for name, row in result[group].items()
    ]
    print_table(
        ("", "labels", "expected", "right", "corrected", "95 %"),
        [
            (
                name,
                f"{row['labels']:,}",
                percent(row["expected"]),
                f"{row['right']:,} of {row['judged']:,}",
                percent(row["corrected"]),
                "–".join(f"{edge:.1%}" for edge in row["interval"] or ()),
            )
            for name, row in rows
        ],
        whole=range(1, 6),
    )
    if result["least"]:
        print(f"All of this is of labels from probability {result['least']:.3f} on: no others were drawn from.")
    if result["unsure"]:
        print(f"{result['unsure']:,} unsure verdicts are left out.")
    if result["unjudged"]:
        print(f"{result['unjudged']:,} labels of the sample have no verdict yet.")
    for sentence in (result["guarantee"] or {}).get("sentences", ()):
        print(sentence)


def percent(value: float | None) -> str:
    """Return a share as text."""
    return "–" if value is None else f"{value:.1%}"


def print_evaluation(result: Mapping[str, Any]) -> None:
    """Print a result of `openmofi eval`: metrics with intervals, then how the features were made and what was left
    out.
    """
    head = (f"{result['protocol']} (version {result['version']})", "value", f"95 %, over {result['interval_over']}")
    print_table(
        head,
        [
            (name, f"{value:.4f}", "–".join(f"{edge:.4f}" for edge in result["intervals"].get(name) or ()))
            for name, value in result["metrics"].items()
        ],
        numbers=(1,),
    )
    if features := result["features"]:
        pixels = features["preprocessing"]
        print(
            f"features: {features['choice']}, {features['dim']} dimensions, normalised {features['normalisation']}, "
            f"kept as {features['dtype']}; {pixels['size']} px, {pixels['resize']}, {pixels['interpolation']}"
        )
    print(", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in result["counts"].items()))
    if excluded := result["excluded"]:
        some = ", ".join(f"{key} ({why})" for key, why in list(excluded.items())[:5])
        print(f"excluded: {some}{', …' if len(excluded) > 5 else ''}. {result['rule']}")
