"""Run every benchmark of this folder, then write RESULTS.md from results/*.json. `--report` only writes RESULTS.md."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from charts import CHARTS, draw
from openmofi.dataset.report.report import markdown_text
from openmofi.plugins.benchmarks.compare import table_row

HERE = Path(__file__).parent
_NOT_BENCHMARKS = {
    "base_worlds.py",
    "big_base.py",
    "big_label.py",
    "big_text.py",
    "charts.py",
    "fetch.py",
    "full_dump.py",
    "harness.py",
    "labelled_worlds.py",
    "many_entities.py",
    "ocr.py",
    "page.py",
    "peers_label.py",
    "photo.py",
    "reference_labels.py",
    "references.py",
    "review.py",
    "run_all.py",
    "stub.py",
    "tasks.py",
    "train_input.py",
}
"""Parts of others, and what needs folders that only the caller can name."""
_MOST_FIGURES = 7
"""Figures of a benchmark in the table of all; those that have more list them with their rows."""


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return str(value)


def _section(result: dict[str, Any]) -> list[str]:
    """One benchmark: the machine it ran on and, folded, all of its rows."""
    machine = result["machine"]
    packages = ", ".join(f"{name} {number}" for name, number in machine["packages"].items())
    rows = result["rows"]
    columns = list(
        dict.fromkeys(key for row in rows for key, value in row.items() if not isinstance(value, list | dict))
    )
    lines = [
        f"### {markdown_text(result['name'])}",
        "",
        markdown_text(
            f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB; "
            f"Python {machine['python']}; {packages}."
        ),
        "",
    ]
    if (HERE / "results" / f"{result['name']}.png").exists():
        lines += [f"![{result['name']}](results/{result['name']}.png)", ""]
    if len(figures := result["ratios"]) > _MOST_FIGURES:
        lines += _folded(f"{len(figures)} figures", ["figure", "value"], list(figures.items()))
    if columns:
        lines += _folded(f"{len(rows)} rows", columns, [[row.get(column) for column in columns] for row in rows])
    return lines


def _folded(summary: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    lines = [f'<details markdown="1"><summary>{summary}</summary>', ""]
    lines += [table_row(columns), "|" + "---|" * len(columns)]
    lines += [table_row(map(_cell, row)) for row in rows]
    return [*lines, "", "</details>", ""]


def report() -> Path:
    """Write RESULTS.md from the results at hand: charts and one table of figures first, then every row, folded."""
    files = [json.loads(path.read_text(encoding="utf-8")) for path in sorted((HERE / "results").glob("*.json"))]
    results = [result for result in files if "rows" in result]  # house.json counts lines, and is no benchmark
    lines = [
        "# Benchmark results",
        "",
        "Written by `python benchmarks/run_all.py`. The contenders of one benchmark took turns in one run.",
        "",
    ]
    for chart in CHARTS:
        lines += [f"{chart.caption} [All rows](#{chart.benchmark}).", ""]
        lines += [f"![{chart.name}](results/{draw(chart).name})", ""]
    lines += ["| benchmark | figure | value |", "|---|---|---|"]
    for result in results:
        cell = f"[{markdown_text(result['name'])}](#{result['name']})"
        for name, value in list(result["ratios"].items())[:_MOST_FIGURES]:
            lines.append(f"| {cell} | {markdown_text(name)} | {_cell(value)} |")
            cell = ""
    lines += ["", "## In depth", "", "`ratio` is the speed relative to the table's first row.", ""]
    for result in results:
        lines += _section(result)
    out = HERE / "RESULTS.md"
    out.write_text("\n".join(lines), encoding="utf-8")
    return out


def main() -> int:
    failed = []
    if "--report" not in sys.argv[1:]:
        for script in sorted(HERE.glob("*.py")):
            if script.name in _NOT_BENCHMARKS:
                continue
            print(f"== {script.name}", flush=True)
            if subprocess.run([sys.executable, str(script)], check=False).returncode:
                failed.append(script.name)
    print(f"wrote {report()}")
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
