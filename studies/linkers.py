"""What a linker is worth in the label job: the sample world labelled with each, against the truth.

World, encoder, image features and all else are the same; only the text half differs. Each linker's scores mean
something else, so the decision between text and image is calibrated for each, on the training pages and without truth.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from openmofi.dataset import Audit
from openmofi.dataset.audit.audit import audit
from openmofi.dataset.audit.curves import Figures
from openmofi.encoders import open_encoder
from openmofi.engine import LocalEngine, Progress
from openmofi.errors import UsageError
from openmofi.labeling import LabelSettings, label
from openmofi.labeling.job import CALIBRATION_FILE, calibrate, read_corpus
from openmofi.labeling.settings import TextSettings
from openmofi.linking import check_linker
from openmofi.sample.demo import Stopwatch, label_world
from openmofi.sample.encoder import PARTIAL_LABELS
from openmofi.sample.settings import WorldSettings
from openmofi.storage import Shard, expand_shards, write_json

PAGES: Mapping[str, str] = {"training": "pages/train", "heldout": "pages/heldout_pages"}


def compare_linkers(demo: str | Path, out: str | Path, linkers: Sequence[str], progress: Progress, *,
                    settings: WorldSettings | None = None) -> dict[str, Any]:
    """Label the demo's world with each linker; what is finished is not made again.

    Args:
        demo: the demo's folder; world, knowledge base and encoders are made where they are missing.
        out: gets a folder for each linker, and `metrics.json`.
        linkers: see `openmofi.linking.open_linker`.
        progress: told of every step.
        settings: of the world.

    Returns:
        `linkers`: pages (`training`, `heldout`) → linker → `text` (each mention's best candidate is accepted) and
        `image` (what the job accepts) → `all` and `ambiguous` → `precision`, `recall` and their intervals; `text` and
        `image` have `average_precision` besides. And `seconds`.

    Raises:
        UsageError: there is no such linker, or two have one name.
    """
    demo, out = Path(demo), Path(out)
    named = _named(linkers)
    label_world(demo, progress, settings=settings)
    watch = Stopwatch.open(out / "seconds.json")
    found: dict[str, dict[str, Any]] = {pages: {} for pages in PAGES}
    for name, spec in named.items():
        watch.time(name, partial(_label, demo, out / name, spec, progress))
        for pages in PAGES:
            found[pages][name] = linker_figures(audit(out / name / pages, demo / "world/truth.parquet"))
    metrics = {"linkers": found, "specs": named, "seconds": dict(watch.seconds)}
    write_json(out / "metrics.json", metrics)
    return metrics


def _named(linkers: Sequence[str]) -> dict[str, str]:
    """A folder's name for each linker: `prior`, `coherence`, `fusion`."""
    named: dict[str, str] = {}
    for spec in linkers:
        check_linker(spec)
        name = spec.partition(":")[0]
        if name in named:
            raise UsageError(f"The linkers {named[name]} and {spec} are of one kind.", "Compare them one by one.")
        named[name] = spec
    return named


def _label(demo: Path, out: Path, linker: str, progress: Progress) -> None:
    encoder, kb, cache = f"run:{demo / 'encoders' / PARTIAL_LABELS}", demo / "kb", demo / "cache"
    settings = LabelSettings(encoder, TextSettings(linker=linker))
    calibration = out / CALIBRATION_FILE
    shards: dict[str, list[Shard]] = {pages: expand_shards([str(demo / "world" / place)])
                                      for pages, place in PAGES.items()}
    if not calibration.exists():
        corpus = read_corpus(shards["training"], kb, settings, cache, LocalEngine(), progress)
        calibrate(corpus, open_encoder(encoder), settings.seed).save(calibration)
    for pages, found in shards.items():
        label(found, kb, out / pages, settings, cache=cache, calibration=calibration, progress=progress)


def linker_figures(found: Audit) -> dict[str, Any]:
    """An audit's figures before (`text`) and after (`image`) the image has its say; see `compare_linkers`."""
    ambiguous = found.groups["ambiguous"].get("true")
    figures: dict[str, Any] = {}
    for stage, side, curve in (("text", "text_only", found.text_only_curve), ("image", "labels", found.curve)):
        figures[stage] = {"all": _plain(getattr(found.overall, side)),
                          "ambiguous": _plain(getattr(ambiguous, side, None)),
                          "average_precision": curve.average_precision if curve else None}
    return figures


def _plain(figures: Figures | None) -> dict[str, Any]:
    names = ("precision", "precision_interval", "recall", "recall_interval")
    return {name: getattr(figures, name, None) for name in names}
