"""The runs of a study: each is trained, measured, and kept as a table of values; its weights are removed."""

from __future__ import annotations

import multiprocessing
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from openmofi.encoders import Encoder, open_encoder
from openmofi.engine import Engine, Progress
from openmofi.engine.protocol import Job, Quiet, Work, cores
from openmofi.errors import OpenMofiError, UsageError
from openmofi.evaluation.metrics.retrieval import evaluate_retrieval
from openmofi.evaluation.metrics.zero_shot import entity_embeddings, evaluate_zero_shot
from openmofi.evaluation.result import GROUP
from openmofi.evaluation.run import evaluate
from openmofi.plugins.protocols.retrieval import EXCL
from openmofi.storage import fingerprint, read_manifest
from openmofi.training.data import open_data
from openmofi.training.data.loader import TrainingData
from openmofi.training.data.rows import flat_lists
from openmofi.training.data.subset import HeldOut
from openmofi.training.data.texts import described
from openmofi.training.distributed import training_process
from openmofi.training.log import Unwatched
from openmofi.training.model import inputs_of
from openmofi.training.recipe import Recipe
from openmofi.training.run import ENCODER, deciding_settings, train
from studies.size.values import MAP, ZERO_SHOT, Values

PROTOCOLS = ("retrieval", "gpr1200", "sample-retrieval")
"""What a study may measure on: protocols of `openmofi eval` that give each image's average precision."""


@dataclass(frozen=True)
class Benchmark:
    """Images that a study's encoders are measured on, in place of entities held out of the dataset.

    Attributes:
        protocol: one of `PROTOCOLS`.
        data: its data.
    """

    protocol: str
    data: str

    @classmethod
    def parse(cls, text: str) -> Benchmark:
        """`PROTOCOL=DIR`.

        Raises:
            UsageError: it is not of this form, or the protocol does not measure retrieval image by image.
            OpenMofiError: there is no such folder.
        """
        protocol, _, data = text.partition("=")
        if not data or protocol not in PROTOCOLS:
            raise UsageError(
                f"The benchmark {text!r} is not of the form PROTOCOL=DIR.",
                f"Name one of {', '.join(PROTOCOLS)}, as in --benchmark retrieval=FOLDER.",
            )
        if not Path(data).exists():
            raise OpenMofiError(f"The benchmark's folder {data} does not exist.", "Check the path.")
        return cls(protocol, data)


@dataclass(frozen=True)
class StudyRun:
    """A run of a study.

    Attributes:
        name: for people.
        recipe: its settings; `data.cache` is set.
        folder: of all runs of the study.
        benchmark: what it is measured on; `None` for the entities that the recipe holds out.
        sure: of held-out images, those whose label has at least this probability are measured.
    """

    name: str
    recipe: Recipe
    folder: Path
    benchmark: Benchmark | None = None
    sure: float = 0.0

    @cached_property
    def key(self) -> str:
        """Names its settings, data and measurement: equal keys are one run."""
        data = self.recipe.data
        inputs = [read_manifest(folder).fingerprint for folder in (data.dataset, data.kb) if folder]
        measured = [self.benchmark.protocol, self.benchmark.data] if self.benchmark else [self.sure]
        settings = {key: value for key, value in deciding_settings(self.recipe).items() if key != "name"}
        return fingerprint([settings, inputs, measured])

    @property
    def path(self) -> Path:
        """The table of its values."""
        return self.folder / f"{self.name}-{self.key}.parquet"

    def __str__(self) -> str:
        return self.name


def do_runs(runs: Sequence[StudyRun], engine: Engine, progress: Progress) -> list[Values]:
    """Train and measure what is not yet measured, each run a task of the engine.

    Args:
        runs: runs that are the same are done once.
        engine: see `openmofi.engine`.
        progress: counts the runs.

    Returns:
        The values of each run.

    Raises:
        OpenMofiError: a run failed; the others are kept.
    """
    missing = list({run.path: run for run in runs if not run.path.exists()}.values())
    if missing:
        device = "cuda" if _on_gpu() else "cpu"
        engine = engine.suited(Job(device, lambda limit: limit), progress)
        threads = max(1, cores() // min(len(missing), int(getattr(engine, "workers", 1))))
        tasks = [
            replace(run, recipe=replace(run.recipe, run=replace(run.recipe.run, threads=threads))) for run in missing
        ]
        progress.begin("train", len(tasks))
        engine.run(_worker, tasks, progress)
    return [Values.read(run.path) for run in runs]


def _on_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def _worker() -> Work:
    return _do


def _do(run: StudyRun) -> dict[str, Any]:
    if run.path.exists():
        return {}
    started, folder = time.process_time(), run.path.with_suffix("")
    try:
        train(run.recipe, folder, resume=True, watcher=Unwatched(), progress=Quiet())
    except KeyboardInterrupt:
        if multiprocessing.parent_process() is None:
            raise
        # Ctrl-C reaches every process of the terminal; the parent reports it.
        raise SystemExit(130) from None
    with training_process(run.recipe.run.threads):
        values = measured(run, folder)
    pairs = int(values.facts["pairs"])
    steps, batch = run.recipe.run.length, run.recipe.data.batch_size
    facts = {
        "pairs": pairs,
        "steps": steps,
        "epochs": steps * batch / pairs,
        "cpu_seconds": round(time.process_time() - started, 1),
    }
    replace(values, facts=facts).write(run.path)
    shutil.rmtree(folder)
    return {"runs": 1}


def measured(run: StudyRun, folder: Path) -> Values:
    """The values of a run that is trained, and `pairs`, how many it was trained on.

    Args:
        run: it.
        folder: of its training.
    """
    recipe = run.recipe
    inputs = inputs_of(recipe.model)
    encoder = open_encoder(f"run:{folder / ENCODER}", bases=[inputs.image_encoder] if inputs.image_encoder else [])
    data = open_data(
        recipe.data,
        inputs,
        seed=recipe.run.seed,
        cache=recipe.data.cache,
        progress=Quiet(),
        evaluate=recipe.run.evaluate,
    )
    if run.benchmark:
        values = on_benchmark(run.benchmark, encoder, recipe.data.cache)
    else:
        values = on_held_out(data, encoder, recipe.data.kb, run.sure)
    return replace(values, facts={"pairs": data.trained})


def on_benchmark(benchmark: Benchmark, encoder: Encoder, cache: str) -> Values:
    """What an encoder does with the images of a benchmark; their features are kept in `cache`."""
    items = evaluate(benchmark.protocol, encoder, benchmark.data, cache, Quiet()).items
    assert items is not None, "these protocols give their items"
    names = {MAP: EXCL, ZERO_SHOT: ZERO_SHOT}
    return Values(
        {
            name: items[column].to_numpy().astype(np.float64)[None]
            for name, column in names.items()
            if column in items.column_names
        },
        np.array(items[GROUP].to_pylist()),
    )


def on_held_out(data: TrainingData, encoder: Encoder, kb: str, sure: float = 0.0) -> Values:
    """Retrieval among held-out images, and their classification among the held-out classes by name and description.

    Args:
        data: with held-out rows.
        encoder: it.
        kb: knowledge base, for the texts.
        sure: labels of a lower probability are not measured.
    """
    held_out = data.held_out
    assert held_out is not None
    features = [
        batch["image_features"].numpy() if "image_features" in batch else encoder.image_features(batch["image"].numpy())
        for batch in data.held_out_batches(images_only=True, rank=0, world=1, workers=0)
    ]
    kept = _probabilities(data, held_out) >= np.float32(sure)
    images, labels = encoder.project_images(np.concatenate(features)[: len(kept)][kept]), held_out.labels[kept]
    classes, codes = np.unique(labels, return_inverse=True)
    if len(classes) in (0, len(labels)):
        raise OpenMofiError(
            f"Of {len(labels)} held-out images with labels from {sure:g} on no two show one entity.",
            "Hold out more entities with --held-out, or leave out the highest thresholds.",
        )
    ids = [data.class_ids[number] for number in classes.tolist()]
    values: dict[str, Any] = {MAP: evaluate_retrieval(images, codes, resamples=1).ap_excl_query}
    if encoder.has_texts:
        texts = entity_embeddings(described(kb, ids), encoder.embed_texts)
        values[ZERO_SHOT] = evaluate_zero_shot(images, codes, texts, resamples=1).correct
    return Values({name: column[None] for name, column in values.items()}, np.array(ids)[codes])


def _probabilities(data: TrainingData, held_out: HeldOut) -> NDArray[np.float32]:
    """(rows,) of the label by which a row is held out."""
    table: pa.Table = data.sources.rows.take(held_out.rows, ["classes", "scores"])
    lengths, classes = flat_lists(table["classes"])
    row = np.repeat(np.arange(len(lengths)), lengths)
    own = classes == held_out.labels[row]
    found = np.zeros(len(lengths), np.float32)
    np.maximum.at(found, row[own], flat_lists(table["scores"])[1][own])
    return found
