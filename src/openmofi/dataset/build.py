"""Labels → labelled dataset."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from openmofi.arrays import Bools, Codes
from openmofi.dataset.collect import Collected, Statistics, collect, read_statistics, summarise
from openmofi.dataset.dataset_settings import DatasetSettings
from openmofi.dataset.evaluation_sets import EvaluationSet, Excluded, Exclusion, find_set
from openmofi.dataset.filters import Selection, keep
from openmofi.dataset.passes import Chosen, Passes
from openmofi.dataset.report.report import write_card, write_report
from openmofi.dataset.tables import Folder, commonest, count_types, describe
from openmofi.encoders import Encoder, EncoderLike, as_encoder, open_encoder
from openmofi.engine import Engine, Job, LocalEngine, Progress, Quiet, recorded
from openmofi.engine.steps import Running
from openmofi.errors import OpenMofiError
from openmofi.extensions import own_part
from openmofi.features.notes import NOTE, take_note_along
from openmofi.knowledge import KnowledgeBase
from openmofi.pairs.problems import PROBLEMS_FILE
from openmofi.schema import VOCABULARY, Entity
from openmofi.storage import Manifest, Outputs, as_type, claimed, fingerprint, finish_manifest, write_json, write_table
from openmofi.storage.atomic import remove_folder, temporary_folder
from openmofi.storage.foreign import guarded
from openmofi.storage.table_files import whole

_log = logging.getLogger(__name__)
_SHOWN = 5
_VERSION, _LIGHT = 1, 100
_COLLECTED = "collected"
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
    ),
    other=(f"{_COLLECTED}/*/*.parquet",),
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
    engine: Engine | None = None,
    progress: Progress | None = None,
    restart: bool = False,
) -> Statistics:
    """Build a labelled dataset from a finished labels folder.

    Two passes over the labels, a task a shard; between them this process has 24 bytes a label and 20 bytes an image in
    mapped files in `out`, and holds some bytes of each. What the first pass accepts lies in `out`, too, until the end:
    after an error as after a kill, also with other settings, the next start goes on with it.
    No image is copied: `images/<shard>.parquet` (`schema.DATASET`) refers to the shards of pairs by name, and the
    manifest's settings hold their paths.

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
        engine: does both passes; in this process where not given.
        progress: receives each.
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
        key = fingerprint([_VERSION, inputs["labels"], source.manifest.outputs, inputs.get("kb", "")])
        passes = Passes(source.for_workers, kb, f"{out}/{_COLLECTED}/{key}", f"{out}/images")
        with (
            recorded(progress or Quiet(), out) as recorder,
            (engine or LocalEngine()).suited(_job(source), recorder).session() as session,
            temporary_folder(out) as scratch,
        ):
            collected = collect(source, passes, scratch, running := Running(session, recorder))
            excluded = _excluded(source, collected, sets, exclusion, encoder) if exclusion else None
            alike = _semantic_duplicates(source, collected, settings, encoder, scratch)
            selection = keep(collected.labels, settings, excluded.images if excluded else None, alike)
            if not selection.label.any():
                raise _nothing_left(source, collected, settings)
            entities, images, class_of = _vocabulary(collected, selection, kb)
            tasks = _Tasks(source, collected, selection, class_of, passes.images)
            running.do("write", partial(getattr, passes, "write"), tasks)
            write_table(f"{out}/vocabulary.parquet", _vocabulary_table(entities, images))
            types = count_types(entities, images.tolist())
            if excluded:
                write_table(f"{out}/excluded.parquet", excluded.table)
            statistics = summarise(
                collected.counts, collected.labels, selection, images, types, excluded.sets if excluded else {}
            )
        write_json(f"{out}/statistics.json", asdict(statistics))
        _describe(source, out, settings, manifest, statistics, kb, excluded=bool(excluded), report=report)
    return statistics


def _job(source: Folder) -> Job:
    rows = as_type(source.manifest.counts.get("rows_out", 0), int, f"{source.path}/manifest.json", "Label again.")
    return Job("cpu", lambda most: min(most, rows), light=_LIGHT)


def _excluded(
    source: Folder,
    collected: Collected,
    sets: Sequence[EvaluationSet],
    exclusion: Exclusion,
    encoder: EncoderLike | None,
) -> Excluded:
    compared = exclusion.settings.embedding and any(each.sources for each in sets)
    opened = _encoder(source, encoder) if compared else None
    found: Excluded = own_part("filters", "evaluation_copies")(source, collected, sets, exclusion.settings, opened)
    return found


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


def _describe(
    source: Folder,
    out: str | Path,
    settings: DatasetSettings,
    manifest: Manifest,
    statistics: Statistics,
    kb: KnowledgeBase | None,
    *,
    excluded: bool,
    report: bool,
) -> None:
    """Write the card and the report, remove what lay between the passes, and finish the manifest."""
    take_note_along(source.path, out)
    folder = Folder(str(out), manifest, source.shards)
    write_card(folder, source.manifest, statistics, report=report)
    if report:
        write_report(folder, source, f"{out}/report.html", kb=kb)
    counted = ["in_evaluation_set"] * excluded + ["semantic_duplicate"] * bool(settings.semantic_duplicates)
    remove_folder(f"{out}/{_COLLECTED}")
    counts = {name: getattr(statistics, name) for name in ("rows", "images", "entities", "labels")}
    finish_manifest(out, manifest, {**counts, **{name: statistics.outcomes[name] for name in counted}})


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


class _Tasks(Sequence[Chosen]):
    """The shards that are missing in a folder. A task is made when it is asked for: all of them would be large."""

    def __init__(
        self, source: Folder, collected: Collected, selection: Selection, class_of: Codes, folder: str
    ) -> None:
        self._source, self._collected, self._selection, self._class_of = source, collected, selection, class_of
        there = whole([f"{folder}/{shard.name}.parquet" for shard in source.shards])
        self._missing = [position for position, is_there in enumerate(there) if not is_there]

    def __len__(self) -> int:
        return len(self._missing)

    def __getitem__(self, number: Any) -> Any:
        position = self._missing[number]
        shard, labels = self._source.shards[position], self._collected.labels
        here = slice(*np.searchsorted(labels.image, self._collected.starts[position : position + 2]).tolist())
        classes = np.where(self._selection.label[here], self._class_of[labels.entity[here]], np.int32(-1))
        return Chosen(shard, self._source.manifest.inputs.get(shard.name, ""), classes)
