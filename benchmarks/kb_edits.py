"""A base of Wikidata brought up to date by edits, beside a build of all items as they are then.

    python benchmarks/kb_edits.py [--items 1000000] [--share 0.01] [--memory 4GB]

Items are those of `full_dump.py`. A hundredth of them has another revision, name and number of pages. Each job is a
command of its own. `edits` and `whole` give bases whose files are compared.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import harness

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/plugins/wikidata"))
_COMMAND = (sys.executable, "-m", "openmofi", "kb")
_RULES = ("--languages", "en,de", "--visual-only")


def write_dumps(root: Path, items: int, share: float) -> int:
    """Write the older dump, the changed items, and the dump of today; return how many were changed."""
    from isal import igzip

    import full_dump

    full_dump.write_dump(root / "old.json.gz", items)
    every, changed = round(1 / share), 0
    with (
        igzip.open(root / "old.json.gz", "rb") as old,
        igzip.open(root / "today.json.gz", "wb", compresslevel=1) as today,
        igzip.open(root / "changed.json.gz", "wb", compresslevel=1) as edits,
    ):
        for number, line in enumerate(old):
            if number % every == 1 and line.startswith(b"{"):
                line = re.sub(rb'"lastrevid":(\d+)', rb'"lastrevid":1\g<1>000', line).replace(b"thing ", b"edited ")
                edits.write(line.rstrip(b",\n") + b"\n")
                changed += 1
            today.write(line)
    return changed


def timed(kind: str, *arguments: str | Path) -> harness.Row:
    """Run a command; its seconds and the most memory of one of its processes."""
    start = time.perf_counter()
    process = subprocess.Popen([*_COMMAND, *map(str, arguments), "--json"], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{kind} failed")
    return {
        "kind": kind,
        "wall_s": time.perf_counter() - start,
        "cpu_s": used.ru_utime + used.ru_stime,
        "peak_mib": used.ru_maxrss / 1024,
    }


def differing(one: Path, two: Path) -> list[str]:
    """Name the files of two bases that are not the same; of manifests their counts of entities and names."""
    digests = [json.loads((base / "manifest.json").read_text())["counts"]["digests"] for base in (one, two)]
    del digests[0]["manifest.json"], digests[1]["manifest.json"]
    return sorted(name for name in {**digests[0], **digests[1]} if digests[0].get(name) != digests[1].get(name))


def main() -> None:
    """Measure and write `results/kb_edits.json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--share", type=float, default=0.01)
    parser.add_argument("--memory", default="4GB")
    arguments = parser.parse_args()
    Path("runs").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir="runs") as name:
        root, memory = Path(name).resolve(), ("--memory", arguments.memory)
        changed = write_dumps(root, arguments.items, arguments.share)
        old, today, base = root / "old.json.gz", root / "today.json.gz", root / "kb"
        rows = [
            timed("old", "build", "wikidata", old, "-o", base, *_RULES, *memory),
            timed("edits", "update", base, "--changed", root / "changed.json.gz", "-o", root / "next", *memory),
            timed("whole", "build", "wikidata", today, "-o", root / "anew", *_RULES, *memory),
        ]
        counts: dict[str, Any] = json.loads((root / "next/manifest.json").read_text())["counts"]
        figures = {
            "items": float(arguments.items),
            "changed": float(changed),
            "entities": float(counts["entities"]),
            "differing_files": float(len(differing(root / "next", root / "anew"))),
            "minutes_of_5_million": 5e6 / arguments.items * rows[1]["wall_s"] / 60,
            "cpu_minutes_of_5_million": 5e6 / arguments.items * rows[1]["cpu_s"] / 60,
            "cpu_of_whole": rows[1]["cpu_s"] / rows[2]["cpu_s"],
        }
    harness.write_result("kb_edits", rows, figures)


if __name__ == "__main__":
    main()
