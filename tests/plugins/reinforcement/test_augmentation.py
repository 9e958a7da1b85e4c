"""Augmentations replay to the pixel, and are those of torchvision."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import v2

from forked import Fork
from openmofi.errors import UsageError
from openmofi.pairs import ImageRefused
from openmofi.pairs.images.scaled import ScaledImage
from openmofi.plugins.reinforcement import Augmentation, AugmentSettings, augmented, image_hash
from openmofi.plugins.reinforcement.augmentation import OPS, draw_augmentation, drawing

sizes = st.integers(1, 400)


def encoded(width: int, height: int, kind: str = "JPEG", **options) -> bytes:
    draw = np.random.default_rng(width * 1000 + height)
    noise = draw.integers(0, 256, (height // 9 + 2, width // 9 + 2, 3), np.uint8)
    out = io.BytesIO()
    Image.fromarray(noise).resize((width, height)).save(out, kind, **options)
    return out.getvalue()


@settings(max_examples=40)
@given(sizes, sizes, st.sampled_from(["JPEG", "PNG"]), st.integers(0, 9), st.sampled_from([16, 33, 64]))
def test_replayed_from_what_is_stored_is_the_generated_to_the_pixel(width, height, kind, number, size):
    data = encoded(width, height, kind)
    shared = ScaledImage.of(data)
    for crop in range(3):
        drawn = draw_augmentation(AugmentSettings(), drawing(number, "s", "k", crop), width, height)
        stored = Augmentation(
            tuple(np.array(drawn.crop, np.float64).tolist()),
            drawn.flip,
            tuple((OPS[OPS.index(name)], float(np.float64(value))) for name, value in drawn.ops),
        )
        generated = np.asarray(drawn.replayed(shared, size, "bicubic"))
        assert np.array_equal(generated, augmented(data, stored, size, "bicubic"))


@given(st.integers(1, 9000), st.integers(1, 9000), st.integers(0, 10_000))
def test_a_crop_is_whole_pixels_inside_the_image(width, height, number):
    x, y, across, down = draw_augmentation(AugmentSettings(), drawing(0, "s", "k", number), width, height).crop
    box = np.array([x * width, y * height, across * width, down * height])
    assert np.abs(box - np.rint(box)).max() < 1e-6
    left, top, wide, high = np.rint(box)
    assert wide >= 1
    assert high >= 1
    assert 0 <= left <= width - wide
    assert 0 <= top <= height - high


def test_crops_are_distributed_as_torchvisions():
    ours = [draw_augmentation(AugmentSettings(), drawing(0, "s", "k", number), 300, 200) for number in range(1500)]
    theirs = [v2.RandomResizedCrop(32).make_params([Image.new("RGB", (300, 200))]) for _ in range(1500)]
    for column, name, side in ((0, "left", 300), (1, "top", 200), (2, "width", 300), (3, "height", 200)):
        mean, other = np.mean([one.crop[column] for one in ours]), np.mean([one[name] / side for one in theirs])
        assert abs(mean - other) < 0.025
    assert 0.45 < np.mean([one.flip for one in ours]) < 0.55
    counts = np.bincount([OPS.index(name) for one in ours for name, _ in one.ops], minlength=len(OPS))
    assert counts.min() > 3000 / len(OPS) * 0.75


@pytest.mark.parametrize("magnitude", [0, 9, 30])
def test_ops_are_torchvisions(magnitude):
    image = Image.open(io.BytesIO(encoded(96, 96, "PNG")))
    theirs, drawn = v2.RandAugment(2, magnitude), {}
    for number in range(300):
        made = draw_augmentation(AugmentSettings(magnitude=magnitude), drawing(0, "s", "k", number), 96, 96)
        for name, value in made.ops:
            drawn.setdefault(name, set()).add(value)
    assert tuple(theirs._AUGMENTATION_SPACE) == OPS
    for name, (values, signed) in theirs._AUGMENTATION_SPACE.items():
        found = values(31, 96, 96)
        value = 0.0 if found is None else float(found[magnitude])
        assert len(drawn[name]) == (2 if signed and value else 1)
        for ours in drawn[name]:
            sign = -1.0 if ours < 0 else 1.0
            expected = theirs._apply_image_or_video_transform(
                image, name, sign * value, interpolation=theirs.interpolation, fill=theirs._fill
            )
            made = augmented(encoded(96, 96, "PNG"), Augmentation((0, 0, 1, 1), False, ((name, ours),)), 96, "bicubic")
            assert np.abs(made.astype(int) - np.asarray(expected)).mean() < 0.01


def test_draws_depend_on_seed_shard_key_and_number_alone(tmp_path):
    (tmp_path / "program.py").write_text(
        "from openmofi.plugins.reinforcement.augmentation import *; "
        "print(draw_augmentation(AugmentSettings(), drawing(3, 'shard', 'kéy', 1), 320, 200))"
    )
    other = Fork(tmp_path / "program.py").finish()  # its hashes are of another seed
    assert other.stdout.strip() == str(draw_augmentation(AugmentSettings(), drawing(3, "shard", "kéy", 1), 320, 200))
    draws = {
        str(draw_augmentation(AugmentSettings(), drawing(*named), 320, 200))
        for named in (
            (3, "shard", "kéy", 1),
            (4, "shard", "kéy", 1),
            (3, "other", "kéy", 1),
            (3, "shard", "key", 1),
            (3, "shard", "kéy", 2),
        )
    }
    assert len(draws) == 5


def test_an_image_on_its_side_is_cut_upright():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(80, 40, exif=exif)
    image = ScaledImage.of(data)
    assert (image.width, image.height) == (40, 80)
    whole = augmented(data, Augmentation((0.0, 0.0, 1.0, 1.0), False, ()), 32, "bilinear")
    flipped = augmented(data, Augmentation((0.0, 0.0, 1.0, 1.0), True, ()), 32, "bilinear")
    assert np.array_equal(whole, flipped[:, ::-1])


def test_the_hash_is_of_the_bytes():
    data = encoded(20, 20)
    assert image_hash(data) == image_hash(bytes(data))
    assert 0 <= image_hash(data) < 2**64
    assert image_hash(data) != image_hash(data + b"\0")


def test_what_cannot_be_decoded_is_refused():
    with pytest.raises(ImageRefused):
        augmented(b"broken", Augmentation((0, 0, 1, 1), False, ()), 32, "bicubic")


@pytest.mark.parametrize(
    "wrong",
    [
        {"scale": (0.0, 1.0)},
        {"scale": (0.5, 0.4)},
        {"ratio": (0.0, 1.0)},
        {"flip": 2.0},
        {"ops": -1},
        {"magnitude": 31},
    ],
)
def test_settings_that_cannot_be_drawn_by_are_refused(wrong):
    with pytest.raises(UsageError):
        AugmentSettings(**wrong)
