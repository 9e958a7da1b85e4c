"""Boilerplate by its form: what is marked, and what must not be."""

import pytest

from openmofi.mentions.patterns import pattern_spans


def marked(text: str) -> list[tuple[str, str]]:
    return [(str(span.reason), text[span.start : span.end]) for span in pattern_spans(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("see http://aiga.org/x?y=1 now", [("url", "http://aiga.org/x?y=1")]),
        ("at www.info.gov.hk/a", [("url", "www.info.gov.hk/a")]),
        ("Otto. OpenOffice.org mascot", [("url", "OpenOffice.org")]),
        ("write to jean.victor.balin@gmail.com.", [("email", "jean.victor.balin@gmail.com")]),
        ("hash(0x85a831c), 0xa115960", [("hash", "hash(0x85a831c)"), ("hash", "0xa115960")]),
        ("id 3f2504e0-4f89-11d3-9a0c-0305e82c3301", [("hash", "3f2504e0-4f89-11d3-9a0c-0305e82c3301")]),
        ("a9f3c2d4e5b6 cat", [("hash", "a9f3c2d4e5b6")]),
        ("on 9 August 1945 in Nagasaki", [("date", "9 August 1945")]),
        ("taken May 3rd, 2019", [("date", "May 3rd, 2019")]),
        ("2019-05-03 10:15 park", [("date", "2019-05-03 10:15")]),
        ("(Wed Aug 25 23:29:46 2004)", [("date", "Wed Aug 25 23:29:46 2004")]),
        ("IMG_0042.JPG", [("file_name", "IMG_0042.JPG")]),
        ("DSC01234", [("file_name", "DSC01234")]),
        ("red_apple.jpg", [("file_name", ".jpg")]),
        ("screenshot 12.png", [("file_name", "screenshot 12.png")]),
        ("Clipart by Nicu Buculei - smiley", [("credit", "Clipart by Nicu Buculei")]),
        ("Photo by Jane Doe on Unsplash", [("credit", "Photo by Jane Doe"), ("credit", "on Unsplash")]),
        ("The Kiss by Gustav Klimt", [("credit", "by Gustav Klimt")]),
        ("portrait by Vincent van Gogh, oil", [("credit", "by Vincent van Gogh")]),
        ("© 2004 John Smith. A dog", [("credit", "© 2004 John Smith")]),
        ("a dog &copy; Reuters", [("credit", "&copy; Reuters")]),
        ("Photo credit: Ansel Adams", [("credit", "Photo credit: Ansel Adams")]),
        ("courtesy of NASA", [("credit", "courtesy of NASA")]),
        ("Part of the Flat Icon Collection", [("credit", "Part of the Flat Icon Collection")]),
        ("lion / Getty Images", [("credit", "/ Getty Images")]),
    ],
)
def test_what_is_marked(text, expected):
    assert marked(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "a red apple on a table",
        "house by the lake",
        "boat by Lake Como",
        "Stand by me",
        "made by hand",
        "face and beaded",
        "part of the drum set",
        "a credit card",
        "cats vs. dogs",
        "May flowers in a vase",
        "march of the penguins",
        "St. Peter's",
        "1,200 people",
        "photo of a dog",
        "U.S. Capitol",
        "by the River",
        "decade of the facade",
        "",
        "stamp collection of an archive",
        "3 dogs",
        "Boeing 747",
        "the image of the virgin",
    ],
)
def test_what_is_not(text):
    assert marked(text) == []


@pytest.mark.parametrize(
    "piece", ["a", "a-", "a.", "©  ", "by ", "Ab ", "a@", "0x", "may 1", "&copy;", "part of ", "A. ", "www.", "image ("]
)
def test_a_long_text_of_one_piece_ends(piece):
    """Quadratic time would run into the time limit of tests."""
    text = piece * (400_000 // len(piece))
    assert all(0 <= span.start < span.end <= len(text) for span in pattern_spans(text))
