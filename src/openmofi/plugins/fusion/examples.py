"""Examples of disambiguation: a mention in its text, its candidates and its entity; stored as Parquet.

WordNet's example sentences are such examples: real text and ambiguity in a package of 10 MB. An example sentence of a
synset holds one of the synset's lemmas; the lemma's synsets of the same part of speech are the candidates, and the
sentence's own synset is the gold. Descriptions are definitions without the sentences, which would give the answer away.
"""

import hashlib
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import pyarrow as pa

from openmofi.errors import OpenMofiError
from openmofi.plugins.starter.wordnet import LEXNAMES, sense_weight, senses_of, synsets_of, wordnet_folder
from openmofi.storage import read_parquet, write_table

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


NIL = ""
"""The answer "none of the candidates"."""


@dataclass(frozen=True, slots=True)
class LinkCandidate:
    """An entity that a mention may mean.

    Attributes:
        id: identifier of the entity, unique among an example's candidates.
        title: its name.
        description: one line that distinguishes it from its namesakes.
        type: its coarse type, or `""`.
        prior: commonness P(entity | name), 0..1.
        listed: whether the candidate list has it. A gold that the list lacks is kept unlisted, so that training can
            add it and an evaluation leaves it out.
    """

    id: str
    title: str
    description: str = ""
    type: str = ""
    prior: float = 0.0
    listed: bool = True


@dataclass(frozen=True, slots=True)
class LinkExample:
    """A mention to be disambiguated.

    Attributes:
        text: of the mention.
        start, end: of the mention in characters (code points), end exclusive.
        candidates: listed ones by falling prior.
        gold: identifier of the right candidate; `NIL` for none.
        split: `train`, `validation`, or the name of a test split.
        group: the looked-up name, such as the lemma or the lower-cased mention; splits by lemma use it.
    """

    text: str
    start: int
    end: int
    candidates: tuple[LinkCandidate, ...]
    gold: str
    split: str = "train"
    group: str = ""

    @property
    def mention(self) -> str:
        """Return the text of the mention."""
        return self.text[self.start : self.end]

    @property
    def listed(self) -> tuple[LinkCandidate, ...]:
        """Return the candidates that a system is given."""
        return tuple(candidate for candidate in self.candidates if candidate.listed)

    @property
    def reachable(self) -> bool:
        """Whether the gold is among the listed candidates (or is NIL)."""
        return self.gold == NIL or any(candidate.id == self.gold for candidate in self.listed)

    @property
    def shadowed(self) -> bool:
        """Whether the gold is an entity that is not its name's commonest (Tsai and Roth's "hard" mentions)."""
        listed = self.listed
        return self.gold != NIL and bool(listed) and max(listed, key=lambda candidate: candidate.prior).id != self.gold


_CANDIDATE = pa.struct(
    [
        ("id", pa.string()),
        ("title", pa.string()),
        ("description", pa.string()),
        ("type", pa.string()),
        ("prior", pa.float32()),
        ("listed", pa.bool_()),
    ]
)
EXAMPLES = pa.schema(
    [
        ("text", pa.string()),
        ("start", pa.int32()),
        ("end", pa.int32()),
        ("candidates", pa.list_(_CANDIDATE)),
        ("gold", pa.string()),
        ("split", pa.string()),
        ("group", pa.string()),
    ]
)
"""Schema of a table of examples: one row a mention."""


def with_gold(candidates: Sequence[LinkCandidate], gold: LinkCandidate | None) -> tuple[LinkCandidate, ...]:
    """Add the gold to candidates that lack it, at the end and unlisted."""
    if gold is None or any(candidate.id == gold.id for candidate in candidates):
        return tuple(candidates)
    return (*candidates, replace(gold, prior=0.0, listed=False))


def write_examples(path: str | Path, examples: Sequence[LinkExample]) -> None:
    """Write examples as one Parquet file, atomically; equal examples give equal bytes."""
    write_table(path, pa.Table.from_pylist([asdict(example) for example in examples], EXAMPLES))


def read_examples(path: str | Path, splits: Sequence[str] | None = None) -> list[LinkExample]:
    """Read what `write_examples` wrote, or any Parquet table with its columns.

    Args:
        path: the file.
        splits: only these; all by default.

    Raises:
        OpenMofiError: it cannot be read, lacks a column, or a row lacks a value or has a wrong span, prior or gold;
            names the row.
    """
    table = read_parquet(path, EXAMPLES, hint=f"A table of examples has the columns {', '.join(EXAMPLES.names)}.")
    examples = []
    for row, values in enumerate(table.to_pylist()):
        if splits is not None and values["split"] not in splits:
            continue
        try:
            candidates = tuple(LinkCandidate(**candidate) for candidate in values.pop("candidates") or ())
            example = LinkExample(candidates=candidates, **values)
        except TypeError as error:
            raise OpenMofiError(f"Row {row} of {path} is not an example: {error}.") from error
        _check(example, f"row {row} of {path}")
        examples.append(example)
    return examples


def _check(example: LinkExample, where: str) -> None:
    values = {name: getattr(example, name) for name in ("text", "start", "end", "split")}
    values |= {
        f"candidates.{name}": None
        for candidate in example.candidates
        for name in ("id", "title", "prior")
        if getattr(candidate, name) is None
    }
    absent = next((name for name, value in values.items() if value is None), None)
    if absent:
        raise OpenMofiError(f"The {absent} of {where} is missing.", "Give each row a value.")
    if any(not 0 <= candidate.prior <= 1 for candidate in example.candidates):
        raise OpenMofiError(f"A candidate's prior of {where} is not between 0 and 1.", "Priors are P(entity | name).")
    if not 0 <= example.start < example.end <= len(example.text):
        raise OpenMofiError(
            f"The span {example.start}–{example.end} of {where} lies outside its text.",
            "start and end count characters; end is exclusive.",
        )
    ids = [candidate.id for candidate in example.candidates]
    if len(set(ids)) < len(ids):
        raise OpenMofiError(f"Two candidates of {where} have the same id.", "List each id once.")
    if example.gold != NIL and example.gold not in ids:
        raise OpenMofiError(
            f"The gold {example.gold!r} of {where} is not among its candidates.",
            "Add it with listed = false if the candidate list does not have it.",
        )


TRAIN, VALIDATION, SEEN, UNSEEN = "train", "validation", "test_seen", "test_unseen"
_SALT = "openmofi"  # of the pseudo-random division
_UNSEEN_LEMMAS, _SEEN_SYNSETS, _VALIDATION_SYNSETS = 0.10, 0.08, 0.05
_FIRST_NOUN_FILE = 3
_PART_NAMES = {"v": "verb", "a": "adjective", "r": "adverb"}
_WORD = re.compile(r"[^\W\d_]+(?:['’\-][^\W\d_]+)*")


def wordnet_examples(dict_folder: str | Path, *, parts: str = "nvar") -> list[LinkExample]:
    """Make examples of WordNet's ambiguous lemmas, in the order of its files.

    All examples of a tenth of the lemmas are in `test_unseen`. Of the other synsets, 8 % are in `test_seen` and 5 % in
    `validation`. No synset is the gold of both a training and a test example, and no lemma of `test_unseen` is
    mentioned in training.

    Args:
        dict_folder: see `plugins.starter.wordnet.wordnet_folder`.
        parts: letters of the parts of speech: nouns, verbs, adjectives, adverbs.

    Raises:
        OpenMofiError: a file is missing or damaged.
    """
    synsets = [synset for synset in read_example_synsets(dict_folder) if synset.part in parts]
    meanings: dict[tuple[str, str], list[tuple[float, ExampleSynset]]] = defaultdict(list)
    for synset in synsets:
        for lemma, weight in zip(synset.lemmas, synset.weights, strict=True):
            held = meanings[lemma.lower(), synset.part]
            if all(other.id != synset.id for _, other in held):
                held.append((weight, synset))
    mentions = (_mention(sentence, synset, meanings) for synset in synsets for sentence in synset.examples)
    return _divided([example for example in mentions if example is not None])


def _mention(
    sentence: str, synset: ExampleSynset, meanings: dict[tuple[str, str], list[tuple[float, ExampleSynset]]]
) -> LinkExample | None:
    """Find the first ambiguous lemma of a synset in a sentence."""
    for lemma in synset.lemmas:
        senses = meanings[lemma.lower(), synset.part]
        span = find_lemma(sentence, lemma, synset.part) if len(senses) > 1 else None
        if span is not None:
            return LinkExample(sentence, *span, _candidates(senses), synset.id, group=f"{lemma.lower()}.{synset.part}")
    return None


def _candidates(senses: Sequence[tuple[float, ExampleSynset]]) -> tuple[LinkCandidate, ...]:
    total = sum(weight for weight, _ in senses)
    ranked = sorted(senses, key=lambda sense: (-sense[0], sense[1].id))
    return tuple(
        LinkCandidate(
            synset.id,
            ", ".join(synset.lemmas),
            synset.definition,
            _PART_NAMES.get(synset.part) or LEXNAMES[synset.lexfile - _FIRST_NOUN_FILE],
            weight / total,
        )
        for weight, synset in ranked
    )


def find_lemma(sentence: str, lemma: str, part: str) -> tuple[int, int] | None:
    """Find the span of `lemma`, plain or regularly inflected, in `sentence`; `None` if it does not occur."""
    whole = re.search(rf"(?<!\w){re.escape(lemma)}(?!\w)", sentence, re.IGNORECASE)
    if whole is not None:
        return whole.span()
    first, space, rest = lemma.lower().partition(" ")
    # Verbs of several words inflect the first word (gave up), nouns the last (guinea pigs).
    if space and part == "n":
        head, _, last = lemma.rpartition(" ")
        forms = [f"{re.escape(head)} {re.escape(form)}" for form in inflections(last.lower(), part)]
    else:
        forms = [re.escape(form) + (f" {re.escape(rest)}" if space else "") for form in inflections(first, part)]
    inflected = re.search(rf"(?<!\w)(?:{'|'.join(forms)})(?!\w)", sentence, re.IGNORECASE) if forms else None
    return None if inflected is None else inflected.span()


def inflections(word: str, part: str) -> list[str]:
    """Return the regular forms of a word: plurals, third persons, participles, comparatives."""
    if not _WORD.fullmatch(word):
        return []
    consonant_y = len(word) > 2 and word[-1] == "y" and word[-2] not in "aeiou"
    stem = word[:-1] + "i" if consonant_y else word
    plural = [word + "s", word + "es"] + ([stem + "es"] if consonant_y else [])
    plural += [word[:-1] + "ves"] if word.endswith("f") else [word[:-2] + "ves"] if word.endswith("fe") else []
    dropped = word[:-1] if word.endswith("e") else word
    doubled = word + word[-1]
    if part == "n":
        return plural
    if part == "v":
        return [*plural, word + "d", stem + "ed", doubled + "ed", dropped + "ing", word + "ing", doubled + "ing"]
    return [dropped + "er", dropped + "est", stem + "er", stem + "est", doubled + "er", doubled + "est"]


def _share(*words: str) -> float:
    """Return a pseudo-random number in [0, 1) that depends on the words."""
    return int.from_bytes(hashlib.blake2b("\0".join((_SALT, *words)).encode(), digest_size=6).digest(), "big") / 2**48


def _divided(examples: Sequence[LinkExample]) -> list[LinkExample]:
    def unseen(example: LinkExample) -> bool:
        # By the lemma alone, for all parts of speech.
        return _share("lemma", example.group.rpartition(".")[0]) < _UNSEEN_LEMMAS

    held_back = {example.gold for example in examples if unseen(example)}
    divided = [
        replace(example, split=UNSEEN if unseen(example) else _synset_split(example.gold, held_back))
        for example in examples
    ]
    trained = {example.group for example in divided if example.split == TRAIN}
    # A lemma without a trained synset is unseen, though it was not drawn.
    return [
        replace(example, split=UNSEEN) if example.split == SEEN and example.group not in trained else example
        for example in divided
    ]


def _synset_split(synset: str, held_back: set[str]) -> str:
    share = _share("synset", synset)
    if synset in held_back or share < _SEEN_SYNSETS:
        return SEEN
    return VALIDATION if share < _SEEN_SYNSETS + _VALIDATION_SYNSETS else TRAIN
