"""Texts as detectors read them: entities of HTML resolved, names joined by _ split; boilerplate by fixed patterns.

A file name made of words ("red_apple.jpg") names something, so only its ending is marked; a camera's ("IMG_0042.JPG")
is marked whole. An author is a name with capitals behind "by" and the like: "house by the lake" is none.
"""

import html
import re
from dataclasses import dataclass
from html.entities import html5
from typing import Protocol

from openmofi.knowledge import normalise
from openmofi.knowledge.names import fold_token
from openmofi.schema import Boilerplate

# The prefix catches what was escaped twice (`&amp;quot;`).
_ENTITY = re.compile(r"&(?:amp;){0,3}(?P<name>#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]{1,31});")
_EDITED = re.compile(r"_|&[#a-zA-Z]|[a-z]{2}[A-Z][a-z]|[a-zA-Z]{3}[0-9]")
_JOINED = re.compile(r"(?<![^\W_])[a-zA-Z][a-zA-Z0-9]*(?![^\W_])")
# Two letters before the capital keep McDonald and iPhone; three before the digit keep MP3 and F16.
_SEAM = re.compile(r"(?<=[a-z]{2})(?=[A-Z][a-z])|(?<=[a-zA-Z]{3})(?=[0-9])")


class Names(Protocol):
    """A look-up of names' rows."""

    def get(self, name: str, default: int, /) -> int:
        """Return the row of a name, or the default."""


@dataclass(frozen=True, slots=True)
class Readable:
    """A text for detectors.

    Attributes:
        text: what they read.
        starts, ends: for each of its characters the span of the original text that it comes from (an empty one for a
            space that parts CamelCase); no numbers at all where both texts are the same.
    """

    text: str
    starts: tuple[int, ...] = ()
    ends: tuple[int, ...] = ()

    def original(self, start: int, end: int) -> tuple[int, int]:
        """Return the span of the original text that a span of `text`, which is not all spaces, comes from."""
        return (self.starts[start], self.ends[end - 1]) if self.starts else (start, end)


def readable(text: str, names: Names) -> Readable:
    """Return what detectors read of `text`.

    Args:
        text: as it stands in the pair.
        names: of the knowledge base, see `openmofi.knowledge.KnowledgeBase.names`; a word that is one is never split.
    """
    if not _EDITED.search(text):
        return Readable(text)
    edits = [
        (match.start(), match.end(), _decoded(match.group()))
        for match in _ENTITY.finditer(text)
        if match["name"].startswith("#") or f"{match['name']};" in html5
    ]
    taken = {position for start, end, _ in edits for position in range(start, end)}
    edits += [(position, position + 1, " ") for position, letter in enumerate(text) if letter == "_"]
    for word in _JOINED.finditer(text):
        seams = [seam.start() + word.start() for seam in _SEAM.finditer(word.group())]
        if seams and word.start() not in taken and names.get(fold_token(word.group()), -1) < 0:
            edits += [(seam, seam, " ") for seam in seams]
    return _edited(text, sorted(edits)) if edits else Readable(text)


def _decoded(entity: str) -> str:
    for _ in range(3):
        entity = html.unescape(entity)
    return entity


def _edited(text: str, edits: list[tuple[int, int, str]]) -> Readable:
    pieces: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    done = 0
    for start, end, piece in [*edits, (len(text), len(text), "")]:
        pieces += [text[done:start], piece]
        starts += [*range(done, start), *[start] * len(piece)]
        ends += [*range(done + 1, start + 1), *[end] * len(piece)]
        done = end
    return Readable("".join(pieces), tuple(starts), tuple(ends))


_ENGLISH = """
a about above after again against all almost alone along already also although always am among an and another any
anyone anything are around as at away back be because been before behind being below beside besides best better
between beyond both but by can cannot could did do does doing done down during each either else enough etc even ever
every everyone everything few first for from further get gets getting give given go goes going gone got had has have
having he hence her here hers herself him himself his how however i if in indeed instead into is it its itself just
last least less let like likely ll lot made make makes making many may maybe me might mine more most much must my
myself near nearly need neither never next no nobody none nor not nothing now of off often on once one ones only onto
or other others our ours ourselves out over own per perhaps please put quite rather re really s same seen several shall
she should show showing shown shows since so some someone something soon still such t take taken takes taking than
that the their theirs them themselves then there these they thing this those though through thus to together too
toward towards under until up upon us use used uses using ve very via was way we well were what whatever when where
whether which while who whole whom whose why will with within without would yes yet you your yours yourself
vs won wow
"""
_COMMON = """
two three four five six seven eight nine ten second third new old good great nice big small little
"""
_IMAGE_WORDS = """
image photo photograph photography image pic pics illustration icon logo clipart clip art vector drawing cartoon
emoji emoticon symbol sign graphic sticker wallpaper screenshot thumbnail background close up closeup view stock free
download png jpg jpeg svg gif webp img copyright isolated white transparent set design art print
"""
_OTHER_LANGUAGES = """
al con da das de dei del della dem den der des di die do dos du e ein eine el en es et fur für i il im la las le les lo
los les mit na o och og os para por pour se sur um una und une uno van von y à
avec aus bei com como dans est mais oder ohne pas por qui que sans sobre sur sous zu zum zur 的
"""

FUNCTION_WORDS: frozenset[str] = frozenset(normalise(word) for word in f"{_ENGLISH} {_OTHER_LANGUAGES}".split())
"""Words that name nothing: English function words, articles and prepositions of other languages; as keys."""

STOP_NAMES: frozenset[str] = FUNCTION_WORDS | {
    normalise(name) for name in (*f"{_COMMON} {_IMAGE_WORDS}".split(), "close up", "clip art")
}
"""`FUNCTION_WORDS`, common adjectives and numbers, words for the image itself; as keys."""


@dataclass(frozen=True, slots=True)
class MarkedSpan:
    """Characters `start` to `end` (exclusive) of a text, and the kind of boilerplate that they are."""

    start: int
    end: int
    reason: Boilerplate


_CAPITAL = "[A-ZÀ-ÖØ-ÞĀĂĄĆČĎĐĒĘĚĞĢĪĶĹĻĽŁŃŅŇŌŐŒŔŘŚŞŠŢŤŪŮŰŹŻŽ]"
_WORD = rf"(?:{_CAPITAL}\.\s?){{0,3}}{_CAPITAL}[\w'’-]*"
_BETWEEN = r"\s+(?:(?:van|von|de|der|den|del|della|di|da|la|le|bin|al|and|&)\s+){0,2}"
_NAME = rf"{_WORD}(?:{_BETWEEN}{_WORD}){{0,3}}"
_FULL_NAME = rf"{_WORD}(?:{_BETWEEN}{_WORD}){{1,3}}"
_ANYONE = rf"(?:{_NAME}|\w+)"
_NO_PERSON = (
    r"(?!(?:The|A|An|Lake|River|Mount|Mt|Sea|Bay|Port|Cape|Fort|Saint|St|San|New|North|South|East|West|"
    r"Upper|Lower|Old|Royal|National|Day|Night)\b)"
)
_MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|"
    r"oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\.?"
)
_WEEKDAY = r"(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*\.?,?"
_TIME = r"(?:,?\s+\d{1,2}:\d{2}(?::\d{2})?)"
_ENDING = r"(?:jpe?g|png|gif|svgz?|webp|avif|bmp|tiff?|eps|psd|heic|pdf)"
_DAY = r"\d{1,2}(?:st|nd|rd|th)?"
_YEARS = r"(?:\d{4}(?:\s*[-–]\s*\d{2,4})?)"
_AGENCIES = (
    r"(?:Getty\s?Images|Shutterstock|iStock(?:photo)?|Alamy|Dreamstime|Depositphotos|Adobe\s?Stock|123RF|"
    r"Unsplash|Pixabay|Pexels|Flickr|Pinterest|DeviantArt|Wikimedia(?:\s+Commons)?)"
)

_PATTERNS = {
    Boilerplate.EMAIL: r"(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)+",
    Boilerplate.URL: r"(?i:(?:https?|ftp)://[^\s<>\"']+|\bwww\.[^\s<>\"']+|"
    r"(?<![\w.-])[\w-]+(?:\.[\w-]+)*\.(?:com|org|net|info|edu|gov|biz|co\.uk)\b(?:/[^\s<>\"']*)?)",
    Boilerplate.HASH: r"(?i:\bhash\s*\(0x[0-9a-f]+\)|\b0x[0-9a-f]{4,}\b|"
    r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|"
    r"\b(?=[0-9a-f]*[a-f])(?=[0-9a-f]*[0-9])[0-9a-f]{10,}\b)",
    Boilerplate.DATE: rf"(?i:\b(?:{_WEEKDAY}\s+)?{_MONTH}\s+{_DAY}{_TIME}?(?:\s+[a-z]{{3,4}})?,?\s+\d{{4}}\b{_TIME}?|"
    rf"\b(?:{_WEEKDAY}\s+)?{_DAY}\s+(?:of\s+)?{_MONTH},?\s+\d{{4}}\b{_TIME}?|\b{_MONTH}\s+\d{{4}}\b|"
    r"\b\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2})?Z?)?\b|"
    r"\b\d{1,2}[/.]\d{1,2}[/.](?:\d{4}|\d{2})\b)",
    Boilerplate.FILE_NAME: r"\b(?:IMG|DSC[NF]?|PICT|MVI|GOPR|PXL|CIMG|HPIM)[_-]?\d{2,}\w*(?:\.\w{3,4})?\b|"
    r"(?i:\b(?:image|img|picture|pic|photo|screenshot|screen shot|untitled|unnamed|scan|slide|"
    rf"download)[ _-]?\(?\d+\)?(?:\.{_ENDING})?(?![\w])|(?<=[\w)])\.{_ENDING}\b)",
    Boilerplate.CREDIT: rf"(?:©|\([cC]\)|&copy;|\b(?i:copyright))(?:\s*(?:©|\([cC]\)|&copy;))?(?:\s+by)?"
    rf"(?:\s*{_YEARS})?(?:,?\s*(?:by\s+)?{_NAME})?|"
    rf"\b(?i:photo(?:s|graph|graphy|graphed)?|images?|pictures?|clip\s?art|uploaded|posted|submitted)"
    rf"\s+(?i:is\s+)?[bB]y:?\s+(?!(?:the|a|an|my|hand)\b){_ANYONE}|"
    rf"\b(?i:photo|image|picture|video)\s+(?i:credits?|courtesy)(?:\s+(?:of|to))?\s*:?\s+{_ANYONE}|"
    rf"\b(?i:credits?|source|author|artist|photographer)\s*:\s*{_NAME}|"
    rf"\b[cC]ourtesy(?:\s+of)?\s*:?\s+(?:the\s+)?{_NAME}|"
    rf"(?<=\w\s)by\s+{_NO_PERSON}{_FULL_NAME}|"
    r"\b(?i:part\s+of|from)\s+(?:(?:the|our|my|a)\s+)?(?:[\w'’&-]+\s+){1,6}?"
    r"(?i:collection|archives?)\b|"
    rf"(?:\b(?:via|on|by)\s+|/\s?){_AGENCIES}\b|\b(?i:all\s+rights\s+reserved)\b",
}
_SIGNS = {
    Boilerplate.EMAIL: "@",
    Boilerplate.URL: r"\.\w|://",
    Boilerplate.HASH: "[0-9]",
    Boilerplate.DATE: "[0-9]",
    Boilerplate.FILE_NAME: r"[0-9]|\.\w",
    Boilerplate.CREDIT: r"[©/:]|\(c\)|&copy;|\b(?:by|via|on)\b|collection|archive|copyright|courtesy|credit|reserved",
}
"""What a text must hold for a pattern to match: most texts hold none of it, and only those that do pay for patterns."""
_COMPILED = [
    (reason, re.compile(_SIGNS[reason], re.IGNORECASE), re.compile(pattern)) for reason, pattern in _PATTERNS.items()
]


def pattern_spans(text: str) -> list[MarkedSpan]:
    """Find the parts of a text that are boilerplate by form, from left to right, none overlapping another."""
    spans: list[MarkedSpan] = []
    taken = bytearray(len(text))
    for reason, sign, pattern in _COMPILED:
        if not sign.search(text):
            continue
        for match in pattern.finditer(text):
            start, end = match.span()
            if 1 not in taken[start:end]:
                spans.append(MarkedSpan(start, end, reason))
                taken[start:end] = b"\1" * (end - start)
    return sorted(spans, key=lambda span: span.start)
