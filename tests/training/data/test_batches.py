"""Whole batches: the same bits for any number of workers and ranks, from any step on, and what the dataset says."""

import json
import re
from dataclasses import asdict, replace

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from openmofi.dataset.tables import Folder
from openmofi.encoders import Preprocessing
from openmofi.engine import Quiet
from openmofi.errors import OpenMofiError, UsageError
from openmofi.pairs import ReadSettings, decode_image, read_pairs
from openmofi.pairs.index import writing_index
from openmofi.training.data import open_data
from openmofi.training.data.workers import joined, packed, unpacked
from openmofi.training.model.towers import ModelInputs, normalised
from openmofi.training.recipe import Augment, DataSettings, EvaluateSettings, TextSource

from ..small_runs import break_first

SMALL = Preprocessing(24, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
LIVE = ModelInputs(SMALL)
ALL_ON = Augment(color_jitter=0.3, grayscale=0.2, rand_augment=1)
PLAIN = Augment(scale=(1.0, 1.0), flip=0.0)


def opened(dataset, cache, inputs=LIVE, seed=0, evaluate=None, **settings):
    chosen = DataSettings(
        **{
            "dataset": str(dataset),
            "batch_size": 12,
            "shuffle_shards": 2,
            "max_labels": 2,
            "text": TextSource(0.5, 0.5, 0.0),
            **settings,
        }
    )
    return open_data(chosen, inputs, seed=seed, cache=cache, progress=Quiet(), evaluate=evaluate)


def same(one, other):
    one, other = list(one), list(other)
    return len(one) == len(other) and all(
        a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
        for a, b in zip(one, other, strict=True)
    )


def table_of(dataset):
    folder = Folder.open(dataset)
    return [{**row, "path": shard.path} for shard in folder.shards for row in folder.read(shard).to_pylist()]


@pytest.mark.parametrize("augment", [ALL_ON, replace(ALL_ON, scale=(1.0, 1.0))])
def test_ranks_share_the_global_batch_and_any_step_can_be_the_first(dataset, tmp_path, encoder, augment):
    inputs = ModelInputs(SMALL, text="features", text_encoder=encoder)
    data = opened(dataset, tmp_path, inputs, augment=augment)
    whole = list(data.batches(0, 5))
    assert same(whole[3:], data.batches(3, 5))
    for world in (2, 3):
        shares = zip(*(data.batches(0, 5, rank=rank, world=world) for rank in range(world)), strict=True)
        # As they come from workers that share a batch.
        assert same(whole, (joined([(unpacked(*packed(part)), []) for part in parts])[0] for parts in shares))
    assert not same(whole, opened(dataset, tmp_path, inputs, seed=1, augment=augment).batches(0, 5))
    with pytest.raises(UsageError, match="5 ranks"):
        data.batches(0, 1, rank=0, world=5)


@pytest.mark.slow
def test_workers_change_no_bit_and_an_early_end_is_no_trouble(dataset, tmp_path, encoder):
    inputs = ModelInputs(SMALL, text="features", text_encoder=encoder)
    # Large enough that two workers share each batch.
    data = opened(dataset, tmp_path, inputs, augment=ALL_ON, batch_size=64)
    state = torch.random.get_rng_state()
    whole = list(data.batches(0, 6))
    assert torch.equal(state, torch.random.get_rng_state())
    assert same(whole, data.batches(0, 6, workers=2))
    assert same((b for b in whole[1:]), data.batches(1, 6, workers=1))
    stopped = data.batches(0, 1000, workers=1)
    assert same([next(stopped)], whole[:1])
    stopped.close()


def test_a_batch_travels_as_one_tensor():
    batch = {
        "image": torch.randn(3, 2, 5),
        "row": torch.arange(3),
        "known": torch.tensor([True, False, True]),
        "none": torch.zeros(3, 0),
        "halves": torch.randn(3, 7).T.half(),
    }
    whole, layout = packed(batch)
    assert same([unpacked(whole, layout)], [batch])
    assert all(values.data_ptr() % values.element_size() == 0 for values in unpacked(whole, layout).values())
    assert joined([(batch, [(1, "why")]), (batch, []), (batch, [(2, "why")])])[1] == [(1, "why"), (2, "why")]


def test_a_batch_holds_what_the_dataset_says(dataset, tmp_path):
    rows = table_of(dataset)
    data = opened(dataset, tmp_path, batch_size=len(rows), augment=PLAIN)
    assert (data.rows, data.classes) == (sum((13, 0, 9, 20, 1)), 6)
    assert data.class_counts.tolist() == pq.read_table(dataset / "vocabulary.parquet")["images"].to_pylist()
    (batch,) = data.batches(0, 1)
    assert set(batch) == {"row", "labels", "label_weights", "image", "undecodable"}
    assert not batch["undecodable"].any()
    assert sorted(batch["row"].tolist()) == list(range(len(rows)))
    assert batch["image"].shape == (len(rows), 3, 24, 24)
    assert batch["image"].is_contiguous()
    assert batch["labels"].dtype == torch.int64
    for place, number in enumerate(batch["row"].tolist()):
        classes, scores = rows[number]["classes"][:2], rows[number]["scores"][:2]
        padding = 2 - len(classes)
        assert batch["labels"][place].tolist() == classes + [-1] * padding
        np.testing.assert_array_equal(
            batch["label_weights"][place].numpy(), np.array(scores + [0.0] * padding, np.float32)
        )


def test_images_of_scale_one_are_those_of_the_evaluation(dataset, tmp_path):
    from openmofi.encoders import preprocess

    images = {pair.key: pair.image for shard in Folder.open(dataset).shards for pair in read_pairs(shard)}
    rows = table_of(dataset)
    for settings in (SMALL, replace(SMALL, resize="squash", interpolation="bilinear"), replace(SMALL, antialias=False)):
        (batch,) = opened(dataset, tmp_path, ModelInputs(settings), augment=PLAIN).batches(0, 1)
        expected = [
            preprocess(decode_image(images[rows[n]["key"]], size_hint=24), settings) for n in batch["row"].tolist()
        ]
        made = batch["image"]
        assert (made.dtype == torch.uint8) == settings.antialias
        made = normalised(made, settings) if settings.antialias else made
        np.testing.assert_allclose(made, np.stack(expected), rtol=0, atol=1e-6)


def test_texts_come_with_their_probabilities_and_numbers(dataset, tmp_path, encoder):
    rows = table_of(dataset)
    source = TextSource(0.2, 0.8, 0.0, templates=("a {name}", "the {name}", "{name}", "my {name}"))
    seen = []

    def tokenize(texts):
        seen.extend(texts)
        return torch.tensor([[len(text), 7] for text in texts])

    inputs = ModelInputs(None, encoder, "tokens", None, tokenize)
    data = opened(dataset, tmp_path, inputs, text=source, batch_size=500)
    batches = list(data.batches(0, 20))
    kinds = {"text of": 0, "a thing": 0, "the thing": 0, "thing": 0, "my thing": 0}
    numbers = torch.cat([batch["row"] for batch in batches]).tolist()
    ids = torch.cat([batch["text_id"] for batch in batches]).tolist()
    for text, row in zip(seen, numbers, strict=True):
        kind = re.sub(r" \w+$", "", text)
        kinds[kind] += 1
        own = rows[row]["text"] if kind == "text of" else f"{kind} {rows[row]['classes'][0]}"
        assert text == own
    np.testing.assert_allclose(np.array(list(kinds.values())) / len(seen), 0.2, atol=0.02)
    assert len(set(zip(seen, ids, strict=True))) == len(set(seen)) == len(set(ids))
    assert batches[0]["text_tokens"][:, 0].tolist() == [len(text) for text in seen[:500]]
    # The features of a locked text encoder are those of the same texts.
    locked = opened(dataset, tmp_path, ModelInputs(None, encoder, "features", encoder), text=source, batch_size=500)
    (batch,) = locked.batches(0, 1)
    assert batch["text_id"].tolist() == ids[:500]
    np.testing.assert_array_equal(batch["text_features"].numpy(), encoder.text_features(seen[:500]))


@pytest.mark.parametrize("sampler", ["class-balanced", "sqrt"])
def test_other_samplers_draw_rows_of_drawn_classes(dataset, tmp_path, encoder, sampler):
    data = opened(dataset, tmp_path, ModelInputs(None, encoder), sampler=sampler, batch_size=600)
    rows, counts = table_of(dataset), data.class_counts.astype(float)
    weights = (counts > 0) * counts ** (0.0 if sampler == "class-balanced" else 0.5)
    expected = np.zeros(len(rows))
    for number, row in enumerate(rows):
        for label in row["classes"]:
            expected[number] += weights[label] / weights.sum() / counts[label]
    drawn = np.concatenate([batch["row"].numpy() for batch in data.batches(0, 50)])
    np.testing.assert_allclose(np.bincount(drawn, minlength=len(rows)) / len(drawn), expected, atol=0.005)


def test_errors_say_what_to_do(dataset, dataset_maker, tmp_path):
    cache = tmp_path / "cache"
    with pytest.raises(UsageError, match="unknown value 'class_balanced' for sampler; use class-balanced"):
        opened(dataset, cache, sampler="class_balanced")
    for wrong in ({"batch_size": 0}, {"workers": -1}, {"dataset": ""}):
        with pytest.raises(UsageError, match=next(iter(wrong))):
            open_data(DataSettings(**{"dataset": str(dataset), **wrong}), LIVE, seed=0, cache=cache, progress=Quiet())
    with pytest.raises(UsageError, match="scale"):
        Augment(scale=(0.0, 1.0))
    with pytest.raises(OpenMofiError, match=r"has no manifest"):
        opened(tmp_path / "nowhere", cache)
    text = ModelInputs(SMALL, text="tokens")
    for source in (
        {"alt_text": 0},
        {"alt_text": -1, "name": 2},
        {"name_description": 1},
        {"name": 1, "templates": ("{naem}",)},
        {"name": 1, "templates": ("{description}",)},
    ):
        with pytest.raises(UsageError):
            opened(dataset, cache, text, text=TextSource(**source))
    own = dataset_maker(tmp_path / "own", sizes=(4, 3))
    (own / "images" / "00001.parquet").rename(tmp_path / "aside")
    with pytest.raises(OpenMofiError, match=r"00001\.parquet is missing"):
        opened(own, cache)
    (tmp_path / "aside").rename(own / "images" / "00001.parquet")
    shards = tmp_path / "own" / "pairs"
    shards.joinpath("00001.tar").write_bytes(shards.joinpath("00000.tar").read_bytes())
    with pytest.raises(OpenMofiError, match=r"00001\.tar has no image of the key 010"):
        opened(own, cache)
    shards.joinpath("00001.tar").unlink()
    with pytest.raises(OpenMofiError, match=r"not where they were labelled: .*00001\.tar cannot be read.*Put them"):
        opened(own, cache)


@pytest.mark.slow
def test_an_image_that_broke_since_is_named(dataset_maker, tmp_path):
    own = dataset_maker(tmp_path / "own", sizes=(20,), extra=0)
    data = opened(own, tmp_path / "cache", batch_size=20, undecodable=0.0)
    tar = break_first(tmp_path / "own")
    for workers in (0, 1):
        with pytest.raises(OpenMofiError, match=rf"The image 00\d+ of {re.escape(str(tar))} cannot be decoded: none"):
            list(data.batches(0, 1, workers=workers))


@pytest.mark.parametrize("sampler", ["instance", "sqrt", "repeat-factor"])
def test_another_image_stands_for_one_that_broke_since(dataset_maker, tmp_path, sampler):
    own = dataset_maker(tmp_path / "own", sizes=(20,), extra=0)
    data = opened(own, tmp_path / "cache", batch_size=10, undecodable=0.5, sampler=sampler)
    whole = list(data.batches(0, 8))
    break_first(tmp_path / "own")
    found = list(data.batches(0, 8))
    ((row, why),) = data.faults.why.items()
    assert row == 0
    assert why
    times = 0
    for before, after in zip(whole, found, strict=True):
        bad = before["row"] == row
        times += int(bad.sum())
        assert torch.equal(after["undecodable"], bad)
        assert torch.equal(after["row"] != before["row"], bad)
        for name in ("image", "labels"):
            assert torch.equal(before[name][~bad], after[name][~bad])
    assert (data.faults.replaced, data.faults.seen) == (times, 160)
    assert times > 0
    # A batch depends on its step alone: what broke earlier decides nothing, nor does the number of ranks.
    data.sources._refused.clear()
    halves = [list(data.batches(3, 5, rank=rank, world=2)) for rank in (0, 1)]
    for step in (0, 1):
        joined = torch.cat([half[step]["row"] for half in halves])
        assert torch.equal(joined, found[3 + step]["row"])
    assert data.faults.write(tmp_path, 0) == 1
    (line,) = (tmp_path / "undecodable.jsonl").read_text().splitlines()
    assert json.loads(line)["row"] == 0


def test_a_held_out_image_that_broke_is_grey(dataset_maker, tmp_path):
    own = dataset_maker(tmp_path / "own", sizes=(20,), extra=0)
    data = opened(own, tmp_path / "cache", batch_size=10, evaluate=EvaluateSettings(every=1, loss=True, held_out=0.7))
    assert data.held_out.rows[0] == 0
    break_first(tmp_path / "own")
    batch = next(iter(data.held_out_batches(images_only=True, rank=0, world=1, workers=0)))
    assert len(batch["image"][0].flatten(1).unique(dim=1).T) == 1
    assert len(batch["image"][1].flatten(1).unique(dim=1).T) > 1
    assert list(data.faults.why) == [0]


def test_no_rows(dataset_maker, tmp_path):
    with pytest.raises(OpenMofiError, match="has no rows"):
        opened(dataset_maker(tmp_path, sizes=(0, 0)), tmp_path / "cache")


def test_positions_that_the_label_job_wrote_give_the_same_batches_without_a_scan(dataset_maker, tmp_path, monkeypatch):
    own, read, labelled = dataset_maker(tmp_path / "own"), ReadSettings(), str(tmp_path / "labelled")
    whole = list(opened(own, tmp_path / "scanned", augment=ALL_ON).batches(0, 4))
    for shard in Folder.open(own).shards:
        with writing_index(shard, labelled, read) as add:
            add(list(read_pairs(shard, read)))
    note = {"cache": labelled, "read": asdict(read), "batch_size": 8, "max_pixels": 1 << 20}
    (own / "features.json").write_text(json.dumps(note))
    monkeypatch.setattr("openmofi.pairs.index.locate_images", None)
    assert same(whole, opened(own, tmp_path / "told", augment=ALL_ON).batches(0, 4))
