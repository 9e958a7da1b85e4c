"""EntityNet's table of entities, laid out as the authors' loader reads it, as a knowledge base."""

import pandas as pd
import pytest

from openmofi.errors import OpenMofiError
from openmofi.knowledge import KnowledgeBase
from openmofi.plugins.entitynet import FILE, build_entitynet

ROWS = [
    ("Q729", "animal", "Q729", ["animal", "kingdom of multicellular beings"], ["name", "description"]),
    (
        "Q140",
        "lion",
        "Q729",
        ["lion", "Panthera leo", "king of beasts", "a taxon", "large cat", " "],
        ["name", "taxon_names", "aliases", "type_description", "description", "aliases"],
    ),
    ("wordnet:cat.n.01", "cat", "wordnet:animal.n.01", ["cat", "king of beasts"], ["name", "common_names"]),
]


@pytest.fixture
def folder(tmp_path):
    write(tmp_path / "entitynet", ROWS)
    return tmp_path / "entitynet"


def write(folder, rows):
    """With a column that the import does not know, as the published table may have."""
    folder.mkdir(exist_ok=True)
    columns = ["entity", "entity_name", "naturalentity", "textvalues", "textsources"]
    pd.DataFrame(rows, columns=columns).assign(more=1).to_parquet(folder / FILE)


def test_names_descriptions_and_kinds_are_those_of_the_loader(folder, tmp_path):
    manifest = build_entitynet(folder, tmp_path / "kb")
    assert (manifest.counts["entities"], manifest.counts["relations"]) == (3, 1)
    kb = KnowledgeBase.open(tmp_path / "kb")
    lion = kb.entity(kb.row("Q140"))
    assert (lion.name, lion.description, list(lion.types)) == ("lion", "large cat", ["animal"])
    assert not kb.entity(kb.row("wordnet:cat.n.01")).types
    # As `TEXTTYPE2FIELDS` of the loader says: synonyms are aliases, names, common and taxon names.
    for name, entities in {
        "Panthera leo": {"Q140"},
        "king of beasts": {"Q140", "wordnet:cat.n.01"},
        "large cat": set(),
        "a taxon": set(),
    }.items():
        assert set(kb.ids(kb.candidates(name).rows)) == entities, name


def test_the_same_table_gives_the_same_bytes(folder, tmp_path):
    for out in ("one", "other"):
        build_entitynet(folder, tmp_path / out)
    first, second = (
        {path.relative_to(tmp_path / out): path.read_bytes() for path in (tmp_path / out).rglob("*.arrow")}
        for out in ("one", "other")
    )
    assert first
    assert first == second


def test_what_is_no_table_of_entitynets_is_told(folder, tmp_path):
    with pytest.raises(OpenMofiError, match=rf"has no {FILE}") as caught:
        build_entitynet(tmp_path, tmp_path / "kb")
    assert "huggingface.co/datasets/lmb-freiburg/entitynet" in caught.value.hint
    pd.read_parquet(folder / FILE).drop(columns="textsources").to_parquet(folder / FILE)
    with pytest.raises(OpenMofiError, match="has no column 'textsources'"):
        build_entitynet(folder, tmp_path / "kb")
    write(folder, [*ROWS[:2], ("Q1", "one", "Q729", ["one", "two"], ["name"])])
    with pytest.raises(OpenMofiError, match="Q1 has 2 texts and 1 sources"):
        build_entitynet(folder, tmp_path / "kb")
    write(folder, [*ROWS, ROWS[0]])
    with pytest.raises(OpenMofiError, match="Q729"):
        build_entitynet(folder, tmp_path / "kb")
    (folder / FILE).write_bytes((folder / FILE).read_bytes()[:200])
    with pytest.raises(OpenMofiError, match="cannot be read"):
        build_entitynet(folder, tmp_path / "kb")
    assert not (tmp_path / "kb/manifest.json").exists()
