"""A label job that runs: what it was given, and what its steps have made so far."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from openmofi.encoders import Encoder
from openmofi.engine.steps import Running
from openmofi.features.entity_table import EntityFeatures
from openmofi.knowledge import KnowledgeBase
from openmofi.labeling.calibrate.calibration import Calibration
from openmofi.labeling.calibrate.rounds import Fitted
from openmofi.labeling.label_settings import LabelSettings
from openmofi.labeling.links import ReadShard
from openmofi.labeling.summaries import CorpusSummary, LabelSummary
from openmofi.labeling.tables import Tables
from openmofi.labeling.verdicts.threshold import Correction
from openmofi.storage import Shard

SET_ASIDE_FILE = "set_aside.json"
"""Names of shards that could not be read when calibration and threshold were decided: they have no part in these."""
CALIBRATION_PAIRS = 50_000
_CALIBRATION_SHARDS = 50


@dataclass(frozen=True)
class Judge:
    """Who judges.

    Attributes:
        encoder: has the feature fingerprint of what was read.
        calibration: of that encoder.
        gallery: file of the witnesses (`openmofi.labeling.calibrate.neighbours`), or "".
    """

    encoder: Encoder
    calibration: Calibration
    gallery: str = ""


@dataclass(eq=False)
class LabelJob:
    """What the steps of a label job share. No step asks another for its files: `tables` names them.

    Attributes:
        planned: all shards of the job.
        tables: names their tables.
        encoder: the one that features are of; an adapter over it may judge.
        settings: see `LabelSettings`.
        running: the engine, the progress, and the shards that failed.
        out: folder of the labels.
        known: a calibration that was given, or that an earlier try or the encoder left.
        known_path: its file.
        correction: by verdicts.
        late: names of shards that are judged, and decide nothing: the decisions were taken without them; `None` where
            nothing has been decided yet, until it is seen which cannot be read.
        shards: those that have not failed.
        unlinked: those whose links have still to be made.
        links: what the links of all shards say.
        entities: text features of the entities that occur, and of a known reference set.
        adapted: the adapter over the encoder; `None` without one.
        judges: whose probabilities are averaged; an adapter goes first, the encoder that it stands on second.
        threshold: least probability of a label.
        check: whether the adapter judges, and why; empty without one.
        labels: what the labels say.
    """

    planned: tuple[Shard, ...]
    tables: Tables
    encoder: Encoder
    settings: LabelSettings
    running: Running
    out: str = ""
    known: Fitted | None = None
    known_path: str = ""
    correction: Correction | None = None
    late: frozenset[str] | None = frozenset()
    shards: Sequence[Shard] = ()
    unlinked: Sequence[Shard] = ()
    links: CorpusSummary = field(init=False)
    entities: EntityFeatures = field(init=False)
    adapted: Encoder | None = None
    judges: tuple[Judge, ...] = ()
    threshold: float = 1.0
    check: dict[str, Any] = field(default_factory=dict)
    labels: LabelSummary = field(init=False)

    def __post_init__(self) -> None:
        self.shards = self.planned

    @property
    def kb(self) -> KnowledgeBase:
        """The knowledge base."""
        return self.tables.kb

    @property
    def template(self) -> str:
        """The template of the entities' texts."""
        return self.settings.selection.template

    @property
    def content(self) -> list[str]:
        """Fingerprints of the shards that decide."""
        return [shard.fingerprint for shard in self.planned if shard.name not in (self.late or ())]

    def rows(self, shard: Shard) -> int:
        """Return how many pairs a shard has."""
        return self.links.rows[shard.fingerprint]

    @cached_property
    def sample(self) -> tuple[Shard, ...]:
        """What decisions are fitted on: shards spread evenly, at least 50 and so many as hold 50,000 pairs, or all."""
        shards = [shard for shard in self.shards if shard.name not in (self.late or ())]
        count = len(shards)
        if count > _CALIBRATION_SHARDS:
            mean = max(sum(map(self.rows, shards)) / count, 1.0)
            count = min(count, max(_CALIBRATION_SHARDS, math.ceil(CALIBRATION_PAIRS / mean)))
        return tuple(shards[number] for number in np.linspace(0, len(shards) - 1, count).round().astype(int))

    def blocks(self) -> Iterator[ReadShard]:
        """Read the links and features of the shards of `sample`."""
        for shard in self.sample:
            yield from ReadShard.blocks(self.tables, shard)
