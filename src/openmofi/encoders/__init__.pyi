from .companions import (
    CALIBRATION_FILE as CALIBRATION_FILE,
    GALLERY_FILE as GALLERY_FILE,
    ClassVectors as ClassVectors,
    Companions as Companions,
    Folds as Folds,
)
from .registry import EncoderLike as EncoderLike, as_encoder as as_encoder
from .encoder import Encoder as Encoder
from .folder import save_heads as save_heads
from .heads import Head as Head, apply_head as apply_head
from .preprocess import ImageInput as ImageInput, Preprocessing as Preprocessing, preprocess as preprocess
from .registry import BACKBONE as BACKBONE, open_encoder as open_encoder
