import json
import tempfile
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kb_tables import write_source
from typer.testing import CliRunner

import openmofi
from openmofi.cli.main import app
from openmofi.errors import OpenMofiError
from openmofi.knowledge import BuildSettings, KnowledgeBase, build_table
from openmofi.plugins.bases import export as exporting
from openmofi.plugins.bases.export import export_kb
from openmofi.schema import ENTITIES, NAMES, SURFACES
from openmofi.storage import read_manifest, write_table

WORDS = ("apple", "Apples", "java", "Java island", "c++", "りんご", "McDonald's", "ß", "!!")
IDS = ("Q1", "Q2", "Q3", "Q4")
SOURCES = st.fixed_dictionaries(
    {
        "own": st.lists(st.sampled_from(WORDS), min_size=4, max_size=4).filter(lambda own: set(own) != {"!!"}),
        "names": st.lists(
            st.tuples(
                st.sampled_from(WORDS),
                st.sampled_from(IDS),
                st.one_of(st.integers(1, 9).map(float), st.floats(2**-10, 2**20, width=32)),
            ),
            max_size=20,
        ),
        "surfaces": st.dictionaries(st.sampled_from(WORDS), st.floats(0, 1, width=32)),
    }
)


def columns(rows, schema):
    return pa.table([list(column) for column in zip(*rows, strict=True)] or [[] for _ in schema], schema=schema)


def write(folder: Path, source) -> Path:
    write_table(
        folder / "entities.parquet",
        columns(
            [(key, name, f"the {key}", ["x"], 2.0) for key, name in zip(IDS, source["own"], strict=True)], ENTITIES
        ),
    )
    if source["names"]:
        write_table(folder / "names.parquet", columns(source["names"], NAMES))
    if source["surfaces"]:
        write_table(folder / "surfaces.parquet", columns(list(source["surfaces"].items()), SURFACES))
    return folder


def built(source: Path, out: Path, limit: int = 30) -> KnowledgeBase:
    build_table(source, out, BuildSettings(candidates=limit))
    return KnowledgeBase(out, read_manifest(out))


def lists(kb):
    return {key: (kb.ids(kb.candidates(key).rows), kb.candidates(key).priors) for key in kb.names.iterkeys()}


@given(source=SOURCES)
@settings(max_examples=60, deadline=None)
def test_what_is_built_of_an_export_has_the_same_names_candidates_and_priors(source):
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        first = built(write(folder / "source", source), folder / "kb")
        export_kb(first, folder / "tables")
        again = built(folder / "tables", folder / "again")
        assert again.entities.equals(first.entities)
        before, after = lists(first), lists(again)
        assert before.keys() == after.keys()
        for key, (ids, priors) in before.items():
            assert after[key][0] == ids
            assert after[key][1] == pytest.approx(priors, rel=1e-5, abs=1e-9)
            assert again.link_probability(key) == pytest.approx(first.link_probability(key), rel=1e-5)


@given(source=SOURCES, limit=st.integers(1, 3))
@settings(max_examples=40, deadline=None)
def test_where_candidates_were_cut_those_that_stayed_keep_order_and_ratios(source, limit):
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        first = built(write(folder / "source", source), folder / "kb", limit)
        export_kb(first, folder / "tables")
        again = built(folder / "tables", folder / "again", limit)
        before, after = lists(first), lists(again)
        assert before.keys() == after.keys()
        for key, (ids, priors) in before.items():
            assert after[key][0] == ids
            assert after[key][1] / after[key][1][0] == pytest.approx(priors / priors[0], rel=1e-4, abs=1e-9)
            assert after[key][1].sum() >= priors.sum() - 1e-5
            assert again.link_probability(key) == pytest.approx(first.link_probability(key), rel=1e-5)


def test_equal_commonness_in_falling_rows_keeps_its_order(tmp_path):
    names = [("apple", "Q1", 1.0), ("apple", "Q2", 1.0), ("Apples", "Q2", 1e-9), ("apple", "Q3", 1.0)]
    first = built(
        write(tmp_path / "source", {"own": ["a", "b", "c", "d"], "names": names, "surfaces": {}}), tmp_path / "kb"
    )
    order = first.ids(first.candidates("apple").rows)
    assert order == ["Q2", "Q1", "Q3"]
    assert len(set(first.candidates("apple").priors.tolist())) == 1
    export_kb(first, tmp_path / "tables")
    again = built(tmp_path / "tables", tmp_path / "again")
    assert again.ids(again.candidates("apple").rows) == order


def test_blocks_of_any_size_give_the_same_tables(tmp_path, monkeypatch):
    build_table(write_source(tmp_path / "source", surfaces=[("hot", 0.25)]), tmp_path / "kb")
    export_kb(tmp_path / "kb", tmp_path / "one")
    monkeypatch.setattr(exporting, "_BLOCK", 2)
    export_kb(tmp_path / "kb", tmp_path / "two")
    for name in exporting.FILES:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_its_manifest_says_what_it_is_of_and_it_goes_on(tmp_path):
    build_table(write_source(tmp_path / "source"), tmp_path / "kb")
    manifest = openmofi.export_kb(tmp_path / "kb", tmp_path / "tables")
    assert manifest.inputs == {"knowledge_base": KnowledgeBase.open(tmp_path / "kb").fingerprint}
    assert manifest.counts["most_candidates"] == 2
    assert (manifest.counts["incomplete_names"], manifest.counts["relations"]) == (0, 4)
    whole = {name: (tmp_path / "tables" / name).read_bytes() for name in exporting.FILES}
    stopped = json.loads((tmp_path / "tables/manifest.json").read_text()) | {"finished": False, "counts": {}}
    (tmp_path / "tables/manifest.json").write_text(json.dumps(stopped))
    (tmp_path / "tables/names.parquet").unlink()
    assert export_kb(tmp_path / "kb", tmp_path / "tables") == manifest
    assert {name: (tmp_path / "tables" / name).read_bytes() for name in exporting.FILES} == whole


def test_the_command_says_how_to_build_it_again(tmp_path):
    build_table(write_source(tmp_path / "source"), tmp_path / "kb")
    done = CliRunner().invoke(app, ["kb", "export", str(tmp_path / "kb"), "-o", str(tmp_path / "tables")])
    assert done.exit_code == 0
    assert "--candidates 30 -o KB" in done.stdout


def test_an_output_that_is_taken_is_refused(tmp_path):
    build_table(write_source(tmp_path / "source"), tmp_path / "kb")
    for folder, says in (("source", "is not empty"), ("kb", "holds 'knowledge_base'")):
        with pytest.raises(OpenMofiError, match=says):
            export_kb(tmp_path / "kb", tmp_path / folder)
    with pytest.raises(OpenMofiError, match="is not a knowledge base"):
        export_kb(tmp_path / "source", tmp_path / "tables")
    assert not (tmp_path / "tables").exists()
