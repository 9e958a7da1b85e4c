"""The `sample` encoders: two heads over frozen backbones, trained on the world's pages and never on its truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from openmofi.encoders import BACKBONE, CALIBRATION_FILE, open_encoder
from openmofi.engine import LocalEngine, Progress
from openmofi.knowledge import KnowledgeBase
from openmofi.labeling.adapt.bags import collect_bags
from openmofi.labeling.adapt.fit import fit_heads
from openmofi.labeling.adapt.inputs import HeadSettings
from openmofi.labeling.corpus import read_corpus
from openmofi.labeling.decide import decide
from openmofi.labeling.settings import LabelSettings
from openmofi.storage import Shard, claim_folder, finish_manifest

PARTIAL_LABELS, ALT_TEXT = "partial-labels", "alt-text"


@dataclass(frozen=True)
class EncoderRecipe:
    """One of the sample encoders: the folder that it lies in and how its heads are fitted."""

    name: str
    heads: HeadSettings


RECIPES = (
    EncoderRecipe(PARTIAL_LABELS, HeadSettings("partial_labels")),
    EncoderRecipe(ALT_TEXT, HeadSettings("alt_text")),
)


def train_sample_encoders(shards: Sequence[Shard], kb: str | Path, out: str | Path, *, cache: str | Path,
                          progress: Progress,
                          recipes: Sequence[EncoderRecipe] = RECIPES) -> dict[str, dict[str, float]]:
    """Train and calibrate the sample encoders on raw pages; what is finished is not made again.

    Args:
        shards: the world's training pages.
        kb: its knowledge base.
        out: gets a folder for each recipe, opened by `run:` or, below $OPENMOFI_SAMPLE_ENCODERS, by `sample`.
        cache: links and features; shared with the label job.

    Returns:
        Recipe name → `loss`, `first_loss`.
    """
    settings = LabelSettings()
    corpus = read_corpus(shards, KnowledgeBase.open(kb), open_encoder(BACKBONE), settings, cache, LocalEngine(),
                         progress)
    bags = None
    results = {}
    inputs = {shard.name: shard.fingerprint for shard in shards} | {"/kb": corpus.kb.fingerprint}
    for recipe in recipes:
        folder = Path(out) / recipe.name
        manifest = claim_folder(folder, "encoder", {"base": BACKBONE, **vars(recipe.heads)}, inputs)
        if not manifest.finished:
            bags = bags or collect_bags(corpus.stage, corpus.shards, corpus.entities, recipe.heads.max_pairs)
            fitted = fit_heads(corpus.encoder, bags, corpus.entities, recipe.heads, folder, adapter=False,
                               seen=[shard.fingerprint for shard in corpus.shards], progress=progress)
            encoder = open_encoder(f"run:{folder}", bases=[corpus.encoder])
            decide(corpus, encoder, settings, None).calibration.save(folder / CALIBRATION_FILE)
            manifest = finish_manifest(folder, manifest, {**fitted, "pairs": len(bags)})
        results[recipe.name] = dict(manifest.counts)
    return results
