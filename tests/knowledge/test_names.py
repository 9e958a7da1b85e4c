import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmofi.knowledge import normalise
from openmofi.knowledge.names import _IRREGULAR, _KEEP, singular


@given(st.text())
def test_normalising_twice_changes_nothing(text):
    assert normalise(normalise(text)) == normalise(text)


@given(st.text(alphabet="abcehimnosuvxyz'+# -"))
def test_normalising_english_like_text_twice_changes_nothing(text):
    assert normalise(normalise(text)) == normalise(text)


def test_normalising_any_single_character_twice_changes_nothing():
    letters = (chr(code) for code in range(sys.maxunicode + 1))
    assert [c for c in letters if normalise(normalise(c)) != normalise(c)] == []


@given(st.text(alphabet='aAzZ09 _-.,;:!?&/"()\t\n'), st.text(alphabet=" -_.,/", min_size=1))
def test_what_stands_between_tokens_does_not_matter(text, separator):
    assert normalise(text) == normalise(text.replace(" ", separator + " "))


@pytest.mark.parametrize(
    ("plural", "one"),
    [
        ("cranes", "crane"),
        ("berries", "berry"),
        ("cookies", "cookie"),
        ("movies", "movie"),
        ("boxes", "box"),
        ("churches", "church"),
        ("moustaches", "moustache"),
        ("dishes", "dish"),
        ("glasses", "glass"),
        ("buses", "bus"),
        ("tomatoes", "tomato"),
        ("shoes", "shoe"),
        ("houses", "house"),
        ("viruses", "virus"),
        ("knives", "knife"),
        ("gloves", "glove"),
        ("firemen", "fireman"),
        ("children", "child"),
        ("mice", "mouse"),
        ("kiwis", "kiwi"),
        ("sushis", "sushi"),
        ("pandas", "panda"),
        ("photos", "photo"),
        ("pies", "pie"),
        ("trees", "tree"),
        ("octopuses", "octopus"),
        ("lenses", "lens"),
        ("prizes", "prize"),
        ("axes", "axe"),
        ("hot dogs", "Hot Dog"),
        ("sports cars", "sports car"),
        ("cat's", "cat"),
        ("McDonald’s", "mcdonalds"),
    ],
)
def test_a_plural_and_its_singular_are_one_key(plural, one):
    assert normalise(plural) == normalise(one)


@pytest.mark.parametrize(
    "word",
    [
        "glass",
        "swiss",
        "series",
        "bus",
        "lens",
        "tennis",
        "paris",
        "texas",
        "species",
        "physics",
        "cactus",
        "chess",
        "gas",
        "iris",
        "specimen",
        "news",
    ],
)
def test_what_only_looks_like_a_plural_is_left_alone(word):
    assert normalise(word) == word


def test_words_that_are_listed_as_singular_stay_as_they_are():
    assert [word for word in {*_IRREGULAR.values(), *_KEEP} if singular(word) != word] == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("T-Shirt", "t shirt"),
        ("ＡＰＰＬＥ", "apple"),
        ("cafe\u0301", "café"),
        ("ﬁsh", "fish"),
        ("Straße", "STRASSE"),
        ("node.js", "Node JS"),
        ("hy\u00adphen", "hyphen"),
        ("ｶﾞ", "ガ"),
        ("AT&T", "at t"),
        ("İstanbul", "i̇stanbul"),
    ],
)
def test_spellings_of_one_name_are_one_key(one, other):
    assert normalise(one) == normalise(other)


def test_names_that_differ_by_a_trailing_sign_stay_apart():
    assert len({normalise(name) for name in ("C", "C++", "C#")}) == 3


def test_scripts_without_spaces_give_one_token_a_letter():
    assert normalise("りんご") == "り ん ご"
    assert normalise("วัน") == "วั น"


@pytest.mark.parametrize("text", ["", " ", "!?", "🙂", "—", "\u200d"])
def test_a_text_without_letters_has_no_key(text):
    assert normalise(text) == ""
