import json
import pickle
from collections import defaultdict

import pytest

from openmofi.errors import OpenMofiError, UsageError
from openmofi.plugins.fusion.examples import LinkCandidate, LinkExample, write_examples
from openmofi.plugins.fusion.zelda import judged_examples, read_candidate_counts

COUNTS = {"Paris": {"Paris": 9, "Paris,_Texas": 2, "Paris_Hilton": 1}, "US": {"United_States": 7}}
LISTED = tuple(LinkCandidate(f"e{number}", "name", prior=(number + 1) / 10) for number in range(4))


def zelda_folder(folder):
    """ZELDA as its archive lays it out."""
    for split, text, titles in (("aida-b", "Paris won", ["Paris, Texas"]), ("tweeki", "Paris and US", ["Paris", "US"])):
        spans = [[0, 5], [10, 12]][: len(titles)]
        file = folder / f"test_data/jsonl/test_{split}.jsonl"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(
            json.dumps(
                {
                    "id": "1",
                    "text": text,
                    "index": spans,
                    "wikipedia_titles": titles,
                    "wikipedia_ids": [1] * len(titles),
                }
            )
        )
    (folder / "other").mkdir()
    (folder / "other/zelda_mention_entities_counter.pickle").write_bytes(pickle.dumps(COUNTS, protocol=5))
    (folder / "other/entity_descriptions.jsonl").write_text(
        json.dumps({"wikipedia_id": 1, "wikipedia_title": "Paris", "description": "capital of France"})
    )
    return folder


def test_zelda_where_it_lies(tmp_path):
    found = judged_examples(zelda_folder(tmp_path))
    assert [(one.split, one.mention, one.gold, len(one.listed), one.reachable) for one in found] == [
        ("aida-b", "Paris", "Paris, Texas", 3, True),
        ("tweeki", "Paris", "Paris", 3, True),
        ("tweeki", "US", "US", 1, False),
    ]
    assert found[0].candidates[0].description == "capital of France"
    assert {one.split for one in judged_examples(tmp_path, ["tweeki"])} == {"tweeki"}
    (tmp_path / "other/entity_descriptions.jsonl").unlink()
    assert judged_examples(tmp_path)[0].candidates[0].description == ""


def test_a_folder_that_is_not_zelda(tmp_path):
    with pytest.raises(OpenMofiError, match=r"it has no test_data/jsonl/test_\*\.jsonl"):
        judged_examples(tmp_path)
    zelda_folder(tmp_path)
    (tmp_path / "other/zelda_mention_entities_counter.pickle").unlink()
    with pytest.raises(OpenMofiError, match=r"it has no other/zelda_mention_entities_counter\.pickle"):
        judged_examples(tmp_path)


def test_lists_as_json_or_as_a_plain_pickle(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(COUNTS))
    (tmp_path / "a.pickle").write_bytes(pickle.dumps(COUNTS))
    assert read_candidate_counts(tmp_path / "a.json") == read_candidate_counts(tmp_path / "a.pickle") == COUNTS
    for value, told in (([1], "no mentions"), ({"x": 1}, "no mentions"), (defaultdict(dict, COUNTS), "is refused")):
        (tmp_path / "b.pkl").write_bytes(pickle.dumps(value))
        with pytest.raises(OpenMofiError, match=told):
            read_candidate_counts(tmp_path / "b.pkl")


def test_the_splits_of_a_table(tmp_path):
    table = tmp_path / "e.parquet"
    write_examples(
        table,
        [
            LinkExample("name", 0, 4, LISTED, "e0", split)
            for split in ("train", "validation", "test_seen", "test_unseen")
        ],
    )
    assert [one.split for one in judged_examples(table)] == ["test_seen", "test_unseen"]
    assert [one.split for one in judged_examples(table, ["validation"])] == ["validation"]
    with pytest.raises(UsageError, match="no examples of the split 'dev'"):
        judged_examples(table, ["dev"])
    write_examples(table, [LinkExample("name", 0, 4, LISTED, "e0")])
    with pytest.raises(UsageError, match="no examples to judge a linker on"):
        judged_examples(table)


def test_a_long_list_is_cut_to_the_commonest(tmp_path):
    table = tmp_path / "e.parquet"
    write_examples(table, [LinkExample("name", 0, 4, LISTED, "e0", "test")])
    (whole,) = judged_examples(table, candidates=4)
    assert len(whole.listed) == 4
    (cut,) = judged_examples(table, candidates=2)
    assert ([one.id for one in cut.listed], len(cut.candidates), cut.reachable) == (["e2", "e3"], 4, False)
