"""Knowledge bases: every file flipped, zeroed, cut, lengthened, exchanged, at the same size and not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np

import openmofi
from hostile.tars import flipped, zeroed
from hostile.workbench import Broken, Case, Workbench, command
from openmofi.knowledge import KnowledgeBase


def cases(bench: Workbench, seed: int) -> Iterator[Case]:
    draw = np.random.default_rng(seed)
    files = sorted(path.relative_to(bench.kb) for path in bench.kb.rglob("*") if path.is_file())
    for file in files:
        whole = (bench.kb / file).read_bytes()
        damaged = {f"flipped-{bit}": flipped(whole, bit) for bit in map(int, draw.integers(0, 8 * len(whole), 12))}
        damaged |= {f"zeros-{at}": zeroed(whole, at, 64) for at in map(int, draw.integers(0, len(whole), 6))}
        damaged |= {
            f"ones-{at}": whole[:at] + b"\xff" * len(whole[at : at + 8]) + whole[at + 8 :]
            for at in map(int, draw.integers(0, len(whole), 6))
        }
        damaged |= {
            "empty": b"",
            "cut": whole[:-1],
            "longer": whole + b"\0",
            "half": whole[: len(whole) // 2],
            "noise": draw.integers(0, 256, len(whole), dtype=np.uint8).tobytes(),
        }
        for name, content in damaged.items():
            if content != whole:
                yield Case(f"bases/{file}-{name}", partial(use, bench, {str(file): content}))
        yield Case(f"bases/{file}-missing", partial(use, bench, {str(file): None}))
    for first, second in pairwise(files):
        yield Case(f"bases/{first}-is-{second}", partial(use, bench, {str(first): (bench.kb / second).read_bytes()}))
    manifest = json.loads((bench.kb / "manifest.json").read_text())
    for key in manifest:
        for number, value in enumerate((None, 7, "x", [], {}, -1)):
            changed = json.dumps({**manifest, key: value}).encode()
            yield Case(f"bases/manifest-{key}-{number}", partial(use, bench, {"manifest.json": changed}))
    for indent in range(1, 7):  # the same, written otherwise
        yield Case(
            f"bases/manifest-indent-{indent}",
            partial(use, bench, {"manifest.json": json.dumps(manifest, indent=indent).encode()}),
        )
    for number, content in enumerate((b"[" * 100_000, b"{}", b"null", b"\xff\xfe", b'{"kind": NaN}')):
        yield Case(f"bases/manifest-{number}", partial(use, bench, {"manifest.json": content}))


def use(bench: Workbench, changes: dict[str, bytes | None], folder: Path) -> None:
    """Look a name up and label with a damaged base: what is not refused is what the sound one gives."""
    shutil.copytree(bench.kb, folder / "kb")
    for file, content in changes.items():
        (folder / "kb" / file).unlink()
        if content is not None:
            (folder / "kb" / file).write_bytes(content)
    printed = command("kb", "lookup", folder / "kb", "orange", "--json")
    if printed != command("kb", "lookup", bench.kb, "orange", "--json"):
        raise Broken("the damaged base answers otherwise, without a word")
    bench.label(bench.shard, folder / "out", KnowledgeBase.open(folder / "kb"))
    reference = bench.root / "reference"
    if not reference.exists():
        bench.label(bench.shard, reference)
    if not rows_of(folder / "out").equals(rows_of(reference)):
        raise Broken("the damaged base links otherwise, without a word")


def rows_of(out: Path):
    return openmofi.Labels.open(out).to_arrow()
