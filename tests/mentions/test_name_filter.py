import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kb_tables import write_source

from openmofi.knowledge import KnowledgeBase, build_table
from openmofi.mentions import GazetteerDetector, GazetteerSettings
from openmofi.mentions import gazetteer as name_filter
from openmofi.mentions.gazetteer import LONGEST, filter_of
from openmofi.mentions.words import END, word_hash

WORDS = st.sampled_from(["a", "b", "crane", "york", "犬", "½", "", "\n"])
NAMES = st.sets(st.lists(WORDS.filter(str.strip), min_size=1, max_size=8).map(" ".join), min_size=1, max_size=30)


def saved(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


ARRAY = saved(np.arange(3, dtype=np.uint64))


def hashed(words):
    return np.array(list(map(word_hash, words)), np.uint64)


@given(names=NAMES, text=st.lists(WORDS, min_size=1, max_size=40))
@settings(derandomize=True, deadline=None)
def test_names_of_a_text_are_found_and_nothing_else(names, text):
    found = filter_of(names).names(hashed(text)).tolist()
    expected = {
        first * (LONGEST + 1) + LONGEST + 1 - length
        for first in range(len(text))
        for length in range(1, min(len(text) - first, LONGEST) + 1)
        if " ".join(text[first : first + length]) in names
    }
    beginnings = {tuple(name.split(" ")[:LONGEST]) for name in names if name.count(" ") >= LONGEST}
    expected |= {
        first * (LONGEST + 1) for first in range(len(text)) if tuple(text[first : first + LONGEST]) in beginnings
    }
    assert found == sorted(expected)


@pytest.mark.parametrize("size", [1, 100, 20_000])
def test_runs_that_are_no_names_are_not_taken_for_one(size):
    names = {f"{number} {word}" for number in range(size) for word in ("crane", "hot dog stand")}
    filled = filter_of(names)
    text = [word for number in range(size, 2 * size) for word in (str(number), "crane", "hot", "dog", "stand", "a")]
    assert not len(filled.names(hashed(text)))
    kept = [word for number in range(size) for word in (str(number), "hot", "dog", "stand", END)]
    assert len(filled.names(hashed(kept))) == size


@pytest.fixture
def kb(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENMOFI_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(name_filter, "_KEPT", 1)
    build_table(
        write_source(tmp_path / "s", ids=["bird"], names=[("red crane", "bird", 1.0)], relations=()), tmp_path / "kb"
    )
    return KnowledgeBase.open(tmp_path / "kb")


def test_that_of_a_large_base_is_kept_and_mapped(kb, tmp_path, monkeypatch):
    GazetteerDetector(kb)
    (kept,) = (tmp_path / "home" / "names").glob("*.npy")
    monkeypatch.setattr(name_filter, "filter_of", None)
    assert [m.surface for m in GazetteerDetector(kb).detect(["two red cranes"])[0]] == ["red cranes"]
    assert list((tmp_path / "home" / "names").glob("*.npy")) == [kept]


def test_other_settings_have_a_filter_of_their_own(kb, tmp_path):
    GazetteerDetector(kb)
    other = GazetteerDetector(kb, GazetteerSettings(stop_names=frozenset({"red crane"})))
    assert other.detect(["two red cranes"]) == [[]]
    assert len(list((tmp_path / "home" / "names").glob("*.npy"))) == 2


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY", b"no array at all", ARRAY])
def test_a_damaged_one_is_made_anew(kb, tmp_path, damage):
    GazetteerDetector(kb)
    (kept,) = (tmp_path / "home" / "names").glob("*.npy")
    kept.write_bytes(damage)
    assert [m.surface for m in GazetteerDetector(kb).detect(["two red cranes"])[0]] == ["red cranes"]
    assert kept.read_bytes() != damage


def test_a_cache_that_cannot_be_written_is_no_error(kb, tmp_path):
    (tmp_path / "home").mkdir(exist_ok=True)
    for path in (tmp_path / "home").iterdir():
        if path.name == "names":
            path.rmdir()
    (tmp_path / "home" / "names").write_text("a file")
    assert [m.surface for m in GazetteerDetector(kb).detect(["two red cranes"])[0]] == ["red cranes"]
