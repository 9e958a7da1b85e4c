"""Image and text encoders: load, preprocess, fold. Nothing is trained here."""

import os

# Threads that wait for one another sleep and do not spin: the job's decoding threads need the same cores, and so may
# other people's jobs. Measured on two cores: alone 5 to 7 % slower than spinning, beside three busy processes three to
# five times as fast. OpenMP reads this when torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from openmofi.encoders.heads import Head, apply_head
from openmofi.encoders.preprocess import preprocess
from openmofi.encoders.projection import ProjectionEncoder, save_projection_encoder
from openmofi.encoders.protocol import Array, Encoder, Preprocessing
from openmofi.encoders.registry import (
    BACKBONE,
    describe,
    encoder_folder,
    fold_spec,
    open_encoder,
    sample_encoder_folder,
)

__all__ = [
    "BACKBONE", "Array", "Encoder", "Head", "Preprocessing", "ProjectionEncoder", "apply_head",
    "describe", "encoder_folder", "fold_spec", "open_encoder", "preprocess", "sample_encoder_folder",
    "save_projection_encoder",
]
