"""The reinforcement job: from pairs, their labels and teachers to a store of the teachers' knowledge.

Like the label job it works shard by shard on an engine, writes each shard's file whole, and does only what is missing.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from openmofi.dataset.tables import Folder
from openmofi.encoders import Encoder
from openmofi.engine import Engine, LocalEngine, Progress, Quiet, recorded
from openmofi.engine.steps import Running
from openmofi.errors import OpenMofiError, UsageError
from openmofi.knowledge import KnowledgeBase
from openmofi.pairs import ReadSettings
from openmofi.pairs.read import job_of
from openmofi.plugins.reinforcement.augmentation import OPS, TRANSFORM_VERSION
from openmofi.plugins.reinforcement.captioner import captioner_fingerprint
from openmofi.plugins.reinforcement.reinforce_settings import ReinforceSettings
from openmofi.plugins.reinforcement.table import KIND, MEASURED
from openmofi.plugins.reinforcement.teachers import (
    ENTITIES_FILE,
    Teacher,
    accepted_ids,
    open_teachers,
    prepare_entities,
)
from openmofi.plugins.reinforcement.work import ReinforceStage
from openmofi.schema import PairStatus
from openmofi.storage import Outputs, Shard, claimed, file_fingerprint, finish_manifest

OUTPUTS = Outputs(("samples/*.arrow", ENTITIES_FILE), other=("entities/*/*.parquet",))
_NAMED = 10


def reinforce(
    shards: Sequence[Shard],
    labels: str | Path,
    out: str | Path,
    settings: ReinforceSettings,
    *,
    kb: str | Path | None = None,
    dataset: str | Path | None = None,
    device: str = "cpu",
    teacher_precision: str = "fp32",
    engine: Engine | None = None,
    progress: Progress | None = None,
    restart: bool = False,
) -> dict[str, Any]:
    """Compute and store teachers' knowledge of labelled pairs; continues where an earlier run stopped.

    Args:
        shards: of pairs, among those that were labelled; rows in = rows out, in their order.
        labels: folder written by `openmofi label`.
        out: the store: `samples/<shard>.arrow` (see `table`), `manifest.json`; with entity scores `entities.parquet`.
        settings: see `ReinforceSettings`.
        kb: the knowledge base of the labels: names, descriptions and types of the entities in synthetic texts; without
            it entities have the names that the pairs' texts use.
        dataset: folder written by `openmofi dataset build` from these labels: only its rows are reinforced. By default
            every usable pair is.
        device: torch's name of the teachers' device; `auto` is CUDA where it is available. It may change the last bits
            of an embedding.
        teacher_precision: of their towers: `fp32`, `bf16` or `fp16`; part of their fingerprints.
        engine, progress: how it runs, what reports its progress.
        restart: remove what was made in `out` before, and begin anew.

    Returns:
        `rows`, `status` (status → rows), `refused` (names of the first images that could not be used), `own_texts`
        (samples without synthetic texts: their own stands in), the `device` of the teachers, `fidelity` (teacher →
        precision → `kl`, `absolute`, over `fidelity_samples`), `bytes`, `bytes_per_sample`.

    Raises:
        UsageError: scores of entities without a knowledge base, or of more entities than the labels accept.
        OpenMofiError: a shard, the knowledge base or the dataset does not belong to the labels, an encoder cannot
            teach, the output was made with other settings.
    """
    engine, progress = engine or LocalEngine(), progress or Quiet()
    if settings.entity_scores and not kb:
        raise UsageError(
            "Scores of entities need a knowledge base that describes the entities.",
            "Add --kb, the one that the pairs were labelled with.",
        )
    folder = Folder.open(labels, "labels")
    inputs = _inputs(folder, shards, kb, dataset, progress)
    entities = accepted_ids(folder, settings.entity_scores) if settings.entity_scores else []
    teachers, encoders = open_teachers(settings.teachers, device, teacher_precision)
    inputs |= {f"/teacher/{teacher.name}": teacher.fingerprint for teacher in teachers}
    if settings.captioner:
        inputs["/captioner"] = captioner_fingerprint(settings.captioner)
    stage = _stage(folder, kb, out, settings, teachers, encoders, dataset)
    with claimed(out, KIND, _described(stage, shards), inputs, outputs=OUTPUTS, restart=restart) as manifest:
        embed = entities and kb and not manifest.finished
        missing = [shard for shard in shards if not Path(stage.path(shard)).exists()]
        if embed or missing:
            job = job_of(shards, stage.read, encoders[0].device, encoders)
            with recorded(progress, out) as progress, engine.suited(job, progress).session() as session:
                if embed and kb:
                    prepare_entities(entities, folder, KnowledgeBase.open(kb), encoders, out, session, progress)
                if missing:
                    Running(session, progress).do("reinforce", stage, missing)
        # What was stored before was made where it says.
        earlier = None if missing else manifest.counts.get("device")
        counts = {**_count(stage, shards), "device": earlier or encoders[0].device}
        finish_manifest(out, manifest, counts)
        return counts


def _stage(
    labels: Folder,
    kb: str | Path | None,
    out: str | Path,
    settings: ReinforceSettings,
    teachers: tuple[Teacher, ...],
    encoders: tuple[Encoder, ...],
    dataset: str | Path | None,
) -> ReinforceStage:
    """Make the job's stage; augmentations have the largest teacher's size unless the settings say one."""
    largest = max((encoder.preprocessing for encoder in encoders), key=lambda preprocessing: preprocessing.size)
    read = ReadSettings(**labels.manifest.settings.get("read", {}))
    settings = replace(settings, size=settings.size or largest.size)
    return ReinforceStage(
        labels.path,
        str(kb or ""),
        str(out),
        settings,
        largest.interpolation,
        teachers,
        read,
        encoders,
        str(dataset or ""),
    )


def _described(stage: ReinforceStage, shards: Sequence[Shard]) -> dict[str, Any]:
    """Return all that decides what is stored, beside the inputs."""
    return {
        **stage.settings.as_dict(),
        "teachers": [asdict(teacher) for teacher in stage.teachers],
        "interpolation": stage.interpolation,
        "transform_version": TRANSFORM_VERSION,
        "ops": OPS,
        "labels": stage.labels,
        "kb": stage.kb,
        "dataset": stage.dataset,
        "shards": [{"name": shard.name, "path": shard.path} for shard in shards],
    }


def _inputs(
    labels: Folder, shards: Sequence[Shard], kb: str | Path | None, dataset: str | Path | None, progress: Progress
) -> dict[str, str]:
    """Return the fingerprints of shards, labels, knowledge base and dataset.

    Raises:
        OpenMofiError: a shard was not labelled or has changed since; the knowledge base or the dataset does not belong
            to the labels.
    """
    inputs = {"/labels": labels.manifest.fingerprint}
    if kb:
        inputs["/kb"] = KnowledgeBase.open(kb, progress=progress).fingerprint
        if inputs["/kb"] != labels.manifest.inputs.get("/kb"):
            raise OpenMofiError(
                f"{labels.path} was made with another knowledge base than {kb}.",
                f"Give that one ({labels.manifest.settings.get('kb')}), or label with this one.",
            )
    if dataset:
        manifest = Folder.open(dataset, "dataset").manifest
        inputs["/dataset"] = manifest.fingerprint
        if manifest.inputs.get("labels") != labels.manifest.fingerprint:
            raise OpenMofiError(
                f"The dataset {dataset} was not built from {labels.path}.", "Give its own labels, or build it again."
            )
    for shard in shards:
        inputs[shard.name] = file_fingerprint(shard.path)
        labelled = labels.manifest.inputs.get(shard.name)
        if labelled is None:
            raise OpenMofiError(f"{labels.path} has no labels of {shard.path}.", "Label it first.")
        if labelled != inputs[shard.name]:
            raise OpenMofiError(
                f"{labels.path} was made from another shard {shard.name} than {shard.path}.",
                "Give that one, or label this one.",
            )
    return inputs


def _count(stage: ReinforceStage, shards: Sequence[Shard]) -> dict[str, Any]:
    status: Counter[str] = Counter()
    refused: list[str] = []
    measured: list[dict[str, Any]] = []
    size = 0
    for shard in shards:
        path = Path(stage.path(shard))
        size += path.stat().st_size
        with pa.memory_map(str(path)) as file:
            reader = pa.ipc.open_file(file)
            measured.append(json.loads(reader.schema.metadata[MEASURED.encode()]))
            rows = reader.read_all().select(["key", "status"]).to_pydict()
        status.update(rows["status"])
        refused += [
            f"{shard.name}/{key}: {reason}"
            for key, reason in zip(rows["key"], rows["status"], strict=True)
            if reason.startswith("image_")
        ]
    return {
        "rows": sum(status.values()),
        "status": dict(sorted(status.items())),
        "refused": refused[:_NAMED],
        "own_texts": sum(part["own_texts"] for part in measured),
        "bytes": size,
        "bytes_per_sample": round(size / max(1, status[PairStatus.OK])),
        **_fidelity(measured),
    }


def _fidelity(measured: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Average the shards' figures, weighted by their samples."""
    parts = [part["fidelity"] for part in measured if part["fidelity"]]
    weights = np.array([part["fidelity_samples"] for part in measured if part["fidelity"]], np.float64)

    def mean(teacher: str, precision: str, figure: str) -> float:
        return float(np.average([part[teacher][precision][figure] for part in parts], weights=weights))

    fidelity = {
        teacher: {
            precision: {figure: mean(teacher, precision, figure) for figure in figures}
            for precision, figures in precisions.items()
        }
        for teacher, precisions in (parts[0] if parts else {}).items()
    }
    return {"fidelity": fidelity, "fidelity_samples": int(weights.sum())}
