"""Encoders as checkpoints of open_clip, timm and transformers, which open there without OpenMOFI."""
