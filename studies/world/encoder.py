"""The `sample` encoders: two heads over frozen backbones, trained on the world's pages and never on its truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from openmofi.encoders import BACKBONE, CALIBRATION_FILE, GALLERY_FILE, Encoder, open_encoder
from openmofi.encoders.folder import HEAD_OUTPUTS
from openmofi.engine import LocalEngine, Progress
from openmofi.knowledge import KnowledgeBase
from openmofi.labeling.decide import decision_of
from openmofi.labeling.job import read_corpus
from openmofi.labeling.label_settings import LabelSettings
from openmofi.plugins.adapter.adapt import fit_heads
from openmofi.plugins.adapter.bags import HeadSettings, collect_bags
from openmofi.storage import Outputs, Shard, claimed, finish_manifest

PARTIAL_LABELS, ALT_TEXT = "partial-labels", "alt-text"
OUTPUTS = Outputs((*HEAD_OUTPUTS, CALIBRATION_FILE, GALLERY_FILE))

RECIPES: Mapping[str, HeadSettings] = {
    PARTIAL_LABELS: HeadSettings("partial_labels"),
    ALT_TEXT: HeadSettings("alt_text"),
}
"""Folder of an encoder → how its heads are fitted."""


def train_sample_encoders(
    shards: Sequence[Shard],
    kb: str | Path,
    out: str | Path,
    *,
    cache: str | Path,
    progress: Progress,
    backbone: Encoder | None = None,
    recipes: Mapping[str, HeadSettings] = RECIPES,
    restart: bool = False,
) -> dict[str, dict[str, float]]:
    """Train and calibrate the sample encoders on raw pages; finished encoders are not trained again.

    Args:
        shards: the world's training pages.
        kb: its knowledge base.
        out: gets a folder for each recipe, which is opened by `run:` or, below $OPENMOFI_SAMPLE_ENCODERS, by `sample`.
        cache: links and features; shared with the label job.
        progress: receives every step.
        backbone: the frozen backbones, where they are open.
        recipes: folder of each encoder → how its heads are fitted.
        restart: remove encoders that were trained there before, and train anew.

    Returns:
        Recipe name → `loss`, `first_loss`.
    """
    settings = LabelSettings()
    corpus = read_corpus(
        shards, KnowledgeBase.open(kb), backbone or open_encoder(BACKBONE), settings, cache, LocalEngine(), progress
    )
    bags = None
    results = {}
    inputs = {shard.name: shard.fingerprint for shard in shards} | {"/kb": corpus.kb.fingerprint}
    for name, heads in recipes.items():
        folder = Path(out) / name
        with claimed(
            folder, "encoder", {"base": BACKBONE, **vars(heads)}, inputs, outputs=OUTPUTS, restart=restart
        ) as manifest:
            if not manifest.finished:
                bags = bags or collect_bags(corpus.tables, corpus.shards, corpus.entities, heads.max_pairs)
                fitted = fit_heads(
                    corpus.encoder, bags, corpus.entities, heads, folder, adapter=False, progress=progress
                )
                encoder = open_encoder(f"run:{folder}", bases=[corpus.encoder])
                decision_of(corpus, encoder, None).save(folder)
                manifest = finish_manifest(folder, manifest, {**fitted, "pairs": len(bags)})
        results[name] = dict(manifest.counts)
    return results
