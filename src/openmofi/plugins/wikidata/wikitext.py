"""Links and plain text of wikitext.

A tokenizer for links only, ten times as fast as a parser of all wikitext (mwparserfromhell), to which the tests compare
it. As in MediaWiki a link has no link in it: of nested ones the inner counts, which is how links in captions
of files are found. What stands in comments and in tags whose content is shown as it is (`<nowiki>`, `<math>`, …) is no
link.
"""

import html
import re
import tomllib
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from openmofi.errors import UsageError, did_you_mean
from openmofi.knowledge.names import Memo

_TITLE_BLANKS = re.compile(r"[ _\u00a0\u1680\u180e\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+")
_DIRECTIONS = re.compile("[\u200e\u200f\u202a-\u202e]+")
_ESCAPED = re.compile("%[0-9A-Fa-f]{2}")
_INVALID = re.compile(r"[\x00-\x1f<>\[\]{}|\x7f\ufffd]")
_QUALIFIER = re.compile(r"\s*(?:\([^()]*\)|（[^（）]*）)$")
_MAX_BYTES = 255
_DOTTED = {"az", "kaa", "tr"}
"""Languages whose upper-case i has a dot."""


@cache
def languages() -> dict[str, Any]:
    """Read `languages.toml`."""
    return tomllib.loads(Path(__file__).with_name("languages.toml").read_text("utf-8"))


@cache
def language_codes() -> frozenset[str]:
    """Return the codes of Wikipedia's languages."""
    return frozenset(languages()["codes"].split())


@cache
def wiki_code(language: str) -> str:
    """Return the code of a language's Wikipedia: `no` of `nb`, `zh` of `zh-hant`."""
    named = dict(pair.split(">") for pair in languages()["wikis"].split())
    base = language if language in named or language in language_codes() else language.partition("-")[0]
    return named.get(base, base)


def fallbacks(language: str) -> list[str]:
    """Return the languages whose labels Wikidata shows where a language has none, before those of all languages."""
    for entry in languages()["chains"].split(";"):
        these, _, chain = entry.partition(">")
        if language in these.split():
            return chain.split()
    return [language.partition("-")[0]] if "-" in language else []


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
    """Return a title without its qualifier: `"Mercury (planet)"` → `"Mercury"`."""
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
        """Return the prefixes, in lower case, of links that lead to no article."""
        data = languages()
        own_namespaces = data.get(self.language, {}).get("namespaces", "")
        listed = [
            *data["namespaces"].replace("\n", "|").split("|"),
            *own_namespaces.split("|"),
            *(name for number, name in self.namespaces.items() if number),
        ]
        return frozenset(name.lower() for name in listed if name) | language_codes() | set(data["prefixes"].split())

    @cached_property
    def trail(self) -> re.Pattern[str]:
        """Return the pattern of letters that belong to a link when they follow it."""
        letters = languages().get(self.language, {}).get("trail", "a-z")
        return re.compile(f"[{letters}]+" if letters else "(?!)")

    @cached_property
    def disambiguation(self) -> re.Pattern[str]:
        """Return the pattern of templates that mark a disambiguation page."""
        data = languages()
        names = [*data["disambiguation"], *data.get(self.language, {}).get("disambiguation", ())]
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
        """Return `title` of link targets, remembered, since most links repeat."""
        return Memo(self.title)

    def title(self, text: str) -> str:
        """Return the title that a link's target names to MediaWiki; `""` where it leads to no article of this wiki.

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
        text = _TITLE_BLANKS.sub(" ", text).strip()
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


_SKIPPED = (
    "nowiki|math|chem|ce|pre|syntaxhighlight|source|score|timeline|graph|hiero|templatedata|mapframe|maplink|"
    "templatestyles|imagemap"
)
_HIDDEN = re.compile(rf"<!--|<({_SKIPPED})(?:\s[^<>]*+)?+>", re.IGNORECASE)
_ENDS = {tag: re.compile(rf"</{tag}\s*+>", re.IGNORECASE) for tag in _SKIPPED.split("|")}
# A link without a link in it. Atomic groups: the time is linear, whatever stands there.
_LINK = re.compile(r"\[\[([^\[\]{}|<>\n]++)(?:\|((?:[^\[\]]++|\[(?!\[)|\](?!\]))*+))?+\]\]")
_BRACES = re.compile(r"\{\{|\}\}")
_TEMPLATE = re.compile(r"\{\{[^{}]*+\}\}")
_TAG = re.compile(r"</?[a-zA-Z][^<>]*+>")
_REF = re.compile(r"<ref\b[^<>]*+/>|</?ref\b[^<>]*+>", re.IGNORECASE)
_EXTERNAL = re.compile(r"\[(?:https?:)?//[^\s\[\]]++\s*+([^\[\]]*+)\]")
_URL = re.compile(r"\bhttps?://[^\s\[\]<>|]++")
_QUOTES = re.compile("'{2,}")
_BLANKS = re.compile(r"[^\S\n ][^\S\n]*+| [^\S\n]++")
_ROW = re.compile(r"^[^\S\n]*(?:\{\|.*|\|[-}+].*|==+|==+|[*#:;|!]++)", re.MULTILINE)
_CELL = re.compile(r"\|\||!!")
_ATTRIBUTES = re.compile(r"^\s*(?:[\w-]+\s*=\s*(?:\"[^\"\n]*\"|\S+)\s*)++\|(?!\|)", re.MULTILINE)
_HEADING = re.compile(r"==+[^\S\n]*$", re.MULTILINE)
_SWITCH = re.compile("__[A-Z]+__")
_BULLET = re.compile(r"^[^\S\n]*\*[^\n]*+", re.MULTILINE)
_ROUNDS = 6
_GAP = "\x01"
"""Stands for what was taken out and is something to see: no name goes over it. XML cannot have it."""


@dataclass(frozen=True)
class PageLink:
    """A link to an article.

    Attributes:
        target: its title, as `Site.title` gives it.
        anchor: the text that is shown, without markup; `""` where nothing is left of it, as of a template.
    """

    target: str
    anchor: str


def is_disambiguation(text: str, site: Site) -> bool:
    """Whether a page says of itself that it is a disambiguation page."""
    return ("{{" in text or "__" in text) and site.disambiguation.search(without_hidden(text)) is not None


def without_hidden(text: str) -> str:
    """Return wikitext without comments, with a gap for each tag whose content is not wikitext."""
    if "<" not in text:
        return text
    parts, done, endless = [], 0, set()
    while match := _HIDDEN.search(text, done):
        parts.append(text[done : match.start()])
        tag = (match[1] or "").lower()
        if not tag:
            end = text.find("-->", match.end())
            done = end + 3 if end >= 0 else len(text)
            continue
        closed = match if match[0].endswith("/>") else tag not in endless and _ENDS[tag].search(text, match.end())
        if not closed:  # MediaWiki shows a tag without an end as it stands
            endless.add(tag)
        parts.append(_GAP if closed else match[0])
        done = closed.end() if closed else match.end()
    return "".join([*parts, text[done:]]) if parts else text


def links(text: str, site: Site) -> Iterator[PageLink]:
    """Yield the links of a page to articles, in their order."""
    text = without_hidden(text)
    titles = site.titles
    for match in _LINK.finditer(text):
        if target := titles[match[1]]:
            yield PageLink(target, _anchor(match, text, site)[0])


def entries(text: str, site: Site) -> Iterator[str]:
    """Yield what a disambiguation page lists: the target of the first link of each line with a bullet."""
    for line in _BULLET.finditer(without_hidden(text)):
        target = next(filter(None, (site.titles[match[1]] for match in _LINK.finditer(line[0]))), "")
        if target:
            yield target


def _anchor(match: re.Match[str], text: str, site: Site) -> tuple[str, int]:
    """Return the text that a link shows, with the letters after its brackets, and where the link ends."""
    label, end = match[2], match.end()
    if label is None:
        label = match[1].strip().removeprefix(":")
    elif not label:
        return "", end
    elif text.startswith("]", end) and "[" in label:
        label, end = label + "]", end + 1
    if text[end : end + 1].isalpha() and (trail := site.trail.match(text, end)):
        label, end = label + trail[0], trail.end()
    return clean(label), end


def clean(shown: str) -> str:
    """Return a link's text without markup, blanks collapsed."""
    if shown.isalnum():
        return shown
    if "{" in shown:
        shown = _TEMPLATE.sub("", shown)
    if "<" in shown:
        shown = _TAG.sub("", shown)
    if "[" in shown:
        shown = _EXTERNAL.sub(r"\1", shown)
    if "'" in shown:
        shown = _QUOTES.sub("", shown)
    if "&" in shown:
        shown = html.unescape(shown)
    return " ".join(shown.replace(_GAP, "").split())


def plain_text(text: str, site: Site) -> str:
    """Return roughly what a reader sees of a page: links in templates, but no other template, table markup or tag.

    A link stands there as `links` gives its anchor, so that no name is a link more often than it stands in texts. A
    line break is where no name goes on.
    """
    text = _captions_out(_templates_out("".join(_marked(without_hidden(text), site))), site)
    text = _EXTERNAL.sub(r"\1", _REF.sub("\n", text))
    text = _TAG.sub("", _URL.sub("\n", text))
    table = "{|" in text
    text = _ROW.sub("\n", text)
    if table:
        text = _ATTRIBUTES.sub("\n", _CELL.sub("\n", text))
    text = _QUOTES.sub("", _SWITCH.sub("\n", _HEADING.sub("\n", text)))
    text = (
        html.unescape(text).replace(_OPEN, "").replace(_CLOSE, "")
    )  # so late: no link's text is markup, as of [[!!!]]
    return _BLANKS.sub(" ", text.replace(_GAP, "\n"))


_OPEN, _CLOSE = "\x02", "\x03"
"""Around the text of links while markup is taken out."""
_MARKED = re.compile(f"{_OPEN}([^{_CLOSE}]*){_CLOSE}")


def _marked(text: str, site: Site) -> Iterator[str]:
    """Yield wikitext in pieces, each link replaced by its text between marks."""
    done = 0
    for match in _LINK.finditer(text):
        if site.titles[match[1]]:
            label, end = _anchor(match, text, site)
            yield text[done : match.start()]
            yield f"{_OPEN}{html.escape(label, quote=False)}{_CLOSE}"
            done = end
    yield text[done:]


def _templates_out(text: str) -> str:
    """Replace templates in wikitext by the links in them; braces without a partner stay."""
    if "{{" not in text:
        return text
    parts, done = [], 0
    for start, end in _outermost(text):
        parts += [text[done:start], _links_alone(text[start:end])]
        done = end
    return "".join([*parts, text[done:]])


def _links_alone(text: str) -> str:
    return "\n".join(["", *(match[0] for match in _MARKED.finditer(text)), ""])


def _captions_out(text: str, site: Site) -> str:
    """Replace files, and links that lead elsewhere, in wikitext by what is shown of them."""

    def replacement(match: re.Match[str]) -> str:
        options, _, caption = ("" if site.is_category(match[1]) else match[2] or "").rpartition("|")
        return f"{_links_alone(options)}{caption}\n"

    for _ in range(_ROUNDS):
        replaced = _LINK.sub(replacement, text)
        if replaced == text:
            break
        text = replaced
    return text


def _outermost(text: str) -> list[tuple[int, int]]:
    """Return start and end of each template that is in no other."""
    opened: list[int] = []
    spans: list[tuple[int, int]] = []
    for match in _BRACES.finditer(text):
        if match[0] == "{{":
            opened.append(match.start())
        elif opened:
            start = opened.pop()
            while spans and spans[-1][0] > start:
                spans.pop()
            spans.append((start, match.end()))
    return spans
