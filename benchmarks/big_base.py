"""Bases of millions of entities for `kb.py`: tables, builds within a memory, opening; in processes of their own.

Names are of Zipf's words with a number of 18 bits, two and a half an entity; descriptions of nine words; each entity
has four relations, most of them to hubs.
"""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

import harness

_BLOCK = 1 << 17
_WORDS = 60_000


def write_tables(folder: Path, entities: int) -> Path:
    """Tables as `kb build table` takes them."""
    from openmofi.schema import ENTITIES, NAMES, RELATIONS
    from openmofi.storage.table_files import table_blocks

    draw = np.random.default_rng(0)
    words = pa.array(
        ["".join(draw.choice(list("abcdefghijklmnoprstuvwyz"), draw.integers(3, 9))) for _ in range(_WORDS)]
    )
    text = partial(_text, draw, words)
    folder.mkdir()
    with (
        table_blocks(folder / "entities.parquet", ENTITIES) as add_entities,
        table_blocks(folder / "names.parquet", NAMES) as add_names,
        table_blocks(folder / "relations.parquet", RELATIONS) as add_relations,
    ):
        for start in range(0, entities, _BLOCK):
            rows = np.arange(start, min(start + _BLOCK, entities))
            ids, own, more = _ids(rows), text(len(rows), 2), text(len(rows), 2)
            half = pa.array(draw.random(len(rows)) < 0.5)
            add_entities(
                pa.table(
                    [
                        ids,
                        own,
                        text(len(rows), 8),
                        pa.array([["thing"]] * len(rows)),
                        pa.array(draw.integers(0, 200, len(rows)), pa.float32()),
                    ],
                    schema=ENTITIES,
                )
            )
            names = pa.concat_arrays([own, more, text(len(rows), 3).filter(half)])
            add_names(
                pa.table(
                    [
                        names,
                        pa.concat_arrays([ids, ids, ids.filter(half)]),
                        pa.array(draw.integers(1, 100, len(names)), pa.float32()),
                    ],
                    schema=NAMES,
                )
            )
            tails = np.minimum((draw.pareto(1.0, 4 * len(rows)) * entities / 50).astype(np.int64), entities - 1)
            add_relations(pa.table([_ids(np.repeat(rows, 4)), ["part of"] * len(tails), _ids(tails)], schema=RELATIONS))
    return folder


def _ids(rows: NDArray[np.int64]) -> pa.Array:
    """Q1, Q8, …: a seventh of the numbers are in use."""
    return pc.binary_join_element_wise("Q", pa.array(7 * rows + 1).cast(pa.string()), "")


def _text(draw: np.random.Generator, words: pa.Array, rows: int, count: int) -> pa.Array:
    ranks = np.minimum((draw.pareto(0.8, (rows, count)) * 20).astype(np.int64), _WORDS - 1)
    own = pa.array([f"{number:x}" for number in draw.integers(0, 1 << 18, rows).tolist()])
    return pc.binary_join_element_wise(*(words.take(pa.array(ranks[:, place])) for place in range(count)), own, " ")


def apart(function: str, *arguments: object, module: str = "big_base") -> dict[str, Any]:
    """What a function of this module or another gives, in a process of its own."""
    code = (
        f"import sys, json; sys.path[:0] = {sys.path!r}\nimport {module}\n"
        f"print(json.dumps({module}.{function}(*json.loads(sys.argv[1]))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps([str(each) if isinstance(each, Path) else each for each in arguments])],
        check=True,
        stdout=subprocess.PIPE,
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


def build(source: str, out: str, memory: str) -> dict[str, Any]:
    """Build a base; seconds and the peak of memory."""
    from openmofi.knowledge import build_table
    from openmofi.knowledge.database import memory_bytes

    start = time.perf_counter()
    counts = build_table(source, out, memory=memory).counts
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "entities": counts["entities"],
        "names": counts["names"],
        "relations": counts["relations"],
        "memory": memory,
        "wall_s": time.perf_counter() - start,
        "cpu_s": used.ru_utime + used.ru_stime,
        "peak_mib": harness.peak_mib(),
        "peak_over_budget": harness.peak_mib() * 2**20 / memory_bytes(memory),
    }


def trie(folder: str) -> dict[str, Any]:
    """Build the tries of a base's names anew, from keys in their order; what they take a key, and look-ups in them."""
    from openmofi.knowledge import KnowledgeBase

    keys = sorted(KnowledgeBase.open(folder).names)
    with tempfile.NamedTemporaryFile("w+", encoding="utf-8") as file:
        file.writelines(f"{key}\n" for key in keys)
        count = len(keys)
        file.seek(0)
        start = time.process_time()
        for _ in file:
            pass
        reading = time.process_time() - start
        return {"keys": count, **apart("feed", file.name, reading)}


def feed(path: str, reading: float) -> dict[str, Any]:
    """Build tries of the lines of a file; look keys up in them, and in a single trie of all, in turns."""
    from openmofi.knowledge import arrays as tries

    def keys() -> Iterator[str]:
        with open(path, encoding="utf-8") as lines:
            yield from (line[:-1] for line in lines)

    before = harness.peak_mib()
    start = time.process_time()
    built, stream, firsts = 0, keys(), list[str]()
    with tempfile.TemporaryDirectory(dir="runs") as name:
        while first := next(stream, ""):
            trie = tries.built_trie(chain([first], islice(stream, tries.PART_KEYS - 1)))
            tries.save_trie(Path(name) / tries.trie_file(len(firsts)), trie)
            firsts.append(first)
            built += len(trie)
            del trie
        seconds, peak = time.process_time() - start - reading, harness.peak_mib() - before
        several, one = tries.open_names(Path(name), {tries.PARTS: firsts[1:]}), tries.built_trie(keys())
        asked = list(islice(keys(), 0, None, max(built // 200_000, 1)))
        np.random.default_rng(0).shuffle(asked)
        taken = [(_looked_up(several, asked), _looked_up(one, asked)) for _ in range(5)]
        sizes = [len(several), sum(path.stat().st_size for path in Path(name).iterdir())]
    ours, theirs = (1e6 * min(of_one) / len(asked) for of_one in zip(*taken, strict=True))
    return {
        "tries": len(firsts),
        "bytes_per_key": peak * 2**20 / sizes[0],
        "us_per_key": 1e6 * seconds / sizes[0],
        "file_bytes_per_key": sizes[1] / sizes[0],
        "get_us": ours,
        "get_us_of_one": theirs,
    }


def _looked_up(names: Any, asked: list[str]) -> float:
    start = time.process_time()
    for key in asked:
        names.get(key)
    return time.process_time() - start


def project(nodes: int, links: int) -> dict[str, Any]:
    """Vectors of a random graph in the width that needs least; seconds and the peak of memory."""
    from openmofi.knowledge.projection import WIDTHS, ProjectionSettings, memory_needed
    from openmofi.knowledge.projection import project as projected

    draw, settings = np.random.default_rng(0), ProjectionSettings()
    bits = draw.integers(0, 256, (nodes, settings.dim // 8), dtype=np.uint8)
    tails = draw.integers(0, nodes, nodes * links, dtype=np.int32)
    libraries = harness.peak_mib() - (bits.nbytes + tails.nbytes) / 2**20
    start = time.process_time()
    with tempfile.TemporaryDirectory(dir="runs") as work:
        rows = sum(
            len(block)
            for block in projected(bits, np.full(nodes, links, np.int32), tails, settings, Path(work), WIDTHS[-1])
        )
    return {
        "nodes": rows,
        "links": nodes * links,
        "cpu_s": time.process_time() - start,
        "peak_mib": harness.peak_mib(),
        "bytes_per_node": (harness.peak_mib() - libraries) * 2**20 / nodes,
        "needed_mib": memory_needed(nodes, nodes * links, settings) / 2**20,
    }


def widen(small: Path, wide: Path, entities: int) -> None:
    """A copy of a base with more entities, which have no names and no relations: vectors are a hole in a file."""
    from openmofi.knowledge import layout, relations
    from openmofi.knowledge.arrays import save_array
    from openmofi.knowledge.identifiers import NUMBERS, ROWS
    from openmofi.knowledge.layout import with_digests
    from openmofi.schema import ENTITIES
    from openmofi.storage import finish_manifest, read_manifest
    from openmofi.storage.table_files import arrow_blocks

    shutil.copytree(small, wide)
    for name in relations.FILES:
        (wide / name).unlink(missing_ok=True)
    with arrow_blocks(wide / layout.ENTITIES_ARROW, ENTITIES, layout.BATCH_ROWS) as add:
        for start in range(0, entities, _BLOCK):
            ids = _ids(np.arange(start, min(start + _BLOCK, entities)))
            add(
                pa.table(
                    [
                        ids,
                        ids,
                        pc.binary_join_element_wise("a thing that is called", ids, " "),
                        pa.array([["thing"]] * len(ids)),
                        pa.array(np.ones(len(ids), np.float32)),
                    ],
                    schema=ENTITIES,
                )
            )
    save_array(wide / NUMBERS, np.arange(1, 7 * entities, 7, dtype=np.int32))
    save_array(wide / ROWS, np.arange(entities, dtype=np.int32))
    vectors = np.lib.format.open_memmap(wide / layout.VECTORS, mode="w+", dtype=np.float16, shape=(entities, 128))
    vectors.flush()
    manifest = read_manifest(wide)
    counts = {name: value for name, value in manifest.counts.items() if name != "digests"}
    counts |= {"entities": entities, "files": layout.file_sizes(wide, NUMBERS, counts)}
    finish_manifest(wide, manifest, with_digests(wide, manifest, counts))


def open_base(folder: str) -> dict[str, Any]:
    """Milliseconds of opening after the check, of 300 times; rows of random identifiers a second."""
    from openmofi.knowledge import KnowledgeBase

    start = time.perf_counter()
    kb = KnowledgeBase.open(folder)
    first = time.perf_counter() - start
    taken, used = [], []
    for _ in range(300):
        start, before = time.perf_counter(), time.process_time()
        kb = KnowledgeBase.open(folder)
        taken.append(1e3 * (time.perf_counter() - start))
        used.append(1e3 * (time.process_time() - before))
    ids = kb.ids(np.random.default_rng(0).integers(0, len(kb), 200_000))
    start = time.process_time()
    kb.rows(ids)
    together = time.process_time() - start
    start = time.process_time()
    for entity_id in ids[:20_000]:
        kb.row(entity_id)
    return {
        "entities": len(kb),
        "first_s": first,
        "open_ms": float(np.median(taken)),
        "open_min_ms": min(taken),
        "open_cpu_ms": float(np.median(used)),
        "rows_per_s": len(ids) / together,
        "row_us": 1e6 * (time.process_time() - start) / 20_000,
    }
