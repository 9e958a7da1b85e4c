"""The encoder in the package, and encoders where PyTorch is not installed."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from openmofi.encoders import Head, apply_head, open_encoder
from openmofi.encoders.heads import _apply_without_torch

# An environment without PyTorch: importing it fails as it does there.
WITHOUT_TORCH = """
import sys
for name in ("torch", "transformers", "open_clip", "timm"):
    sys.modules[name] = None
import numpy as np
from openmofi.encoders import open_encoder
encoder = open_encoder("tiny", device="auto")
images = encoder.embed_images([np.full((40, 60, 3), value, np.uint8) for value in (0, 200)])
texts = encoder.embed_texts(["a moon", "a tent", ""])
assert np.allclose(np.linalg.norm(np.concatenate([images, texts]), axis=1), 1, atol=1e-4)
print(encoder.fingerprint, images.shape, texts.shape)
"""


def test_it_opens_and_embeds_without_pytorch():
    done = subprocess.run([sys.executable, "-c", WITHOUT_TORCH], capture_output=True, text=True)
    assert done.stdout.split(None, 1) == [open_encoder("tiny").fingerprint, "(2, 96) (3, 96)\n"], done.stderr


def test_it_tells_drawn_things_apart_by_name():
    """A circle of the sun's colour against a triangle; padding changes no text's embedding."""
    encoder = open_encoder("tiny")
    alone = encoder.embed_texts(["sun: the star that is the source of light"])
    beside = encoder.embed_texts(["sun: the star that is the source of light", "a " * 40])
    np.testing.assert_allclose(alone[0], beside[0], atol=1e-5)
    assert beside[0] @ beside[1] < 0.9


@pytest.mark.parametrize("hidden", [0, 6])
@given(seed=st.integers(0, 1000), rows=st.integers(0, 5))
def test_heads_give_the_same_without_pytorch(hidden, seed, rows):
    draw = np.random.default_rng(seed)
    head = Head.initial(7, 4, seed=seed, hidden=hidden, mean=draw.normal(size=7), std=draw.uniform(0.5, 2, 7))
    head = Head(
        {
            name: values + draw.normal(size=values.shape).astype(np.float32) * (name not in ("mean", "std"))
            for name, values in head.parameters.items()
        }
    )
    features = draw.normal(size=(rows, 7)).astype(np.float32)
    expected = apply_head(head.tensors(), torch.from_numpy(features)).numpy()
    np.testing.assert_allclose(_apply_without_torch(head.parameters, features), expected, rtol=1e-4, atol=1e-4)
