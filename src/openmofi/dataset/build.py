"""Labels → labelled dataset."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa

from openmofi.arrays import Bools, Codes
from openmofi.dataset.collect import Collected, Statistics, collect, read_statistics, summarise
from openmofi.dataset.dataset_settings import DatasetSettings
from openmofi.dataset.evaluation_sets import EvaluationSet, Exclusion, find_set
from openmofi.dataset.exclude import Excluded, exclude
from openmofi.dataset.filters import Selection, keep
from openmofi.dataset.origin import SEEN, Origin
from openmofi.dataset.report.report import write_card, write_report
from openmofi.dataset.tables import Folder, commonest, count_types, describe
from openmofi.encoders import Encoder, EncoderLike, as_encoder, open_encoder
from openmofi.errors import OpenMofiError
from openmofi.extensions import own_part
from openmofi.features.notes import NOTE, take_note_along
from openmofi.knowledge import KnowledgeBase
from openmofi.pairs.problems import PROBLEMS_FILE
from openmofi.schema import DATASET, VOCABULARY, Entity
from openmofi.storage import Manifest, Outputs, Shard, claimed, exists, finish_manifest, write_json, write_table
from openmofi.storage.atomic import temporary_folder
from openmofi.storage.foreign import guarded

_log = logging.getLogger(__name__)
_SHOWN = 5
OUTPUTS = Outputs(
    (
        "images/*.parquet",
        "vocabulary.parquet",
        "excluded.parquet",
        "statistics.json",
        "DATASET_CARD.md",
        "report.html",
        NOTE,
        PROBLEMS_FILE,
    )
)


def build_dataset(
    labels: str | Path,
    out: str | Path,
    settings: DatasetSettings | None = None,
    *,
    kb: KnowledgeBase | None = None,
    exclusion: Exclusion | None = None,
    encoder: EncoderLike | None = None,
    report: bool = True,
    restart: bool = False,
) -> Statistics:
    """Build a labelled dataset from a finished labels folder.

    Two passes over the labels, one shard in memory at a time; between them 24 bytes a label and 20 bytes an image lie
    in mapped files in `out`, and some bytes of each are held. No image is copied: `images/<shard>.parquet`
    (`schema.DATASET`) refers to the shards of pairs by name, and the manifest's settings hold their paths. Started
    again, it writes only the files that are missing.

    Args:
        labels: folder written by `openmofi label`.
        out: the dataset folder, or an address in a store of objects.
        settings: see `DatasetSettings`; the order of the filters is that of `filters.keep`.
        kb: gives names, descriptions and types, and may be a newer one than the pairs were labelled with: entities that
            were merged are one class, those that are gone are logged and keep their labels. Without it an entity is
            named by its commonest surface form.
        exclusion: evaluation sets whose images stay out; `excluded.parquet` (`schema.EXCLUDED`) names the copies.
        encoder: gives the features that images are compared by, computed where the label job's cache lacks them. By
            default they are the label job's own, and those of evaluation sets are computed by its encoder.
        report: whether to write `report.html`, for which a few shards of pairs are read.
        restart: remove what was made in `out` before, and begin anew.

    Raises:
        OpenMofiError: the labels are unfinished or damaged, no label passes the filters, the knowledge base knows
            none of their entities, an evaluation set cannot be read, features are gone, or `out` was made with other
            settings.
    """
    settings = settings or DatasetSettings()
    source = Folder.open(labels, "labels")
    shards = [asdict(shard) for shard in source.shards]
    sets = [find_set(name, path) for name, path in exclusion.sets.items()] if exclusion else []
    inputs = {
        "labels": source.manifest.fingerprint,
        **({"kb": kb.fingerprint} if kb else {}),
        **{f"exclude {each.name}": each.fingerprint for each in sets},
    }
    if settings.semantic_duplicates and encoder is not None:
        encoder = _encoder(source, encoder)
        inputs["encoder"] = encoder.feature_fingerprint
    claim = {**settings.as_dict(), "shards": shards, **({"exclude": exclusion.as_dict()} if exclusion else {})}
    with claimed(out, "dataset", claim, inputs, outputs=OUTPUTS, restart=restart, stores=True) as manifest:
        if manifest.finished:
            return read_statistics(out)
        with temporary_folder(out) as scratch:
            collected = collect(source, kb, scratch)
            excluded = _excluded(source, collected, sets, exclusion, encoder) if exclusion else None
            alike = _semantic_duplicates(source, collected, settings, encoder, scratch)
            selection = keep(collected.labels, settings, excluded.images if excluded else None, alike)
            return _build(source, out, settings, manifest, collected, selection, excluded, kb, report=report)


def _excluded(
    source: Folder,
    collected: Collected,
    sets: Sequence[EvaluationSet],
    exclusion: Exclusion,
    encoder: EncoderLike | None,
) -> Excluded:
    compared = exclusion.settings.embedding and any(each.sources for each in sets)
    opened = _encoder(source, encoder) if compared else None
    return exclude(source, collected, sets, exclusion.settings, opened)


def _semantic_duplicates(
    source: Folder, collected: Collected, settings: DatasetSettings, encoder: EncoderLike | None, scratch: Path
) -> Callable[[Bools], Bools] | None:
    if settings.semantic_duplicates is None:
        return None
    made: Callable[[Bools], Bools] = own_part("filters", "semantic_duplicates")(
        source, collected, settings.semantic_duplicates, encoder, scratch
    )
    return made


def _encoder(source: Folder, given: EncoderLike | None) -> Encoder:
    if given is not None:
        return open_encoder(given) if isinstance(given, str) else as_encoder(given)
    spec = str(source.manifest.settings.get("encoder", ""))
    try:
        with guarded(str(source.path)):  # others may have labelled it: what it names is opened from this machine alone
            return open_encoder(spec)
    except OpenMofiError as error:
        raise OpenMofiError(
            f"The encoder {spec!r} that {source.path} was labelled with cannot be opened: {error.message}",
            "Name it with --encoder, or compare hashes alone with --exclude-cosine off.",
        ) from error


def _build(
    source: Folder,
    out: str | Path,
    settings: DatasetSettings,
    manifest: Manifest,
    collected: Collected,
    selection: Selection,
    excluded: Excluded | None,
    kb: KnowledgeBase | None,
    *,
    report: bool,
) -> Statistics:
    if not selection.label.any():
        raise _nothing_left(source, collected, settings)
    entities, images, class_of = _vocabulary(collected, selection, kb)
    for position, shard in enumerate(source.shards):
        _write_shard(source, shard, position, collected, selection, class_of, f"{out}/images/{shard.name}.parquet")
    write_table(f"{out}/vocabulary.parquet", _vocabulary_table(entities, images))
    excluded_sets = {name: asdict(each) for name, each in excluded.sets.items()} if excluded else {}
    if excluded:
        write_table(f"{out}/excluded.parquet", excluded.table)
    statistics = summarise(
        collected.counts, collected.labels, selection, images, count_types(entities, images.tolist()), excluded_sets
    )
    write_json(f"{out}/statistics.json", asdict(statistics))
    take_note_along(source.path, out)
    folder = Folder(str(out), manifest, source.shards)
    write_card(folder, source.manifest, statistics, report=report)
    if report:
        write_report(folder, source, f"{out}/report.html", kb=kb)
    counted = ["in_evaluation_set"] * bool(excluded) + ["semantic_duplicate"] * bool(settings.semantic_duplicates)
    finish_manifest(
        out,
        manifest,
        {
            "rows": statistics.rows,
            "images": statistics.images,
            "entities": statistics.entities,
            "labels": statistics.labels,
            **{name: statistics.outcomes[name] for name in counted},
        },
    )
    return statistics


def _nothing_left(labels: Folder, collected: Collected, settings: DatasetSettings) -> OpenMofiError:
    if not collected.labels.images:
        counts = labels.manifest.counts
        hint = counts.get("advice") or (counts.get("verdicts") or {}).get("why")
        return OpenMofiError(
            f"{labels.path} has no accepted label among its {collected.counts.rows} rows.",
            hint or "Label with a lower --threshold or --target-precision, or label more pairs.",
        )
    return OpenMofiError(
        f"None of the {len(collected.entities)} entities of {labels.path} keeps {settings.min_images} images; the "
        f"commonest has {collected.labels.count().max()} before near duplicates are dropped.",
        "Lower --min-images or label more pairs.",
    )


def _vocabulary(
    collected: Collected, selection: Selection, kb: KnowledgeBase | None
) -> tuple[list[Entity], np.ndarray, Codes]:
    """Classes, most images first, ties by id; their image counts; and the class of each entity code (-1: none)."""
    per_code = collected.labels.count(selection.label)
    codes = sorted(np.flatnonzero(per_code).tolist(), key=lambda code: (-per_code[code], collected.entities[code]))
    class_of = np.full(len(collected.entities), -1, np.int32)
    class_of[codes] = np.arange(len(codes), dtype=np.int32)
    names, ids = commonest(collected.surfaces), [collected.entities[code] for code in codes]
    if kb is not None and (kb.rows(ids) < 0).all():
        raise OpenMofiError(
            f"The knowledge base has none of the {len(ids)} entities of the labels: it lacks {ids[0]!r}, for one.",
            "Give the one that the pairs were labelled with.",
        )
    if kb is not None and (gone := [ids[position] for position in np.flatnonzero(kb.rows(ids) < 0).tolist()]):
        _log.warning(
            "%d of %d entities are not in %s and keep their labels under their identifiers: %s%s",
            len(gone),
            len(ids),
            kb.path,
            ", ".join(gone[:_SHOWN]),
            ", …" if len(gone) > _SHOWN else "",
        )
    return describe(ids, kb, names), per_code[codes], class_of


def _vocabulary_table(entities: list[Entity], images: np.ndarray) -> pa.Table:
    return pa.table(
        {
            "class_id": pa.array(range(len(entities)), pa.int32()),
            "id": [entity.id for entity in entities],
            "name": [entity.name for entity in entities],
            "images": images.astype(np.int64),
        },
        schema=VOCABULARY,
    )


def _write_shard(
    source: Folder, shard: Shard, position: int, collected: Collected, selection: Selection, class_of: Codes, path: str
) -> None:
    if exists(path):  # files appear whole, and the manifest vouches for their settings
        return
    labels = collected.labels
    low, high = np.searchsorted(labels.image, collected.starts[position : position + 2])
    chosen = np.arange(low, high)[selection.label[low:high]]
    classes, scores = class_of[labels.entity[chosen]], labels.probability[chosen]
    order = np.lexsort((classes, -scores, labels.image[chosen]))  # an image's labels: best first
    chosen, classes, scores = chosen[order], classes[order], scores[order]
    images, counts = np.unique(labels.image[chosen], return_counts=True)
    offsets = pa.array(np.r_[0, np.cumsum(counts)].astype(np.int32))
    table = source.read(shard, ["key", "text", *SEEN]).take(pa.array(collected.row[images]))
    origin = Origin.of(source.manifest.inputs.get(shard.name, ""), table)
    ids = pa.array(collected.entities, pa.string()).take(pa.array(labels.entity[chosen]))
    write_table(
        path,
        pa.table(
            {
                "shard": pa.array([shard.name] * len(table), pa.string()),
                "key": table["key"],
                "text": table["text"],
                "classes": pa.ListArray.from_arrays(offsets, pa.array(classes, pa.int32())),
                "entities": pa.ListArray.from_arrays(offsets, ids),
                "scores": pa.ListArray.from_arrays(offsets, pa.array(scores, pa.float32())),
            },
            schema=DATASET,
        ),
        origin.metadata(),
    )
