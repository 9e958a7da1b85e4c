"""Results of several encoders beside one another: who is better, and whether that may be chance."""

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

from openmofi.dataset.report.plots import grouped_bars
from openmofi.errors import OpenMofiError
from openmofi.evaluation.metrics.bootstrap import paired_bootstrap
from openmofi.evaluation.result import GROUP, ITEM, PART, Result, read_items, read_result

_UNNAMED = (ITEM, GROUP, PART)


@dataclass(frozen=True)
class Comparison:
    """Results of one protocol on the same data; the first is what the others are compared with.

    Attributes:
        results: in the order given.
        names: of the encoders, distinct.
        differences: for each result, metric → `PairedDifference.as_dict()` (its own minus the first's); empty for the
            first, and for metrics that no item has.
        order: parts, e.g. domains, in the order of the data.
    """

    results: list[Result]
    names: list[str]
    differences: list[dict[str, dict[str, Any]]]
    order: list[str]

    @property
    def metrics(self) -> list[str]:
        """The metrics that any result has, without those of parts; the headline first."""
        found = dict.fromkeys(name for result in self.results for name in [result.headline, *sorted(result.metrics)])
        return [name for name in found if name.count("/") == 1]

    def parts(self) -> dict[str, list[float]]:
        """Part → the headline of each result (NaN where there is none)."""
        protocol, metric = self.results[0].headline.split("/")
        of = {part: f"{protocol}/{part}/{metric}" for part in self.order}
        return {part: [result.metrics.get(name, float("nan")) for result in self.results] for part, name in of.items()
                if any(name in result.metrics for result in self.results)}

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"protocol": self.results[0].protocol, "data": self.results[0].data["fingerprint"], "rows": [
            {"encoder": name, "fingerprint": result.encoder.get("fingerprint"), "metrics": result.metrics,
             "intervals": {metric: list(edges) for metric, edges in result.intervals.items()}, "against_first": against}
            for name, result, against in zip(self.names, self.results, self.differences, strict=True)]}


def compare_results(paths: Sequence[str | Path]) -> list[Comparison]:
    """Read results, and compare those of each protocol with the first of its kind.

    Raises:
        OpenMofiError: a file is no result, or results of one protocol are of different data, versions or settings.
    """
    by_protocol: dict[str, list[tuple[Path, Result]]] = {}
    for path in paths:
        result = read_result(path)
        by_protocol.setdefault(result.protocol, []).append((Path(path), result))
    return [_compare(some) for some in by_protocol.values()]


def _compare(some: list[tuple[Path, Result]]) -> Comparison:
    first_path, first = some[0]
    for path, result in some[1:]:
        _check_comparable(first_path, first, path, result)
    items = read_items(first_path, first)
    differences: list[dict[str, dict[str, Any]]] = [{}]
    differences += [_differences(result, read_items(path, result), items) for path, result in some[1:]]
    results = [result for _, result in some]
    return Comparison(results, _names(results), differences, _parts(results, items))


def _parts(results: Sequence[Result], items: pa.Table | None) -> list[str]:
    if items is not None and PART in items.column_names:
        return list(dict.fromkeys(items[PART].to_pylist()))
    return sorted({name.split("/")[1] for result in results for name in result.metrics if name.count("/") == 2})


def _check_comparable(first_path: Path, first: Result, path: Path, result: Result) -> None:
    wanted = {"version of the protocol": (first.version, result.version), "settings": (first.settings, result.settings),
              "data": (first.data["fingerprint"], result.data["fingerprint"])}
    for what, (one, other) in wanted.items():
        if one != other:
            raise OpenMofiError(f"{path} and {first_path} do not compare: their {what} differ ({other} and {one}).",
                                "Evaluate all encoders with one version and one set of settings, on the same data.")


def _differences(result: Result, items: pa.Table | None, first: pa.Table | None) -> dict[str, dict[str, Any]]:
    """Over the items that both have."""
    if items is None or first is None:
        return {}
    rows = pc.index_in(items[ITEM].combine_chunks(), value_set=first[ITEM].combine_chunks())
    known = pc.is_valid(rows)
    ours, theirs = items.filter(known), first.take(rows.filter(known))
    if not len(ours):
        return {}
    groups = np.array(ours[GROUP].to_pylist())
    found = {}
    for name in ours.column_names:
        if name not in _UNNAMED and name in theirs.column_names:
            mine, other = (table[name].to_numpy().astype(np.float64) for table in (ours, theirs))
            for part, rows in _rows_of_parts(ours):
                if not (np.isnan(mine) | np.isnan(other))[rows].all():
                    key = "/".join(filter(None, (result.protocol, part, name)))
                    found[key] = paired_bootstrap(mine[rows], other[rows], groups[rows]).as_dict()
    return {name: value for name, value in found.items() if name in result.metrics}


def _rows_of_parts(items: pa.Table) -> list[tuple[str, NDArray[np.bool_]]]:
    """("", all rows), then each part with its rows."""
    found = [("", np.ones(len(items), bool))]
    if PART in items.column_names:
        parts = np.array(items[PART].to_pylist())
        found += [(str(part), parts == part) for part in dict.fromkeys(parts.tolist())]
    return found


def _names(results: Sequence[Result]) -> list[str]:
    """Specs; where two are equal, with their features, or a number."""
    names = [str(result.encoder.get("spec") or "?") for result in results]
    if len(set(names)) < len(names):
        names = [f"{name} ({result.features.get('choice', '')})" for name, result in zip(names, results, strict=True)]
    return [name if names.count(name) == 1 else f"{name} #{number}" for number, name in enumerate(names, 1)]


def table_rows(comparison: Comparison) -> list[list[str]]:
    """A header, then a row for each encoder: each metric with its interval and, but for the first, its p-value."""
    metrics = comparison.metrics
    rows = [["encoder", "features", *metrics]]
    for name, result, against in zip(comparison.names, comparison.results, comparison.differences, strict=True):
        told = result.features
        rows.append([name, f"{told['choice']}, {told['normalisation']}" if told else "",
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
    for one in comparisons:
        header, *rows = table_rows(one)
        first = one.results[0]
        lines += [f"## {first.protocol}", "",
                  f"Protocol version {first.version}; data {first.data['fingerprint']}; intervals: 95 %, bootstrap "
                  f"over {first.interval_over}; p: paired bootstrap against the first row, two-sided.", "",
                  "| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
        lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows] + [""]
    return "\n".join(lines)


def as_csv(comparisons: Sequence[Comparison]) -> str:
    """One row for each encoder and metric, parts too, numbers in full."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["protocol", "encoder", "encoder_fingerprint", "features", "data", "metric", "value", "low", "high",
                     "difference_to_first", "p_value"])
    for one in comparisons:
        for name, result, against in zip(one.names, one.results, one.differences, strict=True):
            fixed = [result.protocol, name, result.encoder.get("fingerprint", ""), result.features.get("choice", ""),
                     result.data["fingerprint"]]
            for metric, value in result.metrics.items():
                low, high = result.intervals.get(metric, ("", ""))
                paired = against.get(metric, {})
                writer.writerow([*fixed, metric, value, low, high, paired.get("difference", ""),
                                 paired.get("p_value", "")])
    return out.getvalue()


def figure(comparison: Comparison) -> Markup:
    """Bars of each part, one colour an encoder, as SVG; of the metrics where there are no parts."""
    first, parts = comparison.results[0], comparison.parts()
    if parts:
        return grouped_bars(parts, comparison.names, first.headline)
    whole = {name.partition("/")[2]: [result.metrics.get(name, float("nan")) for result in comparison.results]
             for name in comparison.metrics}
    return grouped_bars(whole, comparison.names, first.protocol)
