import hashlib
import random
from collections import defaultdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kb_tables import DEFAULT_NAMES, ENTITY_IDS, write_source

from openmofi.errors import OpenMofiError
from openmofi.knowledge import BuildSettings, KnowledgeBase, ProjectionSettings, build_table, normalise
from openmofi.knowledge.candidates import tabulate
from openmofi.schema import NAMES, SURFACES
from openmofi.storage import write_table


def names_table(rows):
    return pa.table([list(column) for column in zip(*rows, strict=True)], schema=NAMES)


def digest(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.rglob("*")) if path.is_file()}


ROWS = st.lists(st.tuples(
    st.sampled_from(["apple", "Apples", "APPLE", "java", "Java island", "java-islands", "c++", "!!", "りんご"]),
    st.sampled_from(ENTITY_IDS), st.integers(1, 9).map(float)), min_size=1, max_size=60)


@given(rows=ROWS, limit=st.integers(1, 8))
@settings(max_examples=200)
def test_candidate_arrays_equal_a_plain_count(rows, limit):
    counts = defaultdict(lambda: defaultdict(float))
    for name, entity, count in rows:
        if normalise(name):
            counts[normalise(name)][ENTITY_IDS.index(entity)] += count
    if not counts:
        with pytest.raises(OpenMofiError):
            tabulate(names_table(rows), pa.array(ENTITY_IDS), SURFACES.empty_table(), limit)
        return
    table = tabulate(names_table(rows), pa.array(ENTITY_IDS), SURFACES.empty_table(), limit)
    assert set(table.names.keys()) == set(counts)
    assert table.offsets[-1] == len(table.rows)
    for key, of_key in counts.items():
        span = slice(*table.offsets[table.names[key]:table.names[key] + 2])
        expected = sorted(of_key.items(), key=lambda item: (-item[1], item[0]))[:limit]
        assert table.rows[span].tolist() == [row for row, _ in expected]
        total = sum(of_key.values())
        assert table.commonness[span].tolist() == pytest.approx([count / total for _, count in expected])
        assert table.link_probability[table.names[key]] == 1.0
    assert table.unnameable == sum(not normalise(name) for name, _, _ in rows)


def test_link_probability_is_mentions_over_occurrences_of_all_spellings():
    names = names_table([("May", "bird", 3.0), ("may", "tool", 1.0), ("march", "tool", 2.0)])
    surfaces = pa.table([["May", "may", "March"], [0.5, 0.1, 0.25]], schema=SURFACES)
    table = tabulate(names, pa.array(ENTITY_IDS), surfaces, 30)
    assert table.link_probability[table.names["may"]] == pytest.approx(4 / (3 / 0.5 + 1 / 0.1))
    assert table.link_probability[table.names["march"]] == pytest.approx(0.25)


def test_two_builds_are_the_same_bytes(tmp_path):
    source = write_source(tmp_path / "source")
    build_table(source, tmp_path / "one")
    build_table(source, tmp_path / "two")
    assert digest(tmp_path / "one") == digest(tmp_path / "two")


def test_the_order_of_the_names_does_not_matter(tmp_path):
    shuffled = list(DEFAULT_NAMES)
    random.Random(1).shuffle(shuffled)
    build_table(write_source(tmp_path / "a"), tmp_path / "one")
    build_table(write_source(tmp_path / "b", names=shuffled), tmp_path / "two")
    one, two = digest(tmp_path / "one"), digest(tmp_path / "two")
    assert {name for name in one if one[name] != two[name]} == {"manifest.json"}


def test_a_vector_depends_on_the_neighbourhood_and_not_on_the_row(tmp_path):
    build_table(write_source(tmp_path / "a"), tmp_path / "one")
    build_table(write_source(tmp_path / "b", ids=[*reversed(ENTITY_IDS), "newcomer"]), tmp_path / "two")
    one, two = KnowledgeBase.open(tmp_path / "one"), KnowledgeBase.open(tmp_path / "two")
    np.testing.assert_allclose(one.vectors(one.rows(ENTITY_IDS)), two.vectors(two.rows(ENTITY_IDS)), atol=2e-3)


def test_siblings_are_closer_than_strangers(tmp_path):
    ids = [f"{parent}{child}" for parent in "abcdefgh" for child in ["", *"0123456789"]]
    relations = [(entity, "hypernym", entity[0]) for entity in ids if len(entity) == 2]
    names = [(entity, entity, 1.0) for entity in ids]
    build_table(write_source(tmp_path / "s", ids=ids, names=names, relations=relations), tmp_path / "kb")
    kb = KnowledgeBase.open(tmp_path / "kb")
    children = [entity for entity in ids if len(entity) == 2]
    vectors = kb.vectors(kb.rows(children))
    cosine = vectors @ vectors.T
    family = np.array([[one[0] == other[0] for other in children] for one in children])
    np.fill_diagonal(family, False)
    strangers = ~family & ~np.eye(len(children), dtype=bool)
    assert cosine[family].min() > cosine[strangers].max() + 0.2
    assert abs(cosine[strangers].mean()) < 0.05


def test_an_entity_without_relations_has_a_zero_vector(tmp_path):
    build_table(write_source(tmp_path / "s"), tmp_path / "kb")
    kb = KnowledgeBase.open(tmp_path / "kb")
    lengths = np.linalg.norm(kb.vectors(kb.rows(["alone", "bird"])), axis=1)
    assert lengths.tolist() == pytest.approx([0.0, 1.0], abs=1e-3)


def test_a_finished_knowledge_base_is_left_alone_and_other_settings_are_refused(tmp_path):
    source = write_source(tmp_path / "s")
    build_table(source, tmp_path / "kb")
    before = (tmp_path / "kb" / "names.marisa").stat().st_mtime_ns
    assert build_table(source, tmp_path / "kb").finished
    assert (tmp_path / "kb" / "names.marisa").stat().st_mtime_ns == before
    with pytest.raises(OpenMofiError, match="other settings"):
        build_table(source, tmp_path / "kb", BuildSettings(projection=ProjectionSettings(dim=64)))


def test_a_sample_world_is_taken_as_a_source(tmp_path):
    write_source(tmp_path / "world" / "kb")
    assert build_table(tmp_path / "world", tmp_path / "kb").counts["entities"] == len(ENTITY_IDS)


@pytest.mark.parametrize(("change", "sentence"), [
    ({"names": [*DEFAULT_NAMES, ("owl", "nobody", 1.0)]}, r"names.parquet, row 7: the entity 'nobody' is not in"),
    ({"names": [("owl", "bird", 1.0), (" ", "bird", 1.0)]}, r"names.parquet, row 1: 'name' is empty"),
    ({"names": [("owl", None, 1.0)]}, r"names.parquet, row 0: 'entity' is empty"),
    ({"names": [("owl", "bird", 0.0)]}, r"names.parquet, row 0: 'count' is 0"),
    ({"names": [("owl", "bird", float("nan"))]}, r"names.parquet, row 0: 'count' is nan"),
    ({"names": []}, r"names.parquet has no rows"),
    ({"ids": ["!!"], "names": [("!?", "!!", 1.0)], "relations": ()}, r"No name of the source has a letter"),
    ({"ids": ["bird", "tool", "bird"]}, r"entities.parquet, row 2: the id 'bird' is already in row 0"),
    ({"ids": ["bird", ""]}, r"entities.parquet, row 1: 'id' is empty"),
    ({"ids": []}, r"entities.parquet has no rows"),
    ({"relations": [("bird", "part", "nobody")]}, r"relations.parquet, row 0: the entity 'nobody'"),
    ({"surfaces": [("crane", 1.5)]}, r"surfaces.parquet, row 0: 'link_probability' is 1.5"),
])
def test_a_bad_row_is_one_sentence_that_names_it(tmp_path, change, sentence):
    source = write_source(tmp_path / "s", **change)
    with pytest.raises(OpenMofiError, match=sentence):
        build_table(source, tmp_path / "kb")


def test_wrong_columns_wrong_types_and_damage_are_one_sentence(tmp_path):
    source = write_source(tmp_path / "s")
    write_table(source / "names.parquet", pa.table({"name": ["a"], "id": ["bird"]}))
    with pytest.raises(OpenMofiError, match=r"names\.parquet cannot be read: .*entity"):
        build_table(source, tmp_path / "kb")
    write_table(source / "names.parquet", pa.table({"name": ["a"], "entity": ["bird"], "count": ["many"]}))
    with pytest.raises(OpenMofiError, match=r"names\.parquet cannot be read: .*'many'.*count \(float\)"):
        build_table(source, tmp_path / "kb2")
    (source / "names.parquet").write_bytes(b"PAR1")
    with pytest.raises(OpenMofiError, match=r"names\.parquet cannot be read"):
        build_table(source, tmp_path / "kb3")
    with pytest.raises(OpenMofiError, match=r"has no entities\.parquet"):
        build_table(tmp_path / "nowhere", tmp_path / "kb5")
