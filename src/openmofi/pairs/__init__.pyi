from .images.decode import (
    Decoded as Decoded,
    ImageRefused as ImageRefused,
    decode as decode,
    decode_image as decode_image,
    upright as upright,
)
from .images.phash import describe as describe, perceptual_hash as perceptual_hash
from .read import read_pairs as read_pairs
from .read_settings import MAX_PIXELS as MAX_PIXELS, ReadSettings as ReadSettings
from .writer import Record as Record, write_tar as write_tar
