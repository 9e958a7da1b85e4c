"""What reading Wikidata's dumps costs beside bare decompression, what the joins take, and the build of a base.

Items are those of the tests' generator, some hundreds that are written again and again under other ids: what parsing
does is the same, what compression reaches is more than with the real dump. Contenders take turns:

- `bare`: the blocks of lines decompressed and split, and nothing else;
- `read`: `read_parts`, with a process a core.

Beside these, seconds of processors: of both, and of `side by side`, the same lines in two files, of which each of two
workers unpacks and parses its own. `gz_core_share` is how much of a core's time for reading goes to bare unpacking, so
that reading by n cores that have all to do is n times as fast as one that unpacks.

The peak of memory is the parent's and the largest worker's, of a process of its own. The build is measured from tables
(`big_base.py`), each size in a process of its own. Whole builds from dumps, and what the real dump takes by their
slopes, are in `full_dump.py`; so is the comparison of every table with a plain reader's. `--only` measures one of these
and leaves the figures of the others as they are in `results/kb.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import big_base
import full_dump
import harness

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/plugins/wikidata"))
_SEEDS = 500


def write_lines(path: Path, items: int) -> None:
    """A plain dump of so many items."""
    from item_dumps import random_items

    templates = [json.dumps(entity, separators=(",", ":")).encode() for entity in random_items(_SEEDS, seed=0)]
    with open(path, "wb") as handle:
        handle.write(b"[\n")
        for number in range(items):
            own = str(number % _SEEDS + 1).encode()
            line = templates[number % _SEEDS].replace(b'"id":"Q' + own + b'","ns"', b'"id":"Q%d","ns"' % (number + 1))
            handle.write(line + (b",\n" if number < items - 1 else b"\n"))
        handle.write(b"]\n")


def compress(plain: Path) -> dict[str, Path]:
    """The dump as gzip, bzip2 and zstandard."""
    import bz2
    import gzip

    import zstandard

    paths = {kind: plain.with_suffix(f".json.{kind}") for kind in ("gz", "bz2", "zst")}
    opened: dict[str, Callable[..., Any]] = {
        "gz": partial(gzip.open, compresslevel=5),
        "bz2": partial(bz2.open, compresslevel=9),
        "zst": zstandard.open,
    }
    for kind, path in paths.items():
        with open(plain, "rb") as source, opened[kind](path, "wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
    return paths


def bare(dump: Path) -> int:
    """Decompress and split."""
    from openmofi.plugins.wikidata.published import pieces

    return sum(len(piece.lines.split(b"\n")) for piece in pieces(dump))


def read(dump: Path, folder: Path) -> Any:
    """Read into parts, anew."""
    from openmofi.engine import Quiet
    from openmofi.plugins.wikidata.parts import read_parts

    shutil.rmtree(folder, ignore_errors=True)
    return read_parts({dump.name: dump}, folder, ("en", "de"), Quiet())


def halved(plain: Path) -> Path:
    """A folder with the lines in two files, to be compressed."""
    lines, folder = plain.read_bytes().splitlines(keepends=True)[1:-1], plain.parent / "halves"
    folder.mkdir()
    for number, some in enumerate((lines[: len(lines) // 2], lines[len(lines) // 2 :])):
        (folder / f"{number}.json").write_bytes(b"".join(some))
    return folder


def seconds_of(root: Path, dump: Path, halves: Sequence[Path], rounds: int) -> dict[str, float]:
    """Median processor seconds of this process and its workers, by contender, in turns."""
    from openmofi.engine import Quiet
    from openmofi.plugins.wikidata.parts import read_parts

    def side_by_side() -> None:
        shutil.rmtree(root / "parts", ignore_errors=True)
        read_parts({half.name: half for half in halves}, root / "parts", ("en", "de"), Quiet(), workers=2)

    taken: dict[str, list[float]] = {}
    for _ in range(rounds):
        works: dict[str, Callable[[], object]] = {
            "bare": partial(bare, dump),
            "read": partial(read, dump, root / "parts"),
            "side by side": side_by_side,
        }
        for name, work in works.items():
            before = sum(os.times()[:4])
            work()
            taken.setdefault(name, []).append(sum(os.times()[:4]) - before)
    return {name: statistics.median(of_one) for name, of_one in taken.items()}


def peaks(dump: Path, folder: Path) -> dict[str, float]:
    """MiB of the process that decompresses, and of the largest that parses."""
    code = (
        f"import sys; sys.path[:0] = {sys.path!r}\nimport kb, harness, json, resource\nfrom pathlib import Path\n"
        f"if __name__ == '__main__':\n kb.read(Path({str(dump)!r}), Path({str(folder)!r}))\n"
        " print(json.dumps([harness.peak_mib(), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024]))"
    )
    script = folder.with_suffix(".py")
    script.write_text(code)
    done = subprocess.run([sys.executable, str(script)], check=True, stdout=subprocess.PIPE, text=True)
    main, worker = json.loads(done.stdout)
    return {"main_mib": main, "worker_mib": worker}


def joined(folder: Path, memory: str) -> dict[str, float]:
    """The joins over what was read."""
    import pyarrow.parquet as pq

    from openmofi.knowledge.database import memory_bytes
    from openmofi.plugins.wikidata.select import class_rules, select_tables

    shutil.rmtree(folder / "tables", ignore_errors=True)
    start, before = time.perf_counter(), time.process_time()
    selected = select_tables(
        sorted(map(str, folder.glob("*.parquet"))),
        class_rules(visual_only=True),
        folder / "tables",
        memory=memory_bytes(memory),
    )
    seconds, cpu = time.perf_counter() - start, time.process_time() - before
    names = pq.ParquetFile(selected.source / "names.parquet").metadata.num_rows
    return {"names": names, "seconds": seconds, "cpu_s": cpu, "per_million": 1e6 * seconds / names}


def reading(root: Path, items: int, rounds: int) -> tuple[list[harness.Row], dict[str, float]]:
    """Dumps of so many items, read."""
    rows, ratios = list[harness.Row](), dict[str, float]()
    write_lines(root / "all.json", items)
    mebibytes = (root / "all.json").stat().st_size / 2**20
    parts = [compress(half) for half in sorted(halved(root / "all.json").glob("*.json"))]
    halves = {kind: [part[kind] for part in parts] for kind in parts[0]}
    for kind, dump in compress(root / "all.json").items():
        packed = mebibytes * 2**20 / dump.stat().st_size
        turns = harness.measure(
            f"{kind}: {items:,} items, {packed:.0f}:1",
            {"bare": partial(bare, dump), "read": partial(read, dump, root / "parts")},
            mebibytes,
            rounds,
            "MiB",
            warm_up=False,
        )
        rows += [{"kind": kind, **row} for row in turns.values()]
        ratios[f"{kind}_over_bare"] = turns["read"]["ratio"]
        seconds = seconds_of(root, dump, halves[kind], rounds)
        rows.append({"kind": f"{kind} cores", "mib": mebibytes, **seconds})
        ratios |= {
            f"{kind}_core_share": seconds["bare"] / seconds["side by side"],
            f"{kind}_core_share_of_one_file": seconds["bare"] / seconds["read"],
        }
    return rows, ratios | peaks(root / "all.json.gz", root / "peak")


def joining(root: Path, items: int, memory: str, rounds: int) -> tuple[list[harness.Row], dict[str, float]]:
    """The joins over a dump of so many items, which is read where `reading` has not done it; the median round counts.

    They take a second, of which the first round loads DuckDB.
    """
    if not (root / "parts").exists():
        write_lines(root / "all.json", items)
        read(root / "all.json", root / "parts")
    joins = [joined(root / "parts", memory) for _ in range(rounds)]
    median = statistics.median(join["per_million"] for join in joins)
    return [{"kind": "joins", **join} for join in joins], {"join_seconds_per_million_names": median}


def building(root: Path, sizes: Sequence[int], memory: str, nodes: int) -> tuple[list[harness.Row], dict[str, float]]:
    """Bases of so many entities within a memory; vectors of so many nodes; opening at ten million entities."""
    rows, kb = list[harness.Row](), root / "kb"
    for size in sizes:
        source = big_base.write_tables(root / "tables", size)
        shutil.rmtree(kb, ignore_errors=True)
        rows.append({"kind": "build", **big_base.apart("build", source, kb, memory)})
        print(rows[-1], flush=True)
        shutil.rmtree(source)
    trie, vectors = big_base.apart("trie", kb), big_base.apart("project", nodes, 8)
    big_base.widen(kb, root / "wide", 10_000_000)
    opened = big_base.apart("open_base", root / "wide")
    rows += [{"kind": "trie", **trie}, {"kind": "project", **vectors}, {"kind": "open", **opened}]
    last = rows[len(sizes) - 1]
    return rows, {
        "peak_over_budget": max(row["peak_over_budget"] for row in rows[: len(sizes)]),
        "build_cpu_s_per_million_entities": 1e6 * last["cpu_s"] / last["entities"],
        "trie_bytes_per_key": trie["bytes_per_key"],
        "trie_us_per_key": trie["us_per_key"],
        "trie_get_us": trie["get_us"],
        "trie_get_over_one": trie["get_us"] / trie["get_us_of_one"],
        "trie_file_bytes_per_key": trie["file_bytes_per_key"],
        "projection_bytes_per_node": vectors["bytes_per_node"],
        "open_ms": opened["open_ms"],
        "open_min_ms": opened["open_min_ms"],
        "open_cpu_ms": opened["open_cpu_ms"],
        "id_rows_per_second": opened["rows_per_s"],
    }


def main() -> None:
    """Measure and write `results/kb.json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("reading", "joining", "building", "whole", "equality"))
    parser.add_argument("--items", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", default="2GB")
    parser.add_argument("--entities", type=int, nargs="+", default=[250_000, 500_000, 1_000_000])
    parser.add_argument("--build-memory", default="1GB")
    parser.add_argument("--whole", type=int, nargs="+", default=[125_000, 500_000, 2_000_000])
    parser.add_argument("--equal", type=int, default=50_000)
    parser.add_argument("--nodes", type=int, default=2_000_000)
    arguments = parser.parse_args()
    Path("runs").mkdir(exist_ok=True)
    rows, ratios = list[harness.Row](), dict[str, float]()
    with tempfile.TemporaryDirectory(dir="runs") as name:
        root = Path(name).resolve()
        parts = {
            "reading": partial(reading, root, arguments.items, arguments.rounds),
            "joining": partial(joining, root, arguments.items, arguments.memory, arguments.rounds),
            "building": partial(building, root, arguments.entities, arguments.build_memory, arguments.nodes),
            "whole": partial(full_dump.whole, root, arguments.whole, arguments.memory, 100_000),
            "equality": partial(full_dump.equal, root, arguments.equal),
        }
        for part, measured in parts.items():
            more, figures = measured() if arguments.only in (None, part) else kept(part)
            rows, ratios = rows + more, ratios | figures
    harness.write_result("kb", rows, ratios)


def kept(part: str) -> tuple[list[harness.Row], dict[str, float]]:
    """What the last run measured of a part."""
    path = harness.RESULTS / "kb.json"
    last = json.loads(path.read_text("utf-8")) if path.exists() else {"rows": [], "ratios": {}}
    return (
        [row for row in last["rows"] if _part_of(row["kind"], _KINDS) == part],
        {name: value for name, value in last["ratios"].items() if _part_of(name, _FIGURES) == part},
    )


_KINDS = {
    "joining": ("joins",),
    "building": ("build", "trie", "project", "open"),
    "whole": ("whole",),
    "equality": ("equality",),
}
_FIGURES = {
    "joining": ("join_",),
    "building": ("peak_over_budget", "build_", "trie_", "projection_", "open_", "id_rows_per_second"),
    "whole": (
        "full_",
        "hours_",
        "parse_",
        "unpack_",
        "entities_per_item",
        "names_per_item",
        "relations_per_item",
        "whole_",
    ),
    "equality": ("equal_items", "differing_tables"),
}
"""Of a row its kind, of a figure how its name begins; all others are of `reading`."""


def _part_of(name: str, parts: dict[str, tuple[str, ...]]) -> str:
    return next((part for part, begins in parts.items() if name.startswith(begins)), "reading")


if __name__ == "__main__":
    main()
