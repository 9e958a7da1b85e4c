"""Evaluation of encoders and linkers: one file per protocol, each exact to its published definition."""

from openmofi.bootstrap import Interval, PairedDifference, bootstrap_interval, paired_bootstrap
from openmofi.evaluation.embed import EmbeddedImages, ShardFeatures, embed_images, image_features_of, true_entities
from openmofi.evaluation.metrics.retrieval import RetrievalResult, evaluate_retrieval
from openmofi.evaluation.metrics.zero_shot import ZeroShotResult, class_embeddings, evaluate_zero_shot

__all__ = [
    "EmbeddedImages", "Interval", "PairedDifference", "RetrievalResult", "ShardFeatures", "ZeroShotResult",
    "bootstrap_interval", "class_embeddings", "embed_images", "evaluate_retrieval", "evaluate_zero_shot",
    "image_features_of", "paired_bootstrap", "true_entities",
]
