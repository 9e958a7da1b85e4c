import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kb_tables import ENTITY_IDS, write_source
from typer.testing import CliRunner

import openmofi
from openmofi.cli.main import app
from openmofi.errors import OpenMofiError, UsageError
from openmofi.knowledge import KnowledgeBase, build_table, verify
from openmofi.plugins.bases import sample as sampling
from openmofi.plugins.bases.sample import read_ids, sample_kb

ENTITIES = """id,name,description,types,popularity,aliases
Q1,Grey crane,a wading bird,bird|animal,3,crane|common crane
Q2,Tower crane,a machine,machine,5,crane
Q3,White stork,a bird,bird|animal,9,stork
Q4,Port of Hamburg,a seaport,place,1,
Q5,!!,a sign without a name,sign,1,
"""


@pytest.fixture
def kb(tmp_path):
    (tmp_path / "entities.csv").write_text(ENTITIES)
    (tmp_path / "names.csv").write_text("name,entity,count\ncrane,Q1,1\ncrane,Q2,3\n")
    (tmp_path / "relations.csv").write_text("head,tail\nQ1,Q3\nQ2,Q4\n")
    (tmp_path / "surfaces.csv").write_text("name,link_probability\ncrane,0.5\nstork,0.25\n")
    build_table(tmp_path, tmp_path / "kb")
    return KnowledgeBase.open(tmp_path / "kb")


def require_slice(part, kb, ids):
    """Everything of a slice is what it was in the base, and nothing else is there."""
    assert list(part) == [entity_id for entity_id in kb if entity_id in set(ids)]
    rows = kb.rows(list(part))
    assert part.entities.equals(kb.entities.take(pa.array(rows)))
    assert part.stored_vectors(range(len(part))).tobytes() == kb.stored_vectors(rows).tobytes()
    seen = set()
    for key in kb.names.iterkeys():
        candidates = kb.candidates(key, 1000)
        stay = np.isin(candidates.rows, rows)
        if stay.any():
            seen.add(key)
            assert part.ids(part.candidates(key, 1000).rows) == kb.ids(candidates.rows[stay])
            assert part.candidates(key, 1000).priors.tolist() == candidates.priors[stay].tolist()
            assert part.link_probability(key) == kb.link_probability(key)
    assert set(part.names.keys()) == seen


def test_of_types_by_the_front_door(kb, tmp_path):
    part = openmofi.sample_kb(kb, tmp_path / "birds", types=["bird"])
    require_slice(part, kb, ["Q1", "Q3"])
    assert part.candidates("crane").priors.tolist() == [0.25]
    assert part.link_probability("stork") == 0.25
    assert [near.entity.id for near in part.neighbours("Q1")] == ["Q3"]
    assert not any(verify(tmp_path / "birds").values())
    manifest = part.manifest
    assert manifest.inputs == {"knowledge_base": kb.fingerprint}
    assert manifest.settings["types"] == ["bird"]
    assert manifest.settings["source"] == kb.manifest.settings
    assert (manifest.counts["source_entities"], manifest.counts["entities"]) == (5, 2)
    assert part.fingerprint != kb.fingerprint


@given(
    ids=st.sets(st.sampled_from([*ENTITY_IDS, "unknown"]), min_size=1).filter(lambda ids: ids != {"unknown"}),
    block=st.integers(1, 20),
)
@settings(max_examples=40, deadline=None)
def test_any_entities_keep_what_is_theirs(ids, block, tmp_path_factory):
    folder = tmp_path_factory.mktemp("slice")
    build_table(write_source(folder / "source", surfaces=[("hot", 0.25)]), folder / "kb")
    kb = KnowledgeBase.open(folder / "kb")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sampling, "_BLOCK", block)
        sample_kb(kb, folder / "part", entities=sorted(ids))
    part = KnowledgeBase.open(folder / "part")
    assert set(part) == ids - {"unknown"}
    require_slice(part, kb, ids)


def test_most_keeps_the_most_popular(kb, tmp_path):
    part = openmofi.sample_kb(kb, tmp_path / "part", types=["bird", "machine", "place"], most=2)
    assert set(part) == {"Q2", "Q3"}
    require_slice(part, kb, ["Q2", "Q3"])


def test_of_a_file_of_entities(kb, tmp_path, caplog):
    (tmp_path / "ids.txt").write_text("\ufeffQ4\n\n Q1 \nQ404\n", "utf-8")
    require_slice(openmofi.sample_kb(kb, tmp_path / "text", entities=tmp_path / "ids.txt"), kb, ["Q1", "Q4"])
    assert "1 of 3 entities are not in" in caplog.text
    assert "'Q404'" in caplog.text
    for name in ("id", "entity", "whatever"):
        pq.write_table(pa.table({name: ["Q4", None, "Q1"]}), tmp_path / f"{name}.parquet")
        assert read_ids(tmp_path / f"{name}.parquet") == ["Q4", "Q1"]
    pq.write_table(pa.table({"a": ["Q4"], "b": ["Q1"]}), tmp_path / "two.parquet")
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "latin.txt").write_bytes(b"\xe9")
    for name, says in (
        ("two.parquet", "has no column 'id'"),
        ("empty.txt", "names no entity"),
        ("latin.txt", "cannot be read"),
        ("absent.txt", "cannot be read: No such file"),
    ):
        with pytest.raises(OpenMofiError, match=says):
            read_ids(tmp_path / name)


@pytest.mark.slow
def test_of_the_entities_of_labels(small_world, labelled, tmp_path):
    labels = openmofi.Labels.open(labelled)
    kb = KnowledgeBase.open(small_world.kb)
    assert set(labels.accepted().column("entity").to_pylist()) <= set(labels.entities()) <= set(kb)
    require_slice(openmofi.sample_kb(kb, tmp_path / "part", labels=labels), kb, labels.entities())
    done = CliRunner().invoke(
        app, ["kb", "sample", str(small_world.kb), "-o", str(tmp_path / "part"), "--labels", str(labelled), "--json"]
    )  # it is there, and equal
    assert json.loads(done.stdout)["entities"] == len(labels.entities())


def test_the_command(kb, tmp_path):
    done = CliRunner().invoke(
        app,
        ["kb", "sample", str(kb.path), "-o", str(tmp_path / "part"), "--types", "bird, place", "--max", "2", "--json"],
    )
    assert done.exit_code == 0
    assert json.loads(done.stdout)["inputs"] == {"knowledge_base": kb.fingerprint}
    require_slice(KnowledgeBase.open(tmp_path / "part"), kb, ["Q1", "Q3"])
    assert "sample" in CliRunner().invoke(app, ["kb", "info", str(tmp_path / "part")]).stdout
    assert (
        "size on disk"
        in CliRunner()
        .invoke(app, ["kb", "sample", str(kb.path), "-o", str(tmp_path / "more"), "--types", "bird"])
        .stdout
    )


@pytest.mark.parametrize(
    ("chosen", "error", "says"),
    [
        (
            {"types": ["brid"]},
            UsageError,
            r"has the type 'brid'\. Did you mean 'bird'\? Its commonest types are animal \(2\)",
        ),
        ({"entities": ["Q404"]}, OpenMofiError, "No slice is left of .*: it has none of the entities"),
        ({"entities": ["Q5"]}, OpenMofiError, "no name may mean one of the 1 entities"),
        ({"types": ["bird"], "most": 0}, UsageError, "would be empty"),
        ({}, UsageError, "Give one of the three"),
        ({"types": ["bird"], "entities": ["Q1"]}, UsageError, "Give one of the three"),
    ],
)
def test_what_gives_no_slice_leaves_nothing(kb, tmp_path, chosen, error, says):
    with pytest.raises(error, match=says):
        openmofi.sample_kb(kb, tmp_path / "part", **chosen)
    assert not [path for path in (tmp_path / "part").glob("*") if not path.name.startswith(".")]


def test_an_output_that_is_taken_is_refused_or_begun_anew(kb, tmp_path):
    with pytest.raises(OpenMofiError, match="is not empty"):
        openmofi.sample_kb(kb, tmp_path, types=["bird"])
    with pytest.raises(UsageError, match="is the knowledge base that is sampled from"):
        openmofi.sample_kb(kb, kb.path, types=["bird"], restart=True)
    assert not any(verify(kb.path).values())
    openmofi.sample_kb(kb, tmp_path / "part", types=["bird"])
    with pytest.raises(OpenMofiError, match="was made with other settings"):
        openmofi.sample_kb(kb, tmp_path / "part", types=["place"])
    part = openmofi.sample_kb(kb, tmp_path / "part", types=["place"], restart=True)
    require_slice(part, kb, ["Q4"])


def test_a_base_without_types_says_so(tmp_path):
    (tmp_path / "entities.csv").write_text("id,name\nQ1,crane\n")
    build_table(tmp_path, tmp_path / "kb")
    with pytest.raises(UsageError, match="Its entities have no types"):
        openmofi.sample_kb(tmp_path / "kb", tmp_path / "part", types=["bird"])
