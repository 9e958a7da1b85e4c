"""The label job: image–text pairs, a knowledge base and an encoder in; labels out.

    read (texts, features) → repeats → link → groups → embed the entities that occur → [fit an adapter]
    → decide (calibration, threshold) → [ask a judge beyond the encoder] → judge

What each step makes lies on disk, so a job that was killed goes on where it was and ends in the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from openmofi.encoders import CALIBRATION_FILE, GALLERY_FILE, Encoder
from openmofi.encoders.folder import HEAD_OUTPUTS
from openmofi.engine import Engine, LocalEngine, Progress, Quiet, recorded
from openmofi.engine.loop import incomplete
from openmofi.engine.steps import Running
from openmofi.errors import UsageError
from openmofi.extensions import own_part
from openmofi.features.entity_table import EntityEmbeddings
from openmofi.features.notes import NOTE
from openmofi.features.store import FeatureStore
from openmofi.knowledge import KnowledgeBase
from openmofi.labeling.advice import advice
from openmofi.labeling.answers import ANSWERS_FILE, JUDGE_FILE, UNASKED
from openmofi.labeling.calibrate.calibration import Calibration
from openmofi.labeling.decide import ADAPTER, decide, given_calibration, known_calibration, other_texts
from openmofi.labeling.in_image import reader_fingerprint
from openmofi.labeling.judge import judge
from openmofi.labeling.label_job import SET_ASIDE_FILE, LabelJob
from openmofi.labeling.label_settings import JudgeSettings, LabelSettings
from openmofi.labeling.link import link
from openmofi.labeling.read import entities, groups, read, repeats
from openmofi.labeling.tables import Tables
from openmofi.linking import linker_fingerprint
from openmofi.mentions import detector_fingerprint
from openmofi.pairs.problems import PROBLEMS_FILE, problems_of, write_problems
from openmofi.pairs.read import identify, job_of
from openmofi.schema import IN_IMAGE, LabelStatus
from openmofi.storage import Manifest, Outputs, Shard, claimed, exists, file_fingerprint, finish_manifest, read_json
from openmofi.storage.addresses import is_utf8, require_writable
from openmofi.storage.manifest import output_stamp

if TYPE_CHECKING:
    from openmofi.labeling.answers import ImageJudge
    from openmofi.labeling.correction import Correction
    from openmofi.review.verdicts import Verdicts

_PIECES = 20
_PARTS = ("labels", ADAPTER)

OUTPUTS = Outputs(
    (
        "labels/*.parquet",
        CALIBRATION_FILE,
        GALLERY_FILE,
        SET_ASIDE_FILE,
        ANSWERS_FILE,
        JUDGE_FILE,
        f"{UNASKED}/labels/*.parquet",
        NOTE,
        PROBLEMS_FILE,
        *(f"adapter/{pattern}" for pattern in (*HEAD_OUTPUTS, CALIBRATION_FILE, GALLERY_FILE)),
    ),
    other=(
        "texts/*/*.parquet",
        "index/*/*.parquet",
        "ngrams/*/*.parquet",
        "repeats/*.parquet",
        "links/*/*.parquet",
        "groups/*.arrow",
        "features/*/*.arrow",
        "features/*/*.unread.json",
        "entities/*/*.parquet",
        "entities/*/*.arrow",
        "answers/*/*.json",
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
        out: gets `labels/<shard>.parquet`, `calibration.json`, `problems.csv`, `manifest.json`.
        settings: see `LabelSettings`.
        cache: links, features and entity embeddings; `out` where not given. Jobs may share it.
        calibration: a calibration file to use instead of the encoder's own or a fresh one.
        verdicts: on labels of the same pairs and settings, of which thresholds may differ; they choose the threshold
            for the target precision.
        engine: how it runs; in this process where not given.
        progress: receives each step.
        restart: remove what was made in `out` before, and begin anew.

    Returns:
        `rows_in`, `rows_out`, `status` (status → rows), `accepted` labels, `expected_precision` of these (the mean
        of their probabilities), `boilerplate` (`mentions`, of these `marked`, by `reasons`, and the commonest repeated
        `pieces` with their rows), `entities` that were judged, `threshold`, `calibration` (`source`: `fitted` on these
        pairs, `stored` of others, or `blended`; and `describe`'s in `openmofi.labeling.calibrate.calibration`),
        `advice` where the encoder is blind or hardly anything was accepted; the encoder's `device` and `precision`, and
        `compiled` where it was; where entities have images `references` (see `openmofi.features.references`); with an
        adapter `adapter` (see `AdapterCheck` in `openmofi.labeling.calibrate.overclaim`); with a judge beyond the
        encoder `judge`; with verdicts `verdicts`;
        where images are in formats that are not read, `unread_formats` (name → images).

    Raises:
        UsageError: the output or the cache is neither local nor in a store of objects, or a name is not UTF-8.
        OpenMofiError: the encoder cannot compare images with texts, the output was made with other settings, there is
            too little to calibrate on, a judge beyond the encoder that has yet to be asked does not answer. At the end,
            where shards are damaged or could not be read: the others are labelled.
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
    correction = _correction(verdicts, settings, described, inputs)
    with claimed(out, "labels", described, inputs, outputs=OUTPUTS, restart=restart, stores=True) as manifest:
        # The manifest alone holds them from here on: of 100,000 shards they are large.
        del described, inputs
        if manifest.finished and "failed" not in manifest.counts and manifest.outputs == output_stamp(out, *_PARTS):
            return _answer_of_finished(manifest, encoder, out, progress)
        more = {
            "out": str(out),
            "stored": given or known_calibration(kb, encoder, out, settings),
            "stored_path": str(calibration or f"{out}/{CALIBRATION_FILE}"),
            "correction": correction,
            "image_judge": _image_judge(settings.asking, out),
            "late": _decided_without(out),
        }
        with recorded(progress, out) as recorder, engine.suited(job, recorder).session() as session:
            counts = _take_steps(_job(shards, kb, encoder, settings, cache or out, Running(session, recorder), **more))
        finish_manifest(out, manifest, counts, output_stamp(out, *_PARTS))
    if "failed" in counts:
        raise incomplete(counts["failed"], len(shards), out, "labelled")
    return counts


def _correction(
    verdicts: Verdicts | None, settings: LabelSettings, described: dict[str, Any], inputs: dict[str, str]
) -> Correction | None:
    if verdicts:
        from openmofi.labeling.correction import correction_by

        return correction_by(verdicts, settings.selection, described, inputs)
    if (selection := settings.selection).confidence is not None:
        from openmofi.review.commands import audit_command

        draw = audit_command(
            "LABELS", target=selection.target_precision, confidence=selection.confidence, out="PAGE.html"
        )
        raise UsageError(
            "A confidence is bought by verdicts, and none are given.",
            "Label without --confidence, and draw from these labels for people to judge: "
            f"{draw}; then add --verdicts FILE, and another --out.",
        )
    return None


def _image_judge(asking: JudgeSettings, out: str | Path) -> ImageJudge | None:
    """Open the judge beyond the encoder, where there is one that has yet to be asked."""
    if not asking.judge or exists(f"{out}/{JUDGE_FILE}"):
        return None
    from openmofi.labeling.answers import open_judge

    return open_judge(asking.judge, asking.judge_model)


def _answer_of_finished(manifest: Manifest, encoder: Encoder, out: str | Path, progress: Progress) -> dict[str, Any]:
    """Return the answer of a finished job, from its manifest and the names of its files alone."""
    path = f"{out}/{CALIBRATION_FILE}"
    if exists(path):
        encoder.calibrations[Calibration.load(path).fitted_for] = path
    _say_hints(manifest.counts, progress)
    return dict(manifest.counts)


def _say_hints(counts: Mapping[str, Any], progress: Progress) -> None:
    for hint in (counts.get("verdicts", {}).get("why"), counts.get("advice")):
        if hint:
            progress.say(hint)


def _take_steps(job: LabelJob) -> dict[str, Any]:
    """Take the steps, and return the counts."""
    for step in STEPS:
        step(job)
    counts = _counts(job)
    write_problems(job.out, problems_of(job.out, "labels", job.planned, counts))
    _say_hints(counts, job.running.progress)
    job.tables.features.note(job.out)
    return counts


def adapt(job: LabelJob) -> None:
    """Fit a light adapter over the encoder, where one is asked for."""
    if job.stored and (note := other_texts(job.stored.calibration, job.settings)):
        job.running.progress.say(note)
    if job.settings.adapt and len(job.entities):
        own_part("steps", "adapt")(job)


def ask(job: LabelJob) -> None:
    """Ask a judge beyond the encoder, where there is one."""
    if job.settings.asking.judge:
        own_part("steps", "ask")(job)


READ = (read, repeats, link, groups, entities)
STEPS = (*READ, adapt, decide, ask, judge)
"""Each reads the tables of those before it, and writes its own; what is there already is not made again."""


def read_corpus(
    shards: Sequence[Shard],
    kb: KnowledgeBase,
    encoder: Encoder,
    settings: LabelSettings,
    cache: str | Path,
    engine: Engine,
    progress: Progress,
) -> LabelJob:
    """Read and link shards without labelling them.

    Raises:
        OpenMofiError: a shard cannot be read, or the cache cannot be written.
    """
    job = _job(shards, kb, encoder, settings, cache, Running(engine, progress))
    for step in READ:
        step(job)
        for error in job.running.failed.values():
            raise error
    return job


def _job(
    shards: Sequence[Shard],
    kb: KnowledgeBase,
    encoder: Encoder,
    settings: LabelSettings,
    cache: str | Path,
    running: Running,
    **more: Any,
) -> LabelJob:
    features = FeatureStore(str(cache), encoder, settings.read, settings.batch_size, settings.max_image_pixels)
    return LabelJob(tuple(shards), Tables.of(kb, settings.text, features, shards), encoder, settings, running, **more)


def _decided_without(out: str | Path) -> frozenset[str] | None:
    """Return the shards without which an earlier try decided; `None` where nothing has been decided."""
    path = f"{out}/{SET_ASIDE_FILE}"
    if exists(path):
        return read_json(path, frozenset[str], "Add --restart to begin anew; what was read is kept.")
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
    """Return the fingerprints of all that the labels are made of."""
    inputs = {shard.name: shard.fingerprint for shard in shards}
    inputs |= {"/kb": kb.fingerprint, "/encoder": encoder.fingerprint}
    if calibration:
        inputs["/calibration"] = file_fingerprint(calibration)
    if (linker := linker_fingerprint(settings.text.linker)) != settings.text.linker:
        inputs["/linker"] = linker
    if (detector := detector_fingerprint(settings.text.detector)) != settings.text.detector:
        inputs["/detector"] = detector
    if settings.text.read_text:
        inputs[f"/{IN_IMAGE}"] = reader_fingerprint()
    return inputs


def _counts(job: LabelJob) -> dict[str, Any]:
    """Return what `label` answers."""
    labels, calibration = job.labels, job.judges[0].calibration
    counts: dict[str, Any] = {
        "rows_in": sum(map(job.rows, job.shards)),
        "rows_out": labels.rows,
        "accepted": labels.accepted,
        "expected_precision": labels.expected_precision,
        "boilerplate": job.links.marked.as_dict(_PIECES),
        "status": labels.status,
    }
    if labels.unread:
        counts["unread_formats"] = labels.unread
    if job.correction:
        paths = (f"{job.out}/labels/{shard.name}.parquet" for shard in job.shards)
        counts |= job.correction.counts(filter(exists, paths), job.threshold)
    counts |= {
        "device": job.encoder.device,
        "precision": job.encoder.precision,
        "entities": len(job.entities),
        "threshold": job.threshold,
    }
    basis = job.entities.rows(pa.array(calibration.reference, pa.string()))
    if references := EntityEmbeddings(job.encoder, job.entities, basis=basis).references:
        counts["references"] = references.report
    if job.encoder.compiles:
        counts["compiled"] = True
    if job.check:
        counts["adapter"] = job.check
    if job.judge_report:
        counts["judge"] = job.judge_report
    counts["calibration"] = {"source": calibration.source, **calibration.report}
    judged = sum(labels.status.get(status, 0) for status in (LabelStatus.LABELLED, LabelStatus.REJECTED))
    hint = advice(calibration.report, labels.accepted, judged, job.settings.selection, job.out, bool(job.correction))
    # What verdicts decided is said by them.
    if hint and not counts.get("verdicts", {}).get("why"):
        counts["advice"] = hint
    if job.running.failed:
        counts["failed"] = job.running.reasons()
    return counts
