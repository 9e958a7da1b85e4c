"""A whole build of Wikidata for `kb.py`, a stage at a time, and from its slopes what the real dump would take.

Items are those of the tests' generator without qualifiers and references, written again and again: each with an id of
its own, seven in ten with names of their own (the others share names by Zipf's law), statements mostly about items
near by, one in ten about hubs. Stages run in processes of their own; seconds are of processors, not of the clock.
"""

from __future__ import annotations

import json
import re
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import harness

_SEEDS = 500
_TARGET = re.compile(rb'"numeric-id":(\d+),"id":"Q\d+"')
ITEMS, BYTES = 115e6, 1.78e12
"""Of the real dump: items today; bytes of lines, as 1.5 TB were 97 million items when wd2sql read them."""
CORES = 8
"""That the hours are worked out for: they share the reading; joins and build count as if they ran on one."""


def write_dump(path: Path, items: int, *, lean: bool = True) -> int:
    """A dump of so many items, as gzip at its fastest; the bytes of its lines."""
    from isal import igzip

    written = 2
    with igzip.open(path, "wb", compresslevel=1) as handle:
        handle.write(b"[\n")
        for lines in _lines(items, lean):
            handle.write(lines)
            written += len(lines)
        handle.write(b"]\n")
    return written + 2


def _lines(items: int, lean: bool) -> Iterator[bytes]:
    templates = [_template(entity, lean) for entity in _entities()]
    draw = np.random.default_rng(0)
    for first in range(0, items, _SEEDS):
        count = min(_SEEDS, items - first)
        shared = np.minimum(draw.zipf(1.5, count), 10**6)
        salts = np.where(draw.random(count) < 0.7, 10**6 + first + np.arange(count), shared).tolist()
        lines = []
        for number, (template, targets, names) in enumerate(templates[:count]):
            near = [target if target > _SEEDS or not target % 10 else min(first + target, items) for target in targets]
            values = [first + number + 1, *(near[place] if kind else salts[number] for place, kind in names)]
            lines.append(template % tuple(values))
        lines[-1] = lines[-1] if first + count < items else lines[-1][:-2] + b"\n"
        yield b"".join(lines)


def _entities() -> list[dict[str, Any]]:
    from item_dumps import random_items

    return random_items(_SEEDS, seed=0)


def _template(entity: dict[str, Any], lean: bool) -> tuple[bytes, list[int], list[tuple[int, bool]]]:
    """A line with places for numbers; the items that it names; for each place after the first, which item or a name."""
    for statements in (entity["claims"] or {}).values() if lean else ():
        for statement in statements:
            for part in ("qualifiers", "qualifiers-order", "references"):
                del statement[part]
    line = json.dumps(entity, separators=(",", ":")).encode().replace(b"%", b"%%")
    own = b'"id":"Q%s","ns"' % str(entity["pageid"]).encode()
    line = line.replace(own, b'"id":"Q%d","ns"')
    targets, names = list[int](), list[tuple[int, bool]]()

    def place(match: re.Match[bytes]) -> bytes:
        if match[1]:
            targets.append(int(match[1]))
            names.extend([(len(targets) - 1, True)] * 2)
            return b'"numeric-id":%d,"id":"Q%d"'
        names.append((0, False))
        return match[0] + b"%d "

    return re.sub(rb'"numeric-id":(\d+),"id":"Q\d+"|(?<=")(?:thing|alias) ', place, line) + b",\n", targets, names


def read(dump: str, work: str) -> dict[str, Any]:
    """Read a dump into parts by one worker."""
    from openmofi.engine import Quiet
    from openmofi.plugins.wikidata.parts import read_parts

    parts = read_parts({"dump": Path(dump)}, Path(work) / "parts", ("en", "de"), Quiet(), workers=1)
    return {"items": parts.items}


def unpack(dump: str, _: str) -> dict[str, Any]:
    """Unpack a dump and find the ends of blocks, and nothing else."""
    from openmofi.plugins.wikidata.published import pieces

    return {"bytes": sum(len(piece.lines) for piece in pieces(dump))}


def select(_: str, work: str, memory: str) -> dict[str, Any]:
    """Join what was read into tables."""
    from openmofi.knowledge.database import JOINED, memory_bytes
    from openmofi.plugins.wikidata.select import class_rules, select_tables

    folder = Path(work)
    return select_tables(
        sorted(map(str, folder.glob("parts/*.parquet"))),
        class_rules(visual_only=True),
        folder / "tables",
        memory=int(memory_bytes(memory) * JOINED),
    ).counts


def build(_: str, work: str, memory: str) -> dict[str, Any]:
    """Build the base of the tables."""
    from openmofi.knowledge import build_table

    counts = build_table(f"{work}/tables/source", f"{work}/kb", memory=memory).counts
    return {name: counts[name] for name in ("entities", "names", "relations", "candidates")}


def stage(function: str, *arguments: str | Path) -> dict[str, Any]:
    """Run a function of this module in a process of its own, and watch what it uses."""
    code = (
        f"import sys, json; sys.path[:0] = {sys.path!r}\nimport full_dump\n"
        f"if __name__ == '__main__':\n print(json.dumps(full_dump.used({function!r}, *sys.argv[1:])))"
    )
    work = Path(arguments[1])
    script = work / "stage.py"
    script.write_text(code)
    process = subprocess.Popen([sys.executable, str(script), *map(str, arguments)], stdout=subprocess.PIPE, text=True)
    most = before = _bytes_below(work)
    while process.poll() is None:
        time.sleep(2)
        most = max(most, _bytes_below(work))
    if process.returncode:
        raise SystemExit(f"{function} failed")
    assert process.stdout is not None
    return {
        "kind": "whole",
        "stage": function,
        **json.loads(process.stdout.read().splitlines()[-1]),
        "disk_bytes": _bytes_below(work) - before,
        "disk_peak_bytes": most - before,
    }


def _bytes_below(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:
            continue
    return total


def used(function: str, *arguments: str) -> dict[str, Any]:
    """What a function gives, with seconds of processors and MiB of this process and of its children."""
    start = time.process_time()
    found = globals()[function](*arguments)
    seconds, children = time.process_time() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        **found,
        "cpu_s": seconds,
        "children_cpu_s": children.ru_utime + children.ru_stime,
        "peak_mib": harness.peak_mib(),
        "child_mib": children.ru_maxrss / 1024,
    }


def whole(root: Path, sizes: Sequence[int], memory: str, heavy: int) -> tuple[list[harness.Row], dict[str, float]]:
    """Builds of so many items; what the real dump takes by their slopes. `heavy` items are read with all they have."""
    rows = by_the_byte(root, heavy)
    for size in sizes:
        work = root / f"whole-{size}"
        work.mkdir()
        dump = work / "all.json.gz"
        lines = write_dump(dump, size)
        for name in ("unpack", "read", "select", "build"):
            own = (memory,) if name in ("select", "build") else ()
            rows.append({**stage(name, dump, work, *own), "of_items": size, "bytes": lines, "memory": memory})
            print(json.dumps(rows[-1]), flush=True)
        shutil.rmtree(work)
    return rows, full_dump(rows)


def by_the_byte(root: Path, items: int, rounds: int = 3) -> list[harness.Row]:
    """As many items with all they have and without, read in turns: what a byte costs whatever else the machine does."""
    rows, kinds = list[harness.Row](), {"heavy": False, "light": True}
    dumps = {kind: root / f"{kind}.json.gz" for kind in kinds}
    lines = {kind: write_dump(dumps[kind], items, lean=lean) for kind, lean in kinds.items()}
    for _ in range(rounds):
        for kind, dump in dumps.items():
            work = root / f"whole-{kind}"
            work.mkdir()
            for name in ("unpack", "read"):
                rows.append({**stage(name, dump, work), "of_items": items, "bytes": lines[kind], "turn": kind})
                print(json.dumps(rows[-1]), flush=True)
            shutil.rmtree(work)
    return rows


def full_dump(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """What the real dump takes, of rows of `whole`: the sizes by rising number of items.

    Seconds of unpacking go by bytes; of parsing by bytes, by what the heavy items take more than the light ones, and by
    items; of joins and the build by items; each at the slope between the two greatest sizes.
    """
    by_stage: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        by_stage.setdefault(row.get("turn", "") + row["stage"], []).append(row)
    heavy, light = by_stage["heavyread"][0], by_stage["lightread"][0]
    a_byte = (_median(by_stage["heavyread"], "children_cpu_s") - _median(by_stage["lightread"], "children_cpu_s")) / (
        heavy["bytes"] - light["bytes"]
    )
    less, most = by_stage["read"][-2:]
    an_item = (most["children_cpu_s"] - less["children_cpu_s"] - a_byte * (most["bytes"] - less["bytes"])) / (
        most["of_items"] - less["of_items"]
    )
    unpacked = _median(by_stage["heavyunpack"], "cpu_s") / heavy["bytes"]
    handed = _median(by_stage["heavyread"], "cpu_s") / heavy["bytes"]
    seconds = {
        "unpack": unpacked * BYTES,
        "hand_over": max(handed - unpacked, 0.0) * BYTES,
        "parse": a_byte * BYTES + an_item * ITEMS,
    }
    disk = {"parts": ITEMS * most["disk_bytes"] / most["of_items"]}
    for name in ("select", "build"):
        one, two = by_stage[name][-2:]
        seconds[name] = (two["cpu_s"] - one["cpu_s"]) / (two["of_items"] - one["of_items"]) * ITEMS
        disk[name] = ITEMS * two["disk_peak_bytes"] / two["of_items"]
    reading = seconds["unpack"] + seconds["hand_over"] + seconds["parse"]
    in_line = max(reading / CORES, seconds["unpack"] + seconds["hand_over"])
    last = by_stage["build"][-1]
    return {
        **{f"full_{name}_cpu_hours": value / 3600 for name, value in seconds.items()},
        "hours_full_dump": (in_line + seconds["select"] + seconds["build"]) / 3600,
        "parse_us_per_item": 1e6 * an_item,
        "parse_mb_per_s": 1e-6 / a_byte,
        "unpack_mb_per_s": 1e-6 / unpacked,
        "entities_per_item": last["entities"] / last["of_items"],
        "names_per_item": last["names"] / last["of_items"],
        "relations_per_item": last["relations"] / last["of_items"],
        **{f"full_{name}_disk_gb": value / 1e9 for name, value in disk.items()},
        "whole_peak_over_budget": max(row["peak_mib"] for row in rows if row["stage"] in ("select", "build"))
        * 2**20
        / _memory(rows[-1]["memory"]),
    }


def _median(rows: Sequence[Mapping[str, Any]], name: str) -> float:
    return float(np.median([row[name] for row in rows]))


def _memory(size: str) -> int:
    from openmofi.knowledge.database import memory_bytes

    return memory_bytes(size)


def equal(root: Path, items: int) -> tuple[list[harness.Row], dict[str, float]]:
    """Every table of so many items, with all that they have, against `json.loads` and pandas."""
    from plain_reader import differing_tables

    from openmofi.engine import Quiet
    from openmofi.plugins.wikidata.parts import read_parts
    from openmofi.plugins.wikidata.select import class_rules, known_classes, select_tables

    dump = root / "equal.json"
    lines = b"".join(_lines(items, lean=False)).splitlines()
    dump.write_bytes(b"\n".join([b"[", *lines, b"]", b""]))
    external = ("P214", "P569")
    parts = read_parts({"equal": dump}, root / "equal", ("en", "de"), Quiet(), workers=1, external=external)
    found = select_tables(
        parts.paths, class_rules(drop=("Q5",), visual_only=True), root / "equal-tables", memory=500_000_000
    )
    drop = {5, *(int(name[1:]) for name in known_classes())}
    differing = differing_tables(lines, found, drop, ("en", "de"), external)
    return (
        [{"kind": "equality", **found.counts, "differing": differing}],
        {"equal_items": parts.items, "differing_tables": len(differing)},
    )
