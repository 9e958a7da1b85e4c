"""Reads image–text pairs (tar shards, Parquet, folders with a table) and decodes images safely."""

from openmofi.pairs.images.decode import MAX_PIXELS, Decoded, ImageRefused, decode, decode_image, upright
from openmofi.pairs.images.phash import describe, perceptual_hash
from openmofi.pairs.read import count_pairs, read_pairs
from openmofi.pairs.read_settings import ReadSettings
from openmofi.pairs.writer import Record, write_tar

__all__ = [
    "MAX_PIXELS",
    "Decoded",
    "ImageRefused",
    "ReadSettings",
    "Record",
    "count_pairs",
    "decode",
    "decode_image",
    "describe",
    "perceptual_hash",
    "read_pairs",
    "upright",
    "write_tar",
]
