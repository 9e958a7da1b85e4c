import hashlib
import random
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kb_tables import DEFAULT_NAMES, ENTITY_IDS, write_source

from openmofi.errors import OpenMofiError
from openmofi.knowledge import BuildSettings, KnowledgeBase, ProjectionSettings, build_table, normalise
from openmofi.knowledge.candidates import COUNTED, candidate_lists
from openmofi.storage import write_table


def digest(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


ROWS = st.lists(
    st.tuples(
        st.sampled_from(["apple", "Apples", "APPLE", "java", "Java island", "java-islands", "c++", "!!", "りんご"]),
        st.sampled_from(ENTITY_IDS),
        st.integers(1, 9).map(float),
    ),
    min_size=1,
    max_size=60,
)


@given(rows=ROWS, limit=st.integers(1, 8), size=st.integers(1, 70))
@settings(max_examples=200, derandomize=True)
def test_candidate_lists_equal_a_plain_count_however_they_are_cut_into_parts(rows, limit, size):
    counts = defaultdict(lambda: defaultdict(float))
    for name, entity, count in rows:
        if normalise(name):
            counts[normalise(name)][ENTITY_IDS.index(entity)] += count
    counted = pa.Table.from_pylist(
        sorted(
            (
                {"key": normalise(name), "row": ENTITY_IDS.index(entity), "count": count, "occurrences": 2 * count}
                for name, entity, count in rows
                if normalise(name)
            ),
            key=lambda row: tuple(row.values()),
        ),
        COUNTED,
    )
    parts = [counted.slice(start, size) for start in range(0, len(counted), size)]
    found = [*candidate_lists(iter(parts), limit)]
    lists = [row for table, _ in found for row in table.to_pylist()]
    assert [row["key"] for row in lists] == sorted(counts)
    for row in lists:
        of_key = counts[row["key"]]
        expected = sorted(of_key.items(), key=lambda item: (-item[1], item[0]))[:limit]
        assert row["rows"] == [entity for entity, _ in expected]
        assert row["commonness"] == pytest.approx([count / sum(of_key.values()) for _, count in expected])
        assert row["link_probability"] == 0.5
    assert sum(cut for _, cut in found) == sum(max(len(of_key) - limit, 0) for of_key in counts.values())


def test_a_base_has_the_candidates_of_a_plain_count(tmp_path):
    """Through the files, the joins and the trie; names of a key in several spellings and in no order."""
    draw = random.Random(3)
    spelt = [f"{word}{end}" for word in ("apple", "Java", "java island", "りんご", "c++") for end in ("", "s", "!")]
    names = [(draw.choice([*spelt, "!!"]), draw.choice(ENTITY_IDS), float(draw.randint(1, 9))) for _ in range(500)]
    names += [(f"name {number}", draw.choice(ENTITY_IDS), 1.0) for number in range(3000)]
    build_table(write_source(tmp_path / "s", names=names), tmp_path / "kb", BuildSettings(candidates=4))
    kb = KnowledgeBase.open(tmp_path / "kb")
    counts = defaultdict(Counter)
    for name, entity, count in names:
        counts[normalise(name)][ENTITY_IDS.index(entity)] += count
    unnameable = counts.pop("").total() and sum(not normalise(name) for name, _, _ in names)
    for row, entity in enumerate(ENTITY_IDS):
        counts[entity].setdefault(row, 1.0)
    assert set(kb.names.keys()) == set(counts)
    for key, of_key in counts.items():
        expected = sorted(of_key.items(), key=lambda item: (-item[1], item[0]))[:4]
        found = kb.candidates(key)
        assert found.rows.tolist() == [row for row, _ in expected]
        assert found.priors.tolist() == pytest.approx([count / of_key.total() for _, count in expected])
        assert kb.link_probability(key) == 1.0
    of = kb.manifest.counts
    assert (of["unnameable"], of["names"]) == (unnameable, len(counts))
    assert of["cut"] == sum(max(len(of_key) - 4, 0) for of_key in counts.values())
    assert of["candidates"] == sum(min(len(of_key), 4) for of_key in counts.values())
    assert of["ambiguous_names"] == sum(len(of_key) > 1 for of_key in counts.values())


@pytest.mark.parametrize("kind", ["names", "nothing"])
def test_a_source_without_a_nameable_name_is_refused(tmp_path, kind):
    source = write_source(tmp_path / "s", ids=["!!"], names=[("!?", "!!", 1.0)], relations=())
    if kind == "nothing":
        (source / "names.parquet").unlink()
    with pytest.raises(OpenMofiError, match="No name of the source has a letter or a digit"):
        build_table(source, tmp_path / "kb")
    assert not (tmp_path / "kb").exists()


def test_link_probability_is_mentions_over_occurrences_of_all_spellings(tmp_path):
    """A spelling has its own row's, else the least of its key's, else 1; of a name's rows the first counts."""
    names = [
        ("May", "bird", 3.0),
        ("may", "tool", 1.0),
        ("MAY", "steel", 2.0),
        ("march", "tool", 2.0),
        ("april", "tool", 1.0),
    ]
    surfaces = [("May", 0.5), ("may", 0.1), ("March", 0.25), ("May", 0.9), ("April", 0.0), ("unheard of", 0.5)]
    build_table(write_source(tmp_path / "s", names=names, surfaces=surfaces), tmp_path / "kb")
    kb = KnowledgeBase.open(tmp_path / "kb")
    assert kb.link_probability("may") == pytest.approx(6 / (3 / 0.5 + 1 / 0.1 + 2 / 0.1))
    assert kb.link_probability("march") == pytest.approx(0.25)
    assert kb.link_probability("april") == pytest.approx(1e-6)
    assert kb.link_probability("stork") == 1.0


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


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
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
    ],
)
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
