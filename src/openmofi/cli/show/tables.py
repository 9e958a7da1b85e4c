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
    """Print the demo's figures beside their goals."""
    from openmofi.sample.figures import AMBIGUOUS_GOAL, PRECISION_GOAL, RECALL_GOAL

    labels = metrics["labels"]
    table = Table(title=f"Labels of {metrics['rows_out']:,} pages ({metrics['rows_in']:,} in)", title_justify="left")
    for column, justify in (("", "left"), ("precision", "right"), ("recall", "right"), ("goal", "left")):
        table.add_column(column, justify=justify)  # type: ignore[arg-type]
    rows = [
        ("all pages", labels["precision"], labels["recall"], f"≥ {PRECISION_GOAL:.2f} at ≥ {RECALL_GOAL:.2f}"),
        ("  ambiguous names", labels["ambiguous_precision"], labels["ambiguous_recall"], f"≥ {AMBIGUOUS_GOAL:.2f}"),
        ("held-out pages", labels["heldout_precision"], labels["heldout_recall"], ""),
        ("  ambiguous names", labels["heldout_ambiguous_precision"], labels["heldout_ambiguous_recall"], ""),
        ("text only, same recall", labels["text_only_precision"], labels["recall"], ""),
        ("contrastive on alt-text, same recall", labels["alt_text_encoder_precision"], labels["recall"], ""),
    ]
    for name, precision, recall, goal in rows:
        table.add_row(name, *("–" if value is None else f"{value:.3f}" for value in (precision, recall)), goal)
    console = Console()
    console.print(table)
    for name, title in (("retrieval", "heads on cached features"), ("retrieval_full", "end to end, three seeds")):
        if name in metrics:
            _print_retrieval(console, f"Retrieval and naming of held-out entities: {title}", metrics[name])
    console.print(f"expected precision without any truth: {labels['expected_precision']:.3f}; "
                  f"{metrics['seconds']['total']:.0f} s in all; report: {out}/report.html", highlight=False)


def _print_retrieval(console: Console, title: str, found: Mapping[str, Any]) -> None:
    from studies.comparison_figures import ROWS, gain_sentence

    console.print(_encoders_table(title, {shown: found[name] for name, shown in ROWS.items()}))
    console.print(gain_sentence(found), highlight=False)


def _encoders_table(title: str, rows: Mapping[str, Mapping[str, Any]]) -> Table:
    """Each figure with its interval below it, so that the table fits 80 columns."""
    from studies.comparison_figures import figure_cells

    table = Table(title=f"{title}; 95 % below", title_justify="left")
    table.add_column("encoder")
    for column in ("mAP excl. query", "mAP incl. query", "zero-shot"):
        table.add_column(column, justify="right", no_wrap=True)
    for name, figures in rows.items():
        excl, excl_interval, incl, zero_shot, zero_shot_interval = figure_cells(figures)
        table.add_row(name, f"{excl}\n{excl_interval}", incl, f"{zero_shot}\n{zero_shot_interval}")
    return table


def print_fusion(out: str, metrics: Mapping[str, Any]) -> None:
    """Print the fusion benchmark's systems, goals and ablations."""
    from studies.fusion_figures import ABLATION_ROWS, GOAL_ROWS, ROWS, interval, verdict

    table = Table(title="Mentions of lemmas that none has seen; 95 % over lemmas", title_justify="left")
    table.add_column("")
    for column in ("accuracy", "95 %", "shadowed", "seen lemmas"):
        table.add_column(column, justify="right")
    headlines = {"select": "accuracy", "bi_encoder": "biencoder_tuned", "bi_encoder_untrained": "biencoder",
                 "prior": "prior"}
    for name, shown in ROWS.items():
        unseen, seen = (metrics["splits"][split][name] for split in ("test_unseen", "test_seen"))
        table.add_row(shown, f"{unseen['accuracy']:.3f}", interval(metrics["intervals"][headlines[name]]),
                      f"{unseen['shadowed'] or 0:.3f}", f"{seen['accuracy']:.3f}")
    for name, value in metrics["ablations"].items():
        table.add_row(f"  {ABLATION_ROWS[name]}", f"{value:.3f}", interval(metrics["intervals"][f"ablations.{name}"]))
    console = Console()
    console.print(table)
    for name, goal in metrics["goals"].items():
        console.print(f"{GOAL_ROWS[name]}: {goal['found']:.3f} (goal {goal['goal']:.2f}: {verdict(goal)})",
                      highlight=False)
    console.print(f"{metrics['seconds']['total']:.0f} s in all; report: {out}/report.html", highlight=False)


def print_reinforced(out: str, metrics: Mapping[str, Any]) -> None:
    """Print the students beside their teachers, and the goals."""
    from studies.reinforced_figures import encoder_rows, goal_cells

    console = Console()
    console.print(_encoders_table("Retrieval and naming of held-out entities", encoder_rows(metrics)))
    for name, found, interval, goal, verdict in goal_cells(metrics):
        console.print(f"{name}: {found} ({interval}; goal {goal}: {verdict})", highlight=False)
    console.print(f"{metrics['seconds']['total']:.0f} s in all; report: {out}/report.html", highlight=False)


def print_linkers(metrics: Mapping[str, Any]) -> None:
    """Print what labels each linker leads to, before and after the image has its say."""
    for pages, found in metrics["linkers"].items():
        table = Table(title=f"{pages.replace('_', ' ')} pages: precision at recall", title_justify="left",
                      pad_edge=False)
        table.add_column("linker")
        for column in ("all", "ambiguous", "all,\nwith image", "ambiguous,\nwith image"):
            table.add_column(column, justify="right", no_wrap=True)
        for name, stages in found.items():
            table.add_row(name, *(_precision_at_recall(stages[stage][group]) for stage in ("text", "image")
                                  for group in ("all", "ambiguous")))
        Console().print(table)


def _precision_at_recall(figures: Mapping[str, float | None]) -> str:
    precision, recall = ("–" if figures[name] is None else f"{figures[name]:.3f}" for name in ("precision", "recall"))
    return f"{precision} at {recall}"


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
