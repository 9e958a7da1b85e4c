"""Images through an encoder: the decode-ahead stream and the feature store that all rooms share."""

from openmofi.features.entities import embed_entities
from openmofi.features.entity_table import EntityFeatures
from openmofi.features.images import EmbeddedImages, embed_images, image_features_of
from openmofi.features.store import FeatureStore, StoredFeatures
from openmofi.features.stream import ahead

__all__ = [
    "EmbeddedImages",
    "EntityFeatures",
    "FeatureStore",
    "StoredFeatures",
    "ahead",
    "embed_entities",
    "embed_images",
    "image_features_of",
]
