"""The `sample` encoders: two heads over frozen backbones, trained on the world's pages and never on its truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from openmofi.encoders import BACKBONE, open_encoder
from openmofi.engine import LocalEngine, Progress
from openmofi.labeling.adapt.bags import collect_bags
from openmofi.labeling.adapt.fit import HeadSettings, fit_heads
from openmofi.labeling.job import CALIBRATION_FILE, calibrate, read_corpus
from openmofi.labeling.settings import LabelSettings
from openmofi.storage import Shard, claim_folder, file_fingerprint, finish_manifest

PARTIAL_LABELS, ALT_TEXT = "partial-labels", "alt-text"


RECIPES: Mapping[str, HeadSettings] = {
    PARTIAL_LABELS: HeadSettings("partial_labels"), ALT_TEXT: HeadSettings("alt_text"),
}
"""Folder of an encoder → how its heads are fitted."""


def train_sample_encoders(shards: Sequence[Shard], kb: str | Path, out: str | Path, *, cache: str | Path,
                          progress: Progress,
                          recipes: Mapping[str, HeadSettings] = RECIPES) -> dict[str, dict[str, float]]:
    """Train and calibrate the sample encoders on raw pages; finished encoders are not trained again.

    Args:
        shards: the world's training pages.
        kb: its knowledge base.
        out: gets a folder for each recipe, which is opened by `run:` or, below $OPENMOFI_SAMPLE_ENCODERS, by `sample`.
        cache: links and features; shared with the label job.

    Returns:
        Recipe name → `loss`, `first_loss`.
    """
    settings = LabelSettings(BACKBONE)
    corpus = read_corpus(shards, kb, settings, cache, LocalEngine(), progress)
    bags = None
    results = {}
    inputs = {shard.name: file_fingerprint(shard.path) for shard in shards} | {"/kb": corpus.kb.fingerprint}
    for name, heads in recipes.items():
        folder = Path(out) / name
        manifest = claim_folder(folder, "encoder", {"base": BACKBONE, **vars(heads)}, inputs)
        if not manifest.finished:
            bags = bags or collect_bags(corpus.stage, corpus.shards, corpus.known, heads.max_pairs)
            fitted = fit_heads(corpus.encoder, bags, corpus.known, heads, folder, adapter=False,
                               seen=[file_fingerprint(shard.path) for shard in corpus.shards], progress=progress)
            encoder = open_encoder(f"run:{folder}")
            calibrate(corpus, encoder, settings.seed).save(folder / CALIBRATION_FILE)
            manifest = finish_manifest(folder, manifest, {**fitted, "pairs": len(bags)})
        results[name] = dict(manifest.counts)
    return results
