"""The gazetteer at the size of Wikidata: names in six kinds of script, captions of 12 to 20 words, one core.

Only what the gazetteer reads is built: the trie of names and their link probabilities. Words follow Zipf's law; a
caption holds some 5 names, and a tenth of its words were not seen before, more than in real texts. With `--peers` the
peers of `mentions.py` (Aho–Corasick automata, where installed) hold the same names and take turns.
Times are the thread's own, since other processes may share the machine.

The first to open a base makes its filter of names, once a machine; what that and each later opening takes is measured
too, and what a worker holds after 20,000 captions, pages of the mapped files included.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import os
import random
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import marisa_trie
import numpy as np
from numpy.typing import NDArray

import harness
import mentions

_SCRIPTS = {  # share of the names, of which syllables words are made, how many a word has
    "latin": (
        0.62,
        [c + v for c in "bcdfghjklmnprstvwz" for v in ("a", "e", "i", "o", "u", "ar", "en", "or", "il")],
        2,
    ),
    "accents": (0.15, [c + v for c in "bcdfglmnprstv" for v in ("é", "ä", "ö", "ü", "ñ", "ça", "ø", "i", "a")], 2),
    "cyrillic": (0.09, [c + v for c in "бвгдзклмнпрст" for v in "аеиоуя"], 2),
    "greek": (0.03, [c + v for c in "βγδζκλμνπρστ" for v in "αειου"], 2),
    "arabic": (0.05, [c + v for c in "بتجدرسكلمن" for v in ("ا", "و", "ي", "")], 2),
    "han": (0.06, [chr(0x4E00 + place) for place in range(3000)], 1),
}
_SHARES = [share for share, *_ in _SCRIPTS.values()]
_FILLER = (
    "the",
    "a",
    "of",
    "in",
    "with",
    "and",
    "photo",
    "old",
    "near",
    "blue",
    "on",
    "at",
    "under",
    "small",
    "my",
    "from",
    "by",
    "for",
    "this",
    "is",
    "was",
    "one",
    "two",
    "red",
    "white",
    "new",
    "first",
    "part",
    "book",
)
_CAPTIONS = "captions.txt"


@dataclass(frozen=True)
class Manifest:
    """As much of a base's manifest as the gazetteer asks for."""

    counts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Base:
    """As much of a knowledge base as the gazetteer asks for."""

    path: Path
    names: marisa_trie.Trie
    link_probabilities: NDArray[np.float32]
    manifest: Manifest

    @classmethod
    def open(cls, folder: str) -> Base:
        """Map what `build` wrote."""
        from openmofi.knowledge.arrays import NAMES_MARISA
        from openmofi.knowledge.layout import LINK_PROBABILITY

        path = Path(folder)
        return cls(
            path,
            marisa_trie.Trie().mmap(str(path / "names.marisa")),
            np.asarray(np.load(path / "probabilities.npy", mmap_mode="r")),
            Manifest({"digests": dict.fromkeys((NAMES_MARISA, LINK_PROBABILITY), path.name)}),
        )


def vocabulary(size: int = 400_000) -> list[list[str]]:
    """Words of each script, the most frequent first, as keys."""
    from openmofi.knowledge import normalise

    rng = random.Random(0)
    words = []
    for share, syllables, least in _SCRIPTS.values():
        made: dict[str, None] = {}
        while len(made) < size * share:
            made[normalise("".join(rng.choices(syllables, k=rng.randint(least, 4))))] = None
        words.append(list(made))
    return words


def _places(uniform: NDArray[np.float64], size: int) -> NDArray[np.int64]:
    """Ranks by Zipf's law."""
    return np.minimum(((2 + size) / 2) ** uniform * 2 - 2, size - 1).astype(np.int64)


def make_names(words: list[list[str]], count: int) -> list[list[str]]:
    """Names of 1 to 4 words, by script."""
    rng = np.random.default_rng(0)
    names = []
    for script, share in zip(words, _SHARES, strict=True):
        listed, made = np.array(script, object), dict[str, None]()
        while len(made) < int(count * share):
            drawn = int((int(count * share) - len(made)) * 1.5) + 10
            lengths = rng.choice([1, 2, 3, 4], drawn, p=[0.15, 0.5, 0.25, 0.1])
            columns = _places(rng.random((drawn, 4)), len(script))
            made.update((" ".join(listed[row[:length]]), None) for row, length in zip(columns, lengths, strict=True))
        names.append(list(made)[: int(count * share)])
    return names


def make_captions(words: list[list[str]], names: list[list[str]], count: int) -> list[str]:
    """Captions in one script or, half of them, in Latin letters without accents."""
    rng = random.Random(1)
    texts = []
    for _ in range(count):
        script = rng.choices(range(len(words)), _SHARES)[0] if rng.random() < 0.5 else 0
        tokens: list[str] = []
        length = rng.randint(12, 20)
        while len(tokens) < length:
            draw = rng.random()
            tokens += (
                rng.choice(names[script]).split()
                if draw < 0.12
                else [rng.choice(_FILLER)]
                if draw < 0.6
                else [words[script][int(_places(np.array(rng.random()), len(words[script])))]]
            )
        text = " ".join(tokens)
        texts.append(text.title() if rng.random() < 0.2 else f"{text[0].upper()}{text[1:]}.")
    return texts


def build(names: list[list[str]], folder: Path) -> None:
    """Write trie and link probabilities."""
    trie = marisa_trie.Trie(sorted({name for of_script in names for name in of_script}))
    trie.save(str(folder / "names.marisa"))
    np.save(folder / "probabilities.npy", np.random.default_rng(2).random(len(trie), np.float32) ** 0.5)


def gazetteer(folder: str, _: list[str]) -> mentions.Find:
    from openmofi.mentions import GazetteerDetector

    detector = GazetteerDetector(Base.open(folder))  # type: ignore[arg-type]
    return lambda texts: sum(map(len, detector.detect(texts)))


def _child(
    pipe: Connection, make: Callable[[str, list[str]], mentions.Find], folder: str, names: list[str], texts: list[str]
) -> None:
    import openmofi.mentions  # noqa: F401

    gc.collect()
    before, start = mentions._resident(), time.perf_counter()
    find = make(folder, names)
    opened = time.perf_counter() - start
    found = find(texts[:20_000])
    gc.collect()
    pipe.send({"open_s": opened, "memory_mib": round(mentions._resident() - before, 1), "found": found})
    while (block := pipe.recv()) is not None:
        begun = time.thread_time()
        find(block)
        pipe.send(time.thread_time() - begun)


def _start(
    make: Callable[[str, list[str]], mentions.Find],
    folder: Path,
    names: list[str],
    texts: list[str],
) -> tuple[Connection, dict[str, Any]]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    context.Process(target=_child, args=(theirs, make, str(folder), names, texts), daemon=True).start()
    return ours, ours.recv()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--names", type=int, default=3_000_000)
    parser.add_argument("--captions", type=int, default=60_000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--keep", type=Path, help="a folder that keeps names, filter and captions for later runs")
    parser.add_argument("--result", default="gazetteer")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        home = folder / "home"
        os.environ["OPENMOFI_HOME"] = str(home)
        if not (folder / _CAPTIONS).is_file():
            words = vocabulary()
            by_script = make_names(words, options.names)
            folder.mkdir(exist_ok=True)
            captions = make_captions(words, by_script, options.captions)
            build(by_script, folder)
            (folder / _CAPTIONS).write_text("\n".join(captions), "utf-8")
            del by_script, words
        texts = (folder / _CAPTIONS).read_text("utf-8").split("\n")
        trie = Base.open(str(folder)).names
        count, names = len(trie), list(trie) if options.peers else []
        del trie
        first = {}
        if not any((home / "names").glob("*.npy")):
            pipe, started = _start(gazetteer, folder, [], texts)
            pipe.send(None)
            first = {"first_open_seconds": started["open_s"]}
        makers: dict[str, Callable[[Any, list[str]], Callable[[list[str]], int]]] = {"openmofi gazetteer": gazetteer}
        if options.peers:
            makers |= {
                name: make
                for name, package, make in (
                    ("ahocorasick-rs", "ahocorasick_rs", mentions.aho_corasick_rust),
                    ("pyahocorasick", "ahocorasick", mentions.aho_corasick_c),
                )
                if find_spec(package)
            }
        started = {
            name: _start(make, folder, names if make is not gazetteer else [], texts) for name, make in makers.items()
        }
        del names
        seconds: dict[str, list[float]] = {name: [] for name in makers}
        size = (len(texts) - 20_000) // options.rounds
        for turn in range(options.rounds):
            block = texts[20_000 + turn * size : 20_000 + (turn + 1) * size]
            for name, (pipe, _) in started.items():
                pipe.send(block)
                seconds[name].append(pipe.recv())
        for pipe, _ in started.values():
            pipe.send(None)
        rows = {name: {**row, **started[name][1]} for name, row in harness.summarise(seconds, size).items()}
        index = sum(path.stat().st_size for path in (folder / "names.marisa", folder / "probabilities.npy")) / 2**20
        kept = sum(path.stat().st_size for path in (home / "names").glob("*.npy")) / 2**20
    harness.show(
        f"mentions in captions of 12–20 words, {count:,} names, one core",
        rows,
        "captions",
        ("open_s", "memory_mib", "found"),
    )
    ours = rows["openmofi gazetteer"]
    harness.write_result(
        options.result,
        rows,
        {
            "names": count,
            "captions_per_second": ours["per_second"],
            **first,
            "open_seconds": ours["open_s"],
            "worker_mib": ours["memory_mib"],
            "index_file_mib": index,
            "filter_mib": kept,
            **{f"over_{name}": ours["per_second"] / row["per_second"] for name, row in rows.items() if row is not ours},
        },
    )


if __name__ == "__main__":
    main()
