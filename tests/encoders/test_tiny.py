"""The encoders in the package, and encoders where PyTorch is not installed."""

import subprocess
import sys
import tarfile
from importlib import resources
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from openmofi.encoders import Head, apply_head, open_encoder
from openmofi.encoders.heads import _apply_without_torch
from openmofi.plugins.demo import FILES

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
    assert done.stdout.split(None, 1) == [open_encoder("tiny").fingerprint, "(2, 224) (3, 224)\n"], done.stderr


def test_it_tells_drawn_things_apart_by_name():
    """A circle of the sun's colour against a triangle; padding changes no text's embedding."""
    encoder = open_encoder("tiny")
    alone = encoder.embed_texts(["sun: the star that is the source of light"])
    beside = encoder.embed_texts(["sun: the star that is the source of light", "a " * 40])
    np.testing.assert_allclose(alone[0], beside[0], atol=1e-5)
    assert beside[0] @ beside[1] < 0.9


@pytest.mark.parametrize("parts", [0, 1, 3])
@pytest.mark.parametrize("hidden", [0, 6])
@given(seed=st.integers(0, 1000), rows=st.integers(0, 5))
def test_heads_give_the_same_without_pytorch(hidden, parts, seed, rows):
    draw = np.random.default_rng(seed)
    head = Head.initial(7, 4, seed=seed, hidden=hidden, mean=draw.normal(size=7), std=draw.uniform(0.5, 2, 7))
    gate = {"parts": np.array([parts]), "gate": draw.normal(size=7), "gate_bias": draw.normal(size=1)}
    head = Head(
        {
            name: values + draw.normal(size=values.shape).astype(np.float32) * (name not in ("mean", "std"))
            for name, values in head.parameters.items()
        }
        | ({name: values.astype(np.float32) for name, values in gate.items()} if parts else {})
    )
    features = draw.normal(size=(rows, 7)).astype(np.float32)
    expected = apply_head(head.tensors(), torch.from_numpy(features)).numpy()
    np.testing.assert_allclose(_apply_without_torch(head.parameters, features), expected, rtol=1e-4, atol=1e-4)


def test_a_gate_decides_which_part_speaks():
    """Of unit length each, times √g and √(1 − g), g the sigmoid of a linear map of the features."""
    head = Head(
        {
            "weight": np.eye(4, dtype=np.float32),
            "bias": np.zeros(4, np.float32),
            "parts": np.array([2.0]),
            "gate": np.array([-1.0, 0, 0, 0]),
            "gate_bias": np.array([3.0]),
        }
    )
    assert head.kind == "parts"
    first, both, second = _apply_without_torch(
        head.parameters, np.array([[-27, 36, 0, 9], [3, 4, 0, 9], [30, 40, 0, 9]], np.float32)
    )
    np.testing.assert_allclose(first, [-0.6, 0.8, 0, 0], atol=1e-5)
    np.testing.assert_allclose(both, np.sqrt(0.5) * np.array([0.6, 0.8, 0, 1]), atol=1e-6)
    np.testing.assert_allclose(second, [0, 0, 0, 1], atol=1e-5)


PHOTOGRAPHS = {
    "flower": "flower: a plant cultivated for its blooms or blossoms",
    "china": "palace: a large and stately mansion",
}
OTHERS = ("bus: a vehicle carrying many passengers", "fish: a cold-blooded aquatic vertebrate", "spoon: a utensil")


def test_photo_knows_photographs():
    """The photographs that scikit-learn carries."""
    folder = resources.files("sklearn.datasets.images")
    encoder = open_encoder("photo")
    images = encoder.embed_images([(folder / f"{name}.jpg").read_bytes() for name in PHOTOGRAPHS])
    similarity = images @ encoder.embed_texts([*PHOTOGRAPHS.values(), *OTHERS]).T
    assert similarity.argmax(1).tolist() == [0, 1]


def test_photo_knows_drawings():
    """Pages of the tiny demo, which nothing was fitted on: of what they show and 200 other entities."""
    truth = pq.read_table(FILES / "truth.parquet").to_pylist()[:60]
    entities = {row["id"]: row for row in pq.read_table(FILES / "kb/entities.parquet").to_pylist()}
    with tarfile.open(FILES / "pages.tar") as tar:
        images = {Path(member.name).stem: tar.extractfile(member).read() for member in tar if ".webp" in member.name}
    shown = [row for row in truth if row["entity"] in entities and Path(row["key"]).stem in images]
    other = [row for row in list(entities)[::40] if row not in {row["entity"] for row in shown}][:200]
    texts = [
        f"{entities[each]['name']}: {entities[each]['description']}" for each in [*(r["entity"] for r in shown), *other]
    ]
    encoder = open_encoder("photo")
    similarity = encoder.embed_images([images[row["key"]] for row in shown]) @ encoder.embed_texts(texts).T
    right = [
        shown[best]["entity"] == row["entity"] if best < len(shown) else False
        for best, row in zip(similarity.argmax(1), shown, strict=False)
    ]
    assert np.mean(right) > 0.3
