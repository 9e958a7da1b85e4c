"""Races: two processes that build into one folder at the same instant never mix their files.

    python -m hostile.races WORKBENCH TRIES
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import traceback
from pathlib import Path

import openmofi
from hostile.kills import digests
from hostile.workbench import Workbench
from openmofi.errors import OpenMofiError

SETTINGS = ({"min_images": 2}, {"min_images": 5})
REFUSED = 3


def build(bench: Workbench, out: Path, settings: dict[str, int]) -> int:
    """Build a dataset in this process; 0, or `REFUSED`."""
    try:
        openmofi.build_dataset(bench.labels, kb=bench.kb, out=out, report=False, **settings)
        return 0
    except OpenMofiError:
        return REFUSED


def at_once(bench: Workbench, out: Path, settings: list[dict[str, int]]) -> list[int]:
    """Build in as many forks, which start when all are there; their exit codes."""
    start, go = os.pipe()
    children = []
    for of_child in settings:
        child = os.fork()
        if not child:
            os.close(go)
            os.read(start, 1)
            code = 1
            try:
                code = build(bench, out, of_child)
            except BaseException:
                traceback.print_exc()
            os._exit(code)
        children.append(child)
    os.close(start)
    os.close(go)
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


def race(bench: Workbench, tries: int) -> list[str]:
    """What went wrong, a line each: mixed files, two winners of other settings, a loser of equal ones."""
    root = Path(tempfile.mkdtemp(prefix="races-"))
    alone = []
    for settings in SETTINGS:
        build(bench, root / "alone", settings)
        alone.append(digests(root / "alone"))
        shutil.rmtree(root / "alone")
    wrong = []
    for number in range(tries):
        equal = number % 4 == 3
        pair = [SETTINGS[0], SETTINGS[0]] if equal else list(SETTINGS)
        codes = at_once(bench, root / "alone", pair)
        got = digests(root / "alone")
        shutil.rmtree(root / "alone")
        winner = 0 if equal or codes[0] == 0 else 1
        if sorted(codes) != ([0, 0] if equal else [0, REFUSED]):
            wrong.append(f"{number}: exit codes {codes}")
        elif got != alone[winner]:
            wrong.append(f"{number}: files are mixed")
    shutil.rmtree(root)
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("workbench", type=Path)
    parser.add_argument("tries", type=int)
    options = parser.parse_args()
    wrong = race(Workbench(options.workbench), options.tries)
    print(f"races: {options.tries} tries, {len(wrong)} wrong")
    if wrong:
        raise SystemExit("\n".join(wrong))


if __name__ == "__main__":
    main()
