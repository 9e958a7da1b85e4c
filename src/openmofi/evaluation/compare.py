"""Results of several encoders side by side, with paired tests of their differences."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from markupsafe import Markup
from numpy.typing import NDArray

from openmofi.bootstrap import paired_bootstrap
from openmofi.dataset.report.markdown import markdown_text, table_row
from openmofi.dataset.report.plots import grouped_bars
from openmofi.errors import OpenMofiError
from openmofi.evaluation.result import GROUP, ITEM, PART, Result, read_items, read_result


@dataclass(frozen=True)
class Comparison:
    """Results of one protocol on the same data; the others are compared with the first.

    Attributes:
        results: in the order given.
        names: of the encoders, distinct.
        differences: for each result, metric → `PairedDifference.as_dict()` (its own minus the first's); empty for the
            first. Metrics without items are left out.
        order: parts, e.g. domains, in the order of the data.
    """

    results: list[Result]
    names: list[str]
    differences: list[dict[str, dict[str, Any]]]
    order: list[str]

    @property
    def metrics(self) -> list[str]:
        """The metrics of any result, without those of parts; the headline first."""
        names = dict.fromkeys(name for result in self.results for name in [result.headline, *sorted(result.metrics)])
        return [name for name in names if name.count("/") == 1]

    def parts(self) -> dict[str, list[float]]:
        """Part → the headline of each result; NaN where a result lacks it."""
        protocol, metric = self.results[0].headline.split("/")
        names = {part: f"{protocol}/{part}/{metric}" for part in self.order}
        return {part: [result.metrics.get(name, float("nan")) for result in self.results]
                for part, name in names.items() if any(name in result.metrics for result in self.results)}

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"protocol": self.results[0].protocol, "data": self.results[0].data["fingerprint"], "rows": [
            {"encoder": name, "fingerprint": result.encoder.get("fingerprint"), "metrics": result.metrics,
             "intervals": {metric: list(edges) for metric, edges in result.intervals.items()}, "against_first": against}
            for name, result, against in zip(self.names, self.results, self.differences, strict=True)]}


def compare_results(paths: Sequence[str | Path]) -> list[Comparison]:
    """Read results, and compare those of each protocol with its first.

    Raises:
        OpenMofiError: a file is not a result, or results of one protocol differ in data, version or settings.
    """
    by_protocol: dict[str, list[tuple[Path, Result]]] = {}
    for path in paths:
        result = read_result(path)
        by_protocol.setdefault(result.protocol, []).append((Path(path), result))
    return [_compare(pairs) for pairs in by_protocol.values()]


def _compare(pairs: list[tuple[Path, Result]]) -> Comparison:
    first_path, first = pairs[0]
    for path, result in pairs[1:]:
        _check_comparable(first_path, first, path, result)
    items = read_items(first_path, first)
    differences: list[dict[str, dict[str, Any]]] = [{}]
    differences += [_differences(result, read_items(path, result), items) for path, result in pairs[1:]]
    results = [result for _, result in pairs]
    return Comparison(results, _names(results), differences, _parts(results, items))


def _parts(results: Sequence[Result], items: pa.Table | None) -> list[str]:
    if items is not None and PART in items.column_names:
        return list(dict.fromkeys(items[PART].to_pylist()))
    return sorted({name.split("/")[1] for result in results for name in result.metrics if name.count("/") == 2})


def _check_comparable(first_path: Path, first: Result, path: Path, result: Result) -> None:
    compared = {"version of the protocol": (first.version, result.version),
                "settings": (first.settings, result.settings),
                "data": (first.data["fingerprint"], result.data["fingerprint"])}
    for name, (expected, value) in compared.items():
        if value != expected:
            raise OpenMofiError(f"{path} and {first_path} do not compare: their {name} differ ({value} and "
                                f"{expected}).",
                                "Evaluate all encoders with one version and one set of settings, on the same data.")


def _differences(result: Result, items: pa.Table | None, first: pa.Table | None) -> dict[str, dict[str, Any]]:
    """Over the items of both."""
    if items is None or first is None:
        return {}
    rows = pc.index_in(items[ITEM].combine_chunks(), value_set=first[ITEM].combine_chunks())
    known = pc.is_valid(rows)
    ours, theirs = items.filter(known), first.take(rows.filter(known))
    if not len(ours):
        return {}
    groups = np.array(ours[GROUP].to_pylist())
    differences = {}
    for column in (name for name in ours.column_names if name in theirs.column_names):
        if column in (ITEM, GROUP, PART):
            continue
        mine, other = (table[column].to_numpy().astype(np.float64) for table in (ours, theirs))
        for part, rows in _rows_of_parts(ours):
            metric = "/".join(filter(None, (result.protocol, part, column)))
            if metric in result.metrics and not (np.isnan(mine) | np.isnan(other))[rows].all():
                differences[metric] = paired_bootstrap(mine[rows], other[rows], groups[rows]).as_dict()
    return differences


def _rows_of_parts(items: pa.Table) -> list[tuple[str, NDArray[np.bool_]]]:
    """("", all rows), then each part with its rows."""
    masks = [("", np.ones(len(items), bool))]
    if PART in items.column_names:
        parts = np.array(items[PART].to_pylist())
        masks += [(str(part), parts == part) for part in dict.fromkeys(parts.tolist())]
    return masks


def _names(results: Sequence[Result]) -> list[str]:
    """Specs; equal ones with their features, or numbered."""
    names = [str(result.encoder.get("spec") or "?") for result in results]
    if len(set(names)) < len(names):
        names = [f"{name} ({result.features.get('choice', '')})" for name, result in zip(names, results, strict=True)]
    return [name if names.count(name) == 1 else f"{name} #{number}" for number, name in enumerate(names, 1)]


def table_rows(comparison: Comparison) -> list[list[str]]:
    """A header, then a row for each encoder: each metric with its interval and, except for the first, its p-value."""
    metrics = comparison.metrics
    rows = [["encoder", "features", *metrics]]
    for name, result, against in zip(comparison.names, comparison.results, comparison.differences, strict=True):
        features = result.features
        rows.append([name, f"{features['choice']}, {features['normalisation']}" if features else "",
                     *(_cell(result, metric, against) for metric in metrics)])
    return rows


def _cell(result: Result, metric: str, against: dict[str, dict[str, Any]]) -> str:
    if metric not in result.metrics:
        return "–"
    text = f"{result.metrics[metric]:.4f}"
    if metric in result.intervals:
        low, high = result.intervals[metric]
        text += f" [{low:.4f}, {high:.4f}]"
    return text + (f", p = {against[metric]['p_value']:.3g}" if metric in against else "")


def markdown(comparisons: Sequence[Comparison]) -> str:
    """A section with a table for each protocol."""
    lines: list[str] = []
    for comparison in comparisons:
        header, *rows = table_rows(comparison)
        first = comparison.results[0]
        lines += [f"## {markdown_text(first.protocol)}", "", markdown_text(
            f"Protocol version {first.version}; data {first.data['fingerprint']}; intervals: 95 %, bootstrap over "
            f"{first.interval_over}; p: paired bootstrap against the first row, two-sided."), ""]
        lines += [table_row(header), "|" + "---|" * len(header), *map(table_row, rows), ""]
    return "\n".join(lines)


def as_csv(comparisons: Sequence[Comparison]) -> str:
    """One row for each encoder and metric, including those of parts; numbers in full precision."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["protocol", "encoder", "encoder_fingerprint", "features", "data", "metric", "value", "low", "high",
                     "difference_to_first", "p_value"])
    for comparison in comparisons:
        for name, result, against in zip(comparison.names, comparison.results, comparison.differences, strict=True):
            fixed = [result.protocol, name, result.encoder.get("fingerprint", ""), result.features.get("choice", ""),
                     result.data["fingerprint"]]
            for metric, value in result.metrics.items():
                low, high = result.intervals.get(metric, ("", ""))
                paired = against.get(metric, {})
                writer.writerow([*fixed, metric, value, low, high, paired.get("difference", ""),
                                 paired.get("p_value", "")])
    return out.getvalue()


def figure(comparison: Comparison) -> Markup:
    """Bars as SVG, one colour per encoder: of each part, or of the metrics without parts."""
    first, parts = comparison.results[0], comparison.parts()
    if parts:
        return grouped_bars(parts, comparison.names, first.headline)
    metrics = {name.partition("/")[2]: [result.metrics.get(name, float("nan")) for result in comparison.results]
               for name in comparison.metrics}
    return grouped_bars(metrics, comparison.names, first.protocol)
