import re

import pytest

from openmofi.errors import UsageError
from openmofi.mentions import UnionDetector, open_detector
from openmofi.schema import Mention


class Finds:
    """A detector that finds fixed words."""

    def __init__(self, name, *words):
        self.name = name
        self.words = words

    def detect(self, texts):
        return [
            sorted(
                (
                    Mention(match.start(), match.end(), match.group(), self.name)
                    for word in self.words
                    for match in re.finditer(word, text)
                ),
                key=lambda m: m.start,
            )
            for text in texts
        ]


def brief(mentions):
    return [(mention.surface, mention.detector) for mention in mentions]


def test_what_both_found_names_both_and_overlaps_go_to_the_first():
    union = UnionDetector([Finds("gazetteer", "cranes", "lake"), Finds("spacy", "red cranes", "lake", "Ann")])
    assert union.name == "gazetteer+spacy"
    first, second, third = union.detect(["red cranes at the lake, Ann", "", "nothing"])
    assert brief(first) == [("cranes", "gazetteer"), ("lake", "gazetteer+spacy"), ("Ann", "spacy")]
    assert second == third == []


def test_a_union_of_nothing_is_refused():
    with pytest.raises(UsageError):
        UnionDetector([])


@pytest.mark.parametrize("spec", ["", "gazeteer", "gazetteer+gazetteer", "gazetteer+nothing"])
def test_unknown_detectors_are_one_sentence(spec, kb_folder):
    from openmofi.knowledge import KnowledgeBase

    with pytest.raises(UsageError, match="detector"):
        open_detector(spec, KnowledgeBase.open(kb_folder))


def test_detectors_open_by_name(kb_folder):
    from openmofi.knowledge import KnowledgeBase

    detector = open_detector("gazetteer", KnowledgeBase.open(kb_folder))
    assert brief(detector.detect(["the Cranes"])[0]) == [("Cranes", "gazetteer")]
