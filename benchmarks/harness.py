"""What every benchmark shares: contenders that take turns in one run, a table with medians and ratios, a JSON file."""

from __future__ import annotations

import gc
import json
import os
import platform
import resource
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent / "results"
_PACKAGES = (
    "numpy",
    "torch",
    "pyarrow",
    "pillow",
    "marisa-trie",
    "spacy",
    "timm",
    "open-clip-torch",
    "ray",
    "onnxruntime",
    "openvino",
    "nncf",
    "faiss-cpu",
    "hnswlib",
    "usearch",
    "lancedb",
)
Row = dict[str, Any]


def peak_mib() -> float:
    """Greatest resident memory of this process, in MiB.

    Of Linux's own count: what `getrusage` gives begins at the size of the process that started this one.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(
    name: str,
    contenders: Mapping[str, Callable[[], object]],
    units: float,
    rounds: int = 5,
    unit: str = "units",
    warm_up: bool = True,
) -> dict[str, Row]:
    """Time contenders in turns: round 1 of each, round 2 of each, … in rotating order, so that drift hits all alike.

    Args:
        name: what is measured; printed as the table's title.
        contenders: what to call; each call processes `units` units.
        units: units a call processes.
        rounds: timed calls of each.
        unit: what a unit is, e.g. "captions".
        warm_up: whether each is called once untimed before.

    Returns:
        contender → {`contender`, `seconds` (of every round), `median_s`, `min_s`, `max_s`, `per_second` (median),
        `ratio` (speed relative to the first contender's median), `cpu_seconds` (of every round, of the processor: of
        this process and of those that it started and that have ended), `cpu_ratio` (of their medians; other work on
        the machine stretches it less)}.
    """
    seconds: dict[str, list[float]] = {contender: [] for contender in contenders}
    cpu: dict[str, list[float]] = {contender: [] for contender in contenders}
    order = list(contenders)
    if warm_up:
        for contender in order:
            contenders[contender]()
    for turn in range(rounds):
        shift = turn % len(order)
        for contender in order[shift:] + order[:shift]:
            gc.collect()
            start, before = time.perf_counter(), sum(os.times()[:4])
            contenders[contender]()
            seconds[contender].append(time.perf_counter() - start)
            cpu[contender].append(sum(os.times()[:4]) - before)
    rows, first = summarise(seconds, units), statistics.median(cpu[order[0]])
    for contender, taken in cpu.items():
        rows[contender] |= {"cpu_seconds": taken, "cpu_ratio": first / max(statistics.median(taken), 0.01)}
    show(name, rows, unit)
    return rows


def summarise(seconds: Mapping[str, Sequence[float]], units: float) -> dict[str, Row]:
    """Rows as `measure` returns them, for seconds that were measured elsewhere (say, in child processes)."""
    first = statistics.median(next(iter(seconds.values())))
    rows = {}
    for contender, taken in seconds.items():
        median = statistics.median(taken)
        rows[contender] = {
            "contender": contender,
            "seconds": list(taken),
            "median_s": median,
            "min_s": min(taken),
            "max_s": max(taken),
            "per_second": units / median,
            "ratio": first / median,
        }
    return rows


def show(name: str, rows: Mapping[str, Row], unit: str = "units", extra: Sequence[str] = ()) -> None:
    """Print rows as a table; `extra` names further columns of the rows."""
    table = Table(title=name)
    table.add_column("contender")
    for heading in ("median s", "min–max s", f"{unit}/s", "ratio", *extra):
        table.add_column(heading, justify="right")
    for row in rows.values():
        table.add_row(
            row["contender"],
            f"{row['median_s']:.3f}",
            f"{row['min_s']:.3f}–{row['max_s']:.3f}",
            f"{row['per_second']:,.0f}",
            f"{row['ratio']:.2f}",
            *(_plain(row.get(key)) for key in extra),
        )
    Console().print(table)


def _plain(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:,.2f}" if isinstance(value, float) else str(value)


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def machine() -> dict[str, Any]:
    """The machine and the versions that a figure belongs to."""
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": versions,
    }


def write_result(
    name: str,
    rows: Sequence[Row] | Mapping[str, Row],
    ratios: Mapping[str, float],
    results: Path = RESULTS,
    *,
    keeps: bool = False,
) -> Path:
    """Write `results/NAME.json` ({machine, rows, ratios}) and print the ratios.

    With `keeps`, rows of other contenders and other ratios that are there stay: parts of it are measured apart.
    """
    results.mkdir(parents=True, exist_ok=True)
    listed = list(rows.values()) if isinstance(rows, Mapping) else list(rows)
    path, kept = results / f"{name}.json", dict[str, Any]()
    if keeps and path.exists():
        kept = json.loads(path.read_text(encoding="utf-8"))
        fresh = {row["contender"] for row in listed}
        listed = [row for row in kept["rows"] if row["contender"] not in fresh] + listed
    content = {"name": name, "machine": machine(), "rows": listed, "ratios": kept.get("ratios", {}) | dict(ratios)}
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    for ratio, value in ratios.items():
        Console().print(f"{ratio}: [bold]{value:,.3f}[/bold]")
    return path
