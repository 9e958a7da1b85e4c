"""Texts and queries as PostgreSQL's `tsvector` and `tsquery`, of the words that SQLite's tokenizer sees, too."""

import re
import unicodedata
from collections.abc import Sequence

_WORD = re.compile(r"[^\W_]+")
_LENGTH, _POSITIONS = 64, 16_383
"""Letters of a word, and places in a text; what lies beyond is not looked for."""


def words_in(text: str) -> list[str]:
    """Return the words of a text in small letters, without accents."""
    plain = "".join(mark for mark in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(mark))
    return [word[:_LENGTH] for word in _WORD.findall(plain)]


def tsvector_of(text: str, first: str = "") -> str:
    """Return the text of a `tsvector`: words with their positions; those of `first` come first and weigh more."""
    positions: dict[str, list[str]] = {}
    words = [(word, "A") for word in words_in(first)] + [(word, "") for word in words_in(text)]
    for position, (word, weight) in enumerate(words[:_POSITIONS], 1):
        positions.setdefault(word, []).append(f"{position}{weight}")
    return " ".join(f"'{word}':{','.join(where[:255])}" for word, where in positions.items())


def tsquery_of(words: Sequence[str], operator: str, *, prefix: bool = False) -> str:
    """Return the text of a `tsquery`; with `prefix` the last word may go on."""
    parts = [[f"'{each}'" for each in words_in(word)] for word in words]
    parts = [part for part in parts if part]
    if prefix and parts:
        parts[-1][-1] += ":*"
    return f" {operator} ".join(f"({' <-> '.join(part)})" for part in parts)
