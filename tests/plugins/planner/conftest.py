from ...training.conftest import clip_folder, dataset

__all__ = ["clip_folder", "dataset"]
