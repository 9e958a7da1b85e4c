from .metrics.retrieval import RetrievalResult as RetrievalResult, evaluate_retrieval as evaluate_retrieval
from .metrics.zero_shot import (
    ZeroShotResult as ZeroShotResult,
    class_embeddings as class_embeddings,
    evaluate_zero_shot as evaluate_zero_shot,
)
