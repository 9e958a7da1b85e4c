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
from openmofi.errors import OpenMofiError, UsageError
from openmofi.knowledge import KnowledgeBase, build_table, normalise
from openmofi.knowledge.builders.source import SourceTables
from openmofi.knowledge.relations import FILES
from openmofi.plugins.bases.diff import diff_kb
from openmofi.plugins.bases.export import export_kb
from openmofi.plugins.bases.sample import sample_kb
from openmofi.plugins.bases.tables import Part, unite
from openmofi.schema import ENTITIES, NAMES, RELATIONS, SURFACES
from openmofi.storage import fingerprint

WORDS = ("apple", "Apples", "java", "Java island", "c++", "りんご")
IDS = ("Q1", "Q2", "Q3", "Q4")
TABLES = st.fixed_dictionaries(
    {
        "entities": st.dictionaries(
            st.sampled_from(IDS),
            st.tuples(
                st.sampled_from(WORDS),
                st.sampled_from(("", "a", "bb")),
                st.sampled_from(((), ("x",), ("y", "x"))),
                st.integers(0, 3).map(float),
            ),
            min_size=1,
        ),
        "names": st.dictionaries(st.tuples(st.sampled_from(WORDS), st.sampled_from(IDS)), st.integers(1, 9).map(float)),
        "relations": st.sets(st.tuples(st.sampled_from(IDS), st.just("r"), st.sampled_from(IDS))),
        "surfaces": st.dictionaries(st.sampled_from(WORDS), st.sampled_from((0.125, 0.25, 0.5, 1.0))),
        "weight": st.sampled_from((0.5, 1.0, 2.0)),
    }
)
SAME = st.sampled_from(((), (("Q1", "Q2"),), (("Q1", "Q2"), ("Q3", "Q1"))))


def columns(rows, schema):
    return pa.table([list(column) for column in zip(*rows, strict=True)] or [[] for _ in schema], schema=schema)


def part(made) -> Part:
    known = made["entities"]
    own = {(name, key): 1.0 for key, (name, *_) in known.items()}
    tables = SourceTables(
        columns(
            [
                (key, name, description, list(types), popularity)
                for key, (name, description, types, popularity) in known.items()
            ],
            ENTITIES,
        ),
        columns([(name, key, count) for (name, key), count in {**own, **made["names"]}.items() if key in known], NAMES),
        columns([row for row in sorted(made["relations"]) if {row[0], row[2]} <= known.keys()], RELATIONS),
        columns(list(made["surfaces"].items()), SURFACES),
    )
    return Part("part", fingerprint(sorted(map(str, made.items()))), tables, made["weight"])


def plain(tables):
    return {name: getattr(tables, name).to_pylist() for name in ("entities", "names", "relations", "surfaces")}


def known_pairs(parts, same):
    there = {key for each in parts for key in each.tables.entities.column("id").to_pylist()}
    return [pair for pair in same if set(pair) <= there]


def counted(tables):
    """Key → entity → count, and key → link probability, as documented, in plain Python."""
    link = dict(zip(*(tables.surfaces.column(name).to_pylist() for name in SURFACES.names), strict=True))
    least = {}
    for name, probability in link.items():
        least[normalise(name)] = min(probability, least.get(normalise(name), 1.0))
    counts, seen = {}, {}
    for row in tables.names.to_pylist():
        key = normalise(row["name"])
        of = counts.setdefault(key, {})
        of[row["entity"]] = of.get(row["entity"], 0.0) + row["count"]
        seen[key] = seen.get(key, 0.0) + row["count"] / link.get(row["name"], least.get(key, 1.0))
    return counts, {key: sum(of.values()) / seen[key] for key, of in counts.items()}, seen


@given(made=st.lists(TABLES, min_size=1, max_size=3, unique_by=str), same=SAME, order=st.randoms())
@settings(max_examples=150, deadline=None, derandomize=True)
def test_the_order_of_the_parts_changes_nothing(made, same, order):
    parts = [part(each) for each in made]
    pairs = known_pairs(parts, same)
    first = unite(parts, pairs)
    order.shuffle(parts)
    again = unite(parts, pairs)
    assert plain(again.tables) == plain(first.tables)
    assert again.conflicts.equals(first.conflicts)


@given(made=st.lists(TABLES, min_size=1, max_size=3, unique_by=str), same=SAME)
@settings(max_examples=150, deadline=None, derandomize=True)
def test_counts_and_link_probabilities_are_those_of_the_formula(made, same):
    parts = [part(each) for each in made]
    pairs = known_pairs(parts, same)
    united = unite(parts, pairs)
    into = united.redirects
    counts, seen = {}, {}
    for each in parts:
        of_part, _, seen_in_part = counted(each.tables)
        for key, of in of_part.items():
            seen[key] = seen.get(key, 0.0) + each.weight * seen_in_part[key]
            for entity, count in of.items():
                place = (key, into.get(entity, entity))
                counts[place] = counts.get(place, 0.0) + each.weight * count
    found, link, _ = counted(united.tables)
    assert {(key, entity): count for key, of in found.items() for entity, count in of.items()} == pytest.approx(counts)
    totals = {}
    for (key, _), count in counts.items():
        totals[key] = totals.get(key, 0.0) + count
    assert link == pytest.approx({key: total / seen[key] for key, total in totals.items()}, rel=1e-5)
    ids = united.tables.entities.column("id").to_pylist()
    assert len(ids) == len(set(ids))
    assert set(ids) == {into.get(key, key) for each in made for key in each["entities"]}


@given(made=TABLES)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_the_union_of_one_is_that_one(made):
    alone = part({**made, "weight": 1.0})
    united = unite([alone]).tables
    assert united.entities.equals(alone.tables.entities)
    assert counted(united)[0] == counted(alone.tables)[0]
    assert counted(united)[1] == pytest.approx(counted(alone.tables)[1], rel=1e-6)
    distinct = {tuple(row.values()) for row in alone.tables.relations.to_pylist() if row["head"] != row["tail"]}
    assert {tuple(row.values()) for row in united.relations.to_pylist()} == distinct


@pytest.fixture
def sources(tmp_path):
    """Tables a and b, which share an identifier and a name; what b calls grue is the stork of a."""
    write_source(tmp_path / "a", surfaces=[("hot", 0.25)])
    write_source(
        tmp_path / "b",
        ids=("bird", "grue", "auto"),
        names=[("crane", "auto", 2.0), ("Grue", "grue", 1.0)],
        relations=[("grue", "x", "auto")],
    )
    (tmp_path / "same.csv").write_text("id,same_as\nstork,grue\n")
    return tmp_path


def files(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".") and path.name != "manifest.json"
    }


def test_bases_in_any_order_give_the_same_bytes(sources):
    a, b = sources / "a", sources / "b"
    first = openmofi.union_kb([a, b], sources / "ab", weights=[2, 1], same_as=sources / "same.csv")
    again = openmofi.union_kb([b, a], sources / "ba", weights=[1, 2], same_as=sources / "same.csv")
    assert first.fingerprint == again.fingerprint
    assert files(sources / "ab") == files(sources / "ba")
    crane = {row["id"]: row["prior"] for row in first.lookup("crane")["candidates"]}
    assert crane == pytest.approx({"bird": 6 / 10, "machine": 2 / 10, "auto": 2 / 10})
    assert first.lookup("grue")["candidates"][0]["id"] == "stork"
    assert {near.entity.id for near in first.neighbours("stork", 3) if near.cosine > 0.1} & {"auto", "wader"}


def test_a_union_is_a_base_like_any(sources):
    one = openmofi.union_kb([sources / "a", sources / "b"], sources / "one", same_as=sources / "same.csv")
    alone = openmofi.union_kb([sources / "one"], sources / "alone")
    for name in ("entities.arrow", "vectors.npy", "names.marisa", "candidates/rows.npy", *FILES):
        assert (one.path / name).read_bytes() == (alone.path / name).read_bytes()
    assert alone.table.commonness.tolist() == pytest.approx(one.table.commonness.tolist(), rel=1e-6)
    assert list(sample_kb(one, sources / "slice", entities=["stork"])) == ["stork"]
    assert export_kb(one, sources / "tables").counts["entities"] == len(one)
    old = KnowledgeBase.open(_built(sources, "b"))
    assert diff_kb(old, one).first("merged")[0]["after"] == "stork"


def _built(sources, name):
    build_table(sources / name, sources / f"kb-{name}")
    return sources / f"kb-{name}"


def test_each_built_base_has_one_vote_a_name(sources):
    kb = openmofi.union_kb([_built(sources, "a"), _built(sources, "b")], sources / "out", weights=[3, 1])
    crane = {row["id"]: row["prior"] for row in kb.lookup("crane")["candidates"]}
    assert crane == pytest.approx({"bird": 3 / 4 * 3 / 4, "machine": 3 / 4 * 1 / 4, "auto": 1 / 4})
    assert kb.link_probability("hot") == pytest.approx(0.25)
    assert kb.entities.column("id").to_pylist().count("bird") == 1


def test_what_two_bases_say_of_one_identifier_is_named(sources, caplog):
    write_source(sources / "c", ids=("bird",), names=[("crane", "bird", 1.0)], relations=())
    (sources / "c/entities.parquet").unlink()
    (sources / "c/entities.csv").write_text("id,name,description,types\nbird,Crane,the long-legged bird,animal\n")
    kb = openmofi.union_kb([sources / "a", sources / "c"], sources / "out", weights=[1, 2])
    assert "2 contradictions" in caplog.text
    assert kb["bird"].description == "the long-legged bird"
    assert kb["bird"].types == ("animal", "thing")
    import pyarrow.parquet as pq

    assert pq.read_table(kb.path / "conflicts.parquet").to_pylist() == [
        {"id": "bird", "column": "description", "kept": "the long-legged bird", "other": "the bird"},
        {"id": "bird", "column": "name", "kept": "Crane", "other": "Bird"},
    ]


def test_attributions_go_on(sources):
    (sources / "a/ATTRIBUTION.md").write_text("By A.\n")
    (sources / "b/ATTRIBUTION.md").write_text("By B.\n")
    kb = openmofi.union_kb([sources / "b", sources / "a"], sources / "out")
    assert (kb.path / "ATTRIBUTION.md").read_text() == "By A.\n\nBy B.\n"


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ("stork,grue\ngrue,stork", "goes round in a circle: 'grue' → 'stork' → 'grue'"),
        ("stork,stork", "goes round in a circle: 'stork' → 'stork'"),
        ("stork,nobody", "names 'nobody', which is in none of the bases"),
        ("storc,grue", r"names 'storc', which is in none of the bases. Did you mean 'stork'\?"),
        ("stork,grue\nbird,grue", "says of 'grue' that it goes by 'stork' and by 'bird'"),
        ("stork,", "same.csv, line 2: an identifier is empty"),
    ],
)
def test_a_wrong_table_of_what_is_the_same_is_one_sentence(sources, rows, says):
    (sources / "same.csv").write_text(f"id,same_as\n{rows}\n")
    with pytest.raises(OpenMofiError, match=says):
        openmofi.union_kb([sources / "a", sources / "b"], sources / "out", same_as=sources / "same.csv")
    assert not (sources / "out").exists()
    assert not (sources / "out.tables/entities.parquet").exists()


def test_what_cannot_be_joined_is_one_sentence(sources):
    a, kb = sources / "a", _built(sources, "b")
    for given_, more, says in (
        ([kb, kb], {}, "are the same knowledge base"),
        ([kb, a], {"out": kb}, "is one of the bases that are joined"),
        ([], {}, "A union needs a knowledge base"),
        ([a], {"weights": [1, 2]}, "2 weights for 1"),
        ([a], {"weights": [0]}, "The weight 0 is not above 0"),
        ([a], {"same_as": a / "names.txt"}, r"names.txt is no table"),
    ):
        with pytest.raises(OpenMofiError, match=says):
            openmofi.union_kb(given_, **{"out": sources / "out", **more})
    manifest = kb / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"schema_version": 999}))
    with pytest.raises(OpenMofiError, match="999"):
        openmofi.union_kb([a, kb], sources / "out")


def test_the_command(sources):
    command = ["kb", "union", str(sources / "a"), str(sources / "b"), "-o", str(sources / "out"), "--json"]
    done = CliRunner().invoke(app, [*command, "--same-as", str(sources / "same.csv"), "--weights", "2,1"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["entities"] == 8
    other = CliRunner().invoke(app, [*command, "--weights", "1,1"])
    assert isinstance(other.exception, OpenMofiError)  # made with other settings
    with_words = CliRunner().invoke(app, [*command, "--weights", "a,b"])
    assert isinstance(with_words.exception, UsageError)


def test_a_stopped_union_goes_on(sources, monkeypatch):
    from openmofi.plugins.bases import union as build

    real = build.write_table

    def full(path, table, *rest):
        if Path(path).name == "relations.parquet":
            raise OSError(28, "No space left on device")
        real(path, table, *rest)

    monkeypatch.setattr(build, "write_table", full)
    with pytest.raises(OSError, match="No space"):
        openmofi.union_kb([sources / "a", sources / "b"], sources / "out")
    monkeypatch.undo()
    kb = openmofi.union_kb([sources / "a", sources / "b"], sources / "out")
    with tempfile.TemporaryDirectory() as folder:
        whole = openmofi.union_kb([sources / "a", sources / "b"], Path(folder) / "whole")
        assert files(whole.path) == files(kb.path)


def test_what_a_base_is_made_of_goes_with_slices_exports_and_what_is_built_of_them(sources):
    (sources / "a/ATTRIBUTION.md").write_text("By A.\n")
    build_table(sources / "a", sources / "kb")
    kb = KnowledgeBase.open(sources / "kb")
    sample_kb(kb, sources / "slice", entities=["bird"])
    export_kb(kb, sources / "tables")
    build_table(sources / "tables", sources / "again")
    for name in ("kb", "slice", "tables", "again"):
        assert (sources / name / "ATTRIBUTION.md").read_text() == "By A.\n"
    (sources / "b/ATTRIBUTION.md").unlink(missing_ok=True)
    build_table(sources / "b", sources / "kb-b")
    assert not (sources / "kb-b/ATTRIBUTION.md").exists()
