"""How often a surface form is a mention at all.

WordNet counts `a`, `in`, `it` and `be` among its nouns. Three rules, each a fact about the language and none
about the world's artwork: a word of a closed class, or a single letter, is nearly never a mention; a word of the
image trade ("image", "download") seldom is; any other single word is one as often as its tagged uses in WordNet's
corpora are nouns.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Container
from pathlib import Path

from openmofi.errors import OpenMofiError
from openmofi.knowledge import normalise

_FORMS = Path(__file__).with_name("surfaces.toml")
# Of a sense key: the digit of its part of speech.
_NOUN = "1"


def link_probabilities(dict_folder: Path, names: Container[str]) -> dict[str, float]:
    """Normalised name → how often it is a mention, 0..1, for those of `names` where that is not 1.

    Args:
        dict_folder: WordNet's dict files.
        names: normalised names of the knowledge base.
    """
    probabilities = {
        key: share
        for word, share in _noun_shares(dict_folder).items()
        if share < 1 and (key := normalise(word)) in names
    }
    for table in tomllib.loads(_FORMS.read_text("utf-8")).values():
        probabilities.update(
            {key: table["link_probability"] for word in table["words"].split() if (key := normalise(word)) in names}
        )
    return probabilities


def _noun_shares(dict_folder: Path) -> dict[str, float]:
    """Single word → (tagged as a noun + 1) / (tagged at all + 1), from `index.sense`."""
    nouns: Counter[str] = Counter()
    totals: Counter[str] = Counter()
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
        totals[word] += int(count)
        if sense[0] == _NOUN:
            nouns[word] += int(count)
    return {word: (count + 1) / (totals[word] + 1) for word, count in nouns.items()}
