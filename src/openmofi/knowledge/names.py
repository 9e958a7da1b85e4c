"""Names as keys: the one normalisation, plurals included, that building, look-up and the gazetteer share.

A text is cut into tokens; a token is folded (Unicode NFKC, case-fold, English plurals); a key is the folded tokens
with single spaces between. What stands between tokens (space, hyphen, punctuation, symbols) never matters:
`"T-Shirts"`, `"t shirt"` and `"T_shirt"` are one key. Inside a token

- apostrophes vanish: `"McDonald's"`, `"mcdonalds"` and `"McDonald"` are one key;
- combining marks belong to their letter, and zero-width joiners and soft hyphens vanish;
- a trailing `+` or `#` stays: `"C++"`, `"C#"` and `"C"` are three keys.

Scripts that are written without spaces (Han, kana, Hangul, Thai, Lao, Khmer, Burmese) give one token a letter, so
that a name may begin and end at any of their letters.
"""

import re
import sys
import tomllib
import unicodedata
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from string import ascii_lowercase
from typing import TypeVar

# The rules fold a plural and its singular onto one key and leave alone what only looks like a plural. Where spelling
# does not tell the singular (cookies → cookie or cooky?) both spellings fold onto one key.

_WORDS = tomllib.loads(Path(__file__).with_name("plurals.toml").read_text("utf-8"))
_KEEP, _MEN = frozenset(_WORDS["like_plurals"]), frozenset(_WORDS["men"])
_IRREGULAR: dict[str, str] = _WORDS["irregular"]
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


_UNSPACED = (
    "\u0e00-\u0e7f\u0e80-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Burmese, Khmer
    "\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\uff66-\uff9d"  # kana, also half-width
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Han
    "\u1100-\u11ff\uac00-\ud7af"  # Hangul
)
_JOINERS = "\u00ad\u200b-\u200d\u2060\ufeff"
_APOSTROPHES = "'\u2019\u02bc\uff07"
_ASCII_TOKEN = re.compile(r"[a-zA-Z0-9]+(?:'[a-zA-Z0-9]+)*(?:[+#]+(?![a-zA-Z0-9]))?")
_DROPPED = re.compile(f"[{_JOINERS}{_APOSTROPHES}]")
_MEMORY = 200_000
_T = TypeVar("_T")


@lru_cache(maxsize=1)
def _marks() -> str:
    # The standard library's \w leaves out combining marks, which many scripts need inside a word.
    return "".join(
        re.escape(chr(code))
        for code in range(0x300, min(sys.maxunicode, 0x1F000))
        if unicodedata.category(chr(code))[0] == "M"
    )


@lru_cache(maxsize=1)
def piece_pattern() -> re.Pattern[str]:
    """The compiled pattern whose matches are where names as texts spell them may begin and end: words, letters of
    scripts without spaces, and single signs between them.
    """
    # The first alternatives only make it fast: of most texts nearly all is ASCII.
    ascii_only = r"[A-Za-z0-9]++(?![^\x00-\x7f])|[!-/:-@\[-`{-~]"
    word = f"(?:[^\\W_{_UNSPACED}]|[{_marks()}{_JOINERS}])+"
    return re.compile(f"(?!\\s)(?:{ascii_only}|[{_UNSPACED}]|{word}|[^\\w\\s]|_)")


@lru_cache(maxsize=1)
def _token() -> re.Pattern[str]:
    glue = f"{_marks()}{_JOINERS}\uff9e\uff9f"
    letter = f"[^\\W_{_UNSPACED}]"
    word = f"{letter}(?:{letter}|[{glue}])*"
    return re.compile(f"[{_UNSPACED}](?<=\\w)[{glue}]*|{word}(?:[{_APOSTROPHES}]{word})*(?:[+#]+(?!\\w))?")


def token_pattern(text: str) -> re.Pattern[str]:
    """The compiled pattern whose matches in `text` are its tokens."""
    return _ASCII_TOKEN if text.isascii() else _token()


def _fold(text: str) -> str:
    for _ in range(4):
        folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
        if folded == text:
            break
        text = folded
    return _DROPPED.sub("", text)


def fold_token(token: str) -> str:
    """The key of one token; `""` if nothing of it is left. It contains a space where NFKC decomposes a letter."""
    if token.isascii():
        return singular(token.lower().replace("'", ""))
    folded = _fold(token)
    parts = token_pattern(folded).findall(folded)
    if parts == [folded]:
        return singular(folded)
    # NFKC may bring in separators, e.g. "℀" → "a/c"; each round leaves shorter pieces.
    return " ".join(filter(None, (fold_token(part) for part in parts)))


class Memo(dict[str, _T]):
    """string → the value that `decide` gives it, filled as strings are seen; cleared at 200,000 entries."""

    def __init__(self, decide: Callable[[str], _T]) -> None:
        super().__init__()
        self._decide = decide

    def __missing__(self, key: str) -> _T:
        if len(self) >= _MEMORY:
            self.clear()
        value = self[key] = self._decide(key)
        return value


_TOKENS = Memo(fold_token)


def normalise(text: str) -> str:
    """The key of a name or text; `""` when it has no letter and no digit. Idempotent."""
    keys = [_TOKENS[token] for token in token_pattern(text).findall(text)]
    return " ".join(keys) if "" not in keys else " ".join(filter(None, keys))
