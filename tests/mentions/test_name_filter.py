import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kb_tables import write_source

from openmofi.knowledge import KnowledgeBase, build_table
from openmofi.mentions import GazetteerDetector, name_filter
from openmofi.mentions.name_filter import LONGEST, filter_of, open_filter, word_hash

WORDS = st.sampled_from(["a", "b", "crane", "york", "犬", "½", "", "\n"])
NAMES = st.sets(st.lists(WORDS.filter(str.strip), min_size=1, max_size=8).map(" ".join), min_size=1, max_size=30)


def hashed(words):
    return np.array(list(map(word_hash, words)), np.int64).view(np.uint64)


@given(names=NAMES, text=st.lists(WORDS, min_size=1, max_size=40))
@settings(derandomize=True, deadline=None)
def test_no_name_of_a_text_is_denied(names, text):
    filled = filter_of(names, len(names))
    found = set(filled.may_be(hashed(text)).tolist())
    for first in range(len(text)):
        for length in range(1, len(text) - first + 1):
            if " ".join(text[first:first + length]) in names:
                assert first * (LONGEST + 1) + LONGEST + 1 - min(length, LONGEST + 1) in found


def test_few_runs_that_are_no_name_are_taken_for_one():
    names = {f"{number} {word}" for number in range(5_000) for word in ("crane", "hot dog stand")}
    filled = filter_of(names, len(names))
    text = [word for number in range(5_000, 10_000) for word in (str(number), "crane")]
    assert len(filled.may_be(hashed(text))) < 0.01 * (LONGEST + 1) * len(text)


def test_the_filter_is_the_same_in_another_process(tmp_path):
    # The salt of Python's own hash differs between processes, so that the filter must not use it.
    import subprocess
    import sys
    code = ("from openmofi.mentions.name_filter import filter_of; import hashlib;"
            "print(hashlib.sha256(filter_of(['red crane', 'b'], 2).bits.tobytes()).hexdigest())")
    digests = {subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                              env={**os.environ, "PYTHONHASHSEED": seed}).stdout for seed in ("1", "2")}
    assert len(digests) == 1


@pytest.fixture
def kb(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENMOFI_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(name_filter, "_KEPT", 1)
    build_table(write_source(tmp_path / "s", ids=["bird"], names=[("red crane", "bird", 1.0)], relations=()),
                tmp_path / "kb")
    return KnowledgeBase.open(tmp_path / "kb")


def test_that_of_a_large_base_is_kept_and_mapped(kb, tmp_path, monkeypatch):
    first = open_filter(kb)
    kept, = (tmp_path / "home" / "names").glob("*.npy")
    monkeypatch.setattr(name_filter, "filter_of", None)
    assert np.array_equal(open_filter(kb).bits, first.bits)
    assert kb.manifest.counts["digests"]["names.marisa"] in kept.name


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY", b"no array at all"])
def test_a_damaged_one_is_made_anew(kb, tmp_path, damage):
    open_filter(kb)
    kept, = (tmp_path / "home" / "names").glob("*.npy")
    kept.write_bytes(damage)
    assert [m.surface for m in GazetteerDetector(kb).detect(["two red cranes"])[0]] == ["red cranes"]
    assert len(kept.read_bytes()) > len(damage)


def test_a_cache_that_cannot_be_written_is_no_error(kb, tmp_path):
    (tmp_path / "home").mkdir(exist_ok=True)
    for path in (tmp_path / "home").iterdir():
        if path.name == "names":
            path.rmdir()
    (tmp_path / "home" / "names").write_text("a file")
    assert [m.surface for m in GazetteerDetector(kb).detect(["two red cranes"])[0]] == ["red cranes"]
