"""The reinforcement job: pairs, their labels and teachers in; a store of what the teachers know of them out.

Like the label job it works shard by shard on an engine, writes each shard's file whole, and does what is missing.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from openmofi.dataset.tables import Folder
from openmofi.engine import Engine, LocalEngine, Progress, Quiet
from openmofi.errors import OpenMofiError, UsageError
from openmofi.knowledge import KnowledgeBase
from openmofi.pairs import ReadSettings
from openmofi.reinforcement.augmentation import OPS, TRANSFORM_VERSION
from openmofi.reinforcement.captioner import captioner_fingerprint
from openmofi.reinforcement.entity_scores import accepted_ids, prepare_entities
from openmofi.reinforcement.settings import ReinforceSettings
from openmofi.reinforcement.table import KIND, MEASURED
from openmofi.reinforcement.teachers import open_teachers
from openmofi.reinforcement.work import ReinforceStage
from openmofi.schema import PairStatus
from openmofi.storage import Shard, claim_folder, file_fingerprint, finish_manifest

_NAMED = 10


def reinforce(shards: Sequence[Shard], labels: str | Path, out: str | Path, settings: ReinforceSettings, *,
              kb: str | Path | None = None, dataset: str | Path | None = None, device: str = "cpu",
              engine: Engine | None = None, progress: Progress | None = None) -> dict[str, Any]:
    """Compute and store what teachers know of labelled pairs; goes on where an earlier run stopped.

    Args:
        shards: of pairs, among those that were labelled; rows in = rows out, in their order.
        labels: folder written by `openmofi label`.
        out: the store: `samples/<shard>.arrow` (see `table`), `manifest.json`; with entity scores `entities.parquet`.
        settings: see `ReinforceSettings`.
        kb: names, descriptions and types of the entities in synthetic texts; without it entities are called as the
            pairs' texts call them. The one that the pairs were labelled with.
        dataset: folder written by `openmofi dataset build` from these labels: only its rows are reinforced. Without
            it every usable pair is.
        device: torch's name of where the teachers work; `auto` is CUDA where there is one. It may change the last bits
            of an embedding.
        engine, progress: how it runs, who is told.

    Returns:
        `rows`, `status` (status → rows), `refused` (the first images that could not be used, named), `own_texts`
        (samples that no synthetic text could be written for: their own stands in), `fidelity` (teacher → precision →
        `kl`, `absolute`, over `fidelity_samples`), `bytes`, `bytes_per_sample`.

    Raises:
        UsageError: scores of entities are wanted without a knowledge base, or of more than the labels accept.
        OpenMofiError: a shard, the knowledge base or the dataset is not that of the labels, an encoder cannot teach,
            the output was made with other settings.
    """
    engine, progress = engine or LocalEngine(), progress or Quiet()
    if settings.entity_scores and not kb:
        raise UsageError("The scores of entities are wanted, and there is no knowledge base to describe these.",
                         "Add --kb, the one that the pairs were labelled with.")
    folder = Folder.open(labels, "labels")
    inputs = _inputs(folder, shards, kb, dataset)
    entities = accepted_ids(folder, settings.entity_scores) if settings.entity_scores else []
    teachers, encoders = open_teachers(settings.teachers, device)
    largest = max((encoder.preprocessing for encoder in encoders), key=lambda found: found.size)
    settings = replace(settings, size=settings.size or largest.size)
    inputs |= {f"/teacher/{teacher.name}": teacher.fingerprint for teacher in teachers}
    if settings.captioner:
        inputs["/captioner"] = captioner_fingerprint(settings.captioner)
    described = {**settings.as_dict(), "teachers": [asdict(teacher) for teacher in teachers],
                 "interpolation": largest.interpolation, "transform_version": TRANSFORM_VERSION, "ops": OPS,
                 "labels": str(labels), "kb": str(kb or ""), "dataset": str(dataset or ""),
                 "shards": [{"name": shard.name, "path": shard.path} for shard in shards]}
    manifest = claim_folder(out, KIND, described, inputs)
    if entities and kb and not manifest.finished:
        prepare_entities(entities, folder, KnowledgeBase.open(kb), encoders, out, engine, progress)
    stage = ReinforceStage(str(labels), str(kb or ""), str(out), settings, largest.interpolation, teachers,
                           ReadSettings(**folder.manifest.settings.get("read", {})), device, str(dataset or ""))
    missing = [shard for shard in shards if not Path(stage.path(shard)).exists()]
    if missing:
        progress.begin("reinforce", len(missing))
        engine.run(stage, missing, progress)
    counts = _count(stage, shards)
    finish_manifest(out, manifest, counts)
    return counts


def _inputs(labels: Folder, shards: Sequence[Shard], kb: str | Path | None,
            dataset: str | Path | None) -> dict[str, str]:
    """The fingerprints of shards, labels, knowledge base and dataset.

    Raises:
        OpenMofiError: a shard was not labelled or has changed since; the others are not those of the labels.
    """
    found = {"/labels": labels.manifest.fingerprint}
    if kb:
        found["/kb"] = _same_kb(labels, kb)
    if dataset:
        found["/dataset"] = _of_these_labels(labels, dataset)
    for shard in shards:
        found[shard.name] = file_fingerprint(shard.path)
        labelled = labels.manifest.inputs.get(shard.name)
        if labelled is None:
            raise OpenMofiError(f"{labels.path} has no labels of {shard.path}.", "Label it first.")
        if labelled != found[shard.name]:
            raise OpenMofiError(f"{shard.path} is not the shard {shard.name} that {labels.path} was made of.",
                                "Give that one, or label this one.")
    return found


def _same_kb(labels: Folder, kb: str | Path) -> str:
    """The knowledge base's fingerprint.

    Raises:
        OpenMofiError: it is not the one that the pairs were labelled with.
    """
    found = KnowledgeBase.open(kb).fingerprint
    if found != labels.manifest.inputs.get("/kb"):
        raise OpenMofiError(f"The knowledge base {kb} is not the one that {labels.path} was made with.",
                            f"Give that one ({labels.manifest.settings.get('kb')}), or label with this one.")
    return found


def _of_these_labels(labels: Folder, dataset: str | Path) -> str:
    """The dataset's fingerprint.

    Raises:
        OpenMofiError: it was built from other labels.
    """
    found = Folder.open(dataset, "dataset").manifest
    if found.inputs.get("labels") != labels.manifest.fingerprint:
        raise OpenMofiError(f"The dataset {dataset} was not built from {labels.path}.",
                            "Give its own labels, or build it again.")
    return found.fingerprint


def _count(stage: ReinforceStage, shards: Sequence[Shard]) -> dict[str, Any]:
    status: Counter[str] = Counter()
    refused: list[str] = []
    told = []
    size = 0
    for shard in shards:
        path = Path(stage.path(shard))
        size += path.stat().st_size
        with pa.memory_map(str(path)) as file:
            reader = pa.ipc.open_file(file)
            told.append(json.loads(reader.schema.metadata[MEASURED.encode()]))
            table = reader.read_all().select(["key", "status"])
            status.update(table.column("status").to_pylist())
            refused += [f"{shard.name}/{key}: {found}" for key, found in zip(*table.to_pydict().values(), strict=True)
                        if found.startswith("image_")]
    return {"rows": sum(status.values()), "status": dict(sorted(status.items())), "refused": refused[:_NAMED],
            "own_texts": sum(part["own_texts"] for part in told), "bytes": size,
            "bytes_per_sample": round(size / max(1, status[PairStatus.OK])), **_fidelity(told)}


def _fidelity(told: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The shards' figures, averaged by their samples."""
    weights = np.array([part["fidelity_samples"] for part in told], np.float64)
    parts = [part["fidelity"] for part in told if part["fidelity"]]
    weights = weights[weights > 0]

    def mean(teacher: str, precision: str, figure: str) -> float:
        return float(np.average([part[teacher][precision][figure] for part in parts], weights=weights))

    found = {teacher: {precision: {figure: mean(teacher, precision, figure) for figure in figures}
                       for precision, figures in precisions.items()}
             for teacher, precisions in (parts[0] if parts else {}).items()}
    return {"fidelity": found, "fidelity_samples": int(weights.sum())}
