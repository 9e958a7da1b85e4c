import json
from unittest.mock import patch

import marisa_trie
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kb_tables import DEFAULT_NAMES, write_source

from openmofi.errors import OpenMofiError
from openmofi.knowledge import KnowledgeBase, build_table, verify
from openmofi.knowledge import arrays as tries
from openmofi.mentions import open_detector
from openmofi.plugins.bases.export import export_kb
from openmofi.plugins.bases.sample import sample_kb

KEYS = st.sets(st.text(st.sampled_from("ab é\U0001f6001"), min_size=1, max_size=5), min_size=1, max_size=40)


@given(keys=KEYS, asked=st.text(st.sampled_from("ab é\U0001f6001"), max_size=6), size=st.integers(1, 12))
@settings(max_examples=300, derandomize=True)
def test_several_tries_answer_as_one(keys, asked, size):
    with patch.object(tries, "PART_KEYS", size):
        several = tries.built_names(sorted(keys))
    one = marisa_trie.Trie(keys)
    assert isinstance(several, tries.Tries) == (len(keys) > size)
    assert len(several) == len(one)
    assert sorted(several) == sorted(several.keys()) == sorted(keys)
    numbers = dict(several.iteritems())
    assert sorted(numbers.values()) == list(range(len(keys)))
    assert {key: several[key] for key in keys} == numbers
    assert {several.restore_key(number): number for number in range(len(keys))} == numbers
    for text in (asked, *keys):
        assert (text in several) == (text in one) == (several.get(text) is not None)
        assert several.get(text, -1) == numbers.get(text, -1)
        assert several.prefixes(text) == one.prefixes(text)
        assert sorted(several.iterkeys(text)) == sorted(one.iterkeys(text))
        assert sorted(several.iteritems(text)) == sorted((key, numbers[key]) for key in one.iterkeys(text))
    for number in (-1, len(keys)):
        with pytest.raises((KeyError, OverflowError)):
            several.restore_key(number)
    with pytest.raises(KeyError):
        several["z"]


LONG = "the grey crane of the port of hamburg"


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    """The same tables with one trie and with tries of three names."""
    folder = tmp_path_factory.mktemp("tries")
    names = [*DEFAULT_NAMES, (LONG, "bird", 1.0), ("the grey crane", "machine", 2.0), ("Кран", "machine", 1.0)]
    source = write_source(folder / "source", names=names)
    (source / "languages.jsonl").write_text(
        "\n".join(
            json.dumps({"name": name, "language": language}) for name, language in [("crane", "en"), ("Кран", "ru")]
        )
    )
    build_table(source, folder / "one")
    with patch.object(tries, "PART_KEYS", 3):
        build_table(source, folder / "several")
        sample_kb(KnowledgeBase.open(folder / "several"), folder / "slice", entities=["bird", "machine", "stork"])
    return folder


def test_a_base_with_several_tries_is_the_same_base(bases):
    one, several = KnowledgeBase.open(bases / "one"), KnowledgeBase.open(bases / "several")
    assert not (bases / "one/names.1.marisa").exists()
    assert len(several.manifest.counts["name_parts"]) == (len(one.names) - 1) // 3
    assert {name: several.lookup(name) for name in one.names} == {name: one.lookup(name) for name in one.names}
    assert {each: several.names_of(each) for each in one} == {each: one.names_of(each) for each in one}
    assert several.lookup("crame")["nearest"] == one.lookup("crame")["nearest"] == ["crane"]
    text = f"Cranes, {LONG} and the grey crane: steel, a кран, storks"
    for spec in ("gazetteer", "gazetteer?languages=ru"):
        assert open_detector(spec, several).detect([text]) == open_detector(spec, one).detect([text])
    assert not any(verify(bases / "several").values())
    export_kb(one, bases / "tables")
    export_kb(several, bases / "same tables")
    assert {path.name for path in (bases / "tables").glob("*.parquet")} == {
        path.name for path in (bases / "same tables").glob("*.parquet")
    }


def test_a_slice_of_it_has_the_names_of_its_entities(bases):
    one, part = KnowledgeBase.open(bases / "one"), KnowledgeBase.open(bases / "slice")
    assert isinstance(part.names, tries.Tries)
    assert {each: part.names_of(each) for each in part} == {each: one.names_of(each) for each in part}
    assert part.lookup("Кран")["languages"] == ["ru"]


def test_each_trie_is_looked_after(bases, tmp_path):
    build = bases / "several"
    (build / "names.1.marisa").rename(tmp_path / "away")
    with pytest.raises(OpenMofiError, match=r"names\.1\.marisa is missing"):
        KnowledgeBase.open(build)
    (tmp_path / "away").rename(build / "names.1.marisa")
    KnowledgeBase.open(build)
