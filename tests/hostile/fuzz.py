"""Runs families, kills and reads of damaged shards in processes of their own, for the tests and for `make fuzz`.

python -m hostile.fuzz [--seeds 5] [--kills 100] [--reads 20000] [--seed 0]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from forked import Fork
from hostile.kills import STAGES
from hostile.reads import fuzz_reads
from hostile.runner import FAMILIES
from hostile.workbench import Workbench, make_workbench

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {
    "PYTHONPATH": os.pathsep.join(str(ROOT / folder) for folder in ("src", ".", "tests", "tests/training")),
    "HF_HUB_OFFLINE": "1",
    "OPENMOFI_DEBUG": "",
    "OPENMOFI_DECODE_MIB": "768",
}


def python(module: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a module of these tests in a process of its own, which has the libraries loaded."""
    return Fork(module, *arguments, env=os.environ | ENVIRONMENT).finish(3000)


def run_family(
    family: str, bench: Workbench, folder: Path, seed: int = 0, share: int = 1
) -> tuple[int, list[dict[str, Any]]]:
    """How many cases a family has, and the outcomes of a part of them: none is broken and none ended the process.

    Args:
        family, seed: what cases there are.
        bench: what they attack.
        folder: gets the results.
        share: one in so many cases is run.

    Raises:
        AssertionError: one did; the message has its name and what it said.
    """
    results = folder / f"{family}-{seed}.jsonl"
    done = python("hostile.runner", bench.root, family, results, "--seed", seed, "--share", share)
    rows = [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []
    assert done.returncode == 0, f"{rows[-1:]} ended the process: {done.stderr[-3000:]}"
    assert rows[-1]["end"]
    broken = [f"{row['case']}: {row['detail']}" for row in rows if row.get("outcome") == "broken"]
    assert not broken, "\n\n".join(broken)
    return rows[-1]["cases"], [row for row in rows if "outcome" in row]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--reads", type=int, default=20_000, help="damaged shards of all formats together")
    parser.add_argument("--seed", type=int, default=0, help="of the damaged shards")
    options = parser.parse_args()
    failed = False
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        folder, bench = Path(name), Workbench(Path(name) / "workbench")
        failed |= not fuzz_reads(options.reads, options.seed, folder)
        make_workbench(bench.root)
        for family in FAMILIES:
            for seed in range(options.seeds + 1):
                try:
                    _, outcomes = run_family(family, bench, folder, seed)
                    counts = Counter(row["outcome"] for row in outcomes)
                    print(f"{family} {seed}: {dict(counts)}, {outcomes[-1]['grown_mib']} MiB grown", flush=True)
                except AssertionError as error:
                    failed = True
                    print(f"{family} {seed}: BROKEN\n{error}", flush=True)
        for stage in STAGES:
            done = python("hostile.kills", bench.root, stage, options.kills)
            failed |= done.returncode != 0
            print(done.stdout + (done.stderr if done.returncode else ""), end="", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
