"""Tables on a terminal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table


def print_counts(title: str, counts: Mapping[str, int]) -> None:
    """Print named counts."""
    table = Table(box=None, pad_edge=False)
    table.add_column(title)
    table.add_column("count", justify="right")
    for name, count in counts.items():
        table.add_row(name, f"{count:,}")
    Console().print(table, "")


def print_names(names: Mapping[str, str], as_json: bool) -> None:
    """Print names with a line on each, or both as JSON."""
    if as_json:
        print(json.dumps(names, indent=2, ensure_ascii=False))
        return
    width = max(map(len, names))
    for name, what in names.items():
        print(f"{name:<{width}}  {what}")


def print_audit(result: Mapping[str, Any]) -> None:
    """Print an audit's plain values: a row a group, the text-only linker beside the labels."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("group", no_wrap=True)
    table.add_column("", no_wrap=True)
    for name in ("pairs", "precision", "95 %", "recall", "text-only precision", "text-only recall"):
        table.add_column(name, justify="right")
    _row(table, "all", "", result["overall"])
    for group, values in result["groups"].items():
        for position, (value, beside) in enumerate(values.items()):
            _row(table, group if position == 0 else "", value, beside)
    console = Console()
    console.print(table)
    for name, precision in result["precision_at_recall"].items():
        if result["curve"]:
            console.print(f"precision of {name} at recall {result['recall_asked']:.2f}: {_percent(precision)}",
                          highlight=False)


def _row(table: Table, group: str, value: str, beside: Mapping[str, Any]) -> None:
    labels, text = beside["labels"], beside["text_only"] or {}
    interval = labels["precision_interval"]
    table.add_row(group, value, f"{labels['pairs']:,}", _percent(labels["precision"]),
                  "–".join(f"{edge:.0%}" for edge in interval) if interval else "", _percent(labels["recall"]),
                  _percent(text.get("precision")), _percent(text.get("recall")))


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def print_world(title: str, counts: Mapping[str, Any]) -> None:
    """Print a sample world's counts: how many of each, then images by domain and the rule that named them."""
    print_counts(title, {name: count for name, count in counts.items() if isinstance(count, int)})
    for name in ("pairs_by_split", "entities_by_kind"):
        print_counts(name.replace("_", " "), counts[name])
    rules: dict[str, dict[str, int]] = {}
    for key, count in counts["pictures_by_rule"].items():
        domain, _, rule = key.partition("/")
        rules.setdefault(domain, {})[rule] = count
    columns = sorted({rule for row in rules.values() for rule in row})
    table = Table(box=None, pad_edge=False)
    table.add_column("images by rule", no_wrap=True)
    for column in columns:
        table.add_column(column, justify="right")
    for domain, row in rules.items():
        table.add_row(domain, *(f"{row[column]:,}" if column in row else "" for column in columns))
    Console().print(table)


def print_demo(out: str, metrics: Mapping[str, Any]) -> None:
    """Print the demo's figures."""
    labels = metrics["labels"]
    table = Table(title=f"Labels of {metrics['rows_out']:,} pages ({metrics['rows_in']:,} in)", title_justify="left")
    table.add_column("")
    for column in ("precision", "recall"):
        table.add_column(column, justify="right")
    for name, precision, recall in (
        ("all pages", "precision", "recall"), ("  ambiguous names", "ambiguous_precision", "ambiguous_recall"),
        ("held-out pages", "heldout_precision", "heldout_recall"),
        ("  ambiguous names", "heldout_ambiguous_precision", "heldout_ambiguous_recall"),
        ("text only, same recall", "text_only_precision", "recall"),
        ("contrastive on alt-text, same recall", "alt_text_encoder_precision", "recall"),
    ):
        table.add_row(name, *("–" if labels[key] is None else f"{labels[key]:.3f}" for key in (precision, recall)))
    console = Console()
    console.print(table)
    console.print(f"expected precision without any truth: {labels['expected_precision']:.3f}; "
                  f"{metrics['seconds']['total']:.0f} s in all; report: {out}/report.html", highlight=False)


def print_evaluation(result: Mapping[str, Any]) -> None:
    """Print a result of `openmofi eval`: metrics with intervals, then how the features were made and what was left
    out.
    """
    table = Table(box=None, pad_edge=False)
    table.add_column(f"{result['protocol']} (version {result['version']})", no_wrap=True)
    table.add_column("value", justify="right")
    table.add_column(f"95 %, over {result['interval_over']}")
    for name, value in result["metrics"].items():
        edges = result["intervals"].get(name)
        table.add_row(name, f"{value:.4f}", f"{edges[0]:.4f}–{edges[1]:.4f}" if edges else "")
    console = Console()
    console.print(table)
    if features := result["features"]:
        pixels = features["preprocessing"]
        console.print(f"features: {features['choice']}, {features['dim']} dimensions, normalised "
                      f"{features['normalisation']}, kept as {features['dtype']}; {pixels['size']} px, "
                      f"{pixels['resize']}, {pixels['interpolation']}", highlight=False)
    console.print(", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in result["counts"].items()),
                  highlight=False)
    if excluded := result["excluded"]:
        some = ", ".join(f"{key} ({why})" for key, why in list(excluded.items())[:5])
        console.print(f"excluded: {some}{', …' if len(excluded) > 5 else ''}. {result['rule']}", highlight=False,
                      markup=False)


def print_comparison(title: str, rows: list[list[str]]) -> None:
    """Print a header and rows of cells, turned: a column an encoder."""
    table = Table(title=title, title_justify="left", pad_edge=False)
    columns = [list(column) for column in zip(*rows, strict=True)]
    for number, heading in enumerate(columns[0]):
        table.add_column(heading, justify="right" if number else "left", overflow="fold")
    for row in columns[1:]:
        table.add_row(row[0].removeprefix(f"{title}/"), *row[1:])
    Console().print(table)
