"""English plurals to singulars, by rules: a key that build and look-up share, not a lemma to display.

The rules fold a plural and its singular onto one key and leave alone what only looks like a plural. Where spelling
does not tell the singular (cookies → cookie or cooky?) both spellings fold onto one key.
"""

from __future__ import annotations

import re
from string import ascii_lowercase

_LIKE_PLURALS = """
series species news lens gas bus plus swiss christmas texas kansas arkansas dallas vegas atlas canvas bias alias
pancreas thomas lucas nicholas douglas jonas midas adidas honduras bahamas pajamas pyjamas las madras judas
chaos cosmos laos rhinoceros albatros asbestos eros logos barbados kudos pathos ethos argos athos samos
mars jesus james charles jones hermes mercedes wales maldives athens brussels naples hercules achilles socrates
aries pisces biceps triceps forceps ceres yes does was has its this thus always perhaps hers ours yours theirs
chassis corps rendezvous bourgeois mathias elias tobias matthias andreas cos sans lars hans mons
"""
"""Words that end like a plural but mean something else without the ending, or nothing."""

_KEEP = frozenset(_LIKE_PLURALS.split())
_IRREGULAR = {
    "men": "man",
    "women": "woman",
    "children": "child",
    "mice": "mouse",
    "dormice": "dormouse",
    "geese": "goose",
    "mongeese": "mongoose",
    "teeth": "tooth",
    "feet": "foot",
    "oxen": "ox",
    "lice": "louse",
    "knives": "knife",
    "wives": "wife",
    "lives": "life",
    "wolves": "wolf",
    "leaves": "leaf",
    "shelves": "shelf",
    "halves": "half",
    "calves": "calf",
    "loaves": "loaf",
    "scarves": "scarf",
    "hooves": "hoof",
    "thieves": "thief",
    "elves": "elf",
    "dwarves": "dwarf",
    "selves": "self",
    "werewolves": "werewolf",
    "bookshelves": "bookshelf",
    "cacti": "cactus",
    "fungi": "fungus",
    "octopi": "octopus",
    "nuclei": "nucleus",
    "stimuli": "stimulus",
    "axes": "axe",
    "pickaxes": "pickaxe",
    "buses": "bus",
    "gases": "gas",
    "lenses": "lens",
    "atlases": "atlas",
    "canvases": "canvas",
    "aliases": "alias",
    "irises": "iris",
    "trellises": "trellis",
    "quizzes": "quiz",
    "fezzes": "fez",
    "rhinoceroses": "rhinoceros",
    "albatrosses": "albatross",
    "taxis": "taxi",
    "bikinis": "bikini",
    "safaris": "safari",
    "martinis": "martini",
    "paninis": "panini",
    "zucchinis": "zucchini",
    "rabbis": "rabbi",
    "yetis": "yeti",
    "salamis": "salami",
    "tsunamis": "tsunami",
    "menus": "menu",
    "emus": "emu",
    "gnus": "gnu",
    "tofus": "tofu",
    "gurus": "guru",
    "tutus": "tutu",
    "shoes": "shoe",
    "horseshoes": "horseshoe",
    "snowshoes": "snowshoe",
    "canoes": "canoe",
    "oboes": "oboe",
    "toes": "toe",
    "aloes": "aloe",
    "hoes": "hoe",
    "foes": "foe",
    "tiptoes": "tiptoe",
    "mistletoes": "mistletoe",
}
_MEN = frozenset(
    {
        "specimen",
        "abdomen",
        "regimen",
        "bremen",
        "hymen",
        "cyclamen",
        "stamen",
        "acumen",
        "ramen",
        "yemen",
        "omen",
        "semen",
        "amen",
        "lumen",
        "rumen",
        "nomen",
        "albumen",
        "bitumen",
        "examen",
        "flamen",
        "dolmen",
        "turkmen",
        "carmen",
    }
)
_USES = ("ouses", "auses", "fuses", "muses", "xcuses", "abuses", "cluses", "eruses")
_WORD = re.compile(r"[a-z]{4,}")
ENDINGS = frozenset({*(f"{letter}s" for letter in ascii_lowercase), "ie", "en", "he"})
"""The last two letters of all words that `singular` changes, but for `IRREGULAR_WORDS`."""
IRREGULAR_WORDS = frozenset(_IRREGULAR)
"""Words whose singulars no rule gives."""


def _singular_once(word: str) -> str:
    if word in _KEEP:
        return word
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if word.endswith("men") and len(word) > 5 and word not in _MEN:
        return word[:-2] + "an"
    if word.endswith("ie") and len(word) > 4:
        return word[:-2] + "y"
    if word.endswith(("che", "shis", "kis", "jis", "wis")):
        return word[:-1]
    if not word.endswith("s") or word.endswith(("ss", "us", "is", "js", "ics")):
        return word
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("sses", "xes", "ches", "shes", "tzes", "oes")):
        return word[:-2]
    if word.endswith("uses") and not word.endswith(_USES):
        return word[:-2]
    return word[:-1]


def singular(word: str) -> str:
    """The key of a case-folded word: `"berries"` → `"berry"`, `"glass"` → `"glass"`.

    Only words of at least four ASCII letters change. Idempotent: `singular(singular(w)) == singular(w)`.
    """
    if not _WORD.fullmatch(word):
        return word
    folded = _singular_once(word)
    # A step shortens the word or maps it onto a fixed one, so this ends.
    while len(folded) > 3 and (again := _singular_once(folded)) != folded:
        folded = again
    return folded
