"""Runs the cases of a family in this process, one after another, and writes what became of each.

    python -m hostile.runner WORKBENCH FAMILY RESULTS.jsonl [--seed N] [--share N]

Of N shares one is run, drawn by the names of the cases, so that it has some of every kind.
A case is written down before it starts, so that a process that dies names its killer. An alarm ends a case that hangs.
"""

from __future__ import annotations

import argparse
import faulthandler
import importlib
import json
import os
import shutil
import signal
import tempfile
import traceback
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from hostile.workbench import Case, Workbench
from openmofi.errors import OpenMofiError

FAMILIES = ("tars", "images", "tables", "texts", "bases", "folders", "encoders", "settings")
SECONDS = 60
"""Longest time of a case; most take a tenth of one."""
EVERY = "every"
"""The cases of all families."""


def cases_of(family: str, bench: Workbench, seed: int) -> Iterator[Case]:
    """The cases of a family; those that are drawn depend on the seed."""
    for name in FAMILIES if family == EVERY else (family,):
        yield from importlib.import_module(f"hostile.{name}").cases(bench, seed)


def run_case(case: Case, folder: Path) -> dict[str, str]:
    """What became of a case: `whole`, `refused` or `broken`, and the sentence or the traceback."""
    try:
        signal.alarm(SECONDS)
        case.act(folder)
        return {"outcome": "whole"}
    except OpenMofiError as error:
        return {"outcome": "refused", "detail": str(error)}
    except Exception:
        return {"outcome": "broken", "detail": traceback.format_exc()[-3000:]}
    finally:
        signal.alarm(0)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("workbench", type=Path)
    parser.add_argument("family", choices=(*FAMILIES, EVERY))
    parser.add_argument("results", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--share", type=int, default=1)
    options = parser.parse_args()
    faulthandler.enable()
    signal.signal(signal.SIGALRM, _hangs)
    bench = Workbench(options.workbench.absolute())
    bench.label(bench.shard, Path(tempfile.mkdtemp()) / "warm")
    at_start = _peak()
    cases = list(cases_of(options.family, bench, options.seed))
    with open(options.results, "w") as results:
        for case in cases:
            if zlib.crc32(case.name.encode()) % options.share:
                continue
            results.write(json.dumps({"case": case.name}) + "\n")
            results.flush()
            folder = Path(tempfile.mkdtemp(prefix="hostile-"))
            os.chdir(folder)  # relative paths are written here
            outcome = run_case(case, folder)
            shutil.rmtree(folder, ignore_errors=True)
            results.write(json.dumps({"case": case.name, **outcome, "grown_mib": _peak() - at_start}) + "\n")
        results.write(json.dumps({"end": True, "cases": len(cases)}) + "\n")


def _peak() -> int:
    """MiB. Not getrusage's: that of a process that was forked begins at its parent's."""
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) >> 10


def _hangs(_: int, frame: FrameType | None) -> None:
    raise TimeoutError(f"no end after {SECONDS} s")


if __name__ == "__main__":
    main()
