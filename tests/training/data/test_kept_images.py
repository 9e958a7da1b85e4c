"""Decoded images that are kept: the same batches, less decoding, and never more memory than was allowed."""

import io
import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from openmofi.encoders import Preprocessing
from openmofi.pairs.images.scaled import ScaledImage
from openmofi.plugins.reinforcement import AugmentSettings
from openmofi.plugins.reinforcement.augmentation import draw_augmentation, drawing
from openmofi.training.data.images import KeptImages, TrainingImages
from openmofi.training.recipe import Augment

SETTINGS = Preprocessing(16, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
SIZES = [(200, 150), (64, 90), (120, 120), (33, 80)]


def encoded(number, kind):
    width, height = SIZES[number % len(SIZES)]
    draw = np.random.default_rng(number)
    out = io.BytesIO()
    Image.fromarray(draw.integers(0, 256, (9, 9, 3), np.uint8)).resize((width, height)).save(out, kind)
    return out.getvalue()


IMAGES = [encoded(number, kind) for number in range(4) for kind in ("JPEG", "PNG")]


@pytest.mark.parametrize("limit", [1 << 30, 150_000, 100])
def test_batches_are_the_same_to_the_bit_and_memory_is_bounded(limit):
    plain, kept = (TrainingImages(SETTINGS, Augment(scale=(0.05, 1.0)), KeptImages(bytes_)) for bytes_ in (0, limit))
    for epoch in range(4):
        seeds = [epoch * 100 + number for number in range(len(IMAGES))]
        drawn = [
            draw_augmentation(AugmentSettings(), drawing(seed, "s", "k", 0), *size_of(data)) if seed % 2 else None
            for seed, data in zip(seeds, IMAGES, strict=True)
        ]
        assert torch.equal(plain.batch(IMAGES, seeds, drawn), kept.batch(IMAGES, seeds, drawn))
        held = [image for image, _ in kept.kept._kept.values()]
        taken = sum(
            len(image.data)
            + sum(
                decoded.width * decoded.height * 4
                for decoded in ([image._whole] if image._whole else image._scaled.values())
            )
            for image in held
        )
        assert taken <= limit
        assert bool(held) == (limit > 100)
    assert not plain.kept._kept


def size_of(data):
    with Image.open(io.BytesIO(data)) as image:
        return image.size


def test_an_image_is_opened_once(monkeypatch):
    opened = []
    of = ScaledImage.of
    monkeypatch.setattr(ScaledImage, "of", lambda data: opened.append(data) or of(data))
    images = TrainingImages(SETTINGS, Augment(), KeptImages(1 << 30))
    for seed in range(3):
        images.batch(IMAGES, [seed] * len(IMAGES))
    assert opened == IMAGES


def test_a_process_begins_with_none():
    images = TrainingImages(SETTINGS, Augment(), KeptImages(1 << 30))
    images.batch(IMAGES, range(len(IMAGES)))
    assert len(pickle.dumps(images)) < 2000
    assert images.kept._kept
    assert not pickle.loads(pickle.dumps(images)).kept._kept
    assert pickle.loads(pickle.dumps(images)).kept.limit == 1 << 30


@pytest.mark.parametrize(
    ("rows", "side", "keeps"),
    [(1000, 64, True), (10_000, 64, True), (100_000, 64, False), (1000, 224, True), (10_000, 224, False)],
)
def test_what_would_hardly_be_met_again_is_not_kept(rows, side, keeps):
    assert bool(KeptImages.of_dataset(rows, side, 256 << 20).limit) == keeps
