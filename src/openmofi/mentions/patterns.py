"""Fixed patterns of boilerplate: what speaks of an image's page, file or author, and never of what it shows.

A file name made of words ("red_apple.jpg") names something, so only its ending is marked; a camera's ("IMG_0042.JPG")
is marked whole. An author is a name with capitals behind "by" and the like: "house by the lake" is none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from openmofi.schema import Boilerplate


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
    """The parts of a text that are boilerplate by their form, from left to right, none overlapping another."""
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
