"""Images of one colour each, in the layouts of datasets, and an encoder that sees and reads colours."""

import copy
import io
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from openmofi.encoders import Encoder, preprocess
from openmofi.encoders.arrays import normalised
from openmofi.encoders.preprocess import Preprocessing
from openmofi.errors import OpenMofiError

COLOURS = {"blue": (40, 60, 220), "green": (40, 190, 60), "red": (220, 50, 50), "yellow": (230, 220, 60)}
SIDE = 4


class Eye:
    """Features: the image at 4 × 4; joint space: its mean colour without grey. Texts: the colour that they name."""

    spec, fingerprint, feature_fingerprint = "eye", "eye-1", "eye-features"
    dim, feature_dim, text_feature_dim, logit_scale = 3, 3 * SIDE * SIDE, 3, 1.0
    device, precision = "cpu", "fp32"
    preprocessing = Preprocessing(SIDE, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))

    def __init__(self, texts: bool = True, joint: bool = True) -> None:
        self.texts, self.joint, self.seen = texts, joint, 0

    describe = Encoder.describe
    batch = staticmethod(np.stack)
    takes_images = compiles = False

    @property
    def has_joint_space(self):
        return self.joint

    @property
    def has_texts(self):
        return self.texts

    def with_preprocessing(self, preprocessing):
        changed = copy.copy(self)
        changed.preprocessing, changed.fingerprint = preprocessing, f"{self.fingerprint}-{preprocessing}"
        changed.feature_fingerprint = f"{self.feature_fingerprint}-{preprocessing}"
        changed.preprocess = partial(preprocess, settings=preprocessing)
        changed.image_features = self.image_features
        return changed

    def preprocess(self, image):
        return np.asarray(image.resize((SIDE, SIDE)), np.float32).transpose(2, 0, 1) / 127.5 - 1

    def image_features(self, pixels):
        self.seen += len(pixels)
        return pixels.reshape(len(pixels), -1)

    def project_images(self, features):
        if not self.joint:
            raise OpenMofiError("This encoder has no joint space.")
        means = features.reshape(len(features), 3, -1).mean(2)
        return normalised(means - means.mean(1, keepdims=True) + 1e-6)

    def text_features(self, texts):
        if not self.texts:
            raise OpenMofiError("The encoder 'eye' was trained without texts: it embeds images only.")
        found = [
            next((np.array(rgb) for name, rgb in COLOURS.items() if name in text), np.array((1, 2, 4)))
            for text in texts
        ]
        return np.stack(found).astype(np.float32) / 127.5 - 1

    def project_texts(self, features):
        return normalised(features - features.mean(1, keepdims=True))

    def embed_texts(self, texts):
        return self.project_texts(self.text_features(texts))


def drawn_image(colour: str, seed: int, noise: float = 60.0) -> bytes:
    draw = np.random.default_rng([seed, len(colour)])
    pixels = np.array(COLOURS[colour]) + draw.normal(0, noise, 3) + draw.normal(0, 10, (6, 8, 3))
    out = io.BytesIO()
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(out, "PNG")
    return out.getvalue()


def write_classes(folder: Path, count: int, *, start: int = 0, noise: float = 60.0) -> Path:
    """A class folder for each colour, `count` images in each."""
    for name in COLOURS:
        (folder / name).mkdir(parents=True)
        for number in range(start, start + count):
            (folder / name / f"{number:03d}.png").write_bytes(drawn_image(name, number, noise))
    return folder
