"""How the suite is run: which slow tests `make test` has, what shares a process, what starts first, what was skipped.

`chosen.txt` names the slow tests that `make test` runs too. `durations.json` holds the seconds that each test function
takes with all its cases; `make test-durations` measures them anew.
"""

from __future__ import annotations

import json
import os
import re
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).parent
CHOSEN, DURATIONS = TESTS / "chosen.txt", TESTS / "durations.json"
COSTLY = {"small_encoder", "small_demo", "sources"}
"""What is made by them, or from them, takes five seconds or more."""
LONG = 10.0
"""Seconds of a case above which it is slow, marked or not."""
LONGEST_NAME = 100
LONGEST_VALUE = 20
WORTH_STORING = 1.0
UNSTORED = 0.1
"""Seconds of a test function whose duration is not stored."""
NEEDS = re.compile("Chromium|nginx|openssl|PostgreSQL|psycopg|WordNet|packages are not here|npm|could not import")
"""Reasons to skip a test that `make test-needs` removes."""
OF_PROCESSES = re.compile(
    "PYTEST_|OPENMOFI_(DEBUG|SAMPLE_ENCODERS)$|TOKENIZERS_|KMP_|TORCH|TRITON_|CUDA_|PYTORCH_|TF_|RAY_|WANDB_|MLFLOW_|CRC32C_|QT_|_RJEM_|_TORCH|NNCF_|(OMP_WAIT_POLICY|ORT_DISABLE_TELEMETRY|DO_NOT_TRACK)$"
)
"""Variables that the command, or a library that is loaded, sets for its process."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--store-durations", action="store_true", help=f"write how long tests took to {DURATIONS.name}")
    parser.addoption("--shard", metavar="NUMBER/COUNT", help="run one of COUNT parts of about equal durations")


def pytest_make_parametrize_id(val: object) -> str | None:
    """A long text or bytes by its beginning and its checksum."""
    if not isinstance(val, str | bytes) or len(name := ascii(val)[1:-1]) <= LONGEST_VALUE:
        return None
    return f"{name[: LONGEST_VALUE - 5]}~{zlib.crc32(name.encode()) & 0xFFFF:04x}"


def function_of(item: pytest.Item) -> str:
    """A test function by its file's name and its own: it keeps them when folders are moved."""
    return f"{item.path.name}::{getattr(item, 'originalname', item.name)}"


def group_of(item: pytest.Item) -> str:
    """The tests that run in one process, so that their fixtures are made once: a file, or what a marker names."""
    marker = item.get_closest_marker("xdist_group")
    return marker.args[0] if marker else item.nodeid.partition("::")[0]


@pytest.hookimpl(tryfirst=True)  # before markers select, and before xdist reads the groups
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if long := [item.name for item in items if len(item.name) > LONGEST_NAME]:
        names = "\n".join(f"  {name[:LONGEST_NAME]}…" for name in long)
        raise pytest.UsageError(f"Names of tests have at most {LONGEST_NAME} characters; give ids:\n{names}")
    chosen = {line for line in CHOSEN.read_text().splitlines() if line and not line.startswith("#")}
    stored, cases = json.loads(DURATIONS.read_text()), Counter(map(function_of, items))
    for item in items:
        each = stored.get(name := function_of(item), 0.0) / cases[name]
        if each > LONG or not COSTLY.isdisjoint(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)
        if item.get_closest_marker("slow") and {item.name, item.name.partition("[")[0]} & chosen:
            item.add_marker(pytest.mark.chosen)
        item.add_marker(pytest.mark.xdist_group(group_of(item)))


def group_seconds(items: list[pytest.Item]) -> dict[str, float]:
    """How long each group takes by the stored durations; a test without one counts a little."""
    stored, cases = json.loads(DURATIONS.read_text()), Counter(map(function_of, items))
    seconds: dict[str, float] = defaultdict(float)
    for item in items:
        seconds[group_of(item)] += stored.get(name := function_of(item), UNSTORED) / cases[name]
    return dict(seconds)


class LongestFirst:
    """Sorts what was selected: groups by their stored durations, so that at the end nobody waits for a long one.

    First of all one that trains the small encoder, which others then find and needn't wait for.
    """

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        seconds = group_seconds(items)
        trains = {group_of(item) for item in items if "small_encoder" in getattr(item, "fixturenames", ())}
        first = max(sorted(trains), key=seconds.__getitem__, default="")
        items.sort(key=lambda item: ((group := group_of(item)) != first, -seconds[group], group))


def parts(seconds: Mapping[str, float], count: int) -> list[set[str]]:
    """Split groups into parts of about equal durations: the longest first, each into the shortest part so far."""
    split: list[set[str]] = [set() for _ in range(count)]
    totals = [0.0] * count
    for group in sorted(seconds, key=lambda group: (-seconds[group], group)):
        shortest = totals.index(min(totals))
        split[shortest].add(group)
        totals[shortest] += seconds[group]
    return split


class Shard:
    """Selects one of several parts of the suite, so that as many machines share it; a group stays together."""

    def __init__(self, shard: str) -> None:
        number, _, count = shard.partition("/")
        if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
            raise pytest.UsageError(f"--shard {shard} is not a number and a count, such as 1/6.")
        self.number, self.count = int(number), int(count)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        part = parts(group_seconds(items), self.count)[self.number - 1]
        selected = [item for item in items if group_of(item) in part]
        config.hook.pytest_deselected(items=[item for item in items if group_of(item) not in part])
        items[:] = selected


class Durations:
    """Collects how long tests take, and writes it at the end of the run."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        file, _, name = report.nodeid.partition("::")
        name = name.split("[")[0].split("@")[0].rpartition("::")[2]
        self.seconds[f"{Path(file).name}::{name}"] += report.duration

    def pytest_sessionfinish(self) -> None:
        rows = json.loads(DURATIONS.read_text()) | self.seconds
        rows = {name: round(rows[name], 1) for name in sorted(rows) if rows[name] >= WORTH_STORING}
        DURATIONS.write_text(json.dumps(rows, indent=0) + "\n")


def pytest_configure(config: pytest.Config) -> None:
    worker = hasattr(config, "workerinput")
    if shard := config.getoption("--shard"):
        config.pluginmanager.register(Shard(shard))
    if worker:
        config.pluginmanager.register(LongestFirst())
    elif config.getoption("--store-durations"):
        config.pluginmanager.register(Durations())


@pytest.fixture(autouse=True)
def _same_surroundings() -> Iterator[None]:
    """A test leaves environment and working folder to others as it found them."""
    before, folder = dict(os.environ), Path.cwd()
    yield
    after, there = dict(os.environ), Path.cwd()
    changed = {name for name in {*before, *after} if before.get(name) != after.get(name)}
    for name in changed:
        os.environ.pop(name, None)
    os.environ.update({name: before[name] for name in changed & before.keys()})
    os.chdir(folder)
    left = sorted(name for name in changed if not OF_PROCESSES.match(name))
    if left or there != folder:
        pytest.fail(f"The test leaves another environment to others: {', '.join(left) or there}.")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """What was skipped, and the command that installs what was missing."""
    reasons = Counter(
        report.longrepr[2].removeprefix("Skipped: ") if isinstance(report.longrepr, tuple) else str(report.longrepr)
        for report in terminalreporter.getreports("skipped")
    )
    if not reasons:
        return
    terminalreporter.section(f"{reasons.total()} skipped")
    for reason, count in reasons.most_common():
        terminalreporter.line(f"{count:5d}  {reason}")
    if any(map(NEEDS.search, reasons)):
        terminalreporter.line("`make test-needs` installs what is missing.")
