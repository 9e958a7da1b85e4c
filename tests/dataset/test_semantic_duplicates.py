"""A dataset without semantic duplicates: from the features that the label job kept."""

import io
import json
import re
import shutil
from dataclasses import asdict

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from refused import ADDRESSES, SAID, unasked
from typer.testing import CliRunner

from openmofi.cli.dataset import app
from openmofi.dataset import DatasetSettings, build, build_dataset
from openmofi.dataset.passes import Passes
from openmofi.encoders import as_encoder
from openmofi.errors import OpenMofiError, UsageError
from openmofi.features.images import compute_features, shard_source
from openmofi.features.store import FeatureStore
from openmofi.pairs import Record, write_tar
from openmofi.plugins.semantic_duplicates import noted_features
from openmofi.schema import LABELS
from openmofi.storage import Shard, claim_folder, finish_manifest, read_manifest, write_arrow, write_table

SETTINGS = DatasetSettings(1, near_duplicates=None, semantic_duplicates=0.95)


def picture(number, light=0):
    coarse = np.random.default_rng(number).integers(0, 200, (6, 6, 3), dtype=np.uint8) + np.uint8(light)
    data = io.BytesIO()
    Image.fromarray(coarse).resize((96, 80), Image.Resampling.BICUBIC).save(data, "PNG")
    return data.getvalue()


def colours(images):
    small = [np.asarray(image.convert("RGB").resize((8, 8)), np.float32).reshape(-1) for image in images]
    return np.stack(small) - np.mean(small, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def encoder():
    return as_encoder((colours, lambda texts: np.ones((len(texts), 192), np.float32)))


@pytest.fixture
def labels(rows, tmp_path, encoder):
    """Two shards of five pictures, the second of which repeats the first a little lighter; a picture has no label."""
    mention = [{"start": 0, "end": 5, "surface": "apple", "detector": "gazetteer"}]
    store = FeatureStore(str(tmp_path / "cache"), encoder)
    shards, tables = [], []
    for number in range(2):
        path = tmp_path / "pairs" / f"s{number}.tar"
        write_tar(path, [Record(f"k{row}", picture(row, 20 * number), "apple") for row in range(5)])
        shards.append(Shard(str(path), f"s{number}"))
        # The first two of the second shard are more probable, the others as probable as theirs.
        score = [0.8 + 0.1 * (number and row < 2) for row in range(5)]
        judged = [[rows.judgement("a", 0, score[row], True, "accepted")] for row in range(5)]
        tables.append([rows.label_row(f"k{row}", "apple", "labelled", mention, judged[row]) for row in range(5)])
        compute_features(shard_source(shards[-1], as_labelled=True), store)
    tables[1][4] = rows.label_row("k4", "apple", "rejected", mention, [])
    folder = tmp_path / "labels"
    manifest = claim_folder(
        folder,
        "labels",
        {"shards": [asdict(shard) for shard in shards], "encoder": "colours"},
        {shard.name: shard.fingerprint for shard in shards},
    )
    for shard, table in zip(shards, tables, strict=True):
        write_table(folder / "labels" / f"{shard.name}.parquet", pa.Table.from_pylist(table, LABELS))
    store.note(folder)
    finish_manifest(folder, manifest, {})
    return folder


def kept(out):
    return {(row["shard"], row["key"]) for row in pq.read_table(out / "images").to_pylist()}


def contents(folder):
    return {
        path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "manifest.json"
    }


LEFT = {("s1", "k0"), ("s1", "k1"), ("s0", "k2"), ("s0", "k3"), ("s0", "k4")}


def test_the_more_probable_of_alike_images_stays_and_the_others_are_counted(labels, tmp_path):
    statistics = build_dataset(labels, tmp_path / "d", SETTINGS, report=False)
    assert kept(tmp_path / "d") == LEFT
    assert (statistics.outcomes["kept"], statistics.outcomes["semantic_duplicate"]) == (5, 4)
    assert read_manifest(tmp_path / "d").counts["semantic_duplicate"] == 4
    card = (tmp_path / "d" / "DATASET_CARD.md").read_text()
    assert "a cosine of at least 0.95" in card
    assert "| semantic\\_duplicate | 4 |" in card or "| semantic_duplicate | 4 |" in card


def test_without_it_all_stay_and_nothing_is_said(labels, tmp_path):
    shutil.rmtree(tmp_path / "cache")
    build_dataset(labels, tmp_path / "d", DatasetSettings(1, near_duplicates=None), report=False)
    assert len(kept(tmp_path / "d")) == 9
    assert "semantic_duplicate" not in read_manifest(tmp_path / "d").counts
    assert "cosine" not in (tmp_path / "d" / "DATASET_CARD.md").read_text()


def test_features_that_are_gone_are_computed_by_a_named_encoder_alone(labels, encoder, tmp_path):
    build_dataset(labels, tmp_path / "d", SETTINGS, report=False)
    shutil.rmtree(tmp_path / "cache")
    with pytest.raises(OpenMofiError, match=r"not where its job kept them: .*s0-.* --encoder colours"):
        build_dataset(labels, tmp_path / "none", SETTINGS, report=False)
    assert not (tmp_path / "cache").exists()
    build_dataset(labels, tmp_path / "again", SETTINGS, encoder=encoder, report=False)
    assert kept(tmp_path / "again") == LEFT
    with pytest.raises(OpenMofiError, match="was made with other"):
        build_dataset(labels, tmp_path / "again", SETTINGS, report=False)


def test_a_build_that_was_stopped_goes_on_to_the_same_bytes(labels, tmp_path, monkeypatch):
    build_dataset(labels, tmp_path / "whole", SETTINGS, report=False)

    def stop(*_, **__):
        raise KeyboardInterrupt

    for where, name in (
        (Passes, "write"),
        (build, "_vocabulary_table"),
        (build, "finish_manifest"),
        (build, "keep"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(where, name, stop)
            with pytest.raises(KeyboardInterrupt):
                build_dataset(labels, tmp_path / "d", SETTINGS, report=False)
        assert not [path for path in (tmp_path / "d").rglob("*") if path.name == "features"], "no file is left"
    build_dataset(labels, tmp_path / "d", SETTINGS, report=False)
    assert contents(tmp_path / "d") == contents(tmp_path / "whole")


@pytest.mark.parametrize("damage", ["shorter", "narrower", "cut", "other"])
def test_features_of_other_images_are_said(labels, tmp_path, damage):
    path = next((tmp_path / "cache").rglob("s1-*.arrow"))
    table = pa.ipc.open_file(path).read_all()
    if damage == "shorter":
        write_arrow(path, table.slice(0, 2))
    elif damage == "narrower":
        narrow = pa.FixedSizeListArray.from_arrays(pa.array(np.ones(20, np.float16)), 4)
        write_arrow(path, table.set_column(table.schema.get_field_index("feature"), "feature", narrow))
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:200])
    else:
        write_arrow(path, pa.table({"key": ["a"] * 5}))
    with pytest.raises(OpenMofiError, match="s1"):
        build_dataset(labels, tmp_path / "d", SETTINGS, report=False)


def test_labels_that_note_no_features_ask_for_an_encoder(labels, tmp_path):
    (labels / "features.json").unlink()
    assert noted_features(labels) == ""
    with pytest.raises(OpenMofiError, match=r"it notes nothing"):
        build_dataset(labels, tmp_path / "d", SETTINGS, report=False)


@pytest.mark.parametrize("key", ["../../etc", "a/b", "", "."])
def test_a_strangers_note_leads_nowhere_else(labels, key):
    note = labels / "features.json"
    note.write_text(note.read_text().replace(noted_features(labels).rpartition("/")[2], key))
    assert noted_features(labels) == ""


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_strangers_note_of_an_address_is_refused_and_nobody_is_asked(labels, tmp_path, address):
    note = labels / "features.json"
    with unasked() as host:
        note.write_text(json.dumps(json.loads(note.read_text()) | {"cache": address.replace("HOST", host)}))
        with pytest.raises(OpenMofiError, match=SAID):
            build_dataset(labels, tmp_path / "d", SETTINGS, report=False)


@pytest.mark.parametrize("stamp", ["../s0-{}", "{}/", "", "x", "{}\n"])
def test_a_strangers_fingerprint_of_a_shard_leads_nowhere_else(labels, tmp_path, stamp):
    manifest = json.loads((labels / "manifest.json").read_text())
    manifest["inputs"]["s0"] = stamp.format(manifest["inputs"]["s0"])
    (labels / "manifest.json").write_text(json.dumps(manifest))
    for folder in (tmp_path / "cache" / "features").iterdir():
        (folder / "s0-..").mkdir()
    with pytest.raises(OpenMofiError, match="not where its job kept them"):
        build_dataset(labels, tmp_path / "d", SETTINGS, report=False)


@pytest.mark.parametrize("cosine", [0.0, 1.0, -0.5, float("nan")])
def test_a_cosine_that_makes_no_sense_is_refused(cosine):
    with pytest.raises(UsageError, match="semantic_duplicates"):
        DatasetSettings(semantic_duplicates=cosine)


def test_by_the_command(labels, tmp_path):
    options = ["--min-images", "1", "--near-duplicates", "off", "--semantic-duplicates", "0.95"]
    done = CliRunner().invoke(app, ["build", str(labels), "-o", str(tmp_path / "d"), *options], catch_exceptions=False)
    assert re.search(r"semantic_duplicate +4\n", done.stdout)
    assert "looks like a more probable image" in (tmp_path / "d" / "report.html").read_text()
