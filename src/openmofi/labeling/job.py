"""The label job: image–text pairs, a knowledge base and an encoder in; labels out.

    read (texts, features) → link → embed the entities that occur → [fit an adapter] → calibrate → judge

Each arrow is a table on disk, so a job that was killed goes on where it was and ends in the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from openmofi.encoders import CALIBRATION_FILE, GALLERY_FILE, Encoder, open_encoder
from openmofi.encoders.companions import FOLDS_FILE
from openmofi.encoders.folder import HEAD_OUTPUTS
from openmofi.engine import Engine, LocalEngine, Progress, Quiet
from openmofi.engine.loop import incomplete, reason_of
from openmofi.engine.protocol import TaskProgress
from openmofi.engine.status import recorded
from openmofi.errors import OpenMofiError, UsageError
from openmofi.features.store import NOTE
from openmofi.knowledge import KnowledgeBase
from openmofi.labeling.adapt import HeadSettings, collect_bags, fit_heads
from openmofi.labeling.calibrate.calibration import Calibration, advice
from openmofi.labeling.calibrate.overclaim import check_adapter
from openmofi.labeling.calibrate.rounds import Fitted
from openmofi.labeling.corpus import Corpus, read_corpus
from openmofi.labeling.decide import (
    NOTHING,
    Decision,
    decide,
    given_calibration,
    known_calibration,
    other_texts,
    require_fitted,
    threshold_of,
)
from openmofi.labeling.judge import Judge, JudgeStage, Tally
from openmofi.labeling.label_settings import LabelSettings
from openmofi.labeling.summaries import LabelSummary
from openmofi.labeling.verdicts.file import Verdicts
from openmofi.labeling.verdicts.threshold import Correction, correction_by
from openmofi.linking import linker_fingerprint
from openmofi.mentions import detector_fingerprint
from openmofi.pairs.read import identify, job_of
from openmofi.schema import LabelStatus
from openmofi.storage import (
    Manifest,
    Outputs,
    Shard,
    claimed,
    exists,
    file_fingerprint,
    finish_manifest,
    write_json,
)
from openmofi.storage.addresses import is_utf8, read_text, require_writable
from openmofi.storage.folders import written_folder
from openmofi.storage.manifest import output_stamp

_PIECES = 20
_ADAPTER = "adapter"
_PARTS = ("labels", _ADAPTER)
SET_ASIDE_FILE = "set_aside.json"
"""Names of shards that could not be read when calibration and threshold were decided: they have no part in these."""
ADAPTER_SETTINGS = HeadSettings(learning_rate=5e-4)

OUTPUTS = Outputs(
    (
        "labels/*.parquet",
        CALIBRATION_FILE,
        GALLERY_FILE,
        SET_ASIDE_FILE,
        NOTE,
        *(f"adapter/{pattern}" for pattern in (*HEAD_OUTPUTS, CALIBRATION_FILE, GALLERY_FILE)),
    ),
    other=(
        "texts/*/*.parquet",
        "ngrams/*/*.parquet",
        "repeats/*.parquet",
        "links/*/*.parquet",
        "groups/*.arrow",
        "features/*/*.arrow",
        "features/*/*.unread.json",
        "entities/*/*.parquet",
        "entities/*/*.arrow",
    ),
)


def label(
    shards: Sequence[Shard],
    kb: KnowledgeBase,
    encoder: Encoder,
    out: str | Path,
    settings: LabelSettings,
    *,
    cache: str | Path | None = None,
    calibration: str | Path | None = None,
    verdicts: Verdicts | None = None,
    engine: Engine | None = None,
    progress: Progress | None = None,
    restart: bool = False,
) -> dict[str, Any]:
    """Label `shards` into the folder `out`; goes on where an earlier run stopped.

    Args:
        shards: see `openmofi.storage.expand_shards`; like all that follows, they may lie in a store.
        kb: the knowledge base.
        encoder: judges the images; has a joint space and a text side.
        out: gets `labels/<shard>.parquet`, `calibration.json`, `manifest.json`.
        settings: see `LabelSettings`.
        cache: links, features and entity embeddings; `out` where not given. Jobs may share it.
        calibration: a calibration file to use instead of the encoder's own or a fresh one.
        verdicts: on labels of the same pairs and settings; choose the threshold for the target precision.
        engine: how it runs; in this process where not given.
        progress: receives each step.
        restart: remove what was made in `out` before, and begin anew.

    Returns:
        `rows_in`, `rows_out`, `status` (status → rows), `accepted` labels, `expected_precision` of these (the mean
        of their probabilities), `boilerplate` (`mentions`, of these `marked`, by `reasons`, and the commonest repeated
        `pieces` with their rows), `entities` that were judged, `threshold`, `calibration` (`source`: `fitted` on these
        pairs, `stored` of others, or `blended`; and `openmofi.labeling.calibrate.calibration.describe`'s), `advice` where
        hardly anything was accepted; the encoder's `device` and `precision`, and `compiled` where it was; with an
        adapter `adapter` (see `openmofi.labeling.calibrate.overclaim.AdapterCheck`); with verdicts `verdicts`; where images
        are of formats that are not read, `unread_formats` (name → images).

    Raises:
        UsageError: the output or the cache is neither local nor in a store of objects, or a name is not UTF-8.
        OpenMofiError: the encoder cannot compare images with texts, the output was made with other settings, there is
            too little to calibrate on. At the end, where shards are damaged or could not be read: the others are
            labelled.
    """
    encoder.require_comparison()
    if cache:
        require_writable(cache)
    if odd := next((shard for shard in shards if not is_utf8(shard.name)), None):
        raise UsageError(f"The name of the shard {odd.path!a} is not UTF-8, and tables are named by it.", "Rename it.")
    progress, engine = progress or Quiet(), engine or LocalEngine()
    job = job_of(shards, settings.read, encoder.device, encoder)
    identify(shards, engine, job, progress)
    given = given_calibration(calibration, kb, encoder, settings) if calibration else None
    described, inputs = _described(shards, kb, encoder, settings), _inputs(shards, kb, encoder, settings, calibration)
    correction = correction_by(verdicts, settings.selection.target_precision, described, inputs) if verdicts else None
    with claimed(out, "labels", described, inputs, outputs=OUTPUTS, restart=restart, stores=True) as manifest:
        # The manifest alone holds them from here on: of 100,000 shards they are large.
        del described, inputs
        if manifest.finished and "failed" not in manifest.counts and manifest.outputs == output_stamp(out, *_PARTS):
            return _answered(manifest, encoder, out, progress)
        known = given or known_calibration(kb, encoder, out, settings)
        with recorded(progress, out) as recorder, engine.suited(job, recorder).session() as session:
            counts = _label(
                shards,
                kb,
                encoder,
                out,
                settings,
                cache or out,
                known,
                calibration or f"{out}/{CALIBRATION_FILE}",
                session,
                recorder,
                correction,
            )
        finish_manifest(out, manifest, counts, output_stamp(out, *_PARTS))
    if "failed" in counts:
        raise incomplete(counts["failed"], len(shards), out, "labelled")
    return counts


def _answered(manifest: Manifest, encoder: Encoder, out: str | Path, progress: Progress) -> dict[str, Any]:
    """What a finished job answers, without looking at anything but its manifest and the names of its files."""
    path = f"{out}/{CALIBRATION_FILE}"
    if exists(path):
        encoder.calibrations[Calibration.load(path).fitted_for] = path
    if hint := manifest.counts.get("advice"):
        progress.say(hint)
    return dict(manifest.counts)


def _label(
    shards: Sequence[Shard],
    kb: KnowledgeBase,
    encoder: Encoder,
    out: str | Path,
    settings: LabelSettings,
    cache: str | Path,
    known: Fitted | None,
    known_path: str | Path,
    engine: Engine,
    progress: TaskProgress,
    correction: Correction | None,
) -> dict[str, Any]:
    failed: dict[Shard, Exception] = {}
    late = _late(out)
    corpus = read_corpus(
        shards,
        kb,
        encoder,
        settings,
        cache,
        engine,
        progress,
        known.calibration.reference if known else (),
        failed.__setitem__,
        late,
    )
    if late is None and corpus.late:
        write_json(f"{out}/{SET_ASIDE_FILE}", sorted(corpus.late))
    judges, threshold, adapter = _decided(corpus, out, settings, known, known_path, progress, correction)
    stage = JudgeStage(
        corpus.stage,
        judges,
        corpus.entities.path,
        settings.selection,
        threshold,
        str(out),
        corpus.stage.features.with_unread(),
    )
    labels, missing = stage.labels_of(corpus.shards)
    tally = Tally(progress, labels)
    if missing:
        progress.begin("judge", len(missing))
        engine.run(stage, missing, tally, failed.__setitem__)
    if failed and len(failed) == len(shards):
        raise next(iter(failed.values()))
    corpus = replace(corpus, shards=tuple(shard for shard in corpus.shards if shard not in failed))
    counts = _count(tally.labels, corpus, correction) | {
        "device": encoder.device,
        "precision": encoder.precision,
        "entities": len(corpus.entities),
        "threshold": threshold,
    }
    if encoder.compiles:
        counts["compiled"] = True
    if adapter:
        counts["adapter"] = adapter
    calibration = judges[0].calibration
    counts["calibration"] = {"source": calibration.source, **calibration.report}
    judged = sum(counts["status"].get(status, 0) for status in (LabelStatus.LABELLED, LabelStatus.REJECTED))
    if hint := advice(calibration.report, counts["accepted"], judged, threshold):
        counts["advice"] = hint
        progress.say(hint)
    corpus.stage.features.note(out)
    if failed:
        counts["failed"] = {shard.name: reason_of(error) for shard, error in failed.items()}
    return counts


def _late(out: str | Path) -> frozenset[str] | None:
    """The shards without which an earlier try of the job decided; `None` where nothing has been decided."""
    path = f"{out}/{SET_ASIDE_FILE}"
    if exists(path):
        try:
            return frozenset(map(str, json.loads(read_text(path))))
        except (ValueError, TypeError) as error:
            raise OpenMofiError(f"{path} is damaged.", "Add --restart to begin anew; what was read is kept.") from error
    return frozenset() if exists(f"{out}/{CALIBRATION_FILE}") else None


def _described(
    shards: Sequence[Shard],
    kb: KnowledgeBase,
    encoder: Encoder,
    settings: LabelSettings,
) -> dict[str, Any]:
    return {
        "encoder": encoder.spec,
        **settings.as_dict(),
        "kb": str(kb.address),
        "shards": [{"name": shard.name, "path": shard.path} for shard in shards],
    }


def _inputs(
    shards: Sequence[Shard],
    kb: KnowledgeBase,
    encoder: Encoder,
    settings: LabelSettings,
    calibration: str | Path | None,
) -> dict[str, str]:
    """Fingerprints of all that the labels are made of."""
    inputs = {shard.name: shard.fingerprint for shard in shards}
    inputs |= {"/kb": kb.fingerprint, "/encoder": encoder.fingerprint}
    if calibration:
        inputs["/calibration"] = file_fingerprint(calibration)
    if (linker := linker_fingerprint(settings.text.linker)) != settings.text.linker:
        inputs["/linker"] = linker
    if (detector := detector_fingerprint(settings.text.detector)) != settings.text.detector:
        inputs["/detector"] = detector
    return inputs


def _decided(
    corpus: Corpus,
    out: str | Path,
    settings: LabelSettings,
    known: Fitted | None,
    known_path: str | Path,
    progress: Progress,
    correction: Correction | None,
) -> tuple[tuple[Judge, ...], float, dict[str, Any]]:
    """Who judges, from which probability on, and with an adapter the check of it.

    An adapter that passes the check (`openmofi.labeling.calibrate.overclaim`) joins the encoder that it stands on: the mean of
    their probabilities claims less than its own, which are fitted on what it has learned from.
    """
    if known and (note := other_texts(known.calibration, settings)):
        progress.say(note)
    encoder = corpus.encoder
    adapted = _adapted(corpus, out, settings, progress) if settings.adapt and len(corpus.entities) else None
    if known:
        require_fitted(known.calibration, known_path, adapted or encoder, corpus.kb, settings.selection.template)
    plain = decide(corpus, encoder, settings, None if adapted else known, correction)
    judge = _kept(plain, encoder, out)
    if adapted is None:
        return (judge,), plain.threshold, {}
    decision = decide(corpus, adapted, settings, known, correction)
    assert plain.judged is not None
    assert decision.judged is not None
    check = check_adapter(plain.judged, decision.judged)
    progress.say(check.why)
    if not check.used:
        return (judge,), plain.threshold, asdict(check)
    both = (plain.judged.probability + decision.judged.probability) / 2
    return (
        (_kept(decision, adapted, f"{out}/{_ADAPTER}"), judge),
        threshold_of(both, settings.selection, correction),
        asdict(check),
    )


def _kept(decision: Decision, encoder: Encoder, folder: str | Path) -> Judge:
    if decision.calibration is not NOTHING:
        decision.save(folder)
        encoder.calibrations[decision.calibration.fitted_for] = f"{folder}/{CALIBRATION_FILE}"
    gallery = "" if decision.fitted.gallery is None else f"{folder}/{GALLERY_FILE}"
    return Judge(encoder, decision.calibration, gallery)


def _adapted(corpus: Corpus, out: str | Path, settings: LabelSettings, progress: Progress) -> Encoder | None:
    """A light adapter over the corpus' encoder, fitted on the job's own links; fitted once, then opened.

    None where the pairs do not allow one, which is said.
    """
    folder = f"{out}/{_ADAPTER}"
    if not exists(f"{folder}/{FOLDS_FILE}"):
        bags = collect_bags(corpus.stage, corpus.shards, corpus.entities, ADAPTER_SETTINGS.max_pairs)
        try:
            with written_folder(folder, FOLDS_FILE) as local:
                losses = fit_heads(
                    corpus.encoder, bags, corpus.entities, ADAPTER_SETTINGS, local, adapter=True, progress=progress
                )
        except OpenMofiError as error:
            progress.say(f"The job goes on without an adapter: {error.message}")
            return None
        progress.say(f"adapter: loss {losses['first_loss']:.3f} → {losses['loss']:.3f} on {len(bags):,} pairs")
    return open_encoder(f"run:{folder}", bases=[corpus.encoder])


def _count(labels: LabelSummary, corpus: Corpus, correction: Correction | None) -> dict[str, Any]:
    more: dict[str, Any] = {"unread_formats": dict(sorted(labels.unread.items()))} if labels.unread else {}
    more |= correction.counts(*labels.probabilities) if correction else {}
    return {
        "rows_in": sum(map(corpus.rows, corpus.shards)),
        "rows_out": labels.status.total(),
        "accepted": labels.accepted,
        "expected_precision": labels.expected_precision,
        "boilerplate": corpus.links.marked.as_dict(_PIECES),
        "status": dict(sorted(labels.status.items())),
        **more,
    }
