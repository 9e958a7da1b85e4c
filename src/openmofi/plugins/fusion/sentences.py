"""WordNet's synsets of all parts of speech with their example sentences."""

import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from openmofi.plugins.starter.wordnet import sense_weight, senses_of, synsets_of, wordnet_folder

PARTS = {"noun": "n", "verb": "v", "adj": "a", "adv": "r"}
"""Part of speech as in the files' names → the letter of identifiers."""

_LETTERS = {"1": "n", "2": "v", "3": "a", "4": "r", "5": "a"}
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
    senses = {
        (lemma, _LETTERS[part], offset): (number, count) for lemma, part, offset, number, count in senses_of(folder)
    }
    return [
        synset
        for name, letter in PARTS.items()
        for synset in synsets_of(folder, name, partial(_example_synset, letter, senses))
    ]


def _example_synset(part: str, senses: dict[tuple[str, str, str], tuple[int, int]], line: str) -> ExampleSynset:
    head, _, gloss = line.partition("|")
    fields = head.split()
    offset, count = fields[0], int(fields[3], 16)
    lemmas = [_MARKER.sub("", lemma) for lemma in fields[4 : 4 + 2 * count : 2]]
    ranked = [senses.get((lemma.lower(), part, offset), (99, 0)) for lemma in lemmas]
    quotes = gloss.find('"')
    definition = (gloss if quotes < 0 else gloss[:quotes]).strip().rstrip(";:, ")
    return ExampleSynset(
        f"wn:{offset}-{part}",
        part,
        tuple(lemma.replace("_", " ") for lemma in lemmas),
        tuple(sense_weight(tags, number) for number, tags in ranked),
        definition,
        tuple(quoted.strip() for quoted in _QUOTED.findall(gloss)),
        int(fields[1]),
    )
