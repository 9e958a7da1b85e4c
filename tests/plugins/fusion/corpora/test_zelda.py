"""ZELDA and AIDA-style files as published, in small, and what is wrong with others."""

import copy
import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmofi.errors import OpenMofiError
from openmofi.plugins.fusion.examples import NIL, LinkCandidate
from openmofi.plugins.fusion.zelda import (
    CandidateLists,
    conll_examples,
    read_counts,
    read_descriptions,
    zelda_examples,
)

COUNTS = {
    "Paris": {"Paris": 90, "Paris,_Texas": 10},
    "PARIS": {"Paris,_Texas": 5},
    "U.S.": {"United_States": 7},
    "New York": {"New_York_City": 6, "New_York_(state)": 6},
    "new york": {"New_York_(state)": 1},
}
LINE = {
    "id": 1,
    "text": "Paris is in the US, they say.",
    "index": [[0, 5], [16, 18], [20, 24]],
    "wikipedia_ids": [1, 2, 3],
    "wikipedia_titles": ["Paris,_Texas", "United States", "Them"],
}


def test_lists_are_looked_up_in_the_published_order():
    lists = CandidateLists(COUNTS)
    assert lists("Paris") == {"Paris": 90, "Paris,_Texas": 10}
    assert lists("PARIS") == {"Paris,_Texas": 5}
    assert lists("paris") == {"Paris": 90, "Paris,_Texas": 15}
    assert lists("NewYork") == {"New_York_(state)": 7, "New_York_City": 6}
    assert lists("US") == lists("u-s") == {"United_States": 7}
    assert lists("?") == lists("unknown") == lists("") == {}


def test_the_commonest_comes_first_and_equals_by_title():
    assert list(CandidateLists(COUNTS)("New York").items()) == [("New_York_(state)", 6), ("New_York_City", 6)]
    assert list(CandidateLists({"x": {"b": 1, "a": 1, "c": 2}})("x")) == ["c", "a", "b"]


def test_counts_are_never_changed_though_keys_fall_together():
    before = copy.deepcopy(COUNTS)
    lists = CandidateLists(COUNTS)
    for mention in ("paris", "PARIS", "Paris", "P aris", "newyork", "U.S.", "US", "us"):
        lists(mention)["Paris"] = 0
    assert lists("paris")["Paris"] == 90
    assert CandidateLists(COUNTS)("paris") == lists("paris")
    assert before == COUNTS


@given(
    st.dictionaries(
        st.text("aA .", min_size=1, max_size=4),
        st.dictionaries(st.sampled_from("XYZ"), st.integers(1, 9), min_size=1),
        max_size=8,
    )
)
def test_no_count_is_lost_or_added_where_mentions_fall_together(counts):
    lists = CandidateLists(counts)
    for mention in counts:
        assert lists(mention) == counts[mention]
        spaceless = mention.replace(" ", "").lower()
        if spaceless and spaceless not in counts:
            expected = Counter()
            for other, titles in counts.items():
                if other.replace(" ", "").lower() == spaceless:
                    expected.update(titles)
            assert lists(spaceless) == expected


def test_zelda_as_published(tmp_path):
    (tmp_path / "test_tweeki.jsonl").write_text(json.dumps(LINE) + "\n\n")
    (tmp_path / "counts.json").write_text(json.dumps(COUNTS))
    (tmp_path / "entity_descriptions.jsonl").write_text(
        json.dumps({"wikipedia_id": 1, "wikipedia_title": "Paris", "description": "capital of France"}) + "\n"
    )
    found = zelda_examples(
        tmp_path / "test_tweeki.jsonl",
        CandidateLists(read_counts(tmp_path / "counts.json")),
        read_descriptions(tmp_path / "entity_descriptions.jsonl"),
        split="tweeki",
    )
    assert [(one.mention, one.gold, one.reachable, one.split, one.group) for one in found] == [
        ("Paris", "Paris, Texas", True, "tweeki", "paris"),
        ("US", "United States", True, "tweeki", "us"),
        ("they", "Them", False, "tweeki", "they"),
    ]
    assert found[0].candidates == (
        LinkCandidate("Paris", "Paris", "capital of France", "", 0.9),
        LinkCandidate("Paris, Texas", "Paris, Texas", "", "", 0.1),
    )
    assert found[0].shadowed
    assert found[2].candidates == (LinkCandidate("Them", "Them", listed=False),)


def test_a_span_ends_with_its_text(tmp_path):
    (tmp_path / "x.jsonl").write_text(json.dumps({**LINE, "index": [[25, 49]], "wikipedia_titles": ["X"]}))
    (one,) = zelda_examples(tmp_path / "x.jsonl", CandidateLists({}), split="x")
    assert (one.mention, one.end) == ("say.", 29)


def test_lists_are_cut_only_as_far_as_asked(tmp_path):
    many = {"Paris": {f"Paris {number}": 100 - number for number in range(50)}}
    (tmp_path / "x.jsonl").write_text(json.dumps({**LINE, "index": [[0, 5]], "wikipedia_titles": ["Paris 45"]}))
    for limit, listed in ((30, 30), (2, 2), (None, 50)):
        (one,) = zelda_examples(tmp_path / "x.jsonl", CandidateLists(many), split="x", limit=limit)
        assert (len(one.listed), one.reachable) == (listed, limit is None)
        assert one.candidates[0].prior == pytest.approx(100 / sum(many["Paris"].values()))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "Line 2 of .* is not JSON"),
        ("[]", "Line 2 of .* is not a JSON object"),
        ('{"text": "x"}', "Line 2 of .*'index'"),
        ('{"text": "x", "index": [[1, 9]], "wikipedia_titles": ["X"]}', "Line 2 of .*span 1–1 lies outside"),
        ('{"text": "x", "index": [[-1, 1]], "wikipedia_titles": ["X"]}', "Line 2 of .*span -1–1 lies outside"),
        ('{"text": "x", "index": [[0, 1]], "wikipedia_titles": []}', "Line 2 of "),
        ('{"text": "x", "index": [[0]], "wikipedia_titles": ["X"]}', "Line 2 of "),
    ],
)
def test_a_line_that_is_not_zeldas_is_named(tmp_path, line, message):
    (tmp_path / "bad.jsonl").write_text('{"text": "x", "index": [], "wikipedia_titles": []}\n' + line)
    with pytest.raises(OpenMofiError, match=message):
        zelda_examples(tmp_path / "bad.jsonl", CandidateLists({}), split="x")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "is not a table of mentions"),
        ('{"Paris": ["Paris"]}', "candidates of 'Paris'"),
        ('{"Paris": {"Paris": "many"}}', "candidates of 'Paris'"),
        ("{", "is not JSON"),
    ],
)
def test_lists_that_are_none_are_named(tmp_path, text, message):
    (tmp_path / "counts.json").write_text(text)
    with pytest.raises(OpenMofiError, match=message):
        read_counts(tmp_path / "counts.json")
    with pytest.raises(OpenMofiError, match="cannot be read"):
        read_counts(tmp_path / "nowhere.json")


def conll(tmp_path, text):
    (tmp_path / "x.conll").write_text(text)
    return conll_examples(tmp_path / "x.conll", CandidateLists(COUNTS), split="x")


def test_conll_in_aidas_columns(tmp_path):
    found = conll(
        tmp_path,
        (
            "-DOCSTART- (1 EU)\nIn\nNew\tB\tNew York\tNew_York_City\thttp://x\t1\t/m/1\nYork\tI\tNew York\t"
            "New_York_City\thttp://x\t1\t/m/1\nParis\tB\tParis\t--NME--\nParis\tB\tParis\tParis\n\n.\n"
            "-DOCSTART- (2 X)\nUS\tB\tUS\tUnited_States\n"
        ),
    )
    assert [(one.text, one.mention, one.gold) for one in found] == [
        ("In New York Paris Paris .", "New York", "New York City"),
        ("In New York Paris Paris .", "Paris", NIL),
        ("In New York Paris Paris .", "Paris", "Paris"),
        ("US", "US", "United States"),
    ]
    assert [one.start for one in found[1:3]] == [12, 18]
    assert found[1].candidates == found[2].candidates


def test_conll_in_zeldas_columns_with_its_comments(tmp_path):
    found = conll(
        tmp_path,
        (
            "-DOCSTART-\n\n# tweet_id=1\n#\tO\tO\nIn\tO\tO\nNew\tB-1\tB-New York City\nYork\tI-1\tI-New York City\n\n"
            "Paris\tB-2\tB-Paris,_Texas\n\n-DOCSTART-\n\n# 17\t0.3\nUS\tB-3\tB-United_States\n"
        ),
    )
    assert [(one.text, one.mention, one.gold) for one in found] == [
        ("# In New York Paris", "New York", "New York City"),
        ("# In New York Paris", "Paris", "Paris, Texas"),
        ("US", "US", "United States"),
    ]


def test_an_empty_conll_file_has_no_examples(tmp_path):
    assert conll(tmp_path, "") == conll(tmp_path, "-DOCSTART-\n\nword\tO\tO\n") == []
    with pytest.raises(OpenMofiError, match="cannot be read"):
        conll_examples(tmp_path / "nowhere.conll", CandidateLists({}), split="x")
