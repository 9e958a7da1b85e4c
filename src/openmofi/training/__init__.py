"""Training: loop, loader, distribution, optimisers, checkpoints. It never asks which objective runs."""
