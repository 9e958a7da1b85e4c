from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kb_tables import write_source

from openmofi.knowledge import KnowledgeBase, build_table, normalise
from openmofi.knowledge.names import token_pattern
from openmofi.mentions import GazetteerDetector, GazetteerSettings

NAMES = (
    "crane",
    "hot dog",
    "hot",
    "dog",
    "new york",
    "new york city",
    "york city hall",
    "a b c",
    "b",
    "a b",
    "ice-cream",
    "T-Shirt",
    "c++",
    "the",
    "bird of prey",
    "1984",
    "2 cats",
    "りんご",
    "犬",
    "ん",
    "café",
    "rare thing",
    "x",
    "Ox",
    "a b a b a b c",
    "b a b a b a b hall",
    "株式会社",
    "株",
    "1 2 cats",
    "x 1",
    "b c crane new york city hall ½ dogs",
)


@pytest.fixture(scope="module")
def kb(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gazetteer")
    names = [(name, "bird", 1.0) for name in NAMES]
    build_table(
        write_source(folder / "s", ids=["bird"], names=names, relations=(), surfaces=[("rare thing", 0.01)]),
        folder / "kb",
    )
    return KnowledgeBase.open(folder / "kb")


@pytest.fixture(scope="module")
def detector(kb):
    return GazetteerDetector(kb)


def surfaces(kb, text, **settings):
    (found,) = GazetteerDetector(kb, GazetteerSettings(**settings)).detect([text])
    assert [text[mention.start : mention.end] for mention in found] == [mention.surface for mention in found]
    assert {mention.detector for mention in found} <= {"gazetteer"}
    return [mention.surface for mention in found]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A photo of two red Cranes.", ["Cranes"]),
        ("HOT DOGS, hot-dogs and a hot   dog!", ["HOT DOGS", "hot-dogs", "hot   dog"]),
        ("hot sauce for the dog", ["hot", "dog"]),
        ("New York City Hall", ["New York City"]),
        ("new york cityscape", ["new york"]),
        ("my ice cream on a t shirt", ["ice cream", "t shirt"]),
        ("cranelike scrane", []),
        ("crane's dogs'", ["crane's", "dogs"]),
        ("C++ and c", ["C++"]),
        ("🙂 crane 🙂 Café", ["crane", "Café"]),
        ("oxen in the CRANE_IMG_0042.jpg", ["oxen", "CRANE"]),
        ("赤いりんごと犬", ["りんご", "犬"]),
        ("the 1984 x 犬ん", ["犬"]),
        ("2 cats, 3 cats", ["2 cats"]),
        ("rare things", []),
        ("birds of prey", ["birds of prey"]),
        ("A B, a b: a-b C", ["A B, a b: a-b C"]),
        ("1½ cats, ½ cats", ["½ cats"]),
        ("", []),
        ("   \n\t", []),
    ],
)
def test_what_is_found(kb, text, expected):
    assert surfaces(kb, text) == expected


def test_settings_decide_what_counts(kb):
    assert surfaces(kb, "rare things", min_link_probability=0.0) == ["rare things"]
    assert surfaces(kb, "the crane", stop_names=frozenset({"crane"})) == ["the"]
    assert surfaces(kb, "new york city", max_name_length=len("new york")) == ["new york"]


def brute_force(kb, text, settings):
    """Every n-gram of tokens, longest first at each start, normalised whole."""
    places = [match.span() for match in token_pattern(text).finditer(text)]
    found, first = [], 0
    while first < len(places):
        for last in range(len(places) - 1, first - 1, -1):
            start, end = places[first][0], places[last][1]
            key = normalise(text[start:end])
            usable = (
                key in kb.names
                and key not in settings.stop_names
                and any(map(str.isalpha, key))
                and (len(key) > 1 or key in "犬株")
                and kb.link_probability(text[start:end]) >= settings.min_link_probability
            )
            if usable:
                found.append((start, end))
                first = last
                break
        first += 1
    return found


PIECES = [
    "crane",
    "Hot",
    "dogs",
    "dog",
    "new",
    "New York",
    "york",
    "city",
    "hall",
    "a",
    "b",
    "c",
    "c++",
    "ICE",
    "cream",
    "T",
    "shirt",
    "the",
    "rare",
    "things",
    "りんご",
    "犬",
    "ん",
    "cafés",
    "1984",
    "2",
    "cats",
    "x",
    "bird",
    "of",
    "prey",
    "½",
    "dog's",
    "🙂",
    ".jpg",
    "_",
    "oxen",
    "a b a b",
    "株",
    "會社",
    "\u200d",
    "é",
    "c#",
    "+",
    "❤\ufe0f",
    "ก็",
    "b c crane new york city hall",
    "ＤＯＧ",
    "women's",
]


@given(pieces=st.lists(st.tuples(st.sampled_from(PIECES), st.sampled_from([" ", "-", ", ", "_", "'", "", "\n"]))))
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_it_equals_brute_force_over_all_n_grams(kb, detector, pieces):
    text = "".join(piece + gap for piece, gap in pieces)
    found = [(mention.start, mention.end) for mention in detector.detect([text])[0]]
    assert found == brute_force(kb, text, detector.settings)


@given(text=st.text())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_gives_sorted_spans_that_do_not_overlap(detector, text):
    (found,) = detector.detect([text])
    assert all(one.end <= other.start for one, other in pairwise(found))
    assert all(text[mention.start : mention.end] == mention.surface != "" for mention in found)


def test_a_long_text_is_read_to_its_end(kb):
    (found,) = GazetteerDetector(kb).detect(["a b d " * 50_000 + "new york"])
    assert len(found) == 50_001
    assert found[-1].surface == "new york"


def test_one_list_for_each_text(kb):
    assert [len(found) for found in GazetteerDetector(kb).detect(["crane", "", "hot dog, crane"])] == [1, 0, 2]
