import json
import shutil
from collections import Counter

import pyarrow.parquet as pq
import pytest

from openmofi.dataset import DatasetSettings, build_dataset, read_statistics
from openmofi.dataset.objects import Dataset
from openmofi.errors import OpenMofiError
from openmofi.schema import DATASET, VOCABULARY
from openmofi.storage import read_manifest


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def plain(world, minimum):
    """The dataset without near-duplicate removal, by dictionaries."""
    found = {}
    for shard in world.shards:
        for row in pq.read_table(world.labels / "labels" / f"{shard.name}.parquet").to_pylist():
            scores = {}
            for entity in row["entities"]:
                if entity["accepted"]:
                    scores[entity["entity"]] = max(scores.get(entity["entity"], 0), entity["probability"])
            if row["status"] == "labelled":
                found[shard.name, row["key"]] = scores
    counts = Counter(entity for scores in found.values() for entity in scores)
    return {
        pair: kept
        for pair, scores in found.items()
        if (kept := {entity: score for entity, score in scores.items() if counts[entity] >= minimum})
    }


@pytest.fixture(scope="module")
def built(world, tmp_path_factory):
    out = tmp_path_factory.mktemp("built") / "dataset"
    return out, build_dataset(world.labels, out, DatasetSettings(8, None, None))


def test_rows_are_those_of_the_plain_way(world, built):
    out, _ = built
    rows = [
        row for shard in world.shards for row in pq.read_table(out / "images" / f"{shard.name}.parquet").to_pylist()
    ]
    assert {
        (row["shard"], row["key"]): dict(zip(row["entities"], row["scores"], strict=True)) for row in rows
    } == plain(world, 8)
    assert all(row["scores"] == sorted(row["scores"], reverse=True) for row in rows)
    assert any(len(row["entities"]) > 1 for row in rows)


def test_a_dataset_has_a_length_and_gives_its_rows(world, built):
    dataset = Dataset.open(built[0])
    rows = list(dataset)
    assert len(dataset) == len(rows) == dataset.to_pandas()["shard"].size
    assert rows == dataset.to_arrow().to_pylist()
    assert list(rows[0]) == ["shard", *(name for name in DATASET.names if name != "shard")]


def test_vocabulary_has_most_images_first_and_ties_by_id(world, built):
    out, statistics = built
    vocabulary = pq.read_table(out / "vocabulary.parquet")
    assert vocabulary.schema.equals(VOCABULARY)
    rows = vocabulary.to_pylist()
    counts = Counter(entity for scores in plain(world, 8).values() for entity in scores)
    assert {row["id"]: row["images"] for row in rows} == dict(counts)
    assert [row["id"] for row in rows] == sorted(counts, key=lambda entity: (-counts[entity], entity))
    assert [row["class_id"] for row in rows] == list(range(statistics.entities))
    classes = {row["class_id"]: row["id"] for row in rows}
    table = pq.read_table(out / "images" / f"{world.shards[1].name}.parquet")
    assert table.schema.equals(DATASET)
    assert all([classes[number] for number in row["classes"]] == row["entities"] for row in table.to_pylist())


def test_every_row_is_accounted_for(world, built):
    out, statistics = built
    assert statistics.rows == 240 == sum(statistics.statuses.values())
    assert sum(statistics.outcomes.values()) == statistics.statuses["labelled"]
    assert statistics.outcomes["below_minimum"] > 0
    assert sum(int(size) * count for size, count in statistics.entities_per_image.items()) == statistics.labels
    stages = list(statistics.funnel.values())
    assert stages == sorted(stages, reverse=True)
    assert (stages[0], stages[-1]) == (statistics.rows, statistics.images)
    assert read_statistics(out) == statistics
    assert read_manifest(out, "dataset").counts["images"] == statistics.images


def test_without_a_knowledge_base_an_entity_is_called_as_the_texts_call_it(built):
    rows = pq.read_table(built[0] / "vocabulary.parquet").to_pylist()
    assert all(row["name"] == f"name{int(row['id'][1:]) // 2}" for row in rows)


def test_a_knowledge_base_gives_names_and_types(world, lookup, tmp_path):
    statistics = build_dataset(world.labels, tmp_path / "d", DatasetSettings(3), kb=lookup, report=False)
    rows = {row["id"]: row["name"] for row in pq.read_table(tmp_path / "d" / "vocabulary.parquet").to_pylist()}
    assert rows["e2"] == "Thing 2 <b>"
    assert rows["e15"] == "e15"  # not in this knowledge base: called by its identifier
    assert sum(kind["entities"] for kind in statistics.types.values()) == sum(int(name[1:]) < 14 for name in rows)


def test_card_tells_the_chain_and_the_counts(world, built):
    card = (built[0] / "DATASET_CARD.md").read_text()
    assert read_manifest(world.labels).fingerprint in card
    assert read_manifest(built[0]).fingerprint in card
    assert f"| **all** | **{built[1].rows}** |" in card
    assert '"encoder": "drawn"' in card
    assert "report.html" in card


def test_a_second_build_gives_the_same_bytes(world, built, tmp_path):
    build_dataset(world.labels, tmp_path / "d", DatasetSettings(8, None, None))
    assert contents(tmp_path / "d") == contents(built[0])


def test_a_build_that_was_stopped_goes_on_to_the_same_bytes(world, built, tmp_path, monkeypatch):
    out = tmp_path / "d"
    with monkeypatch.context() as patch:
        patch.setattr("openmofi.dataset.build.write_card", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            build_dataset(world.labels, out, DatasetSettings(8, None, None))
    (out / "images" / f"{world.shards[1].name}.parquet").unlink()
    assert not read_manifest(out).finished
    assert build_dataset(world.labels, out, DatasetSettings(8, None, None)) == built[1]
    assert contents(out) == contents(built[0])


def test_a_finished_dataset_is_not_built_again(world, built):
    before = contents(built[0])
    assert build_dataset(world.labels, built[0], DatasetSettings(8, None, None)) == built[1]
    assert contents(built[0]) == before


def test_other_settings_in_the_same_folder_are_refused(world, built):
    with pytest.raises(OpenMofiError, match="min_images: 8 → 9"):
        build_dataset(world.labels, built[0], DatasetSettings(9, None, None))


def test_near_duplicates_stay_out(rows, small_labels, tmp_path):
    mention = [{"start": 0, "end": 5, "surface": "apple", "detector": "gazetteer"}]

    def row(key, phash, entity="a"):
        judged = [rows.judgement(entity, 0, 0.9, True, "accepted")]
        return rows.label_row(key, "apple", "labelled", mention, judged, phash)

    tables = {
        "s0": [row("k0", 3**30), row("k1", 3**30 ^ 7), row("k2", 5**20)],
        "s1": [row("k0", 3**30 ^ 1), row("k1", 3**30, "b"), row("k2", 5**20, "b")],
    }
    statistics = build_dataset(small_labels(tables), tmp_path / "d", DatasetSettings(2), report=False)
    keys = [
        (name, key)
        for name in tables
        for key in pq.read_table(tmp_path / "d" / "images" / f"{name}.parquet")["key"].to_pylist()
    ]
    assert keys == [("s0", "k0"), ("s0", "k2"), ("s1", "k1"), ("s1", "k2")]
    assert statistics.outcomes["near_duplicate"] == 2


def test_nothing_left_is_said_and_leaves_no_dataset(world, tmp_path):
    with pytest.raises(OpenMofiError, match=r"None of the .* keeps 5000 images; the commonest has \d+"):
        build_dataset(world.labels, tmp_path / "d", DatasetSettings(5000))
    assert {path.name for path in (tmp_path / "d").iterdir()} == {"manifest.json", "collected"}


def test_labels_without_any_accepted_label_are_said(rows, small_labels, tmp_path):
    labels = small_labels({"s0": [rows.label_row("k", "text", "no_mention")], "s1": []})
    with pytest.raises(OpenMofiError, match="no accepted label among its 1 rows"):
        build_dataset(labels, tmp_path / "d")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: json_edit(folder, finished=False), "is not finished"),
        (lambda folder: json_edit(folder, kind="world"), "holds 'world'"),
        (lambda folder: json_edit(folder, settings={}), "list of shards in .* cannot be read"),
        (lambda folder: json_edit(folder, settings={"shards": []}), "has no shards"),
        (lambda folder: (folder / "labels" / "pairs-001.parquet").unlink(), "pairs-001.parquet is missing"),
        (lambda folder: (folder / "labels" / "pairs-001.parquet").write_bytes(b"PAR1"), "cannot be read"),
    ],
)
def test_damaged_labels_give_one_sentence(world, tmp_path, damage, said):
    shutil.copytree(world.labels, tmp_path / "labels")
    damage(tmp_path / "labels")
    with pytest.raises(OpenMofiError, match=said):
        build_dataset(tmp_path / "labels", tmp_path / "d")


def json_edit(folder, **changes):
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
