"""A light adapter over an encoder, or projection heads over frozen backbones, fitted on the job's own links.

Two objectives over the same pages, neither of which sees a truth: `partial_labels` (MIL-NCE: what a caption names is a
bag, its image shows some of it) and `alt_text` (plain contrastive on the captions, as in the paper).
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np

from openmofi.arrays import Ints
from openmofi.encoders import ClassVectors, Encoder, Folds, Head, open_encoder, save_heads
from openmofi.encoders.companions import FOLDS_FILE
from openmofi.engine import Progress
from openmofi.errors import OpenMofiError
from openmofi.features.entity_table import EntityFeatures
from openmofi.labeling.decide import ADAPTER
from openmofi.labeling.label_job import LabelJob
from openmofi.plugins.adapter.bags import Bags, HeadSettings, Inputs, balanced_folds, collect_bags
from openmofi.storage import exists
from openmofi.storage.folders import written_folder

ADAPTER_SETTINGS = HeadSettings(learning_rate=5e-4)


def adapt(job: LabelJob) -> None:
    """Fit a light adapter over the encoder on the job's own links; fitted once, then opened.

    Where the pairs do not allow one, the job says so and goes on without.
    """
    folder, progress = f"{job.out}/{ADAPTER}", job.running.progress
    if not exists(f"{folder}/{FOLDS_FILE}"):
        bags = collect_bags(job.tables, job.shards, job.entities, ADAPTER_SETTINGS.max_pairs)
        try:
            with written_folder(folder, FOLDS_FILE) as local:
                losses = fit_heads(
                    job.encoder, bags, job.entities, ADAPTER_SETTINGS, local, adapter=True, progress=progress
                )
        except OpenMofiError as error:
            progress.say(f"The job goes on without an adapter: {error.message}")
            return
        progress.say(f"adapter: loss {losses['first_loss']:.3f} → {losses['loss']:.3f} on {len(bags):,} pairs")
    job.adapted = open_encoder(f"run:{folder}", bases=[job.encoder])


def fit_heads(
    encoder: Encoder,
    bags: Bags,
    entities: EntityFeatures,
    settings: HeadSettings,
    folder: str | Path,
    *,
    adapter: bool,
    progress: Progress,
) -> dict[str, float]:
    """Train heads over `encoder` and write them as a `run:` encoder, with its folds, to `folder`.

    With `adapter` the heads start as a change of nothing over the encoder's own joint space.

    Args:
        encoder: the frozen base.
        bags: the pages.
        entities: the entities that the bags name.
        settings: see `HeadSettings`.
        folder: gets the encoder, `classes.parquet`, `folds/`, `folds.parquet`, `folds.json`.
        adapter: see above.
        progress: receives every epoch.

    Returns:
        Mean `loss` of the last epoch and `first_loss` of the first, of the heads fitted on all pages.

    Raises:
        OpenMofiError: too few pairs with a link, or all but one of one group.
    """
    from openmofi.plugins.adapter.loop import train

    linked = (bags.bag >= 0).any(axis=1)
    if linked.sum() < max(2, settings.folds):
        raise OpenMofiError(f"Only {linked.sum()} usable pairs have a link: nothing can be fitted.", "Give more pairs.")
    inputs = _inputs(encoder, bags, entities, settings, adapter)
    rows = np.flatnonzero(linked) if inputs.captions is None else np.arange(len(bags))
    fold = _fold_of(bags, rows, settings.folds)
    progress.begin("heads", settings.epochs * (settings.folds + 1))
    results = {}
    for part in range(-1, settings.folds):
        path = Path(folder) if part < 0 else Path(folder) / "folds" / str(part)
        chosen = rows if part < 0 else rows[fold[rows] != part]
        trained = train(inputs, chosen, settings, settings.seed + part + 1, progress)
        if trained.classes is not None:
            ClassVectors(entities.ids, trained.classes).save(path)
        save_heads(
            path,
            base=encoder,
            image_head=trained.image,
            text_head=trained.text,
            logit_scale=trained.scale,
            settings=asdict(settings),
            adapter=adapter,
        )
        if part < 0:
            results = {"loss": trained.loss, "first_loss": trained.first_loss}
    if settings.folds:
        Folds(settings.folds, bags.fitted(fold)).save(folder)
    return results


def _fold_of(bags: Bags, rows: Ints, folds: int) -> Ints:
    """Return the fold of each page, zeros without folds.

    Raises:
        OpenMofiError: of the pages to fit on, `rows`, all but one are of one group.
    """
    if not folds:
        return np.zeros(len(bags), np.int64)
    fold = balanced_folds(bags.groups, folds)
    if len(rows) - np.bincount(fold[rows]).max() < 2:
        raise OpenMofiError(
            f"The {len(rows)} pairs to fit on share a template or the image: heads that were fitted "
            "on some of them cannot judge the others.",
            "Give pairs of more sources, or do not adapt.",
        )
    return fold


def _inputs(encoder: Encoder, bags: Bags, entities: EntityFeatures, settings: HeadSettings, adapter: bool) -> Inputs:
    captions = encoder.text_features(bags.texts) if settings.objective == "alt_text" else None
    if adapter:
        captions = None if captions is None else encoder.project_texts(captions)
        images = encoder.project_images(bags.features.astype(np.float32))
        texts = encoder.project_texts(entities.features)
        dim = images.shape[1]
        heads = [Head.initial(dim, dim, seed=settings.seed + side, zero=True) for side in (0, 1)]
        return Inputs(images, texts, captions, bags, heads[0], heads[1], adapter)
    sample = bags.features[:: max(1, len(bags) // 50_000)].astype(np.float32)
    image_head = Head.initial(
        sample.shape[1],
        settings.dim,
        seed=settings.seed,
        mean=sample.mean(axis=0),
        std=sample.std(axis=0) + np.float32(1e-3),
    )
    text_head = Head.initial(entities.features.shape[1], settings.dim, seed=settings.seed + 1)
    return Inputs(bags.features, entities.features, captions, bags, image_head, text_head, adapter)
