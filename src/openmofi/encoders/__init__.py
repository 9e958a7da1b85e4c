"""Image and text encoders: load, preprocess, fold. Nothing is trained here."""

import os

# Threads that wait for one another sleep and do not spin: the job's decoding threads need the same cores, and so may
# other people's jobs. Measured on two cores: alone 5 to 7 % slower than spinning, beside three busy processes three to
# five times as fast. OpenMP reads this when torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from openmofi.encoders.companions import CALIBRATION_FILE, GALLERY_FILE, ClassVectors, Companions, Folds
from openmofi.encoders.encoder import Encoder
from openmofi.encoders.folder import save_heads
from openmofi.encoders.networks.heads import Head, apply_head
from openmofi.encoders.preprocess import ImageInput, preprocess
from openmofi.encoders.protocol import Array, Preprocessing
from openmofi.encoders.registry import BACKBONE, EncoderLike, as_encoder, open_encoder

__all__ = [
    "BACKBONE",
    "CALIBRATION_FILE",
    "GALLERY_FILE",
    "Array",
    "ClassVectors",
    "Companions",
    "Encoder",
    "EncoderLike",
    "Folds",
    "Head",
    "ImageInput",
    "Preprocessing",
    "apply_head",
    "as_encoder",
    "open_encoder",
    "preprocess",
    "save_heads",
]
