"""Texts for detectors, and the way back to the characters of the text."""

import html

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmofi.knowledge.names import fold_token
from openmofi.mentions.patterns import readable


def read(text: str, *known: str) -> str:
    return readable(text, {fold_token(name): row for row, name in enumerate(known)}).text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("red_apple and FlatCake", "red apple and Flat Cake"),
        ("Tom &amp; Jerry, caf&eacute; &#39;78 &#x41;", "Tom & Jerry, café '78 A"),
        ("&amp;quot;moon&amp;quot;", '"moon"'),
        ("smiley111 jigsaw2", "smiley 111 jigsaw 2"),
        ("SunFlowerField", "Sun Flower Field"),
        ("McDonald iPhone eBay DeLorean LaTeX MP3 F16 3D", "McDonald iPhone eBay DeLorean LaTeX MP3 F16 3D"),
        ("AT&T; R&D, fish & chips; 100 &notanentity;", "AT&T; R&D, fish & chips; 100 &notanentity;"),
        ("&frac12;_x &Eacute;clair", "½ x Éclair"),
        ("", ""),
        ("a red apple", "a red apple"),
    ],
)
def test_what_detectors_read(text, expected):
    assert read(text) == expected


def test_a_name_of_the_knowledge_base_is_not_split():
    assert read("YouTube and SunFlower", "YouTube") == "YouTube and Sun Flower"


@pytest.mark.parametrize(
    ("text", "word", "original"),
    [
        ("my FlatCake_bw", "Flat Cake", "FlatCake"),
        ("my FlatCake_bw", "Cake", "Cake"),
        ("a caf&eacute; here", "café", "caf&eacute;"),
        ("x&nbsp;red_apple", "red apple", "red_apple"),
        ("&amp;lt;b&gt; moon", "moon", "moon"),
    ],
)
def test_a_span_leads_back(text, word, original):
    as_read = readable(text, {})
    start = as_read.text.index(word)
    first, last = as_read.original(start, start + len(word))
    assert text[first:last] == original


@given(st.text(alphabet="abC_& ;#x3é&amp;Da", max_size=40))
def test_every_span_leads_back_to_what_it_came_from(text):
    as_read = readable(text, {})
    for start in range(len(as_read.text)):
        first, last = as_read.original(start, start + 1)
        assert 0 <= first <= last <= len(text)
        assert first < last or as_read.text[start] == " "
        piece = text[first:last]
        assert (
            as_read.text[start] == piece
            or as_read.text[start] == " "
            or as_read.text[start] in html.unescape(html.unescape(html.unescape(piece)))
        )
