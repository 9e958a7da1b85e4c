"""Relations of a base as look-ups, against tables and graphs that networkx and pandas hold."""

import json
import shutil
import tempfile
from pathlib import Path

import networkx as nx
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kb_tables import ENTITY_IDS, write_source
from typer.testing import CliRunner

import openmofi
from openmofi.cli.main import app
from openmofi.errors import UnknownEntityError
from openmofi.knowledge import KnowledgeBase, Relation, build_table
from openmofi.knowledge.relations import FILES, INSTANCE, SUBCLASS
from openmofi.plugins.bases.export import export_kb
from openmofi.plugins.bases.sample import sample_kb
from openmofi.storage import read_manifest

IDS = [f"Q{number}" for number in range(1, 9)]
KINDS = ("subclass of", "instance of", "hypernym", "instance_hypernym", "parent taxon", "part of", "ähnlich")
EDGES = st.lists(st.tuples(st.sampled_from(IDS), st.sampled_from(KINDS), st.sampled_from(IDS)), min_size=1, max_size=40)


def built(folder: Path, edges, ids=tuple(IDS)) -> KnowledgeBase:
    build_table(write_source(folder / "source", ids=ids, names=[("a", ids[0], 1.0)], relations=edges), folder / "kb")
    return KnowledgeBase(folder / "kb", read_manifest(folder / "kb"))


def files(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in FILES if (folder / name).exists()}


def above(edges, entity: str) -> set[str]:
    """By networkx: the classes of an entity and what these are subclasses of."""
    graph = nx.DiGraph([(head, tail) for head, kind, tail in edges if kind in SUBCLASS])
    graph.add_nodes_from(IDS)
    direct = {tail for head, kind, tail in edges if head == entity and kind in (*SUBCLASS, *INSTANCE)}
    return {each for tail in direct for each in (tail, *nx.descendants(graph, tail))} - {entity}


@given(edges=EDGES)
@settings(max_examples=12, deadline=None, derandomize=True)
def test_look_ups_are_those_of_the_tables_and_the_graph(edges):
    with tempfile.TemporaryDirectory() as temporary:
        kb = built(Path(temporary), edges)
        table = pd.DataFrame(edges, columns=["head", "name", "tail"]).drop_duplicates()
        reached = {entity: above(edges, entity) for entity in IDS}
        for entity in IDS:
            there = table[table["head"] == entity].sort_values(["name", "tail"])
            assert [(each.name, each.entity.id) for each in kb.relations(entity)] == list(
                zip(there["name"], there["tail"], strict=True)
            )
            classes, members = kb.ancestors(entity), kb.subtypes(entity)
            assert set(classes) == reached[entity]
            assert set(members) == {each for each in IDS if entity in reached[each]}
            assert (len(set(classes)), len(set(members))) == (len(classes), len(members))


@given(edges=EDGES, kept=st.sets(st.sampled_from(IDS), min_size=1))
@settings(max_examples=8, deadline=None, derandomize=True)
def test_a_slice_has_the_relations_between_its_entities_and_all_of_them_the_same_bytes(edges, kept):
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        kb = built(folder, edges)
        sample_kb(kb, folder / "all", entities=IDS)
        assert files(folder / "all") == files(folder / "kb")
        sample_kb(kb, folder / "slice", entities=sorted({*kept, "Q1"}))
        ids = [each for each in IDS if each in {*kept, "Q1"}]
        between = [edge for edge in edges if edge[0] in ids and edge[2] in ids]
        (folder / "again").mkdir()
        assert files(folder / "slice") == (files(built(folder / "again", between, ids).path) if between else {})


@given(edges=EDGES)
@settings(max_examples=8, deadline=None, derandomize=True)
def test_what_is_built_of_an_export_has_the_same_relations_and_vectors(edges):
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        kb = built(folder, edges)
        assert export_kb(kb, folder / "tables").counts["relations"] == len(set(edges))
        assert pq.read_table(folder / "tables/relations.parquet").num_rows == len(set(edges))
        build_table(folder / "tables", folder / "again")
        assert files(folder / "again") == files(folder / "kb")
        assert (folder / "again/vectors.npy").read_bytes() == (folder / "kb/vectors.npy").read_bytes()


def test_rows_in_another_order_give_the_same_bytes(tmp_path):
    edges = [(head, kind, tail) for head in IDS for kind in KINDS for tail in IDS]
    one = built(tmp_path / "one", edges)
    other = built(tmp_path / "other", [*reversed(edges), *edges[:9]])
    assert files(one.path) == files(other.path)
    assert one.beside.relations.kinds.dtype == np.uint8


def test_more_names_of_relations_than_a_byte_holds(tmp_path):
    kb = built(tmp_path, [("Q1", f"r{number}", "Q2") for number in range(300)])
    assert kb.beside.relations.kinds.dtype == np.uint16
    assert [each.name for each in kb.relations("Q1")] == sorted(f"r{number}" for number in range(300))


def test_a_base_without_relations_opens_and_knows_none(tmp_path):
    build_table(write_source(tmp_path / "source", relations=()), tmp_path / "kb")
    kb = KnowledgeBase.open(tmp_path / "kb")
    assert not files(tmp_path / "kb")
    assert kb.relations("bird") == kb.ancestors("bird") == kb.subtypes("bird") == []
    assert export_kb(kb, tmp_path / "tables").counts["relations"] == 0
    assert not (tmp_path / "tables/relations.parquet").exists()


def test_the_nearest_come_first_and_a_class_of_a_class_is_none_of_its_members(tmp_path):
    edges = [
        ("Q1", "instance of", "Q2"),
        ("Q2", "subclass of", "Q3"),
        ("Q3", "subclass of", "Q4"),
        ("Q2", "instance of", "Q5"),
        ("Q5", "subclass of", "Q6"),
    ]
    kb = built(tmp_path, edges)
    assert kb.ancestors("Q1") == ["Q2", "Q3", "Q4"]
    assert kb.ancestors("Q2") == ["Q3", "Q5", "Q4", "Q6"]
    assert kb.subtypes("Q4") == ["Q3", "Q2", "Q1"]
    assert kb.subtypes("Q6") == ["Q5", "Q2"]
    assert kb.relations("Q3") == [Relation("subclass of", kb["Q4"])]
    with pytest.raises(UnknownEntityError, match="no entity 'Q99'"):
        kb.ancestors("Q99")


def test_a_redirect_is_followed(tmp_path):
    build_table(write_source(tmp_path / "a"), tmp_path / "kb")
    (tmp_path / "same.csv").write_text("id,same_as\nstork,bird\n")
    kb = openmofi.union_kb([tmp_path / "kb"], tmp_path / "out", same_as=tmp_path / "same.csv")
    assert kb.ancestors("bird") == kb.ancestors("stork") == ["wader"]
    assert kb.subtypes("wader") == ["stork"]


def test_a_missing_file_of_relations_is_one_sentence(tmp_path):
    build_table(write_source(tmp_path / "source"), tmp_path / "kb")
    shutil.copytree(tmp_path / "kb", tmp_path / "copy")
    (tmp_path / "copy/relations/tails.npy").unlink()
    with pytest.raises(openmofi.OpenMofiError, match=r"tails\.npy is missing"):
        KnowledgeBase.open(tmp_path / "copy")


def test_info_shows_the_classes_with_most_members(tmp_path):
    build_table(write_source(tmp_path / "source"), tmp_path / "kb")
    done = CliRunner().invoke(app, ["kb", "info", str(tmp_path / "kb"), "--json"])
    assert json.loads(done.stdout)["classes"] == {"wader Wader": 2, "tool Tool": 1}
    assert ENTITY_IDS[0] in KnowledgeBase.open(tmp_path / "kb")
