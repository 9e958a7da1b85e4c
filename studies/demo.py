"""The part of the demo that studies of labels stand on."""

from __future__ import annotations

from pathlib import Path

from openmofi.engine import Progress
from openmofi.storage import read_manifest
from studies.world.demo import label_world
from studies.world.encoder import PARTIAL_LABELS


def demo_encoder(demo: Path, progress: Progress) -> Path:
    """The folder of the demo's encoder for labels; the demo is made in `demo` where that is missing."""
    encoder = demo / "encoders" / PARTIAL_LABELS
    if not ((encoder / "manifest.json").exists() and read_manifest(encoder, "encoder").finished):
        label_world(demo, progress)
    return encoder
