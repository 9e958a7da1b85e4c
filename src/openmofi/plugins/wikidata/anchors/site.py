"""A wiki: its language, its namespaces, and what its titles are when they stand in links."""

from __future__ import annotations

import html
import re
import tomllib
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from openmofi.config import did_you_mean
from openmofi.errors import UsageError
from openmofi.knowledge.names import Memo

_BLANKS = re.compile(r"[ _\u00a0\u1680\u180e\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+")
_DIRECTIONS = re.compile("[\u200e\u200f\u202a-\u202e]+")
_ESCAPED = re.compile("%[0-9A-Fa-f]{2}")
_INVALID = re.compile(r"[\x00-\x1f<>\[\]{}|\x7f\ufffd]")
_QUALIFIER = re.compile(r"\s*(?:\([^()]*\)|（[^（）]*）)$")
_MAX_BYTES = 255
_DOTTED = {"az", "kaa", "tr"}
"""Languages whose upper-case i has a dot."""


@cache
def languages() -> dict[str, Any]:
    """`languages.toml`."""
    return tomllib.loads(Path(__file__).with_name("languages.toml").read_text("utf-8"))


@cache
def language_codes() -> frozenset[str]:
    """The codes of Wikipedia's languages."""
    return frozenset(languages()["codes"].split())


def require_language(code: str, where: str) -> None:
    """Refuse a code that no Wikipedia has.

    Args:
        code: such as `en`.
        where: what has it, for the message.

    Raises:
        UsageError: it is unknown; names the nearest.
    """
    if code not in language_codes():
        raise UsageError(
            f"{where} has the language {code!r}, which no Wikipedia has.{did_you_mean(code, sorted(language_codes()))}",
            "Give the code in the wiki's address, such as de or zh-yue, with --language.",
        )


def without_qualifier(title: str) -> str:
    """A title without what tells it from its namesakes: `"Mercury (planet)"` → `"Mercury"`."""
    return _QUALIFIER.sub("", title) or title


@dataclass(frozen=True)
class Site:
    """A wiki.

    Attributes:
        language: its code.
        namespaces: number → name in the wiki's own language, as the dump lists them.
        first_letter: whether titles begin with an upper-case letter, as Wikipedia's do.
    """

    language: str
    namespaces: Mapping[int, str]
    first_letter: bool = True

    @cached_property
    def elsewhere(self) -> frozenset[str]:
        """What stands before a colon in links that lead to no article, in lower case."""
        known = languages()
        own = known.get(self.language, {}).get("namespaces", "")
        listed = [
            *known["namespaces"].replace("\n", "|").split("|"),
            *own.split("|"),
            *(name for number, name in self.namespaces.items() if number),
        ]
        return frozenset(name.lower() for name in listed if name) | language_codes() | set(known["prefixes"].split())

    @cached_property
    def trail(self) -> re.Pattern[str]:
        """Letters that belong to a link when they follow it."""
        letters = languages().get(self.language, {}).get("trail", "a-z")
        return re.compile(f"[{letters}]+" if letters else "(?!)")

    @cached_property
    def disambiguation(self) -> re.Pattern[str]:
        """Finds, in wikitext, the templates by which a page says that it is a disambiguation page."""
        known = languages()
        names = [*known["disambiguation"], *known.get(self.language, {}).get("disambiguation", ())]
        one_of = "|".join(
            sorted(re.escape(name).replace(r"\*", r"[^{}|\n]*").replace(r"\ ", "[ _]+") for name in set(names))
        )
        return re.compile(rf"\{{\{{\s*(?:template:\s*)?(?:{one_of})\s*[|}}\n]|__DISAMBIG__", re.IGNORECASE)

    def is_category(self, text: str) -> bool:
        """Whether a link's target is a category that the page is in."""
        return text.partition(":")[0].strip().lower() in self._categories

    @cached_property
    def _categories(self) -> frozenset[str]:
        return frozenset({"category", self.namespaces.get(14, "category").lower()})

    @cached_property
    def titles(self) -> Memo[str]:
        """What stands before `|` in a link → `title` of it; links repeat, so that most are known already."""
        return Memo(self.title)

    def title(self, text: str) -> str:
        """The title that a link's target names, as MediaWiki reads it; `""` where it leads to no article of this wiki.

        Args:
            text: what stands before `|` in a link.
        """
        if "&" in text:
            text = html.unescape(text)
        if "%" in text and _ESCAPED.search(text):
            text = unquote(text)
        text = text.partition("#")[0]
        if not text.isascii():
            text = unicodedata.normalize("NFC", _DIRECTIONS.sub("", text))
        text = _BLANKS.sub(" ", text).strip()
        if text.startswith(":"):
            text = text[1:].lstrip()
        prefix, colon, _ = text.partition(":")
        if (
            (colon and (prefix.rstrip().lower() in self.elsewhere or not prefix))
            or not text
            or _INVALID.search(text)
            or len(text.encode()) > _MAX_BYTES
        ):
            return ""
        return self._capitalised(text) if self.first_letter else text

    def _capitalised(self, text: str) -> str:
        first = text[0]
        if "a" <= first <= "z":
            return ("İ" if first == "i" and self.language in _DOTTED else first.upper()) + text[1:]
        upper = first.upper()
        # MediaWiki leaves ß and Georgian letters as they are.
        return upper + text[1:] if len(upper) == 1 and not "\u10d0" <= first <= "\u10ff" else text
