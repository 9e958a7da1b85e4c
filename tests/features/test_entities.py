"""Entities are embedded once, and a job's are one mapped table whose embeddings depend on nothing but it."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from zlib import crc32

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmofi.encoders import as_encoder
from openmofi.encoders.companions import ClassVectors, Companions
from openmofi.engine import LocalEngine, Quiet
from openmofi.errors import OpenMofiError
from openmofi.features import entities as entities_module
from openmofi.features.entities import embed_entities, entity_table
from openmofi.features.entity_table import (
    BLOCK,
    EntityEmbeddings,
    EntityFeatures,
    has_entity_table,
    write_entity_table,
)
from openmofi.knowledge import KnowledgeBase, build_table
from openmofi.storage import table_files as blocks_module
from terminal import PATIENCE

ENTITIES, DIM, TEMPLATE = 300, 6, "{name}"


def vectors(texts):
    return np.stack([np.random.default_rng(crc32(str(text).encode())).standard_normal(DIM) for text in texts])


class Said(Quiet):
    def __init__(self):
        self.messages = []

    def say(self, message):
        self.messages.append(message)


@pytest.fixture(scope="module")
def kb(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kb")
    (folder / "source").mkdir()
    rows = "".join(f"e{number},thing {number}\n" for number in range(ENTITIES))
    (folder / "source/entities.csv").write_text(f"id,name\n{rows}")
    build_table(folder / "source", folder / "kb")
    return KnowledgeBase.open(folder / "kb")


@pytest.fixture
def texts(monkeypatch):
    """The texts that were embedded, in blocks of 32, at most two of them a task."""
    for name, value in (("_TOGETHER", 32), ("_TASKS", 2), ("_MOST", 2), ("BLOCK_ROWS", 64), ("_OPEN", 2)):
        monkeypatch.setattr(entities_module, name, value)
    monkeypatch.setattr(blocks_module, "BLOCK_ROWS", 64)
    return []


@pytest.fixture
def encoder(texts):
    def embed(some):
        if "thing" in str(some[0]):  # not what the encoder is probed with
            texts.extend(some)
        return vectors(some)

    return as_encoder((lambda images: vectors([image.tobytes() for image in images]), embed))


def check(table, kb, rows):
    ids = sorted(kb.ids(rows))
    assert table.ids.to_pylist() == ids
    expected = vectors([kb.entity(kb.row(entity)).name for entity in ids]).astype(np.float16)
    np.testing.assert_array_equal(table.features, expected.astype(np.float32))
    blocks = [table.block(number) for number in range(-(-len(ids) // BLOCK))]
    np.testing.assert_array_equal(np.concatenate(blocks), table.features)


def made(kb, encoder, rows, cache, progress=None):
    return entity_table(kb, encoder, np.asarray(rows), TEMPLATE, cache, LocalEngine(), progress or Quiet())


def test_a_job_embeds_what_no_job_before_it_has_and_sorts_its_own(kb, encoder, texts, tmp_path):
    first, second, third = np.arange(0, ENTITIES, 3), np.arange(0, ENTITIES, 2), np.arange(5, ENTITIES)
    for rows in (first, second, third):
        check(made(kb, encoder, rows, tmp_path), kb, rows)
    every = {kb.entity(row).name for row in {*first, *second, *third}}
    assert sorted(texts) == sorted(every)
    # The order in which the store was filled leaves no trace.
    fresh = made(kb, encoder, second, tmp_path / "fresh")
    table = made(kb, encoder, second, tmp_path)
    for ending in ("ids", "features"):
        one, other = (Path(f"{each.path}.{ending}.arrow").read_bytes() for each in (table, fresh))
        assert one == other


def test_a_table_is_found_again_without_its_store(kb, encoder, texts, tmp_path):
    rows = np.arange(100)
    path = made(kb, encoder, rows, tmp_path).path
    for block in tmp_path.glob("entities/*/*.parquet"):
        block.unlink()
    del texts[:]
    again = made(kb, encoder, rows, tmp_path)
    assert again.path == path
    check(again, kb, rows)
    assert not texts
    assert made(kb, encoder, rows[1:], tmp_path).path != path


@pytest.mark.parametrize("ending", ["ids.arrow", "features.arrow"])
def test_a_table_that_was_cut_off_is_made_again(kb, encoder, texts, tmp_path, ending):
    path = made(kb, encoder, np.arange(100), tmp_path).path
    with open(f"{path}.{ending}", "r+b") as file:
        file.truncate(500)
    assert not has_entity_table(path)
    check(made(kb, encoder, np.arange(100), tmp_path), kb, np.arange(100))
    assert len(texts) == 100


def cut_off(path):
    path.write_bytes(path.read_bytes()[:-9])


def spoil(path):
    """Of the features alone; the end of the file is as it was."""
    column = pq.read_metadata(path).row_group(0).column(2)
    assert column.path_in_schema.startswith("feature")
    raw, start = bytearray(path.read_bytes()), column.dictionary_page_offset or column.data_page_offset
    raw[start : start + 30] = bytes(30)
    path.write_bytes(raw)


@pytest.mark.parametrize("damage", [cut_off, spoil])
def test_a_damaged_block_is_said_and_embedded_again(kb, encoder, texts, tmp_path, damage):
    made(kb, encoder, np.arange(200), tmp_path)
    damage(min(tmp_path.glob("entities/*/*.parquet")))
    progress = Said()
    check(made(kb, encoder, np.arange(190), tmp_path, progress), kb, np.arange(190))
    assert ["is damaged: its entities are embedded again" in said for said in progress.messages] == [True]
    assert 200 < len(texts) <= 264


def test_no_entity_makes_an_empty_table(kb, encoder, tmp_path):
    table = made(kb, encoder, np.arange(0), tmp_path)
    assert len(table) == 0
    assert table.rows(pa.array([], pa.string())).tolist() == []
    assert EntityEmbeddings(encoder, table).of(np.zeros(0, np.int64)).shape == (0, DIM)


def test_few_entities_are_held_in_memory(kb, encoder, texts, tmp_path):
    ids = sorted(kb.ids(np.arange(70)))
    held = embed_entities(kb, encoder, ids, TEMPLATE, tmp_path, LocalEngine(), Quiet())
    check(held, kb, np.arange(70))
    assert not list(tmp_path.glob("entities/*/*.arrow"))
    with pytest.raises(OpenMofiError, match="entity none is not in the knowledge base"):
        embed_entities(kb, encoder, ["e1", "none"], TEMPLATE, tmp_path, LocalEngine(), Quiet())


def test_an_entity_that_is_not_there_is_named(kb, encoder, texts, tmp_path):
    table = made(kb, encoder, np.arange(50), tmp_path)
    assert table.places(pa.array(["e9", "x", "e10"])).tolist() == [49, -1, 2]
    with pytest.raises(OpenMofiError, match="The entity x has no embedding"):
        table.rows(pa.array(["e9", "x"]))


@given(st.integers(1, 40_000_000))
def test_tasks_are_few_and_cut_at_the_same_places_after_a_kill(count):
    rows = np.zeros(count, np.int8)
    tasks = entities_module._blocks(rows)
    sizes = [len(task.rows) for task in tasks]
    assert sum(sizes) == count
    assert len({*sizes[:-1]}) <= 1
    assert all(size % 1024 == 0 for size in sizes[:-1])
    assert max(sizes) <= 16_384
    assert len(tasks) <= max(128, -(-count // 16_384))


class Lopsided(SimpleNamespace):
    """Whose projection depends on the batch, as a matrix product's last bits do."""

    def project_texts(self, features):
        place = np.arange(len(features), dtype=np.float32)[:, None] / 1000 + np.float32(len(features))
        return features[:, :4] * 2 + place


def lopsided(entities, dim=5, **more):
    features = np.random.default_rng(0).standard_normal((entities, dim)).astype(np.float16)
    ids = pa.array([f"e{number:06d}" for number in range(entities)])
    encoder = Lopsided(dim=4, companions=Companions(), **more)
    return encoder, EntityFeatures.of(ids, features)


@given(st.data())
def test_an_embedding_does_not_depend_on_who_is_asked_for_with_it(data):
    count = data.draw(st.integers(1, 100))
    encoder, features = lopsided(count)
    most = data.draw(st.sampled_from([0, 600, 1 << 20]))
    expected = EntityEmbeddings(encoder, features).of(np.arange(count))
    embeddings = EntityEmbeddings(encoder, features, most)
    for rows in data.draw(st.lists(st.lists(st.integers(0, count - 1)), max_size=6)):
        np.testing.assert_array_equal(embeddings.of(np.array(rows, np.int64)), expected[rows])
        assert len(embeddings.kept) * BLOCK * 16 <= max(most, BLOCK * 16)


def test_what_was_asked_for_last_is_kept():
    encoder, features = lopsided(5 * BLOCK)
    embeddings = EntityEmbeddings(encoder, features, 3 * BLOCK * 16)
    for number in (0, 1, 2, 0, 3):
        embeddings.of(np.array([number * BLOCK]))
    assert list(embeddings.kept) == [2, 0, 3]


@pytest.mark.parametrize("ids", [["e000001", "e000003", "x"], ["x", "e000003", "e000001"]])
def test_what_an_encoder_has_learned_of_entities_is_added(ids):
    encoder, features = lopsided(8)
    plain = EntityEmbeddings(encoder, features).of(np.arange(8))
    learned = ClassVectors(pa.array(ids), np.arange(12, dtype=np.float32).reshape(3, 4))
    encoder.companions = SimpleNamespace(class_vectors=learned)
    found = EntityEmbeddings(encoder, features).of(np.array([3, 0, 1]))
    added = {entity: learned.vectors[number] for number, entity in enumerate(ids)}
    for row, place in zip((3, 0, 1), found, strict=True):
        expected = plain[row] + added.get(f"e{row:06d}", 0)
        np.testing.assert_allclose(place, expected / np.linalg.norm(expected), rtol=1e-5)


@pytest.mark.slow
def test_a_worker_holds_what_it_asks_for(tmp_path):
    count, dim = 400_000, 256
    ids = pa.array([f"e{number:06d}" for number in range(count)])
    parts = (np.full((10_000, dim), number, np.float16) for number in range(count // 10_000))
    write_entity_table(str(tmp_path / "t"), ids, dim, parts)
    program = f"""
import numpy as np, pyarrow as pa
from types import SimpleNamespace
from openmofi.encoders.companions import Companions
from openmofi.features.entity_table import EntityEmbeddings, EntityFeatures
def private():
    return int(open("/proc/self/status").read().split("RssAnon:")[1].split()[0])
before = private()
table = EntityFeatures.open({str(tmp_path / "t")!r})
encoder = SimpleNamespace(dim={dim}, companions=Companions(), project_texts=lambda features: features)
rows = table.rows(pa.array([f"e{{number:06d}}" for number in range(0, {count}, 1000)]))
found = EntityEmbeddings(encoder, table).of(rows)
assert found[:, 0].tolist() == [number // 10_000 for number in range(0, {count}, 1000)]
print(private() - before)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE, check=True)
    # The table has 200 MB, as float32 400.
    assert int(done.stdout) < 60_000
