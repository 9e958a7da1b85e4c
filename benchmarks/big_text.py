"""The text half of a label job on a base of ten million names: opening, captions a second, memory of a worker.

Names and captions are those of `gazetteer.py --keep FOLDER`. The base is put together rather than built: a million
entities, for each name one candidate or, for every third, two, vectors of random numbers; so the figures are of reading
and linking at that size, and say nothing of what is linked. A worker opens the base, finds mentions, looks for
boilerplate and links by coherence. Times are the process's own, since others may share the machine; memory is what the
worker's grew by since its imports, and how much of that is its own (the rest are pages of mapped files).
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import marisa_trie
import numpy as np

import big_base
import harness


def put_together(folder: Path, names: Path, entities: int) -> Path:
    """A base of the names of `gazetteer.py`."""
    from openmofi.knowledge import arrays as tries
    from openmofi.knowledge import build_table, layout
    from openmofi.knowledge.arrays import save_array
    from openmofi.knowledge.identifiers import NUMBERS
    from openmofi.knowledge.layout import with_digests
    from openmofi.storage import finish_manifest, read_manifest

    build_table(big_base.write_tables(folder / "source", 1000), folder / "small")
    out = folder / "kb"
    big_base.widen(folder / "small", out, entities)
    shutil.copyfile(names / "names.marisa", out / tries.NAMES_MARISA)
    draw, count = np.random.default_rng(0), len(marisa_trie.Trie().mmap(str(out / tries.NAMES_MARISA)))
    lengths = np.where(np.arange(count) % 3 == 0, 2, 1)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    commonness = np.ones(int(offsets[-1]), np.float32)
    commonness[offsets[:-1][lengths == 2]] = 0.6
    commonness[offsets[:-1][lengths == 2] + 1] = 0.4
    save_array(out / layout.OFFSETS, offsets)
    save_array(out / layout.ROWS, draw.integers(0, entities, len(commonness), dtype=np.int32))
    save_array(out / layout.COMMONNESS, commonness)
    save_array(out / layout.LINK_PROBABILITY, np.load(names / "probabilities.npy"))
    vectors = np.lib.format.open_memmap(out / layout.VECTORS, mode="r+")
    for start in range(0, entities, 1 << 16):
        block = draw.standard_normal((min(1 << 16, entities - start), vectors.shape[1]), np.float32)
        vectors[start : start + len(block)] = block / np.linalg.norm(block, axis=1, keepdims=True)
    vectors.flush()
    manifest = read_manifest(out)
    counts = {name: value for name, value in manifest.counts.items() if name != "digests"}
    counts |= {"names": count, "candidates": len(commonness), "files": layout.file_sizes(out, NUMBERS, {})}
    finish_manifest(out, manifest, with_digests(out, manifest, counts))
    return out


def work(base: str, captions: str, count: int) -> dict[str, Any]:
    """What a worker does with captions, the first thousand to warm up."""
    from openmofi.knowledge import KnowledgeBase
    from openmofi.labeling.label_settings import TextSettings
    from openmofi.labeling.link import TextLinker

    texts = Path(captions).read_text("utf-8").split("\n")[:count]
    before = _memory()
    start = time.process_time()
    kb = KnowledgeBase.open(base)
    opened = time.process_time()
    linker = TextLinker(kb, TextSettings())
    ready = time.process_time()
    linker.link(texts[:1000])
    seconds = []
    links = mentions = 0
    for place in range(1000, len(texts), 1000):
        begun = time.process_time()
        for row in linker.link(texts[place : place + 1000]):
            links, mentions = links + len(row.links), mentions + len(row.mentions)
        seconds.append(time.process_time() - begun)
    grown = {name: (value - before[name]) / 1024 for name, value in _memory().items()}
    return {
        "names": len(kb.names),
        "open_s": opened - start,
        "linker_s": ready - opened,
        "captions_per_second": 1000 / float(np.median(seconds)),
        "mentions": mentions,
        "links": links,
        "resident_mib": grown["Rss"],
        "own_mib": grown["Private_Dirty"],
    }


def _memory() -> dict[str, int]:
    """KiB of this process."""
    lines = Path("/proc/self/smaps_rollup").read_text("ascii").splitlines()[1:]
    known = {line.split(":")[0]: int(line.split()[1]) for line in lines}
    return {name: known[name] for name in ("Rss", "Private_Dirty")}


def main() -> None:
    """Measure and write `results/big_text.json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", type=Path, help="what `gazetteer.py --keep` kept")
    parser.add_argument("--entities", type=int, default=1_000_000)
    parser.add_argument("--captions", type=int, default=10_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.names) as folder:
        base = put_together(Path(folder), arguments.names, arguments.entities)
        rows = []
        for opening in ("first", "later"):
            row = big_base.apart("work", base, arguments.names / "captions.txt", arguments.captions, module="big_text")
            rows.append({"opening": opening, **row})
            print(json.dumps(rows[-1]), file=sys.stderr)
    harness.write_result(
        "big_text",
        rows,
        {name: rows[1][name] for name in ("names", "open_s", "captions_per_second", "resident_mib", "own_mib")},
    )


if __name__ == "__main__":
    main()
