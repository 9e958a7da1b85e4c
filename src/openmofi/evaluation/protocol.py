"""What a protocol is: its settings, what it is given, what it measures.

A protocol is one file: a frozen dataclass of settings, whose defaults are the published ones, and a function from a
`Subject` to a `Measured`. Its docstring has the source, licence and layout of the data. `openmofi.evaluation.run` lists
the protocols and runs them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from openmofi.bootstrap import Interval
from openmofi.encoders import Encoder
from openmofi.engine import Progress
from openmofi.evaluation.features import Features, ImageId
from openmofi.features.images import EmbeddedImages

ENCODER, LINKER, NEITHER = "encoder", "linker", "neither"
"""What a protocol judges: the option that names it."""


class Answer(NamedTuple):
    """An answer to a query: its image, if it has one, its name, its score, and whether it is correct."""

    image: ImageId | None
    name: str
    score: float
    correct: bool


@dataclass(frozen=True)
class Failure:
    """A query with a bad result.

    Attributes:
        image: of the query.
        name: of the query, e.g. its class.
        score: the lowest are the worst.
        answers: the nearest first.
    """

    image: ImageId
    name: str
    score: float
    answers: list[Answer]


def nearest_answers(
    ids: Sequence[ImageId], names: Sequence[str], rows: Any, scores: Any, correct: Iterable[bool]
) -> list[Answer]:
    """The answers at `rows`, (k,), of the images `ids` and their `names`; `scores` and `correct`: (k,)."""
    return [
        Answer(ids[row], names[row], float(score), bool(right))
        for row, score, right in zip(rows, scores, correct, strict=True)
    ]


@dataclass(frozen=True)
class Measured:
    """What a protocol measured. Metrics are named without the protocol, which `run` puts before them.

    Attributes:
        metrics: name → value.
        intervals: name → 95 % bootstrap interval, for the metrics that have one.
        interval_over: what the bootstrap draws, e.g. `classes`.
        counts: name → number.
        data_fingerprint: see `features.data_fingerprint`.
        images: all embedded images; the refused ones are counted and named in the result.
        items: see `result.items_table`; its metric columns have the names of `metrics`.
        data, facts: see `Result`.
        encoder: describes what was judged, where a protocol judges no encoder.
        failures: the worst queries, at most `Subject.failures`.
    """

    metrics: dict[str, float]
    intervals: dict[str, Interval]
    counts: dict[str, int]
    data_fingerprint: str
    images: Sequence[EmbeddedImages] = ()
    items: pa.Table | None = None
    interval_over: str = "classes"
    data: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    encoder: dict[str, Any] = field(default_factory=dict)
    failures: Sequence[Failure] = ()


@dataclass(frozen=True)
class Subject:
    """What a protocol is given.

    Attributes:
        data: the folder or file.
        settings: an instance of the protocol's settings.
        progress: receives the progress.
        failures: number of worst queries to return.
        provider: of features, with the encoder; `None` for protocols that judge no encoder.
        linker: spec of the judged linker; empty for protocols that judge none.
        device: where the linker runs, as torch names it.
    """

    data: Path
    settings: Any
    progress: Progress
    failures: int = 0
    provider: Features | None = None
    linker: str = ""
    device: str = "cpu"

    @property
    def features(self) -> Features:
        """The features provider."""
        assert self.provider is not None, "this protocol judges no encoder"
        return self.provider

    @property
    def encoder(self) -> Encoder:
        """The encoder; `features` embeds images with it."""
        return self.features.encoder


@dataclass(frozen=True)
class EvaluationProtocol:
    """A way to judge an encoder or a linker.

    Attributes:
        name: as in `run.PROTOCOLS`.
        version: raised when its values change.
        settings: a frozen dataclass; its defaults are the published settings.
        measure: runs the protocol.
        headline: the main metric.
        rule: how images that cannot be read are handled.
        judges: `ENCODER`, `LINKER`, or `NEITHER`, e.g. the data alone.
        score: what the score of a failure means, for the page of failures.
        by_class: the groups of its items are classes, by names or identifiers that a label dataset may know too.
        prepare: adapts the encoder to the settings, e.g. with another preprocessing.
    """

    name: str
    version: int
    settings: type[Any]
    measure: Callable[[Subject], Measured]
    headline: str
    rule: str
    judges: str = ENCODER
    score: str = ""
    by_class: bool = False
    prepare: Callable[[Encoder, Any], Encoder] | None = None
