"""Recall in both directions against plain NumPy and torchmetrics; the protocol on tiny sets in Karpathy's layout."""

import json

import numpy as np
import pytest
from colours import COLOURS, Eye, drawn_image
from hypothesis import given
from hypothesis import strategies as st

from openmofi.engine import Quiet
from openmofi.errors import OpenMofiError, UsageError
from openmofi.evaluation.run import evaluate
from openmofi.plugins.benchmarks.image_text import first_ranks, read_karpathy


def unit(draw, count, dim):
    values = draw.normal(size=(count, dim))
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)


@given(seed=st.integers(0, 2**32 - 1))
def test_ranks_equal_a_plain_sort(seed):
    draw = np.random.default_rng(seed)
    count = int(draw.integers(1, 12))
    image_of = draw.permutation(np.repeat(np.arange(count), draw.integers(1, 5, count)))
    images, texts = unit(draw, count, 4), unit(draw, len(image_of), 4)
    to_text, to_image = first_ranks(images, texts, image_of)
    scores = images @ texts.T
    for row in range(count):
        order = np.argsort(-scores[row], kind="stable")
        assert to_text[row] == 1 + np.flatnonzero(image_of[order] == row)[0]
    for row, own in enumerate(image_of):
        assert to_image[row] == 1 + np.flatnonzero(np.argsort(-scores[:, row], kind="stable") == own)[0]


@pytest.mark.slow  # torchmetrics alone takes seconds to import
def test_recall_equals_torchmetrics():
    import torch
    from torchmetrics.retrieval import RetrievalHitRate, RetrievalRecall

    draw = np.random.default_rng(0)
    image_of = np.repeat(np.arange(20), 5)
    texts = unit(draw, 100, 8)
    images = texts.reshape(20, 5, 8).mean(1) + 0.5 * unit(draw, 20, 8)
    images = (images / np.linalg.norm(images, axis=1, keepdims=True)).astype(np.float32)
    to_text, to_image = first_ranks(images, texts, image_of)
    # torchmetrics counts scores of 0 and less as not relevant: shifted, all are above.
    scores, relevant = torch.from_numpy(images @ texts.T) + 2, torch.from_numpy(np.arange(20)[:, None] == image_of)
    for k in (1, 5, 10):
        rows = torch.arange(20)[:, None].expand(20, 100)
        hit = RetrievalHitRate(top_k=k)(scores.flatten(), relevant.flatten(), rows.flatten())
        assert (to_text <= k).mean() == pytest.approx(float(hit))
        columns = torch.arange(100)[None].expand(20, 100)
        recall = RetrievalRecall(top_k=k)(scores.flatten(), relevant.flatten(), columns.flatten())
        assert (to_image <= k).mean() == pytest.approx(float(recall))


def test_images_without_captions():
    with pytest.raises(OpenMofiError, match="without a caption"):
        first_ranks(np.eye(2, dtype=np.float32), np.eye(2, dtype=np.float32), [0, 0])


def write_set(folder, dataset="flickr30k", captions=5, **changes):
    place = folder / {"flickr30k": "flickr30k-images", "coco": "val2014"}[dataset]
    place.mkdir(parents=True)
    images = []
    for number, colour in enumerate(COLOURS):
        (place / f"{number}.jpg").write_bytes(drawn_image(colour, number, 5))
        sentences = [{"raw": f"a {colour}\n thing {one}", "tokens": []} for one in range(captions + number % 2)]
        image = {"filename": f"{number}.jpg", "split": "test", "sentences": sentences}
        images.append(image | ({"filepath": "val2014"} if dataset == "coco" else {}) | changes)
    images.append({"filename": "away.jpg", "split": "restval", "sentences": []})
    (folder / f"dataset_{dataset}.json").write_text(json.dumps({"images": images, "dataset": dataset}))
    return folder


def run(data, tmp_path, encoder=None, **options):
    return evaluate("image-text", encoder or Eye(), data, tmp_path / "cache", Quiet(), **options)


@pytest.mark.parametrize("dataset", ["flickr30k", "coco"])
def test_the_protocol(tmp_path, dataset):
    data = write_set(tmp_path / "data", dataset)
    found = run(data, tmp_path, failures=3)
    result = found.result
    assert result.counts == {"images": 4, "captions": 20, "excluded": 0}  # five each, of five or six
    assert {name for name in result.metrics if name.endswith("_1")} == {
        "image-text/image_to_text_recall_at_1",
        "image-text/text_to_image_recall_at_1",
    }
    assert result.metrics[result.headline] == 1
    assert result.metrics["image-text/image_to_text_recall_at_1"] == 1
    assert result.facts["as_published"] is False
    assert len(found.failures) == 3
    items = found.items
    assert items.num_rows == 24
    assert items["text_to_image_recall_at_5"].null_count == 4
    assert run(data / f"dataset_{dataset}.json", tmp_path).result.metrics == result.metrics
    assert run(data, tmp_path, overrides=["captions=0"]).result.counts["captions"] == 22


class Contrary(Eye):
    """Reads each colour as the next one."""

    def text_features(self, texts):
        names = list(COLOURS)
        swap = {name: names[(row + 1) % len(names)] for row, name in enumerate(names)}
        return super().text_features([next((swap[name] for name in names if name in text), "") for text in texts])


def test_wrong_texts_are_not_found(tmp_path):
    found = run(write_set(tmp_path / "data"), tmp_path, Contrary(), failures=9)
    assert found.result.metrics["image-text/text_to_image_recall_at_1"] == 0
    assert found.result.metrics["image-text/text_to_image_recall_at_5"] == 1
    assert len({case.image for case in found.failures}) == 4
    assert not found.failures[0].answers[0][3]


def test_unreadable_images_take_their_captions_with_them(tmp_path):
    data = write_set(tmp_path / "data")
    (data / "flickr30k-images/0.jpg").write_bytes(b"no image")
    found = run(data, tmp_path).result
    assert found.counts == {"images": 3, "captions": 15, "excluded": 1}


def test_faults_are_one_sentence(tmp_path):
    with pytest.raises(OpenMofiError, match="has none of dataset_flickr30k"):
        run(tmp_path, tmp_path)
    data = write_set(tmp_path / "data")
    with pytest.raises(UsageError, match="embeds no texts"):
        run(data, tmp_path, Eye(texts=False))
    with pytest.raises(UsageError, match="needs joint features"):
        run(data, tmp_path, choice="backbone")
    with pytest.raises(OpenMofiError, match=r"no images of the split 'val'; it has restval, test"):
        run(data, tmp_path, overrides=["split=val"])
    with pytest.raises(OpenMofiError, match=r"0\.jpg has 5 captions in .*, not 6"):
        run(data, tmp_path, overrides=["captions=6"])
    with pytest.raises(UsageError, match="unknown value 'a photo' for prompt"):
        run(data, tmp_path, overrides=["prompt=a photo"])
    (data / "flickr30k-images/2.jpg").unlink()
    with pytest.raises(OpenMofiError, match=r"1 of 4 images are not in .*2\.jpg"):
        run(data, tmp_path)
    (data / "flickr30k-images").rename(data / "elsewhere")
    with pytest.raises(OpenMofiError, match="None of the 4 images"):
        run(data, tmp_path)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("{", "cannot be read.*layout of Karpathy"),
        ("[]", "Expected `object`.*layout of Karpathy"),
        ('{"images": [{"split": "test"}]}', "`filename`"),
        ('{"images": [{"split": "test", "filename": "../a.jpg", "sentences": []}]}', "outside the folder"),
    ],
)
def test_files_that_are_none_of_karpathys(tmp_path, text, match):
    (tmp_path / "dataset_coco.json").write_text(text)
    with pytest.raises(OpenMofiError, match=match):
        read_karpathy(tmp_path / "dataset_coco.json", "test", 5)
