import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openmofi.knowledge.names import ENDINGS, IRREGULAR_WORDS, fold_token, singular, token_pattern
from openmofi.mentions.words import END, WordReader, name_words, word_hash

READER = WordReader()
PIECES = st.sampled_from(
    [
        "crane",
        "Dogs",
        "mice",
        "oxen",
        "ponies",
        "women",
        "headaches",
        "James",
        "c",
        "C",
        "+",
        "#",
        "++",
        "'",
        "’",
        "ʼ",
        "＇",
        "_",
        "-",
        " ",
        "\n",
        "é",
        "e\u0301",
        "\u0301",
        "\u200d",
        "\ufe0f",
        "❤",
        "🙂",
        "½",
        "ß",
        "ŉ",
        "İ",
        "ς",
        "Σ",
        "ＤＯＧＳ",
        "①",
        "ﷺ",
        "犬",
        "りん",
        "ﾊ",
        "ﾞ",
        "ก",
        "็",
        "한",
        "\u1112\u1161\u11ab",
        "हि",
        "न्",
        "عَ",
        "\ufb01",
        "𝐀",
        "𠀀",
        "\ud800",
        "",
        "9",
    ]
)
TEXTS = st.one_of(st.lists(PIECES).map("".join), st.text())


def expected(text):
    return [
        (match.span(), word_hash(key))
        for match in token_pattern(text).finditer(text)
        for key in fold_token(match.group()).split(" ")
    ]


@given(texts=st.lists(TEXTS, max_size=6))
@settings(max_examples=150, deadline=None)
def test_words_are_those_of_the_pattern_and_the_folding(texts):
    words = READER.read(texts)
    read = zip(words.text_of.tolist(), words.starts.tolist(), words.ends.tolist(), words.hashes.tolist(), strict=True)
    for number, start, end, value in read:
        if not end:
            assert value == word_hash(END)
            continue
        text = texts[number]
        assert words.text[start:end] == text[start - words.text_starts[number] : end - words.text_starts[number]]
    for number, text in enumerate(texts):
        of_text = np.flatnonzero((words.text_of == number) & (words.ends > 0))
        spans = zip(
            (words.starts - words.text_starts[number])[of_text].tolist(),
            (words.ends - words.text_starts[number])[of_text].tolist(),
            strict=True,
        )
        assert list(zip(spans, words.hashes[of_text].tolist(), strict=True)) == expected(text)
    assert np.array_equal(np.flatnonzero(words.ends == 0) + 1, np.cumsum([len(expected(text)) + 1 for text in texts]))


def test_letters_in_a_word_fold_as_the_folding_says():
    letters = [chr(code) for code in range(0x80, 0x3000, 3) if re.fullmatch(r"[^\W_]", chr(code))]
    texts = [f"x{letter}y" for letter in letters]
    words = READER.read(texts)
    assert words.hashes[words.ends > 0].tolist() == [value for text in texts for _, value in expected(text)]


@given(word=st.from_regex("[a-z]{1,6}(s|ie|men|che|en|e)?", fullmatch=True))
def test_no_other_ending_is_a_plural(word):
    assert singular(word) == word or word[-2:] in ENDINGS or word in IRREGULAR_WORDS


@given(texts=st.lists(st.sampled_from(["½", "½ cats", "a½b", "dogs"]), min_size=1, max_size=4))
def test_words_of_one_token_know_which_is_first_and_last(texts):
    words = READER.read(texts)
    if words.whole is None:
        assert "½" not in "".join(texts)
        return
    begins, ends = words.whole
    for place in np.flatnonzero(words.ends > 0):
        same = np.flatnonzero((words.starts == words.starts[place]) & (words.ends > 0))
        assert (begins[place], ends[place]) == (place == same[0], place == same[-1])


@given(names=st.lists(st.lists(st.sampled_from(["a", "crane", "é", "犬", "𝐀"]), min_size=1, max_size=8), min_size=1))
def test_words_of_names(names):
    words, first, lengths = name_words([" ".join(name) for name in names])
    assert words.tolist() == [word_hash(word) for name in names for word in [*name, END]]
    assert lengths.tolist() == list(map(len, names))
    assert first.tolist() == [sum(len(name) + 1 for name in names[:number]) for number in range(len(names))]


@pytest.mark.parametrize("letters", ["ab", "abcdefgh" * 40])
def test_the_order_of_letters_counts(letters):
    period = min(len(letters), 8)
    assert len({word_hash(letters[turn:] + letters[:turn]) for turn in range(period)}) == period


def test_hashes_are_the_same_in_every_process():
    # They are kept in files, so they must not hang on the salt of Python's own hash.
    assert word_hash("crane") == 0x90D9419E4B8CB76
