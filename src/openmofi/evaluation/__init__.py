"""Evaluation of encoders and linkers: one file per protocol, each exact to its published definition."""

from openmofi.bootstrap import Interval, PairedDifference, bootstrap_interval, paired_bootstrap
from openmofi.evaluation.metrics.retrieval import RetrievalResult, evaluate_retrieval
from openmofi.evaluation.metrics.zero_shot import ZeroShotResult, class_embeddings, evaluate_zero_shot

__all__ = [
    "Interval",
    "PairedDifference",
    "RetrievalResult",
    "ZeroShotResult",
    "bootstrap_interval",
    "class_embeddings",
    "evaluate_retrieval",
    "evaluate_zero_shot",
    "paired_bootstrap",
]
