"""The label job: image–text pairs, a knowledge base and an encoder in; labels out.

    read (links, features) → embed the entities that occur → [fit an adapter] → calibrate → judge

Each arrow is a table on disk, so a job that was killed goes on where it was and ends in the same bytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from openmofi.encoders import Encoder, open_encoder
from openmofi.encoders.companions import CALIBRATION_FILE, FOLDS_FILE
from openmofi.engine import Engine, LocalEngine, Progress, Quiet
from openmofi.features.entities import EntityFeatures, embed_entities
from openmofi.knowledge import KnowledgeBase
from openmofi.labeling.adapt.bags import collect_bags, usable_pairs
from openmofi.labeling.adapt.fit import HeadSettings, fit_heads
from openmofi.labeling.judge.calibration import Calibration, fit_calibration, threshold_for_precision
from openmofi.labeling.judge.decoys import Evidence, gather_evidence
from openmofi.labeling.judge.evidence import Judges, reference_sample
from openmofi.labeling.judge.stage import JudgeStage, judged_positions
from openmofi.labeling.read.links import link_arrays, read_features, read_links
from openmofi.labeling.read.stage import ReadStage
from openmofi.labeling.settings import LabelSettings, SelectionSettings
from openmofi.linking import linker_fingerprint
from openmofi.storage import Shard, claim_folder, file_fingerprint, fingerprint, finish_manifest
from openmofi.storage.atomic import table_metadata

CALIBRATION_PAIRS = 50_000
ADAPTER_SETTINGS = HeadSettings(learning_rate=5e-4)


@dataclass(frozen=True)
class Corpus:
    """Shards that were read, with what judging them needs."""

    stage: ReadStage
    shards: tuple[Shard, ...]
    kb: KnowledgeBase
    encoder: Encoder
    known: EntityFeatures
    template: str


def read_corpus(shards: Sequence[Shard], kb_folder: str | Path, settings: LabelSettings, cache: str | Path,
                engine: Engine, progress: Progress, reference: Sequence[str] = (),
                encoder: Encoder | None = None) -> Corpus:
    """Read what has not been read yet, and embed the entities that occur and those of `reference`.

    `encoder` is that of the settings, where it is already open.
    """
    kb = KnowledgeBase.open(kb_folder)
    encoder = encoder or open_encoder(settings.encoder)
    stage = ReadStage.plan(kb, encoder, settings, cache)
    missing = [shard for shard in shards if any(stage.missing(shard))]
    if missing:
        progress.begin("read", len(missing))
        engine.run(stage, missing, progress)
    ids = sorted({*occurring_entities(stage, shards), *reference})
    known = embed_entities(kb, encoder, ids, settings.selection.template, cache, engine, progress)
    return Corpus(stage, tuple(shards), kb, encoder, known, settings.selection.template)


def occurring_entities(stage: ReadStage, shards: Sequence[Shard]) -> list[str]:
    """Identifiers, sorted, of the entities that some image will judge."""
    found: set[str] = set()
    for shard in shards:
        arrays = link_arrays(pq.read_table(stage.links_path(shard), columns=["links"]).column("links"),
                             stage.text.max_candidates)
        used = np.zeros(len(arrays.entity_ids), bool)
        used[arrays.entity[arrays.judged]] = True
        found.update(arrays.entity_ids.filter(used).to_pylist())
    return sorted(found)


def corpus_evidence(corpus: Corpus, encoder: Encoder, reference: Sequence[str], seed: int) -> Evidence:
    """Real pairs and decoys of at most 50,000 pairs, from shards spread evenly over the corpus."""
    judges = Judges.of(encoder, corpus.known, reference)
    parts: list[Evidence] = []
    groups = pairs = 0
    for shard in corpus.shards[::max(1, len(corpus.shards) // 50)]:
        links = read_links(corpus.stage.links_path(shard))
        table, features = read_features(corpus.stage.features_path(shard))
        arrays = link_arrays(links.column("links"), corpus.stage.text.max_candidates)
        looked = judges.look(shard, links.column("key").to_pylist(), features)
        vectors = corpus.kb.vectors(corpus.kb.rows(arrays.entity_ids.to_pylist()))
        part = gather_evidence(arrays, usable_pairs(links, table), looked, judged_positions(arrays, corpus.known),
                               vectors, seed)
        parts.append(replace(part, group=part.group + groups, pair=part.pair + pairs))
        groups += int(part.group[-1]) + 1 if len(part.group) else 0
        pairs += int(part.pair[-1]) + 1 if len(part.pair) else 0
        if pairs >= CALIBRATION_PAIRS:
            break
    return Evidence(**{name: np.concatenate([getattr(part, name) for part in parts])
                       for name in Evidence.__dataclass_fields__})


def calibrate(corpus: Corpus, encoder: Encoder, seed: int) -> Calibration:
    """Fit the decision on a corpus' own unlabelled pairs.

    Raises:
        OpenMofiError: too few linked candidates.
    """
    reference = reference_sample(corpus.known.ids.to_pylist(), seed)
    found = corpus_evidence(corpus, encoder, reference, seed)
    return fit_calibration(found.real, found.link_score, found.group, found.pair, found.decoys,
                           fitted_for=calibration_key(encoder.fingerprint, corpus.kb, corpus.template),
                           reference=reference)


def calibration_key(encoder: str, kb: KnowledgeBase, template: str) -> str:
    """What a calibration is valid for; `encoder` is a fingerprint."""
    return fingerprint([encoder, kb.fingerprint, template])


def stored_calibration(encoder: Encoder, kb: KnowledgeBase, template: str) -> Calibration | None:
    """The calibration that lies beside an encoder of ours, if it was fitted for this knowledge base and template.

    Beside an export lies what was fitted for its source.
    """
    path = encoder.companions.calibration
    if path is None:
        return None
    calibration = Calibration.load(path)
    names = filter(None, (encoder.fingerprint, encoder.companions.source_fingerprint))
    return calibration if calibration.fitted_for in [calibration_key(name, kb, template) for name in names] else None


def label(shards: Sequence[Shard], kb_folder: str | Path, out: str | Path, settings: LabelSettings, *,
          cache: str | Path | None = None, calibration: str | Path | None = None, engine: Engine | None = None,
          progress: Progress | None = None) -> dict[str, Any]:
    """Label `shards` into the folder `out`; goes on where an earlier run stopped.

    Args:
        shards: see `openmofi.storage.expand_shards`.
        kb_folder: a built knowledge base.
        out: `labels/<shard>.parquet`, `calibration.json`, `manifest.json`.
        settings: see `LabelSettings`.
        cache: links, features and entity embeddings; `out` where not given. Jobs may share it.
        calibration: a calibration file to use instead of the encoder's own or a fresh one.
        engine, progress: how it runs, who is told.

    Returns:
        `rows_in`, `rows_out`, `status` (status → rows), `accepted` labels, `expected_precision` of these (the mean
        of their probabilities), `entities` that were judged, `threshold`; with an adapter `adapter_gain`.

    Raises:
        OpenMofiError: a shard is damaged, the output was made with other settings, there is too little to calibrate on.
    """
    engine, progress = engine or LocalEngine(), progress or Quiet()
    inputs = {shard.name: file_fingerprint(shard.path) for shard in shards}
    inputs["/kb"] = KnowledgeBase.open(kb_folder).fingerprint
    opened = open_encoder(settings.encoder)
    # A pair of backbones would fail only after all is read.
    opened.project_images(np.zeros((1, opened.feature_dim), np.float32))
    inputs["/encoder"] = opened.fingerprint
    if calibration:
        inputs["/calibration"] = file_fingerprint(calibration)
    if (linker := linker_fingerprint(settings.text.linker)) != settings.text.linker:
        inputs["/linker"] = linker
    described = {**settings.as_dict(), "kb": str(kb_folder),
                 "shards": [{"name": shard.name, "path": shard.path} for shard in shards]}
    manifest = claim_folder(out, "labels", described, inputs)
    known = _known_calibration(opened, kb_folder, out, settings, calibration)
    corpus = read_corpus(shards, kb_folder, settings, cache or out, engine, progress,
                         known.reference if known else (), opened)
    encoder = _adapted(corpus, out, settings, progress) if settings.adapt else corpus.encoder
    decision, threshold = _decide(corpus, encoder, out, settings, known)
    stage = JudgeStage(corpus.stage, encoder, tuple(corpus.known.ids.to_pylist()), decision, settings.selection,
                       threshold, str(out))
    missing = [shard for shard in shards if table_metadata(stage.path(shard)).get("whole") != "yes"]
    if missing:
        progress.begin("judge", len(missing))
        engine.run(stage, missing, progress)
    counts = _count(stage, shards) | {"entities": len(corpus.known.ids), "threshold": threshold}
    if settings.adapt:
        counts["adapter_gain"] = _adapter_gain(corpus, encoder, decision, threshold, settings.seed)
    finish_manifest(out, manifest, counts)
    return counts


def _adapted(corpus: Corpus, out: str | Path, settings: LabelSettings, progress: Progress) -> Encoder:
    folder = Path(out) / "adapter"
    if not (folder / FOLDS_FILE).exists():
        bags = collect_bags(corpus.stage, corpus.shards, corpus.known, ADAPTER_SETTINGS.max_pairs)
        fitted = fit_heads(corpus.encoder, bags, corpus.known, ADAPTER_SETTINGS, folder, adapter=True,
                           seen=[file_fingerprint(shard.path) for shard in corpus.shards], progress=progress)
        progress.say(f"adapter: loss {fitted['first_loss']:.3f} → {fitted['loss']:.3f} on {len(bags):,} pairs")
    return open_encoder(f"run:{folder}", bases=[corpus.encoder])


def _adapter_gain(corpus: Corpus, adapted: Encoder, decision: Calibration, threshold: float,
                  seed: int) -> dict[str, dict[str, float]]:
    """Labels, and how many are expected to be right, without and with the adapter, on the calibration's pairs."""
    gain = {}
    for name, encoder, fitted in (("without", corpus.encoder, None), ("with", adapted, decision)):
        fitted = fitted or calibrate(corpus, encoder, seed)
        found = corpus_evidence(corpus, encoder, fitted.reference, seed)
        probability = fitted.probability(found.real, found.link_score, found.group, found.pair)
        accepted = probability[probability >= threshold]
        gain[name] = {"labels": len(accepted), "expected_right": round(float(accepted.sum()), 1)}
    return gain


def _known_calibration(encoder: Encoder, kb_folder: str | Path, out: str | Path, settings: LabelSettings,
                       given: str | Path | None) -> Calibration | None:
    """In order: the one given, the one that an earlier try left in `out`, the one beside the encoder; or none."""
    path = Path(out) / CALIBRATION_FILE
    if given or path.exists():
        return Calibration.load(given or path)
    if settings.adapt:
        return None
    template = settings.selection.template
    return stored_calibration(encoder, KnowledgeBase.open(kb_folder), template)


def _decide(corpus: Corpus, encoder: Encoder, out: str | Path, settings: LabelSettings,
            known: Calibration | None) -> tuple[Calibration, float]:
    """The calibration and the threshold; what is not known yet is fitted on the job's own pairs."""
    selection: SelectionSettings = settings.selection
    decision = known or calibrate(corpus, encoder, settings.seed)
    decision.save(Path(out) / CALIBRATION_FILE)
    if selection.target_precision is None:
        return decision, selection.threshold
    found = corpus_evidence(corpus, encoder, decision.reference, settings.seed)
    probability = decision.probability(found.real, found.link_score, found.group, found.pair)
    return decision, threshold_for_precision(probability, selection.target_precision)


def _count(stage: JudgeStage, shards: Sequence[Shard]) -> dict[str, Any]:
    status: Counter[str] = Counter()
    probabilities: list[np.ndarray] = []
    rows_in = 0
    for shard in shards:
        table = pq.read_table(stage.path(shard), columns=["status", "entities"])
        status.update(table.column("status").to_pylist())
        entities = table.column("entities").combine_chunks().flatten()
        probabilities.append(entities.field("probability").filter(entities.field("accepted")).to_numpy())
        rows_in += pq.read_metadata(stage.read.links_path(shard)).num_rows
    accepted = np.concatenate(probabilities)
    return {"rows_in": rows_in, "rows_out": sum(status.values()), "accepted": len(accepted),
            "expected_precision": float(accepted.mean(dtype=np.float64)) if len(accepted) else None,
            "status": dict(sorted(status.items()))}
