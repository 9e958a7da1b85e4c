"""The data side of training: a labelled dataset joined to its shards of pairs while streaming, as named batches."""

from openmofi.training.data.loader import TrainingData
from openmofi.training.data.opening import open_data

__all__ = ["TrainingData", "open_data"]
