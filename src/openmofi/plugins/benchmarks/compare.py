"""Results of several encoders side by side, with paired tests of their differences.

Results that are given under one name, `NAME=PATH`, are runs of one recipe with several seeds and become one row: the
means of their metrics, the standard deviation over seeds beside them, and intervals and tests over items and seeds.
Seeds, and the tasks of a protocol that is a mean over tasks, are few: their intervals and tests are by Student's t.
"""

import csv
import io
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from markupsafe import Markup
from numpy.typing import NDArray

from openmofi.bootstrap import paired_bootstrap
from openmofi.dataset.report.plots import grouped_bars
from openmofi.dataset.report.report import markdown_text
from openmofi.errors import OpenMofiError
from openmofi.evaluation.result import GROUP, ITEM, PART, Result, read_items, read_result
from openmofi.plugins.benchmarks.by_t import difference_by_t, interval_by_t

BY_TASKS = "tasks"
"""What a protocol's interval is over where it is a mean over tasks."""
_TOLD, _SEEDS = 0.05, 3


@dataclass(frozen=True)
class Comparison:
    """Results of one protocol on the same data; the others are compared with the first.

    Attributes:
        results: in the order given; of several seeds their means, without what differs.
        names: of the encoders, distinct.
        deviations: for each result, metric → standard deviation over its seeds; empty for a single result.
        differences: for each result, metric → `PairedDifference.as_dict()` (its own minus the first's); empty for the
            first. Metrics without items are left out.
        order: parts, e.g. domains, in the order of the data.
    """

    results: list[Result]
    names: list[str]
    deviations: list[dict[str, float]]
    differences: list[dict[str, dict[str, Any]]]
    order: list[str]

    @property
    def metrics(self) -> list[str]:
        """The metrics of any result, without those of parts; the headline first."""
        names = dict.fromkeys(name for result in self.results for name in [result.headline, *sorted(result.metrics)])
        return [name for name in names if name.count("/") == 1]

    @property
    def has_seeds(self) -> bool:
        """Whether a row is of several seeds."""
        return any(self.deviations)

    def parts(self) -> dict[str, list[float]]:
        """Part → the headline of each result; NaN where a result lacks it."""
        protocol, metric = self.results[0].headline.split("/")
        names = {part: f"{protocol}/{part}/{metric}" for part in self.order}
        return {
            part: [result.metrics.get(name, float("nan")) for result in self.results]
            for part, name in names.items()
            if any(name in result.metrics for result in self.results)
        }

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "protocol": self.results[0].protocol,
            "data": self.results[0].data["fingerprint"],
            "rows": [
                {
                    "encoder": name,
                    "fingerprint": result.encoder.get("fingerprint"),
                    "metrics": result.metrics,
                    "intervals": {metric: list(edges) for metric, edges in result.intervals.items()},
                    "against_first": against,
                    "deviations": deviations,
                }
                for name, result, against, deviations in zip(
                    self.names, self.results, self.differences, self.deviations, strict=True
                )
            ],
        }


@dataclass(frozen=True)
class _Runs:
    """What is one row of a comparison: a result, or those of several seeds; `items` has the items of each."""

    name: str
    paths: list[Path]
    results: list[Result]
    items: list[pa.Table | None]


def compare_results(given: Sequence[str | Path]) -> list[Comparison]:
    """Read results, and compare those of each protocol with its first.

    Args:
        given: paths, or `NAME=PATH`; paths of one name are seeds of one recipe.

    Raises:
        OpenMofiError: a file is not a result, or results of one protocol differ in data, version or settings.
    """
    by_protocol: dict[str, dict[str, _Runs]] = {}
    for number, entry in enumerate(given):
        name, path = _named(entry)
        result = read_result(path)
        runs = by_protocol.setdefault(result.protocol, {}).setdefault(name or f"={number}", _Runs(name, [], [], []))
        runs.paths.append(path)
        runs.results.append(result)
        runs.items.append(read_items(path, result))
    return [_compare(list(rows.values())) for rows in by_protocol.values()]


def _named(entry: str | Path) -> tuple[str, Path]:
    """`NAME=PATH` → both; a path that has a `=` in a folder's name, or exists, has no name."""
    name, equals, path = str(entry).partition("=")
    return (name, Path(path)) if equals and "/" not in name and not Path(entry).exists() else ("", Path(entry))


def _compare(rows: list[_Runs]) -> Comparison:
    first_path, first = rows[0].paths[0], rows[0].results[0]
    for path, result in ((path, result) for row in rows for path, result in zip(row.paths, row.results, strict=True)):
        _check_comparable(first_path, first, path, result)
    results = [_joined(row) for row in rows]
    differences: list[dict[str, dict[str, Any]]] = [{}]
    differences += [_differences(first, results[0].metrics, row.items, rows[0].items) for row in rows[1:]]
    names = _names([row.results[0] for row in rows], [row.name for row in rows])
    return Comparison(
        results, names, [_deviations(row) for row in rows], differences, _parts(results, rows[0].items[0])
    )


def _shared_metrics(row: _Runs) -> list[str]:
    return [name for name in row.results[0].metrics if all(name in result.metrics for result in row.results)]


def _deviations(row: _Runs) -> dict[str, float]:
    if len(row.results) == 1:
        return {}
    return {
        name: float(np.std([result.metrics[name] for result in row.results], ddof=1)) for name in _shared_metrics(row)
    }


def _joined(row: _Runs) -> Result:
    """The mean of several seeds, with intervals over items and seeds."""
    first = row.results[0]
    if len(row.results) == 1:
        return first
    metrics = {name: float(np.mean([result.metrics[name] for result in row.results])) for name in _shared_metrics(row)}
    same, groups, parts = _same_items(row.items)
    intervals = {
        metric: interval_by_t(values[:, rows], groups[rows])
        for metric, values, rows in _values(first.protocol, same, parts, metrics)
    }
    fingerprints = "+".join(str(result.encoder.get("fingerprint")) for result in row.results)
    return replace(
        first,
        metrics=metrics,
        intervals=intervals,
        encoder=first.encoder | {"fingerprint": fingerprints, "seeds": len(row.results)},
    )


def _parts(results: Sequence[Result], items: pa.Table | None) -> list[str]:
    if items is not None and PART in items.column_names:
        return list(dict.fromkeys(items[PART].to_pylist()))
    return sorted({name.split("/")[1] for result in results for name in result.metrics if name.count("/") == 2})


def _check_comparable(first_path: Path, first: Result, path: Path, result: Result) -> None:
    compared = {
        "version of the protocol": (first.version, result.version),
        "settings": (first.settings, result.settings),
        "data": (first.data["fingerprint"], result.data["fingerprint"]),
    }
    if "bands" in first.facts and "bands" in result.facts:
        compared["dataset of bands"] = (first.facts["bands"]["fingerprint"], result.facts["bands"]["fingerprint"])
    for name, (expected, value) in compared.items():
        if value != expected:
            raise OpenMofiError(
                f"{path} and {first_path} do not compare: their {name} differ ({value} and {expected}).",
                "Evaluate all encoders with one version and one set of settings, on the same data.",
            )


def _same_items(tables: Sequence[pa.Table | None]) -> tuple[list[pa.Table], NDArray[Any], NDArray[Any]]:
    """The items that all tables have, in the order of the first; their groups, and their parts ("" without)."""
    if not tables or any(table is None for table in tables):
        return [], np.array([], str), np.array([], str)
    first, *others = [table for table in tables if table is not None]
    common = np.ones(len(first), bool)
    for table in others:
        common &= pc.is_in(first[ITEM].combine_chunks(), value_set=table[ITEM].combine_chunks()).to_numpy(
            zero_copy_only=False
        )
    common_rows = first.filter(pa.array(common))
    same = [
        common_rows,
        *(
            table.take(pc.index_in(common_rows[ITEM].combine_chunks(), value_set=table[ITEM].combine_chunks()))
            for table in others
        ),
    ]
    parts = common_rows[PART].to_pylist() if PART in common_rows.column_names else [""] * len(common_rows)
    return same, np.array(common_rows[GROUP].to_pylist(), str), np.array(parts, str)


def _values(
    protocol: str,
    tables: Sequence[pa.Table],
    parts: NDArray[Any],
    metrics: Collection[str],
) -> Iterator[tuple[str, NDArray[np.float64], NDArray[np.bool_]]]:
    """(metric, (tables, items) values, (items,) which of them count) of the metrics that items have values for."""
    shared = [
        name
        for name in (tables[0].column_names if tables else ())
        if name not in (ITEM, GROUP, PART) and all(name in table.column_names for table in tables)
    ]
    for column in shared:
        values = np.stack([table[column].to_numpy().astype(np.float64) for table in tables])
        for part in ("", *dict.fromkeys(part for part in parts.tolist() if part)):
            rows = parts == part if part else np.ones(len(parts), bool)
            metric = "/".join(filter(None, (protocol, part, column)))
            if metric in metrics and not np.isnan(values[:, rows]).any(axis=0).all():
                yield metric, values, rows


def _differences(
    first: Result, metrics: Collection[str], ours: list[pa.Table | None], theirs: list[pa.Table | None]
) -> dict[str, dict[str, Any]]:
    """Return the differences over the items of all: by t over seeds or tasks, else by bootstrap."""
    same, groups, parts = _same_items([*ours, *theirs])
    few = max(len(ours), len(theirs)) > 1 or first.interval_over == BY_TASKS
    return {
        metric: (
            difference_by_t(values[: len(ours), rows], values[len(ours) :, rows], groups[rows])
            if few
            else paired_bootstrap(values[0, rows], values[1, rows], groups[rows])
        ).as_dict()
        for metric, values, rows in _values(first.protocol, same, parts, metrics)
    }


def _names(results: Sequence[Result], given: Sequence[str]) -> list[str]:
    """The names that were given, or specs; equal ones with their features, or numbered."""
    names = [name or str(result.encoder.get("spec") or "?") for name, result in zip(given, results, strict=True)]
    if len(set(names)) < len(names):
        names = [f"{name} ({result.features.get('choice', '')})" for name, result in zip(names, results, strict=True)]
    return [name if names.count(name) == 1 else f"{name} #{number}" for number, name in enumerate(names, 1)]


def table_rows(comparison: Comparison) -> list[list[str]]:
    """A header, then a row for each encoder: each metric, ± its deviation over seeds, its interval, its p-value."""
    metrics = comparison.metrics
    rows = [["encoder", "features", *metrics]]
    for name, result, against, deviations in zip(
        comparison.names, comparison.results, comparison.differences, comparison.deviations, strict=True
    ):
        features = result.features
        rows.append(
            [
                name,
                f"{features['choice']}, {features['normalisation']}" if features else "",
                *(_cell(result, metric, against, deviations) for metric in metrics),
            ]
        )
    return rows


def _cell(result: Result, metric: str, against: dict[str, dict[str, Any]], deviations: dict[str, float]) -> str:
    if metric not in result.metrics:
        return "–"
    text = f"{result.metrics[metric]:.4f}" + (f" ± {deviations[metric]:.4f}" if metric in deviations else "")
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
        by = "Student's t" if comparison.has_seeds or first.interval_over == BY_TASKS else "bootstrap"
        over = f"{first.interval_over} and seeds" if comparison.has_seeds else first.interval_over
        lines += [
            f"## {markdown_text(first.protocol)}",
            "",
            markdown_text(
                f"Protocol version {first.version}; data {first.data['fingerprint']}; intervals: 95 %, {by} over "
                f"{over}; p: against the first row, two-sided."
            ),
            "",
        ]
        lines += [table_row(header), "|" + "---|" * len(header), *map(table_row, rows), ""]
        lines += [line for said in cautions(comparison) for line in (markdown_text(said), "")]
    return "\n".join(lines)


def cautions(comparison: Comparison) -> list[str]:
    """Return what the headline's p-values do not say, a sentence each."""
    headline, said = comparison.results[0].headline, []
    for name, against in zip(comparison.names[1:], comparison.differences[1:], strict=True):
        found = against.get(headline)
        if found and found["p_value"] >= _TOLD:
            low, high = found["difference_interval"]
            interval = f", from {low:+.4f} to {high:+.4f}; p = {found['p_value']:.2g}" if low is not None else ""
            said.append(
                f"{headline}: these results can't tell {name} from {comparison.names[0]} "
                f"({found['difference']:+.4f}{interval})."
            )
    if any(found["seeds"] < _SEEDS for against in comparison.differences for found in against.values()):
        said.append(
            f"With fewer than {_SEEDS} seeds a p-value is of these runs, not of their recipes: another seed may turn "
            "the order. Give three or more of each: NAME=FILE NAME=FILE …"
        )
    return said


def as_csv(comparisons: Sequence[Comparison]) -> str:
    """One row for each encoder and metric, including those of parts; numbers in full precision."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(
        [
            "protocol",
            "encoder",
            "encoder_fingerprint",
            "features",
            "data",
            "metric",
            "value",
            "low",
            "high",
            "difference_to_first",
            "p_value",
        ]
    )
    for comparison in comparisons:
        for name, result, against in zip(comparison.names, comparison.results, comparison.differences, strict=True):
            fixed = [
                result.protocol,
                name,
                result.encoder.get("fingerprint", ""),
                result.features.get("choice", ""),
                result.data["fingerprint"],
            ]
            for metric, value in result.metrics.items():
                low, high = result.intervals.get(metric, ("", ""))
                paired = against.get(metric, {})
                writer.writerow(
                    [*fixed, metric, value, low, high, paired.get("difference", ""), paired.get("p_value", "")]
                )
    return out.getvalue()


def figure(comparison: Comparison) -> Markup:
    """Bars as SVG, one colour per encoder: of each part, or of the metrics without parts."""
    first, parts = comparison.results[0], comparison.parts()
    if parts:
        return grouped_bars(parts, comparison.names, first.headline)
    metrics = {
        name.partition("/")[2]: [result.metrics.get(name, float("nan")) for result in comparison.results]
        for name in comparison.metrics
    }
    return grouped_bars(metrics, comparison.names, first.protocol)


def table_row(cells: Iterable[object]) -> str:
    """A row of a table in Markdown."""
    return f"| {' | '.join(map(markdown_text, cells))} |"
