"""Stored embeddings are as near as their precision says; fidelity beside a plain computation."""

from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import softmax

from openmofi.config.fields import field_types
from openmofi.errors import UsageError
from openmofi.plugins.reinforcement.reinforce_settings import ReinforceSettings
from openmofi.plugins.reinforcement.table import PRECISIONS, affinity_fidelity, decode, encode, normalised, stored
from openmofi.plugins.reinforcement.teachers import TeacherSpec

vectors = arrays(
    np.float32,
    st.tuples(st.integers(0, 5), st.integers(1, 40)),
    elements=st.floats(-1, 1, width=32, allow_subnormal=False),
)


def directions(count, dim, seed):
    return normalised(np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32))


@given(vectors)
def test_half_precision_is_near(values):
    codes, scales = encode(values, "fp16")
    assert codes.dtype == np.float16
    assert (np.abs(decode(codes, scales, "fp16") - values) <= np.abs(values) * 2.0**-11 + 2.0**-25).all()


@given(vectors)
def test_bfloat16_is_torchs(values):
    codes, scales = encode(values, "bf16")
    found = decode(codes, scales, "bf16")
    assert np.array_equal(found, torch.from_numpy(values).bfloat16().float().numpy())
    assert (np.abs(found - values) <= np.abs(values) * 2.0**-8).all()


@given(vectors)
def test_bytes_are_within_half_a_step_of_each_vectors_own_scale(values):
    codes, scales = encode(values, "int8")
    assert codes.dtype == np.int8
    assert np.allclose(scales, np.abs(values).max(-1) / 127, rtol=1e-6, atol=0)
    error = np.abs(decode(codes, scales, "int8") - values)
    assert (error <= scales[:, None] * 0.5001).all()


@pytest.mark.parametrize(("precision", "bound"), [("fp16", 3e-4), ("bf16", 3e-3), ("int8", 1.6e-2)])
def test_what_is_read_is_of_length_one_and_points_the_same_way(precision, bound):
    exact = directions(200, 256, 0)
    found = stored(exact, precision)
    assert np.allclose(np.linalg.norm(found, axis=-1), 1, atol=1e-6)
    assert np.linalg.norm(found - exact, axis=-1).max() < bound


@pytest.mark.parametrize("precision", ["fp16", "bf16", "int8"])
def test_fidelity_is_that_of_a_plain_computation(precision):
    image, text, scale = directions(20, 64, 1), directions(20, 64, 2), 40.0
    text = normalised(text + image)
    kept_image, kept_text = stored(image, precision), stored(text, precision)
    kl, absolute = [], []
    for first, second, kept_first, kept_second in (
        (image, text, kept_image, kept_text),
        (text, image, kept_text, kept_image),
    ):
        for row in range(20):
            p = softmax(scale * (second.astype(float) @ first[row].astype(float)))
            q = softmax(scale * (kept_second.astype(float) @ kept_first[row].astype(float)))
            kl.append((p * np.log(p / q)).sum())
            absolute.append(np.abs(p - q).mean())
    found = affinity_fidelity(image, text, scale, precision)
    assert found["kl"] == pytest.approx(np.mean(kl), rel=1e-6)
    assert found["absolute"] == pytest.approx(np.mean(absolute), rel=1e-6)
    assert found["kl"] > 0


def test_other_precisions_are_refused():
    with pytest.raises(UsageError, match="unknown value 'fp8' for precision; use bf16, fp16 or int8"):
        ReinforceSettings((TeacherSpec("a", 1.0),), precision="fp8")


def test_the_precisions_of_settings_are_those_that_are_stored():
    assert set(get_args(field_types(ReinforceSettings)["precision"])) == set(PRECISIONS)
