"""What reading Wikidata's dumps costs beside bare decompression, and what the joins take; on generated dumps.

Items are those of the tests' generator, some hundreds that are written again and again under other ids: what parsing
does is the same, what compression reaches is more than with the real dump. Contenders take turns:

- `bare`: the blocks of lines decompressed and split, and nothing else;
- `read`: `read_parts`, with a process a core.

The peak of memory is the parent's and the largest worker's, of a process of its own. `kb build`'s last step, which
holds all names and entities in memory, is not in it.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import harness

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/knowledge/wikidata"))
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
    opened = {"gz": partial(gzip.open, compresslevel=5), "bz2": partial(bz2.open, compresslevel=9),
              "zst": zstandard.open}
    for kind, path in paths.items():
        with open(plain, "rb") as source, opened[kind](path, "wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
    return paths


def bare(dump: Path) -> int:
    """Decompress and split."""
    from openmofi.knowledge.wikidata.dump import blocks

    return sum(len(block.lines.split(b"\n")) for block in blocks(dump))


def read(dump: Path, folder: Path) -> Any:
    """Read into parts, anew."""
    from openmofi.engine import Quiet
    from openmofi.knowledge.wikidata.parts import read_parts

    shutil.rmtree(folder, ignore_errors=True)
    return read_parts({dump.name: dump}, folder, ("en", "de"), Quiet())


def peaks(dump: Path, folder: Path) -> dict[str, float]:
    """MiB of the process that decompresses, and of the largest that parses."""
    code = (f"import sys; sys.path[:0] = {sys.path!r}\nimport kb, harness, json, resource\nfrom pathlib import Path\n"
            f"if __name__ == '__main__':\n kb.read(Path({str(dump)!r}), Path({str(folder)!r}))\n"
            " print(json.dumps([harness.peak_mib(), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024]))")
    script = folder.with_suffix(".py")
    script.write_text(code)
    done = subprocess.run([sys.executable, str(script)], check=True, stdout=subprocess.PIPE, text=True)
    main, worker = json.loads(done.stdout)
    return {"main_mib": main, "worker_mib": worker}


def joined(folder: Path, memory: str) -> dict[str, float]:
    """The joins over what was read."""
    import pyarrow.parquet as pq

    from openmofi.knowledge.wikidata.classes import class_rules
    from openmofi.knowledge.wikidata.select import select_tables

    start = time.perf_counter()
    selected = select_tables(sorted(map(str, folder.glob("*.parquet"))), class_rules(visual_only=True),
                             folder / "tables", memory=memory)
    seconds = time.perf_counter() - start
    names = pq.ParquetFile(selected.source / "names.parquet").metadata.num_rows
    return {"names": names, "seconds": seconds, "per_million": 1e6 * seconds / names}


def main() -> None:
    """Measure and write `results/kb.json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", default="2GB")
    arguments = parser.parse_args()
    Path("runs").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir="runs") as name:
        root, rows, ratios = Path(name).resolve(), list[harness.Row](), dict[str, float]()
        write_lines(root / "all.json", arguments.items)
        mebibytes = (root / "all.json").stat().st_size / 2**20
        for kind, dump in compress(root / "all.json").items():
            packed = mebibytes * 2**20 / dump.stat().st_size
            turns = harness.measure(
                f"{kind}: {arguments.items:,} items, {packed:.0f}:1",
                {"bare": partial(bare, dump), "read": partial(read, dump, root / "parts")}, mebibytes,
                arguments.rounds, "MiB", warm_up=False)
            rows += [{"kind": kind, **row} for row in turns.values()]
            ratios[f"{kind}_over_bare"] = turns["read"]["ratio"]
        ratios |= peaks(root / "all.json.gz", root / "peak")
        join = joined(root / "parts", arguments.memory)
        rows.append({"kind": "joins", **join})
        ratios["join_seconds_per_million_names"] = join["per_million"]
    harness.write_result("kb", rows, ratios)


if __name__ == "__main__":
    main()
