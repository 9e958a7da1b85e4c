"""A label job over a base with reference images: the same in several processes; and an index over one."""

import shutil
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

import openmofi
from openmofi.encoders.companions import Companions
from openmofi.engine import LocalEngine, Quiet
from openmofi.features.entities import embed_entities
from openmofi.features.entity_table import EntityEmbeddings
from openmofi.knowledge import KnowledgeBase
from openmofi.knowledge.texts import DEFAULT_TEMPLATE
from openmofi.pairs import read_pairs
from openmofi.storage import expand_shards, read_manifest
from small_world import SHAPES, drawn_image

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def base(small_world, tmp_path_factory):
    """The small world's base with six images of each shape."""
    folder, draw = tmp_path_factory.mktemp("base"), np.random.default_rng(3)
    for entity in SHAPES:
        (folder / "images" / entity).mkdir(parents=True)
        for number in range(6):
            (folder / "images" / entity / f"{number}.jpg").write_bytes(drawn_image(entity, draw))
    shutil.copytree(small_world.kb, folder / "kb")
    counts = openmofi.add_images(folder / "kb", folder / "images")
    assert counts["status"] == {"ok": 6 * len(SHAPES)}
    return folder / "kb"


def probabilities(out):
    tables = [pq.read_table(path) for path in sorted((out / "labels").glob("*.parquet"))]
    return {
        (row["key"], each["entity"]): each["probability"]
        for table in tables
        for row in table.to_pylist()
        for each in row["entities"]
    }


def test_labels_are_made_with_them(base, small_world, small_encoder, labelled, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    openmofi.label(small_world.shards, kb=base, encoder=small_encoder, out=one, progress=False)
    report = read_manifest(one, "labels").counts["references"]
    assert (report["entities"], report["images"]) == (8, 48)
    assert set(report["sizes"]) == {"1", "2", "3", "5"}
    assert "references" not in read_manifest(labelled, "labels").counts
    assert probabilities(one) != probabilities(labelled)
    openmofi.label(small_world.shards, kb=base, encoder=small_encoder, out=two, engine="processes:2", progress=False)
    for path in sorted((one / "labels").glob("*.parquet")):
        assert path.read_bytes() == (two / "labels" / path.name).read_bytes()


@pytest.mark.parametrize("part", [64, 1])
def test_no_image_of_the_pairs_is_a_reference(
    base, small_world, small_encoder, labelled, tmp_path, capsys, monkeypatch, part
):
    monkeypatch.setattr("openmofi.engine.two_pass.PART", part)
    own = tmp_path / "own"
    pairs = [pair for shard in expand_shards([str(small_world.shards)]) for pair in read_pairs(shard)]
    named = {row["key"]: row["entities"] for row in openmofi.Labels.open(labelled)}
    for pair in pairs:
        for each in named[pair.key] if pair.image else ():
            (own / "images" / each["entity"]).mkdir(parents=True, exist_ok=True)
            (own / "images" / each["entity"] / f"{pair.key}.jpg").write_bytes(pair.image)
    shutil.copytree(small_world.kb, own / "kb")
    assert openmofi.add_images(own / "kb", own / "images")["images"] > 8
    openmofi.label(small_world.shards, kb=own / "kb", encoder=small_encoder, out=tmp_path / "out", progress=True)
    assert "they are left out" in capsys.readouterr().err
    assert probabilities(tmp_path / "out") == probabilities(labelled)
    assert "references" not in read_manifest(tmp_path / "out", "labels").counts


def test_an_index_knows_entities_by_them(base, small_world, small_encoder, tmp_path):
    opened, encoder = KnowledgeBase.open(base), openmofi.load_encoder(small_encoder)
    index = openmofi.build_index(
        small_world.shards, kb=base, encoder=encoder, out=tmp_path / "index", entities="all", progress=False
    )
    ids = sorted(opened)
    features = embed_entities(opened, encoder, ids, DEFAULT_TEMPLATE, tmp_path, LocalEngine(), Quiet(), images=True)
    expected = EntityEmbeddings(replace(encoder, companions=Companions()), features).of(np.arange(len(ids)))
    found = np.stack([index.state.entities[index.state.entity_numbers[entity]] for entity in ids])
    np.testing.assert_allclose(found, expected, atol=2e-3)
    assert np.abs(expected - encoder.project_texts(features.features)).max() > 0.02
    draw = np.random.default_rng(99)
    best = [index.recognise(drawn_image(entity, draw), limit=1).entities[0].entity.id for entity in SHAPES]
    assert sum(map(str.__eq__, best, SHAPES)) >= 6
