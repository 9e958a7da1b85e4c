"""The model that is trained: an image tower, a text tower, and heads to their joint space."""

from openmofi.training.model.build import Ema, build_model, inputs_of, parameter_groups, save_encoder
from openmofi.training.model.towers import DualEncoder, Tower, TrainedHead, standardise, start_from_labels

__all__ = [
    "DualEncoder",
    "Ema",
    "Tower",
    "TrainedHead",
    "build_model",
    "inputs_of",
    "parameter_groups",
    "save_encoder",
    "standardise",
    "start_from_labels",
]
