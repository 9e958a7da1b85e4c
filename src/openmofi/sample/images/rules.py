"""Which WordNet noun an emoji concept is: rules that a reader can check.

A rule of a subgroup names the lexicographer files in which its noun may lie, in order of preference, and what kind of
thing the concept is where WordNet lacks it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from openmofi.knowledge.builders.wordnet import Synset

_THING = ("noun.artifact",)
_BUILDING = ("noun.artifact", "noun.object", "noun.location")


@dataclass(frozen=True)
class Rule:
    """Of a subgroup.

    Attributes:
        files: lexicographer files, the preferred one first; empty where no concept of the subgroup is a noun.
        kind: (lemma, lexicographer file) of what these concepts are.
        by_head: whether a label's last word may stand for it ("red apple" is an apple).
    """

    files: tuple[str, ...]
    kind: tuple[str, str]
    by_head: bool = False



RULES: Mapping[str, Rule] = {
    **dict.fromkeys(("face-smiling", "face-affection", "face-tongue", "face-hand", "face-neutral-skeptical",
                     "face-sleepy", "face-unwell", "face-hat", "face-glasses", "face-concerned", "face-negative",
                     "cat-face", "monkey-face"), Rule((), ("facial expression", "noun.communication"))),
    "face-costume": Rule(("noun.cognition", "noun.artifact"), ("facial expression", "noun.communication")),
    "heart": Rule((), ("heart", "noun.shape")),
    **dict.fromkeys(("hand-fingers-open", "hand-fingers-partial", "hand-single-finger", "hand-fingers-closed", "hands",
                     "hand-prop", "person-gesture"), Rule((), ("gesture", "noun.communication"))),
    "body-parts": Rule(("noun.body", "noun.artifact"), ("body part", "noun.body")),
    **dict.fromkeys(("person", "person-role", "person-activity"),
                    Rule(("noun.person", "noun.Tops"), ("person", "noun.Tops"))),
    "person-fantasy": Rule(("noun.cognition", "noun.person", "noun.animal"), ("imaginary being", "noun.person")),
    "person-sport": Rule((), ("athlete", "noun.person")),
    "person-resting": Rule((), ("person", "noun.Tops")),
    "family": Rule(("noun.group",), ("family", "noun.group")),
    "person-symbol": Rule(("noun.body",), ("symbol", "noun.communication")),
    "animal-mammal": Rule(("noun.animal",), ("mammal", "noun.animal"), by_head=True),
    "animal-bird": Rule(("noun.animal",), ("bird", "noun.animal"), by_head=True),
    **dict.fromkeys(("animal-amphibian", "animal-marine"),
                    Rule(("noun.animal",), ("animal", "noun.Tops"), by_head=True)),
    "animal-reptile": Rule(("noun.animal",), ("reptile", "noun.animal"), by_head=True),
    "animal-bug": Rule(("noun.animal",), ("insect", "noun.animal"), by_head=True),
    "plant-flower": Rule(("noun.plant",), ("flower", "noun.plant")),
    "plant-other": Rule(("noun.plant",), ("plant", "noun.Tops")),
    "food-fruit": Rule(("noun.food",), ("edible fruit", "noun.food"), by_head=True),
    "food-vegetable": Rule(("noun.food", "noun.plant"), ("vegetable", "noun.food"), by_head=True),
    **dict.fromkeys(("food-prepared", "food-asian"), Rule(("noun.food",), ("dish", "noun.food"))),
    "food-marine": Rule(("noun.animal", "noun.food"), ("seafood", "noun.food")),
    "food-sweet": Rule(("noun.food",), ("sweet", "noun.food")),
    "drink": Rule(("noun.food", "noun.artifact"), ("beverage", "noun.food")),
    "dishware": Rule(_THING, ("tableware", "noun.artifact")),
    "place-map": Rule((), ("map", "noun.artifact")),
    "place-geographic": Rule(("noun.object", "noun.location"), ("geological formation", "noun.object")),
    "place-building": Rule(_BUILDING, ("building", "noun.artifact")),
    "place-religious": Rule(_BUILDING, ("place of worship", "noun.artifact")),
    "place-other": Rule(_BUILDING, ("structure", "noun.artifact")),
    **dict.fromkeys(("transport-ground", "transport-air"), Rule(_THING, ("vehicle", "noun.artifact"))),
    "transport-water": Rule(_THING, ("vessel", "noun.artifact")),
    **dict.fromkeys(("hotel", "arts-crafts", "other-object"), Rule(_THING, ("artifact", "noun.Tops"))),
    "time": Rule(_THING, ("timepiece", "noun.artifact")),
    "sky-weather": Rule(("noun.object", "noun.phenomenon", "noun.artifact", "noun.event"),
                        ("atmospheric phenomenon", "noun.phenomenon")),
    "event": Rule((*_THING, "noun.plant"), ("decoration", "noun.artifact")),
    "award-medal": Rule(_THING, ("award", "noun.communication")),
    "sport": Rule((*_THING, "noun.act"), ("sports equipment", "noun.artifact")),
    "game": Rule(_THING, ("game equipment", "noun.artifact")),
    "clothing": Rule(_THING, ("clothing", "noun.artifact")),
    **dict.fromkeys(("sound", "music", "phone", "light-video"),
                    Rule((*_THING, "noun.communication"), ("device", "noun.artifact"))),
    "musical-instrument": Rule(_THING, ("musical instrument", "noun.artifact")),
    "computer": Rule(_THING, ("electronic equipment", "noun.artifact")),
    "book-paper": Rule((*_THING, "noun.communication"), ("publication", "noun.communication")),
    "money": Rule((*_THING, "noun.possession", "noun.communication"), ("money", "noun.possession")),
    "mail": Rule((*_THING, "noun.communication"), ("mail", "noun.communication")),
    "writing": Rule(_THING, ("writing implement", "noun.artifact")),
    "office": Rule((*_THING, "noun.communication"), ("artifact", "noun.Tops")),
    "lock": Rule(_THING, ("lock", "noun.artifact")),
    "tool": Rule(_THING, ("tool", "noun.artifact")),
    "science": Rule(_THING, ("instrument", "noun.artifact")),
    "medical": Rule((*_THING, "noun.substance", "noun.body"), ("instrument", "noun.artifact")),
    "household": Rule((*_THING, "noun.substance"), ("artifact", "noun.Tops")),
    **dict.fromkeys(("transport-sign", "warning"), Rule((), ("signboard", "noun.artifact"))),
    "zodiac": Rule(("noun.location",), ("sign of the zodiac", "noun.location")),
    **dict.fromkeys(("flag", "subdivision-flag"), Rule((), ("flag", "noun.artifact"))),
    **dict.fromkeys(("emotion", "arrow", "religion", "av-symbol", "gender", "math", "punctuation", "currency",
                     "other-symbol", "keycap", "alphanum", "geometric"), Rule((), ("symbol", "noun.communication"))),
}

_DEPICTABLE = tuple(f"noun.{name}" for name in (
    "act", "animal", "artifact", "body", "communication", "event", "food", "group", "location", "object", "person",
    "phenomenon", "plant", "shape", "substance", "time"))

_DECORATION = re.compile(r"^(?:front-facing |spouting |two-hump |red |green |black |white )|(?: face| emoji)$")


class Nouns:
    """WordNet's nouns by lemma and lexicographer file."""

    def __init__(self, synsets: Iterable[Synset]) -> None:
        self.by_id: dict[str, Synset] = {}
        self._senses: dict[tuple[str, str], list[tuple[int, str]]] = {}
        for synset in synsets:
            self.by_id[synset.id] = synset
            for (lemma, _), number in zip(synset.lemmas, synset.sense_numbers, strict=True):
                key = (_lemma_key(lemma), synset.lexname)
                self._senses.setdefault(key, []).append((number or 1_000, synset.id))

    def commonest(self, lemma: str, lexname: str) -> str | None:
        """The commonest sense of a lemma in a lexicographer file; spaces, hyphens and case do not matter."""
        senses = self._senses.get((_lemma_key(lemma), lexname))
        return min(senses)[1] if senses else None

    def all_senses(self, lemma: str, lexname: str) -> list[str]:
        """All senses of a lemma in a lexicographer file, the commonest first."""
        return [synset for _, synset in sorted(self._senses.get((_lemma_key(lemma), lexname), ()))]

    def is_a(self, synset: str, kind: tuple[str, str]) -> bool:
        """Whether a synset is below the commonest sense of `kind`: (lemma, lexicographer file)."""
        target = self.commonest(*kind)
        front, seen = [synset], set()
        while front:
            current = front.pop()
            if current == target:
                return True
            if current not in seen:
                seen.add(current)
                front += [tail for relation, tail in self.by_id[current].relations
                          if relation in ("hypernym", "instance_hypernym")]
        return False

    def namesake(self, lemma: str) -> str | None:
        """The commonest sense of a lemma in any file of things that can be depicted.

        The last resort, so that a concept and the noun of its name ("family", "hole") are not two entities that
        no artwork could tell apart.
        """
        senses = [sense for file in _DEPICTABLE for sense in self._senses.get((_lemma_key(lemma), file), ())]
        return min(senses)[1] if senses else None

    def within(self, lemma: str, files: tuple[str, ...]) -> str | None:
        """The commonest sense in the first file that has one."""
        return next((synset for file in files if (synset := self.commonest(lemma, file))), None)


def _lemma_key(lemma: str) -> str:
    return re.sub(r"[\s\-_’']+", "", lemma).lower()


def match(nouns: Nouns, label: str, rule: Rule) -> tuple[str, str] | None:
    """(synset id, name of the rule) for a concept's label; `None` where WordNet lacks it."""
    if synset := nouns.within(label, rule.files):
        return synset, "label"
    for ending, single in (("ies", "y"), ("s", "")):
        if label.endswith(ending) and (synset := nouns.within(label.removesuffix(ending) + single, rule.files)):
            return synset, "singular"
    bare = _DECORATION.sub("", label)
    if rule.by_head and bare != label and (synset := nouns.within(bare, rule.files)):
        return synset, "undecorated"
    head = label.rpartition(" ")[2]
    if rule.by_head and head != label and (synset := nouns.within(head, rule.files)):
        return synset, "head"
    if synset := nouns.namesake(label):
        return synset, "namesake"
    return None
