import io
import random
import shutil
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from small_stores import write_labels

from forked import Fork
from openmofi.dataset import DatasetSettings, build_dataset
from openmofi.encoders import open_encoder, preprocess
from openmofi.engine import engine_named
from openmofi.errors import OpenMofiError
from openmofi.pairs import Record, read_pairs, write_tar
from openmofi.plugins.reinforcement import Knowledge, ReinforceSettings, TeacherSpec, augmented, image_hash, reinforce
from openmofi.plugins.reinforcement.teachers import whole_square
from openmofi.schema import LabelStatus
from openmofi.storage import expand_shards, read_manifest

pytestmark = pytest.mark.slow


def digests(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "samples").glob("*.arrow"))}


def rows_of(folder: Path) -> dict[str, list[dict]]:
    return {
        path.stem: pa.ipc.open_file(path).read_all().to_pylist()
        for path in sorted((folder / "samples").glob("*.arrow"))
    }


def take_all(store: Path, rows: dict[str, list[dict]], augmentation=0, caption=0):
    knowledge = Knowledge.open(store)
    shards = [shard for shard, found in rows.items() for _ in found]
    keys = [row["key"] for found in rows.values() for row in found]
    return knowledge.take(shards, keys, np.full(len(keys), augmentation), np.full(len(keys), caption))


def test_every_row_comes_out_once_in_order_and_unusable_ones_hold_nulls(store, labelled):
    statuses = set()
    for shard, rows in rows_of(store).items():
        labels = pq.read_table(labelled / f"labels/{shard}.parquet", columns=["key", "status"]).to_pylist()
        assert [row["key"] for row in rows] == [row["key"] for row in labels]
        for row, label in zip(rows, labels, strict=True):
            usable = label["status"] in tuple(LabelStatus)
            assert row["status"] == ("ok" if usable else label["status"])
            assert all((value is None) != usable for name, value in row.items() if name not in ("key", "status"))
            statuses.add(row["status"])
    assert statuses == {"ok", "image_broken"}
    counts = read_manifest(store, "knowledge_store").counts
    assert counts["rows"] == 320 == sum(counts["status"].values())
    assert counts["refused"]
    assert counts["refused"][0].endswith(": image_broken")


def test_the_stored_embeddings_are_those_of_the_replayed_augmentations_and_texts(store, shards, small_encoder):
    knowledge, encoder = Knowledge.open(store), open_encoder(small_encoder)
    pairs = list(read_pairs(shards[1]))[60:]  # beyond the first batch
    names, keys = [shards[1].name] * len(pairs), [pair.key for pair in pairs]
    for number in (0, 1):
        numbers = np.full(len(keys), number)
        found = knowledge.take(names, keys, numbers, numbers)
        for place in np.flatnonzero(found.known)[::4]:
            pair, drawn = pairs[place], found.augmentations[place]
            assert found.hashes[place] == image_hash(pair.image)
            pixels = augmented(pair.image, drawn, knowledge.size, knowledge.interpolation)
            seen = preprocess(Image.fromarray(pixels), whole_square(encoder.preprocessing))[None]
            expected = encoder.project_images(encoder.image_features(seen))[0]
            name = knowledge.teachers[0].name
            np.testing.assert_allclose(found.image[name][place], expected, atol=2e-3)
            for part, text in ((found.text, pair.text), (found.caption, found.captions[place])):
                np.testing.assert_allclose(part[name][place], encoder.embed_texts([text])[0], atol=2e-3)


def test_texts_name_the_accepted_entity_or_are_the_pairs_own(store, labelled):
    named = 0
    for shard, rows in rows_of(store).items():
        labels = pq.read_table(labelled / f"labels/{shard}.parquet").to_pylist()
        for row, label in zip(rows, labels, strict=True):
            accepted = [entity["entity"].partition(":")[2] for entity in label["entities"] if entity["accepted"]]
            if row["status"] != "ok":
                continue
            assert (row["width"], row["height"]) == (120, 100)
            assert len(row["texts"]) == 2
            if not accepted:
                assert row["texts"] == [label["text"]] * 2
            else:
                assert label["text"] not in row["texts"]
                assert row["texts"][0] != row["texts"][1]
                named += 1
    assert named > 120


def test_a_resized_copy_is_caught(store, shards):
    pair = next(read_pairs(shards[0]))
    found = Knowledge.open(store).take([shards[0].name], [pair.key], np.zeros(1, int), np.zeros(1, int))
    copy = io.BytesIO()
    Image.open(io.BytesIO(pair.image)).resize((60, 50)).save(copy, "JPEG")
    assert found.hashes[0] != image_hash(copy.getvalue())
    # The fractions still mean a crop of the image.
    assert augmented(copy.getvalue(), found.augmentations[0], 32, "bicubic").shape == (32, 32, 3)


def test_unknown_rows_are_zeros(store, shards):
    found = Knowledge.open(store).take(
        ["nowhere", shards[0].name], ["x", "no such key"], np.zeros(2, int), np.zeros(2, int)
    )
    assert not found.known.any()
    assert found.augmentations == [None, None]
    assert found.captions == ["", ""]
    assert not any(values.any() for part in (found.image, found.text, found.caption) for values in part.values())


def test_numbers_beyond_the_store_are_refused(store, shards):
    for numbers in ((2, 0), (-1, 0), (0, 2)):
        with pytest.raises(IndexError):
            Knowledge.open(store).take([shards[0].name], ["x"], *(np.array([number]) for number in numbers))


def test_the_fidelity_of_every_precision_is_in_the_manifest(store):
    counts = read_manifest(store, "knowledge_store").counts
    (figures,) = counts["fidelity"].values()
    assert set(figures) == {"fp16", "bf16", "int8"}
    assert 0 <= figures["fp16"]["kl"] < figures["bf16"]["kl"] < 0.01
    assert all(measured["absolute"] < 0.01 for measured in figures.values())
    assert counts["fidelity_samples"] >= 200


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_precisions_agree(store, shards, teachers, labelled, small_world, tmp_path, precision):
    settings = ReinforceSettings(teachers, augmentations=2, size=64, precision=precision)
    reinforce(shards[:1], labelled, tmp_path / "out", settings, kb=small_world.kb)
    rows = {shards[0].name: rows_of(store)[shards[0].name]}
    exact, found = (take_all(folder, rows, 1, 1) for folder in (store, tmp_path / "out"))
    assert found.augmentations == exact.augmentations
    assert found.captions == exact.captions
    for part in ("image", "text", "caption"):
        for name, values in getattr(exact, part).items():
            np.testing.assert_allclose(getattr(found, part)[name], values, atol=6e-3)


def test_teachers_over_one_backbone_look_and_read_once(
    store, shards, teachers, small_encoder, labelled, small_world, tmp_path, monkeypatch
):
    from openmofi.encoders.networks import OnArrays
    from openmofi.plugins.encoders.backbones import MiniLM

    shutil.copytree(small_encoder.removeprefix("run:"), tmp_path / "twin")
    looks, reads = [], []
    forward, read = OnArrays.__call__, MiniLM._batch
    monkeypatch.setattr(OnArrays, "__call__", lambda self, batch: looks.append(len(batch)) or forward(self, batch))
    monkeypatch.setattr(MiniLM, "_batch", lambda self, tokens: reads.append(len(tokens)) or read(self, tokens))
    twins = (*teachers, TeacherSpec(f"run:{tmp_path / 'twin'}", 30.0))
    counts = reinforce(
        shards[:1], labelled, tmp_path / "out", ReinforceSettings(twins, augmentations=2, size=64), kb=small_world.kb
    )
    assert sum(looks) == 2 * counts["status"]["ok"]
    written = [text for row in rows_of(tmp_path / "out")[shards[0].name] for text in row["texts"] or ()]
    # Each teacher is asked for one text when it is opened.
    assert sum(reads) <= len({*written, *(pair.text for pair in read_pairs(shards[0]))}) + len(twins)
    rows = {shards[0].name: rows_of(store)[shards[0].name]}
    alone, found = (take_all(folder, rows, 1, 1) for folder in (store, tmp_path / "out"))
    for part in ("image", "text", "caption"):
        (values,) = getattr(alone, part).values()
        for same in getattr(found, part).values():
            np.testing.assert_array_equal(same, values)


def test_processes_give_the_same_store(store, shards, teachers, labelled, small_world, tmp_path, forked_workers):
    reinforce(
        shards,
        labelled,
        tmp_path / "out",
        ReinforceSettings(teachers, augmentations=2, size=64),
        kb=small_world.kb,
        engine=engine_named("processes:2"),
    )
    first, second = rows_of(store), rows_of(tmp_path / "out")
    for shard, rows in first.items():
        for a, b in zip(rows, second[shard], strict=True):
            for name, value in a.items():
                if name.endswith("_0") and value is not None:
                    # Other thread counts may change the last bits of an embedding.
                    np.testing.assert_allclose(value, b[name], atol=2e-3)
                else:
                    assert value == b[name]


def test_killed_and_started_again_the_store_is_the_same_bytes(store, small_world, small_encoder, labelled, tmp_path):
    out = tmp_path / "out"
    command = [
        "openmofi",
        "reinforce",
        small_world.shards,
        "--labels",
        labelled,
        "--kb",
        small_world.kb,
        "--teachers",
        f"{small_encoder}:30",
        "--augs",
        "2",
        "--size",
        "64",
        "--json",
        "-o",
        out,
    ]
    chance = random.Random(5)
    process = Fork(*command)
    while process.poll() is None and not list(out.glob("samples/*.arrow")):
        time.sleep(0.05)
    time.sleep(chance.uniform(0.0, 0.2))
    process.kill()
    process.communicate()
    done = Fork(*command).finish()
    assert done.returncode == 0, done.stderr
    assert digests(out) == digests(store)
    assert not list(out.glob("**/.openmofi-tmp-*"))
    assert read_manifest(out, "knowledge_store").counts == read_manifest(store, "knowledge_store").counts


def test_without_a_knowledge_base_entities_are_called_as_the_texts_call_them(shards, teachers, labelled, tmp_path):
    reinforce(shards[:1], labelled, tmp_path / "out", ReinforceSettings(teachers, augmentations=1, size=32))
    texts = [row["texts"] for row in rows_of(tmp_path / "out")[shards[0].name] if row["status"] == "ok"]
    assert ["a photo of sun"] * 2 in texts


def test_no_synthetic_texts_may_be_wanted(shards, teachers, labelled, tmp_path):
    settings = ReinforceSettings(teachers, augmentations=1, captions=0, size=32)
    reinforce(shards[:1], labelled, tmp_path / "out", settings)
    found = take_all(tmp_path / "out", rows_of(tmp_path / "out"))
    assert set(found.captions) == {""}
    assert found.known.sum() > 70
    assert not any(values.any() for values in found.caption.values())


def test_another_shard_of_the_same_name_is_refused(shards, teachers, labelled, tmp_path):
    write_tar(tmp_path / "00000.tar", [Record("a", b"x", "a")])
    other = expand_shards([str(tmp_path / "00000.tar")])
    with pytest.raises(OpenMofiError, match="from another shard 00000"):
        reinforce(other, labelled, tmp_path / "out", ReinforceSettings(teachers))
    (tmp_path / "00000.tar").rename(tmp_path / "new.tar")
    with pytest.raises(OpenMofiError, match="has no labels"):
        reinforce(expand_shards([str(tmp_path / "new.tar")]), labelled, tmp_path / "out", ReinforceSettings(teachers))


def test_another_knowledge_base_than_the_labels_is_refused(shards, small_world, tmp_path):
    labels = write_labels(tmp_path / "labels", shards[:1], [[]], kb="0123456789abcdef")
    with pytest.raises(OpenMofiError, match="with another knowledge base") as error:
        reinforce(
            shards[:1], labels, tmp_path / "out", ReinforceSettings((TeacherSpec("sample", 20.0),)), kb=small_world.kb
        )
    assert str(small_world.kb) in error.value.message
    assert not (tmp_path / "out").exists()


def test_other_settings_in_the_same_folder_are_refused(store, shards, teachers, labelled, small_world):
    with pytest.raises(OpenMofiError, match="made with other settings"):
        reinforce(shards, labelled, store, ReinforceSettings(teachers, augmentations=3, size=64), kb=small_world.kb)


def test_only_a_datasets_rows_are_reinforced_and_those_as_without_it(
    store, shards, teachers, labelled, small_world, tmp_path
):
    build_dataset(labelled, tmp_path / "dataset", DatasetSettings(min_images=1), report=False)
    settings = ReinforceSettings(teachers, augmentations=2, size=64)
    counts = reinforce(shards, labelled, tmp_path / "out", settings, kb=small_world.kb, dataset=tmp_path / "dataset")
    images = tmp_path / "dataset/images"
    wanted = {
        (path.stem, key)
        for path in images.glob("*.parquet")
        for key in pq.read_table(path, columns=["key"])["key"].to_pylist()
    }
    whole, some = rows_of(store), rows_of(tmp_path / "out")
    for shard, rows in some.items():
        assert [row["key"] for row in rows] == [row["key"] for row in whole[shard]]
        for row, full in zip(rows, whole[shard], strict=True):
            kept = (shard, row["key"]) in wanted
            assert row["status"] == (full["status"] if kept or full["status"] != "ok" else "not_in_dataset")
            assert kept == (row["status"] == "ok") == (row["texts"] is not None)
            assert not kept or (row["crop"], row["texts"]) == (full["crop"], full["texts"])
    assert counts["status"]["ok"] == len(wanted) < counts["rows"] == 320
    assert counts["status"]["not_in_dataset"] > 0


def test_a_dataset_of_other_labels_is_refused(shards, teachers, labelled, tmp_path):
    other = write_labels(tmp_path / "labels", shards[:1], [[]], kb="0123456789abcdef")
    build_dataset(labelled, tmp_path / "dataset", DatasetSettings(min_images=1), report=False)
    with pytest.raises(OpenMofiError, match="was not built from") as error:
        reinforce(shards[:1], other, tmp_path / "out", ReinforceSettings(teachers), dataset=tmp_path / "dataset")
    assert str(tmp_path / "dataset") in error.value.message
    assert not (tmp_path / "out").exists()
