"""Runs that learn from a store: what batches are given of it, images to the pixel, other images, and resuming."""

from __future__ import annotations

import io
import shutil
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from small_runs import InterruptAt, losses, same, stored, trained

from openmofi.dataset import DatasetSettings, build_dataset
from openmofi.encoders import open_encoder
from openmofi.engine import Quiet
from openmofi.errors import OpenMofiError, UsageError
from openmofi.objectives.objective_settings import (
    EntityDistillationSettings,
    FeatureDistillationSettings,
    MarginSoftmaxSettings,
    ReinforcedSettings,
)
from openmofi.pairs import Record, read_pairs, write_tar
from openmofi.plugins.reinforcement import Knowledge, ReinforceSettings, TeacherSpec, augmented, reinforce
from openmofi.storage import expand_shards, read_manifest, write_table
from openmofi.training.data import open_data
from openmofi.training.log import read_log
from openmofi.training.model import inputs_of
from openmofi.training.recipe import (
    DataSettings,
    EvaluateSettings,
    ImageModel,
    ModelSettings,
    Objectives,
    OptimizerSettings,
    Recipe,
    Reinforcement,
    RunSettings,
    TextModel,
    TextSource,
)
from openmofi.training.recipe.rules import require_data, validate

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def labelled_dataset(labelled, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("reinforced") / "dataset"
    build_dataset(labelled, folder, DatasetSettings(min_images=1), report=False)
    return folder


@pytest.fixture(scope="module")
def recipe(labelled_dataset, store, small_encoder) -> Recipe:
    """The student learns at the store's 64 pixels, with half of every part of the loss."""
    return Recipe(
        "small",
        DataSettings(
            str(labelled_dataset),
            batch_size=12,
            shuffle_shards=2,
            workers=0,
            text=TextSource(1.0, 0.0, 0.0),
            reinforcement=Reinforcement(str(store)),
        ),
        ModelSettings(ImageModel("timm:test_vit", size=64), TextModel(f"encoder:{small_encoder}"), 8),
        Objectives(
            MarginSoftmaxSettings(0.5, "exact", chunk=4), reinforced=ReinforcedSettings(1.0, 0.5, positives="text")
        ),
        OptimizerSettings(lr=3e-3, eps=1e-2, warmup=2, ema=0.9),
        RunSettings(steps=6, log_every=1, checkpoint_every=3, threads=1),
    )


def opened(recipe: Recipe, cache: Path):
    return open_data(recipe.data, inputs_of(recipe.model), seed=recipe.run.seed, cache=cache, progress=Quiet())


def images_of(dataset: Path) -> dict[tuple[str, str], tuple[bytes, str]]:
    settings = read_manifest(dataset, "dataset").settings
    return {
        (shard["name"], pair.key): (pair.image, pair.text)
        for shard in settings["shards"]
        for pair in read_pairs(expand_shards([shard["path"]])[0])
    }


def place_of(data, row: int) -> tuple[str, str]:
    rows = data.sources.rows
    number = int(np.searchsorted(rows.starts, row, side="right") - 1)
    return data.sources.shards[number].name, rows.take(np.array([row]), ["key"])["key"][0].as_py()


def test_a_batch_holds_the_teachers_pixels_and_what_they_know_of_them(recipe, small_encoder, tmp_path):
    data, encoder = opened(recipe, tmp_path), open_encoder(small_encoder)
    knowledge = Knowledge.open(recipe.data.reinforcement.store)
    (teacher,) = knowledge.teachers
    assert data.sources.teachers.knowledge.teachers == (teacher,)
    assert teacher.scale == 30.0
    all_images = images_of(Path(recipe.data.dataset))
    drawn: set[int] = set()
    second = -(-data.rows // recipe.data.batch_size)
    for batch in chain(data.batches(0, 2), data.batches(second, second + 2)):
        assert bool(batch["known"].all())
        for place, row in enumerate(batch["row"].tolist()):
            shard, key = place_of(data, row)
            content, text = all_images[shard, key]
            seen = batch["image"][place].permute(1, 2, 0).numpy()
            options = []
            for number in range(knowledge.augmentations):
                found = knowledge.take([shard], [key], np.array([number]), np.array([number]))
                pixels = augmented(content, found.augmentations[0], 64, knowledge.interpolation)
                options.append((np.array_equal(seen, pixels), found.image[teacher.name][0]))
            matching = [number for number, (equal, _) in enumerate(options) if equal]
            assert matching, "none of the stored augmentations is this image"
            drawn.update(matching)
            assert any(
                np.array_equal(options[number][1], batch[f"teacher/{teacher.name}/image"][place].numpy())
                for number in matching
            )
            np.testing.assert_allclose(
                batch[f"teacher/{teacher.name}/text"][place].numpy(), encoder.embed_texts([text])[0], atol=2e-3
            )
    assert drawn == {0, 1}


def test_images_that_grow_are_the_teachers_crops_at_each_size(recipe, tmp_path):
    image = replace(recipe.model.image, first_sizes=(32,), first_share=0.5)
    data = opened(replace(recipe, model=replace(recipe.model, image=image)), tmp_path)
    knowledge, all_images = Knowledge.open(recipe.data.reinforcement.store), images_of(Path(recipe.data.dataset))
    for step, batch in enumerate(data.batches(0, 4)):
        assert bool(batch["known"].all())
        side = 32 if step < 2 else 64
        for place, row in enumerate(batch["row"].tolist()):
            shard, key = place_of(data, row)
            stored_ = [
                knowledge.take([shard], [key], np.array([number]), np.array([number])).augmentations[0]
                for number in range(knowledge.augmentations)
            ]
            pixels = batch["image"][place].permute(1, 2, 0).numpy()
            content = all_images[shard, key][0]
            replayed = [augmented(content, each, side, knowledge.interpolation) for each in stored_]
            assert any(np.array_equal(pixels, each) for each in replayed)


@pytest.mark.parametrize("sampler", ["instance", "sqrt"])
def test_augmentations_come_in_turn_where_rows_do(recipe, tmp_path, sampler):
    data = opened(replace(recipe, data=replace(recipe.data, sampler=sampler)), tmp_path)
    knowledge = Knowledge.open(recipe.data.reinforcement.store)
    name, size = knowledge.teachers[0].name, recipe.data.batch_size
    count = knowledge.augmentations
    seen: dict[int, list[int]] = {}
    for batch in data.batches(0, -(-count * data.rows // size)):
        for row, found in zip(batch["row"].tolist(), batch[f"teacher/{name}/image"].numpy(), strict=True):
            shard, key = place_of(data, row)
            options = [
                knowledge.take([shard], [key], np.array([number]), np.array([0])).image[name][0]
                for number in range(count)
            ]
            seen.setdefault(row, []).append(
                next(number for number, one in enumerate(options) if np.array_equal(one, found))
            )
    if sampler == "instance":
        assert len(seen) == data.rows
        assert all(found[:count] == list(range(count)) for found in seen.values())
    else:
        assert {found[0] for found in seen.values()} == set(range(count))


def test_captions_are_embedded_as_they_are_read(recipe, small_encoder, tmp_path):
    data, encoder = opened(recipe, tmp_path), open_encoder(small_encoder)
    (batch,) = data.batches(0, 1)
    knowledge = Knowledge.open(recipe.data.reinforcement.store)
    places = [place_of(data, row) for row in batch["row"].tolist()]
    options = [
        [knowledge.take([shard], [key], np.array([0]), np.array([number])).captions[0] for number in (0, 1)]
        for shard, key in places
    ]
    for place, texts in enumerate(options):
        features = encoder.text_features(texts)
        distance = [np.abs(one - batch["caption_features"][place].numpy()).max() for one in features]
        assert min(distance) < 1e-3
    assert batch["caption_id"].dtype == torch.int64


def test_workers_and_ranks_change_no_bit(recipe, tmp_path):
    data = opened(recipe, tmp_path)
    whole = list(data.batches(0, 3))
    for others in (
        data.batches(0, 3, workers=2),
        (
            {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
            for parts in zip(*(data.batches(0, 3, rank=rank, world=2) for rank in range(2)), strict=True)
        ),
    ):
        assert all(
            one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
            for one, other in zip(whole, others, strict=True)
        )


def trained_whole_and_in_parts(recipe: Recipe, folder: Path) -> Path:
    """The folder of the whole run; the one that was stopped has the same losses."""
    trained(recipe, folder / "whole")
    with pytest.raises(KeyboardInterrupt):
        trained(recipe, folder / "parts", watcher=InterruptAt(2))
    trained(recipe, folder / "parts", resume=True)
    assert losses(folder / "whole") == losses(folder / "parts")
    return folder / "whole"


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_stopped_run_goes_on_to_the_bit(recipe, tmp_path, accumulate):
    recipe = replace(recipe, run=replace(recipe.run, accumulate=accumulate))
    trained_whole_and_in_parts(recipe, tmp_path)
    assert same(stored(tmp_path / "whole", 6), stored(tmp_path / "parts", 6))
    line = read_log(tmp_path / "whole")[-1]
    assert line["reinforced/known"] == 1.0
    assert line["reinforced/distillation"] > 0
    assert {"loss/reinforced", "loss/margin_softmax", "embedding_grad_norm/reinforced"} <= line.keys()
    assert (
        read_manifest(tmp_path / "whole", "run").inputs["/reinforcement"]
        == read_manifest(recipe.data.reinforcement.store, "knowledge_store").fingerprint
    )


def half_resized(dataset: Path, folder: Path) -> Path:
    """The dataset over a copy of its images of which every second was made smaller, as a download would."""
    wanted = {
        key
        for path in sorted((dataset / "images").glob("*.parquet"))
        for key in pq.read_table(path, columns=["key"])["key"].to_pylist()
    }
    copy = shutil.copytree(dataset, folder / "dataset")
    manifest = (copy / "manifest.json").read_text()
    for shard in read_manifest(dataset, "dataset").settings["shards"]:
        records = []
        for number, pair in enumerate(read_pairs(expand_shards([shard["path"]])[0])):
            content = pair.image
            if number % 2 and pair.key in wanted:
                out = io.BytesIO()
                Image.open(io.BytesIO(content)).resize((60, 50)).save(out, "JPEG")
                content = out.getvalue()
            records.append(Record(pair.key, content, pair.text))
        path = folder / "pairs" / f"{shard['name']}.tar"
        write_tar(str(path), records)
        manifest = manifest.replace(shard["path"], str(path))
    (copy / "manifest.json").write_text(manifest)
    return copy


def test_teachers_take_part_in_the_held_out_loss(recipe, tmp_path):
    evaluate = EvaluateSettings(3, retrieval=True, zero_shot=True, loss=True, held_out=0.3)
    recipe = replace(recipe, run=replace(recipe.run, evaluate=evaluate, best="held_out/loss"))
    found = trained(recipe, tmp_path)
    lines = [line for line in read_log(tmp_path) if "lr" not in line]
    assert [line["step"] for line in lines] == [3, 6]
    for line in lines:
        parts = line["held_out/loss/margin_softmax"], line["held_out/loss/reinforced"]
        assert line["held_out/loss"] == pytest.approx(0.5 * parts[0] + parts[1])
        assert 0 < line["retrieval/map"] <= 1
    assert found["best"]["value"] == min(line["held_out/loss"] for line in lines)


def test_images_that_were_resized_since_are_counted_or_stop_the_run(recipe, tmp_path):
    other = half_resized(Path(recipe.data.dataset), tmp_path)
    data = replace(recipe.data, dataset=str(other))
    trained(replace(recipe, data=data), tmp_path / "plain")
    known = [line["reinforced/known"] for line in read_log(tmp_path / "plain")]
    assert 0.2 < np.mean(known) < 0.8
    strict = replace(data, reinforcement=replace(data.reinforcement, mismatch="stop"))
    with pytest.raises(OpenMofiError, match=r"The image \d+ of .*tar is not the one that was reinforced"):
        trained(replace(recipe, data=strict), tmp_path / "strict")


def test_an_image_of_other_bytes_is_augmented_as_the_recipe_says(recipe, tmp_path):
    other = half_resized(Path(recipe.data.dataset), tmp_path)
    data = opened(replace(recipe, data=replace(recipe.data, dataset=str(other))), tmp_path / "cache")
    without_teachers = replace(recipe, data=replace(recipe.data, dataset=str(other), reinforcement=Reinforcement()))
    # Without a store nobody compares image by image: a changed shard is refused.
    with pytest.raises(OpenMofiError, match="has changed since it was labelled"):
        opened(without_teachers, tmp_path / "cache")
    for path in (other / "images").iterdir():
        write_table(path, pq.read_table(path).replace_schema_metadata(None))
    plain = opened(without_teachers, tmp_path / "cache")
    for batch, without in zip(data.batches(0, 3), plain.batches(0, 3), strict=True):
        equal = [torch.equal(one, two) for one, two in zip(batch["image"], without["image"], strict=True)]
        assert equal == (~batch["known"]).tolist()


def test_a_store_without_synthetic_texts(recipe, small_world, small_encoder, labelled, tmp_path):
    reinforce(
        expand_shards([str(small_world.shards)]),
        labelled,
        tmp_path / "store",
        ReinforceSettings((TeacherSpec(small_encoder, 30.0),), augmentations=1, captions=0, size=64),
    )
    data = replace(recipe.data, reinforcement=Reinforcement(str(tmp_path / "store")))
    with pytest.raises(UsageError, match="holds no synthetic texts"):
        trained(replace(recipe, data=data), tmp_path / "run")
    objectives = replace(recipe.objectives, reinforced=replace(recipe.objectives.reinforced, captions=0.0))
    trained(replace(recipe, data=data, objectives=objectives), tmp_path / "other")
    assert read_log(tmp_path / "other")[-1]["reinforced/distillation"] > 0


def test_what_teachers_think_an_image_shows(recipe, small_world, small_encoder, labelled, tmp_path):
    reinforce(
        expand_shards([str(small_world.shards)]),
        labelled,
        tmp_path / "store",
        ReinforceSettings((TeacherSpec(small_encoder, 30.0),), augmentations=1, captions=1, size=64, entity_scores=3),
        kb=small_world.kb,
    )
    objectives = replace(recipe.objectives, entity_distillation=EntityDistillationSettings(0.5))
    with pytest.raises(UsageError, match="holds no entity scores"):
        trained(replace(recipe, objectives=objectives), tmp_path / "without")
    recipe = replace(
        recipe, objectives=objectives, data=replace(recipe.data, reinforcement=Reinforcement(str(tmp_path / "store")))
    )
    data = opened(recipe, tmp_path / "cache")
    knowledge = Knowledge.open(tmp_path / "store")
    (batch,) = data.batches(0, 1)
    (teacher,) = knowledge.teachers
    for place, row in enumerate(batch["row"].tolist()):
        shard, key = place_of(data, row)
        found = knowledge.take([shard], [key], np.array([0]), np.array([0]))
        names = [knowledge.entities()[number] for number in found.entity_ids[teacher.name][0]]
        assert [data.class_ids[number] for number in batch[f"teacher/{teacher.name}/entity_ids"][place]] == names
        assert np.array_equal(
            batch[f"teacher/{teacher.name}/entity_scores"][place].numpy(), found.entity_scores[teacher.name][0]
        )
    whole = trained_whole_and_in_parts(recipe, tmp_path)
    line = read_log(whole)[-1]
    assert line["entity_distillation/known"] == 1.0
    assert line["loss/entity_distillation"] > 0


def test_the_teachers_embeddings_of_images_teach_too(recipe, tmp_path):
    objectives = replace(recipe.objectives, feature_distillation=FeatureDistillationSettings(2.0))
    recipe = replace(recipe, objectives=objectives)
    whole = trained_whole_and_in_parts(recipe, tmp_path)
    first, last = read_log(whole)[0], read_log(whole)[-1]
    assert last["loss/feature_distillation"] < first["loss/feature_distillation"]
    # What maps to the teachers is learned, and is no part of the encoder.
    assert not any("maps" in name for path in (whole / "encoder").rglob("*.safetensors") for name in load_file(path))


def test_another_store_does_not_go_on_with_a_run(recipe, small_world, small_encoder, labelled, tmp_path):
    reinforce(
        expand_shards([str(small_world.shards)]),
        labelled,
        tmp_path / "store",
        ReinforceSettings((TeacherSpec(small_encoder, 20.0),), augmentations=1, size=64),
        kb=small_world.kb,
    )
    with pytest.raises(KeyboardInterrupt):
        trained(recipe, tmp_path / "run", watcher=InterruptAt(2))
    data = replace(recipe.data, reinforcement=Reinforcement(str(tmp_path / "store")))
    with pytest.raises(OpenMofiError, match="reinforcement"):
        trained(replace(recipe, data=data), tmp_path / "run", resume=True)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"reinforcement": Reinforcement("")}, "data.reinforcement.store is empty"),
        ({"text": TextSource(0.5, 0.5, 0.0)}, "teachers know the pairs' own texts"),
    ],
)
def test_what_does_not_fit_is_told(recipe, changes, told):
    changed = replace(recipe, data=replace(recipe.data, **changes))
    with pytest.raises(UsageError, match=told):
        (require_data if "reinforcement" in changes else validate)(changed)
