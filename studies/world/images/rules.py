"""Which WordNet noun an emoji concept is: rules that a reader can check.

A rule of a subgroup names the lexicographer files in which its noun may lie, in order of preference, and what kind of
thing the concept is where WordNet lacks it.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from openmofi.plugins.starter.wordnet import Synset


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


def _read_rules() -> dict[str, Rule]:
    with open(Path(__file__).with_name("rules.csv"), newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    return {
        subgroup: Rule(tuple(row["files"].split()), (row["kind"], row["kind_file"]), bool(row["by_head"]))
        for row in rows
        for subgroup in row["subgroups"].split()
    }


RULES: Mapping[str, Rule] = _read_rules()
"""Subgroup → its rule, from `rules.csv`."""

_DEPICTABLE = tuple(
    f"noun.{name}"
    for name in (
        "act",
        "animal",
        "artifact",
        "body",
        "communication",
        "event",
        "food",
        "group",
        "location",
        "object",
        "person",
        "phenomenon",
        "plant",
        "shape",
        "substance",
        "time",
    )
)

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
                front += [
                    tail
                    for relation, tail in self.by_id[current].relations
                    if relation in ("hypernym", "instance_hypernym")
                ]
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
