"""Format 2: several record batches, identifiers as numbers, built block by block within a set memory."""

import json
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kb_tables import ENTITY_IDS, resealed, write_source

from openmofi.errors import OpenMofiError, UnknownEntityError, UsageError
from openmofi.knowledge import KnowledgeBase, build_table, check_table, identifiers, layout, verify
from openmofi.knowledge.arrays import taken, taken_table
from openmofi.knowledge.builders import build as building
from openmofi.knowledge.builders import build as writers
from openmofi.knowledge.builders import tables
from openmofi.knowledge.database import connected, memory_bytes, part_file, tables_of
from openmofi.knowledge.identifiers import NumberedIds, numbers_of
from openmofi.plugins.bases.diff import diff_kb
from openmofi.plugins.bases.export import export_kb
from openmofi.plugins.bases.sample import sample_kb as sample
from openmofi.schema import ENTITIES, NAMES
from openmofi.storage import read_arrow, write_table
from terminal import in_process, sentence

from ..storage.mounts import small_disk

NUMBERED = [f"Q{number}" for number in (42, 7, 1000, 3, 999, 8, 2**31 - 1, 12, 100)]


def numbered_source(folder: Path, ids=NUMBERED) -> Path:
    names = [("crane", ids[0], 3.0), ("Cranes", ids[1], 1.0), *((f"name {each}", each, 2.0) for each in ids)]
    return write_source(folder, ids, names, [(ids[0], "part", ids[1]), (ids[2], "part", ids[0])])


def content(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "manifest.json"
    }


def everything(kb: KnowledgeBase) -> tuple:
    rows = np.arange(len(kb))[::-1]
    ids = kb.ids(rows)
    return (
        list(kb),
        ids,
        [kb[each] for each in ids],
        kb.rows([*ids, "Q5", "x"]).tolist(),
        kb.types(rows).to_pylist(),
        kb.entities.to_pylist(),
        [kb.names_of(each) for each in ids],
        kb.vectors(rows).tolist(),
        [(near.entity.id, near.cosine) for near in kb.neighbours(ids[0])],
        kb.lookup("crane"),
    )


@pytest.mark.parametrize("make", [write_source, numbered_source])
def test_several_record_batches_are_one_base(tmp_path, monkeypatch, make):
    source = make(tmp_path / "s")
    build_table(source, tmp_path / "one")
    monkeypatch.setattr(layout, "BATCH_ROWS", 2)
    build_table(source, tmp_path / "several")
    one, several = KnowledgeBase.open(tmp_path / "one"), KnowledgeBase.open(tmp_path / "several")
    assert one.entities.column("name").num_chunks == 1
    assert several.entities.column("name").num_chunks == -(-len(one) // 2)
    assert everything(several) == everything(one)
    assert not any(verify(several.path).values())
    assert diff_kb(one, several).counts == dict.fromkeys(diff_kb(one, one).counts, 0)
    for kb in (one, several):
        export_kb(kb, tmp_path / f"tables-{kb.path.name}")
        sample(kb, tmp_path / f"part-{kb.path.name}", types=["thing"], most=4)
    parts = [KnowledgeBase.open(tmp_path / f"part-{name}") for name in ("one", "several")]
    assert everything(parts[1]) == everything(parts[0])
    build_table(tmp_path / "tables-several", tmp_path / "again")
    assert everything(KnowledgeBase.open(tmp_path / "again"))[:3] == everything(one)[:3]


def test_a_slice_by_types_of_several_batches_has_the_entities_of_the_types(tmp_path, monkeypatch):
    monkeypatch.setattr(layout, "BATCH_ROWS", 2)
    rows = [
        {"id": f"e{number}", "name": f"n{number}", "description": "", "types": types, "popularity": 1.0}
        for number, types in enumerate([["a"], [], ["b", "a"], ["b"], ["a"], ["c"], ["b"]])
    ]
    write_table(tmp_path / "s/entities.parquet", pa.Table.from_pylist(rows, ENTITIES))
    build_table(tmp_path / "s", tmp_path / "kb")
    kb = KnowledgeBase.open(tmp_path / "kb")
    for types, expected in (
        (["a"], ["e0", "e2", "e4"]),
        (["b"], ["e2", "e3", "e6"]),
        (["c", "a"], ["e0", "e2", "e4", "e5"]),
    ):
        sample(kb, tmp_path / "-".join(types), types=types)
        assert list(KnowledgeBase.open(tmp_path / "-".join(types))) == expected


@given(st.lists(st.integers(0, 5), max_size=8), st.data())
@settings(derandomize=True)
def test_rows_are_taken_of_batches_of_any_sizes(sizes, data):
    whole = pa.table(
        [[f"v{number}" for number in range(sum(sizes))], [[number] for number in range(sum(sizes))]], names=["a", "b"]
    )
    starts = np.cumsum([0, *sizes]).tolist()
    parts = pa.Table.from_batches(
        [
            whole.slice(start, size).combine_chunks().to_batches()[0]
            for start, size in zip(starts, sizes, strict=False)
            if size
        ],
        whole.schema,
    )
    rows = data.draw(st.lists(st.integers(0, len(whole) - 1), max_size=20)) if len(whole) else []
    assert taken(parts.column("a"), rows).to_pylist() == [f"v{row}" for row in rows]
    assert taken_table(parts, rows).to_pylist() == [{"a": f"v{row}", "b": [row]} for row in rows]


IDS = st.one_of(
    st.integers(0, 2**31 + 5).map(lambda number: f"Q{number}"),
    st.sampled_from(["Q", "q42", "Q042", "Q-1", "Q4 2", "Q٣", "42", "", "QQ1", "Q1e3", "Q99999999999", "Q+1"]),
)


@given(st.sets(st.integers(1, 2**31 - 1), min_size=1, max_size=20), st.lists(IDS, max_size=20), st.randoms())
@settings(derandomize=True)
def test_numbered_ids_are_a_dictionary(numbers, others, draw):
    ids = [f"Q{number}" for number in numbers]
    draw.shuffle(ids)
    rows_of = {entity_id: row for row, entity_id in enumerate(ids)}
    stored = numbers_of(pa.chunked_array([ids]))
    order = np.argsort(stored).astype(np.int32)
    known = NumberedIds(stored[order], order)
    assert known.problem() == ""
    asked = [*ids, *others]
    assert known.rows(asked).tolist() == [rows_of.get(each, -1) for each in asked]
    assert [known.row(each) for each in asked] == [rows_of.get(each, -1) for each in asked]


@pytest.mark.parametrize("other", ["Q0", "Q01", "q1", "P31", "Q2147483648", "Q٣", "Q", "Q1 "])
def test_identifiers_of_another_form_are_a_trie(tmp_path, other):
    build_table(numbered_source(tmp_path / "s", [*NUMBERED, other]), tmp_path / "kb")
    kb = KnowledgeBase.open(tmp_path / "kb")
    assert (
        {"ids.marisa"}
        == {"ids.marisa", "ids.npy"} & set(content(kb.path))
        == {"ids.marisa"} & set(kb.manifest.counts["files"])
    )
    assert kb.rows([*NUMBERED, other]).tolist() == list(range(len(NUMBERED) + 1))


def test_numbered_identifiers_are_an_array_and_near_ones_are_named(tmp_path):
    build_table(numbered_source(tmp_path / "s"), tmp_path / "kb")
    kb = KnowledgeBase.open(tmp_path / "kb")
    assert np.load(kb.path / "ids.npy").tolist() == sorted(int(each[1:]) for each in NUMBERED)
    assert not (kb.path / "ids.marisa").exists()
    for unknown, says in (("Q9990", "Did you mean 'Q999'"), ("x", "look like 'Q42'")):
        with pytest.raises(UnknownEntityError, match=says):
            kb[unknown]
    order = np.argsort(numbers_of(pa.chunked_array([NUMBERED]))).astype(np.int32)
    known = NumberedIds(np.load(kb.path / "ids.npy"), order)
    assert (known.alike(" q42", 3), known.alike("Ω", 3), known.alike("Q101", 1)) == (["Q42"], [], ["Q100"])
    assert "Q42" in kb
    assert "Q5" not in kb


@pytest.mark.parametrize("wrong", [[3, 3, 7], [0, 3, 7], [7, 3, 8]])
def test_numbers_that_do_not_ascend_are_damage(tmp_path, wrong):
    build_table(numbered_source(tmp_path / "s", ["Q3", "Q5", "Q7"]), tmp_path / "kb")
    np.save(tmp_path / "kb/ids.npy", np.array(wrong, np.int32))
    with pytest.raises(OpenMofiError, match=r"ids\.npy does not hold ascending numbers"):
        KnowledgeBase.open(resealed(tmp_path / "kb"))


def test_format_1_is_refused_with_the_command_that_builds_it_again(tmp_path):
    build_table(write_source(tmp_path / "s"), tmp_path / "kb")
    path = tmp_path / "kb/manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema_version": 1}))
    done = in_process("kb", "lookup", tmp_path / "kb", "crane")
    assert sentence(done)
    said = " ".join(done.stderr.split())
    assert "has schema version 1; this OpenMOFI" in said
    assert "openmofi kb build table|wordnet|wikidata SOURCE -o FOLDER" in said
    with pytest.raises(OpenMofiError, match="kb build table"):
        verify(tmp_path / "kb")


def large_source(folder: Path) -> Path:
    draw = random.Random(0)
    ids = [f"Q{number}" for number in draw.sample(range(1, 10**6), 700)]
    names = [
        (f"{draw.choice('abcdef')} {draw.randint(1, 99)}", draw.choice(ids), draw.random() + 0.1) for _ in range(3000)
    ]
    relations = [(draw.choice(ids), "part", draw.choice(ids)) for _ in range(2000)]
    return write_source(folder, ids, names, relations, [(name, 0.5) for name, _, _ in names[::7]])


def test_blocks_of_any_size_memory_and_order_give_the_same_bytes(tmp_path, monkeypatch):
    source = large_source(tmp_path / "s")
    build_table(source, tmp_path / "one")
    monkeypatch.setattr(tables, "_BLOCK", 64)
    build_table(source, tmp_path / "blocks", memory="500MB")
    names = pa.parquet.read_table(source / "names.parquet")
    write_table(source / "names.parquet", names.take(np.random.default_rng(0).permutation(len(names))))
    build_table(source, tmp_path / "order", memory="8GiB")
    assert content(tmp_path / "one") == content(tmp_path / "blocks") == content(tmp_path / "order")


def test_problems_in_any_block_are_one_problem_each(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "_BLOCK", 2)
    names = [("crane", "bird", 1.0)] * 5 + [("owl", "nobody", 1.0), ("", "bird", 1.0)] * 8 + [("x", "bird", -1.0)]
    source = write_source(tmp_path / "s", names=names, ids=[*ENTITY_IDS, "bird", "bird"])
    with pytest.raises(OpenMofiError) as refused:
        build_table(source, tmp_path / "kb")
    assert [line.strip().partition(". ")[0] for line in str(refused.value).splitlines()[1:]] == [
        "entities.parquet, row 7: the id 'bird' is already in row 0 (1 more: row 8)",
        "names.parquet, row 6: 'name' is empty (7 more: row 8, row 10, row 12, row 14, row 16, …)",
        "names.parquet, row 21: 'count' is -1",
        "names.parquet, row 5: the entity 'nobody' is not in entities.parquet "
        "(7 more: row 7, row 9, row 11, row 13, row 15, …)",
    ]
    assert check_table(source)["problems"] == [line.strip() for line in str(refused.value).splitlines()[1:]]


def test_text_in_parquet_that_is_not_utf8_is_one_sentence(tmp_path):
    source = write_source(tmp_path / "s")
    bad = pa.StringArray.from_buffers(1, pa.array([0, 1], pa.int32()).buffers()[1], pa.py_buffer(b"\xff"))
    pa.parquet.write_table(
        pa.table([bad, ["bird"], pa.array([1.0], pa.float32())], schema=NAMES), source / "names.parquet"
    )
    with pytest.raises(OpenMofiError, match=r"^names\.parquet cannot be read: .*UTF8"):
        build_table(source, tmp_path / "kb")


@pytest.mark.parametrize("memory", ["", "much", "4", "8 GX", "-1GB", "0.1GB"])
def test_what_is_no_size_of_memory_is_refused_before_anything_is_read(tmp_path, memory):
    with pytest.raises(UsageError, match=r"is no size of memory|is too little"):
        build_table(write_source(tmp_path / "s"), tmp_path / "kb", memory=memory)
    assert not (tmp_path / "kb").exists()


def test_sizes_of_memory():
    assert [memory_bytes(each) for each in ("8GB", "0.5 GiB", "512mib", "1.5TB")] == [
        8 * 10**9,
        2**29,
        2**29,
        15 * 10**11,
    ]


def test_what_needs_more_memory_is_refused_and_not_tried(tmp_path, monkeypatch):
    monkeypatch.setattr(writers, "memory_needed", lambda *_: 5 * 10**9)
    with pytest.raises(
        OpenMofiError,
        match=r"^Vectors of 7 entities over 4 relations need 5\.3 GB of memory, and the "
        r"build may use 4\.0 GB",
    ):
        build_table(write_source(tmp_path / "s"), tmp_path / "kb")
    with pytest.raises(OpenMofiError):
        KnowledgeBase.open(tmp_path / "kb")
    monkeypatch.undo()
    assert build_table(tmp_path / "s", tmp_path / "kb").finished


def test_a_build_that_was_killed_leaves_nothing_that_opens_and_goes_on(tmp_path, monkeypatch):
    """Killed between any two of its steps; the next build begins anew and removes what lies there."""
    source = write_source(tmp_path / "s")
    build_table(source, tmp_path / "whole")
    for step in ("write_lists", "write_vectors", "with_digests"):
        out = tmp_path / step
        code = (
            "import os, sys\nfrom openmofi.knowledge.builders import build\n"
            f"build.{step} = lambda *_: os._exit(9)\nbuild.build_table(sys.argv[1], sys.argv[2])"
        )
        assert subprocess.run([sys.executable, "-c", code, str(source), str(out)], check=False).returncode == 9
        with pytest.raises(OpenMofiError, match="is not finished"):
            KnowledgeBase.open(out)
        assert (out / ".build").is_dir() or step == "with_digests"
        build_table(source, out)
        assert content(out) == content(tmp_path / "whole")
    assert building.build_table(source, tmp_path / "whole").finished


def test_rows_are_sorted_on_disk_where_memory_is_short(tmp_path):
    with connected(tmp_path, 40_000_000) as connection:
        parts = tables_of(connection, "SELECT md5(i::TEXT) AS key, i AS row FROM range(1000000) AS t(i) ORDER BY 1")
        first = next(parts)
        assert sum(path.stat().st_size for path in (tmp_path / "spilled").iterdir()) > 10_000_000
        keys = pa.concat_tables([first, *parts])
    assert len(keys) == 1_000_000
    assert keys.column("row").to_numpy().sum() == 499_999_500_000
    assert pc.all(pc.less(keys.column("key").slice(0, len(keys) - 1), keys.column("key").slice(1))).as_py()
    assert not any(tmp_path.iterdir())


def test_a_disk_that_is_full_while_rows_are_sorted_is_one_sentence(tmp_path):
    with (
        small_disk(tmp_path / "disk", "2m") as disk,
        pytest.raises(OpenMofiError, match="The disk is full: "),
        connected(disk, 30_000_000) as connection,
    ):
        for _ in tables_of(connection, "SELECT md5(range::VARCHAR) AS key FROM range(2000000) ORDER BY key"):
            pass


def test_a_disk_that_is_full_at_a_part_is_one_sentence(tmp_path):
    def write(path):
        with part_file(path, pa.schema([("bits", pa.binary())])) as add:
            for seed in range(8):
                add(pa.table({"bits": [np.random.default_rng(seed).bytes(400_000)]}))

    with small_disk(tmp_path / "disk", "1m") as disk, pytest.raises(OpenMofiError, match="The disk is full: "):
        write(disk / "part")


def test_the_entities_of_a_built_base_are_those_of_its_source(tmp_path):
    source = large_source(tmp_path / "s")
    build_table(source, tmp_path / "kb")
    assert read_arrow(tmp_path / "kb/entities.arrow").equals(pa.parquet.read_table(source / "entities.parquet"))
    assert identifiers.NUMBERS in KnowledgeBase.open(tmp_path / "kb").manifest.counts["files"]
