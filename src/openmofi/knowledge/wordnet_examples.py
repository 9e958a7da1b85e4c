"""Synsets of all parts of speech with their example sentences, read from WordNet's dict files (`wndb(5WN)`)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from openmofi.errors import OpenMofiError
from openmofi.knowledge.wordnet import _lines, _senses, sense_weight, wordnet_folder

PARTS = {"noun": "n", "verb": "v", "adj": "a", "adv": "r"}
"""Part of speech as in the files' names → the letter of identifiers."""

_NUMBERS = {"1": "n", "2": "v", "3": "a", "4": "r", "5": "a"}
_QUOTED = re.compile(r'"([^"]+)"')
_MARKER = re.compile(r"\((?:a|p|ip)\)$")


@dataclass(frozen=True, slots=True)
class ExampleSynset:
    """A synset of any part of speech.

    Attributes:
        id: `"wn:<offset>-<n|v|a|r>"`.
        part: `n`, `v`, `a` or `r`.
        lemmas: with spaces and their own capitals.
        weights: for each lemma how common this sense is among the lemma's senses of this part (see `sense_weight`).
        definition: the gloss without examples.
        examples: the gloss's example sentences.
        lexfile: number of the lexicographer file.
    """

    id: str
    part: str
    lemmas: tuple[str, ...]
    weights: tuple[float, ...]
    definition: str
    examples: tuple[str, ...]
    lexfile: int


def read_example_synsets(dict_folder: str | Path) -> list[ExampleSynset]:
    """All synsets of a WordNet dict folder: nouns, verbs, adjectives, adverbs, each in the order of its file.

    Raises:
        OpenMofiError: a file is missing or damaged.
    """
    folder = wordnet_folder(dict_folder)
    senses = {(lemma, _NUMBERS[part], offset): (number, count)
              for lemma, part, offset, number, count in _senses(folder / "index.sense")}
    synsets = []
    for name, letter in PARTS.items():
        for line in _lines(folder / f"data.{name}"):
            try:
                synsets.append(_synset(line, letter, senses))
            except (ValueError, IndexError) as error:
                raise OpenMofiError(f"{folder / f'data.{name}'} is damaged at {line.strip()[:60]!r}.",
                                    "Fetch WordNet again.") from error
    return synsets


def _synset(line: str, part: str, senses: dict[tuple[str, str, str], tuple[int, int]]) -> ExampleSynset:
    head, _, gloss = line.partition("|")
    fields = head.split()
    offset, count = fields[0], int(fields[3], 16)
    words = [_MARKER.sub("", word) for word in fields[4:4 + 2 * count:2]]
    ranked = [senses.get((word.lower(), part, offset), (99, 0)) for word in words]
    quotes = gloss.find('"')
    definition = (gloss if quotes < 0 else gloss[:quotes]).strip().rstrip(";:, ")
    return ExampleSynset(
        f"wn:{offset}-{part}", part, tuple(word.replace("_", " ") for word in words),
        tuple(sense_weight(tags, number) for number, tags in ranked), definition,
        tuple(found.strip() for found in _QUOTED.findall(gloss)), int(fields[1]))
