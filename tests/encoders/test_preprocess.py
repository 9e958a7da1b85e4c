import io
import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from openmofi.encoders import Preprocessing, preprocess
from openmofi.encoders.preprocess import checked, preprocessing_from_json
from openmofi.errors import OpenMofiError
from openmofi.pairs import decode_image
from openmofi.plugins.encoders.huggingface_preprocessing import read_preprocessing

from .conftest import drawn_image

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
SIZES = [(64, 64), (97, 64), (63, 150), (20, 33), (31, 30), (640, 427)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("resize", "interpolation"), [("shortest", "bicubic"), ("squash", "bicubic"), ("shortest", "bilinear")]
)
def test_equals_open_clips_transform(size, resize, interpolation):
    from open_clip.transform import image_transform

    image = drawn_image(*size)
    theirs = image_transform(48, is_train=False, mean=MEAN, std=STD, interpolation=interpolation, resize_mode=resize)
    ours = preprocess(image, Preprocessing(48, MEAN, STD, interpolation, resize))
    assert np.abs(ours - theirs(image).numpy()).max() <= 1e-6


@pytest.mark.parametrize("size", SIZES)
def test_without_antialias_equals_mofis_torchvision_pipeline(size):
    from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Normalize, Resize, ToTensor

    image = drawn_image(*size)
    theirs = Compose(
        [ToTensor(), Resize(48, InterpolationMode.BILINEAR, antialias=False), CenterCrop(48), Normalize(MEAN, STD)]
    )
    ours = preprocess(image, Preprocessing(48, MEAN, STD, "bilinear", antialias=False))
    assert np.abs(ours - theirs(image).numpy()).max() <= 1e-5


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "settings",
    [
        {"size": {"shortest_edge": 48}, "crop_size": {"height": 48, "width": 48}},
        {"size": {"shortest_edge": 56}, "crop_size": 48, "resample": 2},
        {"size": 48, "crop_size": 48, "do_normalize": False},
        {"size": {"height": 48, "width": 48}, "do_center_crop": False},
    ],
)
def test_equals_transformers_pillow_processor(tmp_path, size, settings):
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    image = drawn_image(*size)
    theirs = CLIPImageProcessorPil(**settings)(image, return_tensors="np")["pixel_values"][0]
    ours = preprocess(image, read_preprocessing(tmp_path, "clip", 48))
    assert np.abs(ours - theirs).max() <= 1e-5


@given(
    st.integers(1, 300),
    st.integers(1, 300),
    st.sampled_from(["shortest", "squash"]),
    st.booleans(),
    st.sampled_from([0, 20]),
)
@settings(max_examples=60, deadline=None)
def test_any_shape_gives_the_size(width, height, resize, antialias, resize_size):
    image = Image.new("RGB", (width, height), (10, 200, 30))
    made = Preprocessing(
        16, (0.0,) * 3, (1.0,) * 3, "bilinear", resize, antialias, resize_size if resize == "shortest" else 0
    )
    found = preprocess(image, made)
    assert found.shape == (3, 16, 16)
    assert found.dtype == np.float32
    assert np.allclose(found[:, 8, 8], np.array([10, 200, 30]) / 255, atol=1e-5)


def test_a_very_long_strip_takes_little_memory():
    strip = Image.new("RGB", (60_000, 1))
    assert preprocess(strip, Preprocessing(224, MEAN, STD)).shape == (3, 224, 224)


@pytest.mark.parametrize("mode", ["L", "RGBA", "CMYK", "P", "1"])
def test_other_modes_are_converted(mode):
    image = drawn_image(40, 30).convert(mode)
    expected = preprocess(image.convert("RGB"), Preprocessing(16, MEAN, STD))
    assert np.array_equal(preprocess(image, Preprocessing(16, MEAN, STD)), expected)


def test_threads_agree():
    from concurrent.futures import ThreadPoolExecutor

    made = Preprocessing(48, MEAN, STD, "bilinear", antialias=False)
    images = [drawn_image(60 + n, 50, seed=n) for n in range(16)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda image: preprocess(image, made), images))
    assert all(np.array_equal(one, preprocess(image, made)) for one, image in zip(found, images, strict=True))


def test_travels_through_json():
    made = Preprocessing(48, MEAN, STD, "bilinear", "shortest", False, 64, "floor")
    assert preprocessing_from_json(json.loads(json.dumps(asdict(made))), "here") == made


@pytest.mark.parametrize(
    "change",
    [
        {"interpolation": "lanczos"},
        {"resize": "longest"},
        {"size": 0},
        {"resize_size": 3},
        {"std": (0.0, 1.0, 1.0)},
        {"crop_rounding": "up"},
    ],
)
def test_what_cannot_be_followed_is_refused(change):
    with pytest.raises(OpenMofiError, match=r"here.*not supported"):
        checked(Preprocessing(**{**asdict(Preprocessing(48, MEAN, STD)), **change}), "here")


@pytest.mark.parametrize(
    "raw",
    [
        {},
        {"size": 3, "mean": [1], "std": [1, 1, 1]},
        {"size": 3, "mean": None, "std": None},
        {"size": 1, "mean": [0, 0, 0], "std": [1, 1, 1], "colour": 1},
    ],
)
def test_damaged_json_is_one_sentence(raw):
    with pytest.raises(OpenMofiError, match=r"encoder\.json.*cannot be read"):
        preprocessing_from_json(raw, "encoder.json")


def test_mofi_option_is_the_reference_pipeline(tmp_path):
    found = read_preprocessing(tmp_path, "clip", 224, "mofi")
    assert (found.interpolation, found.antialias, found.resize, found.size) == ("bilinear", False, "shortest", 224)
    assert torch.allclose(torch.tensor(found.mean), torch.tensor(MEAN))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": {"shortest_edge": 48}, "do_center_crop": False}, "no fixed size"),
        ({"size": 48, "crop_size": 48, "resample": 1}, "number 1"),
        ({"size": 48, "crop_size": {"height": 48, "width": 40}}, "not square"),
        ({"size": 48, "crop_size": 48, "do_rescale": False}, "do_rescale"),
        ({"size": 224, "crop_size": 224}, "the model takes 48"),
        ({"size": {"longest_edge": 48}}, "cannot be parsed"),
    ],
)
def test_processor_files_that_cannot_be_followed(tmp_path, settings, message):
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    with pytest.raises(OpenMofiError, match=message):
        read_preprocessing(tmp_path, "clip", 48)


def test_a_missing_processor_file_is_never_guessed(tmp_path):
    with pytest.raises(OpenMofiError, match=r"never guessed.*=mofi"):
        read_preprocessing(tmp_path, "clip", 48)


def test_transformers_5_nests_the_settings(tmp_path):
    nested = {"image_processor": {"size": {"shortest_edge": 48}, "crop_size": 48}, "processor_class": "CLIPProcessor"}
    (tmp_path / "processor_config.json").write_text(json.dumps(nested))
    assert read_preprocessing(tmp_path, "clip", 48).size == 48


def test_without_antialias_a_jpeg_is_decoded_whole():
    plain = Preprocessing(64, (0.5,) * 3, (0.5,) * 3, "bilinear", antialias=False)
    assert plain.decode_size is None
    assert replace(plain, antialias=True).decode_size == 64
    data = io.BytesIO()
    drawn_image(900, 700).save(data, "JPEG", quality=90)
    whole, scaled = (decode_image(data.getvalue(), size_hint=hint) for hint in (plain.decode_size, 64))
    assert (whole.size, scaled.size[0] < 900) == ((900, 700), True)
    # What scaled decoding would change: more than noise.
    assert np.abs(preprocess(whole, plain) - preprocess(scaled, plain)).mean() > 0.01
