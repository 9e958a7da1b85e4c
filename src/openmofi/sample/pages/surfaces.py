"""How often a surface form is a mention at all.

WordNet counts `a`, `in`, `it` and `be` among its nouns. Three rules, each a fact about the language and none
about the world's artwork: a word of a closed class, or a single letter, is nearly never a mention; a word of the
image trade ("image", "download") seldom is; any other single word is one as often as its tagged uses in WordNet's
corpora are nouns.
"""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path
from string import ascii_lowercase

from openmofi.errors import OpenMofiError
from openmofi.knowledge import normalise

CLOSED_CLASS = 0.01
TRADE = 0.05
_SINGLE_LETTER = 0.02

_CLOSED_CLASS_WORDS = """
a about above after again all also am an and any are as at away back be because been before behind being below
beside between both but by can come could did do does down each either else even ever every few for from
further get had has have he her here hers him his how i if in into is it its just last least less like made
make many may me might mine more most much must my near neither never new next no nor not now of off on once
one only onto or other our out over own part per same see she should since so some something such than that
the their them then there these they this those through to too under until up upon us very was we were what
when where which while who whom whose why will with within without would yes yet you your best better good
great high low old two three ten five why know need love look today first second meaning usage use used online
trending
"""

_TRADE_WORDS = """
alt author art artwork background banner clip clipart close collection copy copyright description design
detail download draft facts figure file free graphic guide hd icon illustration image img jpeg jpg kid kids
logo page part photo photograph pic picture png premium preview print quality review royalty sale sample
screenshot series set shop shot site stock story thumbnail tutorial vector view vintage wallpaper watermark
web website white webp
"""

_PARTS = {"1": "noun", "2": "verb", "3": "adjective", "4": "adverb", "5": "adjective"}


def link_probabilities(dict_folder: Path, names: Container[str]) -> dict[str, float]:
    """Normalised name → how often it is a mention, 0..1, for those of `names` where that is not 1.

    Args:
        dict_folder: WordNet's dict files.
        names: normalised names of the knowledge base.
    """
    probabilities = {key: share for word, share in _noun_shares(dict_folder).items()
             if share < 1 and (key := normalise(word)) in names}
    for words, probability in ((_TRADE_WORDS.split(), TRADE), (ascii_lowercase, _SINGLE_LETTER),
                               (_CLOSED_CLASS_WORDS.split(), CLOSED_CLASS)):
        probabilities.update({key: probability for word in words if (key := normalise(word)) in names})
    return probabilities


def _noun_shares(dict_folder: Path) -> dict[str, float]:
    """Single word → (tagged as a noun + 1) / (tagged at all + 1), from `index.sense`."""
    nouns: dict[str, int] = {}
    totals: dict[str, int] = {}
    path = dict_folder / "index.sense"
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise OpenMofiError(f"{path} cannot be read: {error}.", "Run: openmofi sample fetch") from error
    for line in lines:
        key, _, _, count = line.split()
        word, _, sense = key.partition("%")
        if "_" in word:
            continue
        totals[word] = totals.get(word, 0) + int(count)
        if _PARTS[sense[0]] == "noun":
            nouns[word] = nouns.get(word, 0) + int(count)
    return {word: (count + 1) / (totals[word] + 1) for word, count in nouns.items()}
