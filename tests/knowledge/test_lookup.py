import re

import numpy as np
import pytest
from kb_tables import ENTITY_IDS, write_source

from openmofi.errors import OpenMofiError, UnknownEntityError
from openmofi.knowledge import KnowledgeBase, build_table
from openmofi.knowledge import candidates as looking


@pytest.fixture(scope="module")
def kb(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    build_table(write_source(folder / "source", surfaces=[("hot", 0.25)]), folder / "kb")
    return KnowledgeBase.open(folder / "kb")


def test_it_is_a_mapping_of_identifiers(kb):
    assert list(kb) == list(ENTITY_IDS)
    assert len(kb) == len(ENTITY_IDS)
    assert all(kb[entity_id] == kb.entity(kb.row(entity_id)) for entity_id in kb)
    assert "stork" in kb
    assert "nobody" not in kb
    assert 2 not in kb


@pytest.mark.parametrize(
    ("unknown", "says"),
    [
        ("storc", r"has no entity 'storc'\. Did you mean 'stork'\?"),
        ("Cranes", r"It is a name, which may mean 'bird', 'machine': see kb\.lookup\('Cranes'\)"),
        ("Ω", r"Its identifiers look like 'bird'"),
        (3, r"Give its identifier as text"),
    ],
)
def test_an_unknown_identifier_is_a_key_error_that_says_what_is_near(kb, unknown, says):
    for call in (lambda: kb[unknown], lambda: kb.neighbours(unknown), lambda: kb.names_of(unknown)):
        with pytest.raises(UnknownEntityError, match=says) as refused:
            call()
        assert isinstance(refused.value, KeyError)
        assert isinstance(refused.value, OpenMofiError)
        assert str(refused.value).startswith(f"The knowledge base {kb.path} has no entity")


def test_lookup_is_what_look_up_gives(kb):
    for name in ("Cranes", "hot", "crame", "!?"):
        assert kb.lookup(name) == KnowledgeBase.open(kb.path).lookup(name)
    assert [row["id"] for row in kb.lookup("crane", limit=1)["candidates"]] == ["bird"]


def test_names_of_an_entity(kb):
    assert kb.names_of("machine") == ["machine", "crane"]
    assert kb.names_of("tool") == ["hot", "tool"]


def test_neighbours_are_the_nearest_by_cosine(kb):
    near = kb.neighbours("bird")
    vectors = kb.vectors(range(len(kb)))
    cosines = vectors @ vectors[kb.row("bird")]
    expected = [
        row for row in np.argsort(-cosines, kind="stable").tolist() if kb.entity(row).id not in ("bird", "alone")
    ]
    assert [neighbour.entity.id for neighbour in near] == kb.ids(expected)
    assert [neighbour.cosine for neighbour in near] == pytest.approx(cosines[expected].tolist(), abs=2e-3)
    assert near[:2] == kb.neighbours("bird", limit=2)
    assert near[0].entity.id in ("wader", "stork")
    assert kb.neighbours("alone") == []
    assert kb.neighbours("bird", limit=0) == []


@pytest.mark.parametrize("elements", [8, 24, 1 << 20])
def test_neighbours_are_the_same_in_blocks_of_any_size(monkeypatch, elements):
    draw = np.random.default_rng(0)
    vectors = draw.normal(size=(40, 8)).astype(np.float16)
    vectors[5] = 0
    vectors[7] = vectors[9] = vectors[3]
    monkeypatch.setattr(looking, "_ELEMENTS", elements)
    exact = vectors.astype(np.float64)
    cosines = exact @ exact[3] / np.maximum(np.linalg.norm(exact, axis=1) * np.linalg.norm(exact[3]), 1e-12)
    cosines[[3, 5]] = -np.inf
    expected = np.lexsort((np.arange(40), -cosines.round(6)))[:6].tolist()
    found = looking.nearest_rows(vectors, 3, 6)
    assert [row for row, _ in found] == expected
    assert expected[:2] == [7, 9]
    assert [cosine for _, cosine in found] == pytest.approx(cosines[expected].tolist(), abs=1e-5)
    assert len(looking.nearest_rows(vectors, 3, 100)) == 38


def test_the_error_travels_between_processes(kb):
    import pickle

    with pytest.raises(UnknownEntityError) as refused:
        kb["storc"]
    assert re.search("Did you mean", str(pickle.loads(pickle.dumps(refused.value))))
