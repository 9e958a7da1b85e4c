"""Users' own encoders, in a module that workers can import; and a stage that holds an encoder."""

from dataclasses import dataclass

import numpy as np

from openmofi.encoders import Encoder


class Mine:
    """Embeds the mean colour, and how often letters occur."""

    logit_scale = 50.0

    def embed_images(self, images):
        return np.stack([np.asarray(image, np.float32).mean((0, 1)) for image in images])

    def embed_texts(self, texts):
        return [[text.count(letter) + 1.0 for letter in "aeo"] for text in texts]


@dataclass(frozen=True)
class EmbedStage:
    encoder: Encoder

    def __call__(self):
        return self.embed

    def embed(self, text):
        return {"fingerprint": self.encoder.fingerprint, "embedding": self.encoder.embed_texts([text])[0].tolist()}
