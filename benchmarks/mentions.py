"""Mentions: nine-word captions a second on one core with a knowledge base of 1 M generated names, and the memory.

Each contender runs in a process of its own (so that its memory is its own), takes turns with the others, and finds
names in the same captions; all make a `Mention` of what they find. Peers: Aho-Corasick automata (`ahocorasick-rs`,
`pyahocorasick`, where installed) over lower-cased text with a check of token boundaries, and a dict of all names tried
with n-grams. The peers know neither plurals nor hyphens nor a filter, and none is saved and mapped again.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import os
import random
import re
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from multiprocessing.connection import Connection
from pathlib import Path

import pyarrow as pa

import harness

Find = Callable[[list[str]], int]
_SYLLABLES = [c + v for c in "bcdfghjklmnprstvwz" for v in ("a", "e", "i", "o", "u", "ar", "en", "or", "il")]


def generate(names: int, captions: int, seed: int = 0) -> tuple[list[str], list[str]]:
    """Names of 1–4 words over a Zipf-like vocabulary, and nine-word captions, three quarters of which hold a name."""
    rng = random.Random(seed)
    words = sorted({"".join(rng.choices(_SYLLABLES, k=rng.randint(2, 4))) for _ in range(150_000)})
    rng.shuffle(words)
    pick: Callable[[], str] = lambda: words[int(len(words) * rng.random() ** 3)]  # noqa: E731
    found: dict[str, None] = {}
    while len(found) < names:
        found[" ".join(pick() for _ in range(rng.choices((1, 2, 3, 4), (2, 5, 2, 1))[0]))] = None
    listed = list(found)
    filler = ("the", "a", "of", "in", "with", "and", "photo", "old", "near", "blue", "on", "at", "under", "small", "my")
    texts = []
    for _ in range(captions):
        tokens = rng.choice(listed).split() if rng.random() < 0.75 else []
        while len(tokens) < 9:
            place = rng.randint(0, len(tokens))
            tokens[place:place] = [rng.choice(filler) if rng.random() < 0.7 else pick()]
        text = " ".join(tokens[:9])
        texts.append(text.title() if rng.random() < 0.5 else text)
    return listed, texts


def build(names: list[str], folder: Path) -> Path:
    """A knowledge base in which every name has one entity of 300,000."""
    from openmofi.knowledge import build_table
    from openmofi.schema import ENTITIES, NAMES
    from openmofi.storage import write_table

    entities = [f"E{number}" for number in range(300_000)]
    write_table(
        folder / "src" / "entities.parquet",
        pa.table(
            [entities, entities, [""] * len(entities), [[]] * len(entities), [0.0] * len(entities)], schema=ENTITIES
        ),
    )
    write_table(
        folder / "src" / "names.parquet",
        pa.table(
            [names, [entities[place % len(entities)] for place in range(len(names))], [1.0] * len(names)], schema=NAMES
        ),
    )
    start = time.perf_counter()
    build_table(folder / "src", folder / "kb")
    print(f"built a knowledge base of {len(names):,} names in {time.perf_counter() - start:.1f} s")
    return folder / "kb"


def gazetteer(kb: str, _: list[str]) -> Find:
    from openmofi.knowledge import KnowledgeBase
    from openmofi.mentions import GazetteerDetector

    detector = GazetteerDetector(KnowledgeBase.open(kb))
    return lambda texts: sum(map(len, detector.detect(texts)))


def dict_ngrams(_: str, names: list[str]) -> Find:
    from openmofi.schema import Mention

    known = {name: row for row, name in enumerate(names)}
    token = re.compile(r"\w+")

    def find(texts: list[str]) -> int:
        count = 0
        for text in texts:
            spans = [match.span() for match in token.finditer(text)]
            lower = text.lower()
            first, found = 0, []
            while first < len(spans):
                for last in range(min(first + 4, len(spans)) - 1, first - 1, -1):
                    name = lower[spans[first][0] : spans[last][1]]
                    if name in known:
                        found.append(Mention(spans[first][0], spans[last][1], name, "peer"))
                        first = last
                        break
                first += 1
            count += len(found)
        return count

    return find


def _bounded(text: str, start: int, end: int) -> bool:
    return (start == 0 or not text[start - 1].isalnum()) and (end == len(text) or not text[end].isalnum())


def aho_corasick_rust(_: str, names: list[str]) -> Find:
    import ahocorasick_rs

    automaton = ahocorasick_rs.AhoCorasick(names, matchkind=ahocorasick_rs.MatchKind.Standard, store_patterns=False)

    def find(texts: list[str]) -> int:
        return sum(
            _leftmost_longest(
                text,
                [(start, end) for _, start, end in automaton.find_matches_as_indexes(text.lower(), overlapping=True)],
            )
            for text in texts
        )

    return find


def aho_corasick_c(_: str, names: list[str]) -> Find:
    import ahocorasick

    automaton = ahocorasick.Automaton()
    for name in names:
        automaton.add_word(name, len(name))
    automaton.make_automaton()

    def find(texts: list[str]) -> int:
        return sum(
            _leftmost_longest(text, [(end + 1 - size, end + 1) for end, size in automaton.iter(text.lower())])
            for text in texts
        )

    return find


def _leftmost_longest(text: str, spans: list[tuple[int, int]]) -> int:
    from openmofi.schema import Mention

    found, free = [], 0
    for start, end in sorted((s for s in spans if _bounded(text, *s)), key=lambda s: (s[0], -s[1])):
        if start >= free:
            found.append(Mention(start, end, text[start:end], "peer"))
            free = end
    return len(found)


def _resident() -> float:
    """Resident MiB of this process, file-backed pages of its maps included."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def _child(
    pipe: Connection,
    make: Callable[[str, list[str]], Find],
    kb: str,
    names: list[str],
    texts: list[str],
    warm: list[str],
) -> None:
    # What is imported once for all contenders is no index.
    import openmofi.knowledge  # noqa: F401
    import openmofi.mentions  # noqa: F401

    if make is gazetteer:
        names = []
    gc.collect()
    before = _resident()
    # The peers hold names of their own; the list that came through the pipe is no part of an index.
    find = make(kb, [name.encode().decode() for name in names])
    found = find(warm) and find(texts)
    gc.collect()
    pipe.send((_resident() - before, found))
    while pipe.recv():
        start = time.perf_counter()
        find(texts)
        pipe.send(time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--names", type=int, default=1_000_000)
    parser.add_argument("--captions", type=int, default=40_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    names, texts = generate(options.names, 2 * options.captions)
    warm, texts = texts[: options.captions], texts[options.captions :]
    makers = {"openmofi gazetteer": gazetteer, "dict of n-grams": dict_ngrams}
    if find_spec("ahocorasick_rs"):
        makers["ahocorasick-rs"] = aho_corasick_rust
    if find_spec("ahocorasick"):
        makers["pyahocorasick"] = aho_corasick_c
    with tempfile.TemporaryDirectory() as folder:
        kb = build(names, Path(folder))
        rows = _race(makers, str(kb), names, texts, warm, options.rounds)
        index = sum((kb / name).stat().st_size for name in ("names.marisa", "candidates/link_probability.npy")) / 2**20
    ours = rows["openmofi gazetteer"]
    ours["index_file_mib"] = round(index, 1)
    harness.show(
        f"mentions in nine-word captions, {options.names:,} names, one core", rows, "captions", ("memory_mib", "found")
    )
    harness.write_result(
        "mentions",
        rows,
        {
            "captions_per_second": ours["per_second"],
            "index_memory_mib": ours["memory_mib"],
            **{
                f"over_{name.replace(' ', '_')}": ours["per_second"] / row["per_second"]
                for name, row in rows.items()
                if row is not ours
            },
        },
    )


def _race(
    makers: dict[str, Callable[[str, list[str]], Find]],
    kb: str,
    names: list[str],
    texts: list[str],
    warm: list[str],
    rounds: int,
) -> dict[str, harness.Row]:
    context = multiprocessing.get_context("spawn")
    pipes, children, extra = {}, [], {}
    for name, make in makers.items():
        ours, theirs = context.Pipe()
        child = context.Process(target=_child, args=(theirs, make, kb, names, texts, warm))
        child.start()
        children.append(child)
        pipes[name] = ours
        memory, found = ours.recv()
        extra[name] = {"memory_mib": round(memory, 1), "found": found}
    seconds: dict[str, list[float]] = {name: [] for name in makers}
    for _ in range(rounds):
        for name, pipe in pipes.items():
            pipe.send(True)
            seconds[name].append(pipe.recv())
    for pipe in pipes.values():
        pipe.send(False)
    for child in children:
        child.join()
    return {name: {**row, **extra[name]} for name, row in harness.summarise(seconds, len(texts)).items()}


if __name__ == "__main__":
    main()
