import json

import pytest
from kb_tables import write_source

from openmofi.errors import OpenMofiError, UsageError
from openmofi.knowledge import KnowledgeBase, build_table, verify
from openmofi.mentions import open_detector
from openmofi.plugins.bases.export import export_kb
from openmofi.plugins.bases.sample import sample_kb
from openmofi.plugins.bases.union import union_kb

LANGUAGES = [
    ("crane", "en"),
    ("Cranes", "fr"),
    ("Kranich", "de"),
    ("grue", "fr"),
    ("Grus", "mul"),
    ("Grus", "de"),
    ("of no entity", "de"),
]


def written(folder, languages):
    source = write_source(
        folder,
        ids=["bird", "machine"],
        relations=(),
        names=[
            ("crane", "bird", 3.0),
            ("crane", "machine", 1.0),
            ("Kranich", "bird", 1.0),
            ("grue", "bird", 1.0),
            ("Grus", "bird", 1.0),
            ("grey crane", "bird", 1.0),
        ],
    )
    (source / "languages.jsonl").write_text(
        "".join(json.dumps({"name": name, "language": language}) + "\n" for name, language in languages)
    )
    return source


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("languages")
    build_table(written(folder / "s", LANGUAGES), folder / "kb")
    return folder


@pytest.fixture(scope="module")
def kb(folder):
    return KnowledgeBase.open(folder / "kb")


@pytest.mark.parametrize(
    ("name", "languages"),
    [
        ("crane", ["en", "fr"]),
        ("kranich", ["de"]),
        ("grue", ["fr"]),
        ("grus", ["de", "en", "fr"]),
        ("grey crane", ["de", "en", "fr"]),
    ],
)
def test_names_know_their_languages(kb, name, languages):
    assert kb.manifest.counts["languages"] == ["de", "en", "fr"]
    assert kb.lookup(name)["languages"] == languages
    for code in ("de", "en", "fr"):
        assert bool(kb.lookup(name, languages=[code])["candidates"]) == (code in languages)
    assert kb.lookup(name, languages=["de", "en", "fr"])["candidates"] == kb.lookup(name)["candidates"]


@pytest.mark.parametrize(
    ("spec", "surfaces"),
    [
        ("gazetteer", ["Kranich", "grey cranes", "cranes", "grue", "Grus"]),
        ("gazetteer?languages=de", ["Kranich", "grey cranes", "Grus"]),
        ("gazetteer?languages=en", ["grey cranes", "cranes", "Grus"]),
        ("gazetteer?languages=de, en", ["Kranich", "grey cranes", "cranes", "Grus"]),
    ],
)
def test_the_gazetteer_finds_names_of_the_languages_alone(kb, spec, surfaces):
    (found,) = open_detector(spec, kb).detect(["Kranich, grey cranes, cranes; a grue of the Grus"])
    assert [mention.surface for mention in found] == surfaces


def test_what_is_made_of_a_base_keeps_them(kb, folder):
    export_kb(kb, folder / "tables")
    build_table(folder / "tables", folder / "again")
    sample_kb(kb, folder / "slice", entities=["bird"])
    for name in ("again", "slice"):
        other = KnowledgeBase.open(folder / name)
        assert set(other.names) <= set(kb.names)
        assert [other.languages.of_name(other.names[name]) for name in other.names] == [
            kb.languages.of_name(kb.names[name]) for name in other.names
        ]
        assert not any(verify(folder / name).values())


def test_a_union_has_the_languages_of_all(kb, folder):
    """A name that one of the bases has without languages is of every one there."""
    write_source(
        folder / "plain",
        ids=["bird", "boat"],
        relations=(),
        names=[("Kranich", "bird", 1.0), ("boat", "boat", 1.0), ("Boot", "boat", 1.0)],
    )
    other = write_source(
        folder / "other", ids=["boat"], relations=(), names=[("crane", "boat", 1.0), ("Boot", "boat", 1.0)]
    )
    (other / "languages.jsonl").write_text('{"name": "Boot", "language": "de"}\n{"name": "crane", "language": "it"}\n')
    union_kb([folder / "kb", folder / "plain", folder / "other"], folder / "all")
    union_kb([folder / "other", folder / "plain", folder / "kb"], folder / "turned")
    union_kb([folder / "kb"], folder / "alone")
    every = ["de", "en", "fr", "it"]
    for name in ("all", "turned"):
        union = KnowledgeBase.open(folder / name)
        expected = {"crane": ["en", "fr", "it"], "grue": ["fr"], **dict.fromkeys(("kranich", "grus", "boot"), every)}
        assert {key: union.lookup(key)["languages"] for key in expected} == expected
        assert not any(verify(folder / name).values())
    alone = KnowledgeBase.open(folder / "alone")
    assert {key: alone.lookup(key)["languages"] for key in alone.names} == {
        key: kb.lookup(key)["languages"] for key in kb.names
    }


def test_an_unknown_language_is_refused(kb):
    with pytest.raises(UsageError, match="no names of the language 'dee'; it has those of de, en, fr"):
        kb.lookup("crane", languages=["dee"])
    with pytest.raises(UsageError, match="'xx'"):
        open_detector("gazetteer?languages=xx", kb)


@pytest.mark.parametrize(
    "spec",
    [
        "gazetteer?",
        "gazetteer?languages=",
        "gazetteer?language=de",
        "gazetteer?languages=de:x",
        "gazetteer+gazetteer?languages=de",
    ],
)
def test_options_that_are_none_are_refused(kb, spec):
    with pytest.raises(UsageError):
        open_detector(spec, kb)


def test_a_base_without_languages_says_so(tmp_path):
    source = write_source(tmp_path / "s", ids=["bird"], names=[("crane", "bird", 1.0)], relations=())
    build_table(source, tmp_path / "kb")
    kb = KnowledgeBase.open(tmp_path / "kb")
    assert kb.languages is None
    assert "languages" not in kb.lookup("crane")
    with pytest.raises(UsageError, match="does not know which languages"):
        kb.candidates("crane", languages=["en"])


@pytest.mark.slow
def test_64_languages_can_be_told_apart_and_no_more(tmp_path):
    codes = [f"l{number:02}" for number in range(64)]
    build_table(written(tmp_path / "s", [("crane", codes[-1]), *(("grue", code) for code in codes)]), tmp_path / "kb")
    kb = KnowledgeBase.open(tmp_path / "kb")
    assert kb.lookup("crane")["languages"] == ["l63"]
    assert kb.lookup("grue")["languages"] == codes
    source = written(tmp_path / "more", [("crane", f"l{number:02}") for number in range(65)])
    with pytest.raises(OpenMofiError, match="of 65 languages"):
        build_table(source, tmp_path / "other")
