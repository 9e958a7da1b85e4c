from .arrays import normalised as normalised
from .companions import (
    CALIBRATION_FILE as CALIBRATION_FILE,
    ClassVectors as ClassVectors,
    Companions as Companions,
    Folds as Folds,
    GALLERY_FILE as GALLERY_FILE,
)
from .encoder import Encoder as Encoder
from .folder import save_heads as save_heads
from .heads import Head as Head, apply_head as apply_head
from .preprocess import ImageInput as ImageInput, Preprocessing as Preprocessing, preprocess as preprocess
from .registry import (
    BACKBONE as BACKBONE,
    EncoderLike as EncoderLike,
    as_encoder as as_encoder,
    open_encoder as open_encoder,
)
