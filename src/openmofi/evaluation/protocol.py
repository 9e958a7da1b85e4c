"""The interface of a protocol: its settings, what it is given (embedded images), what it measures.

A protocol is one file: a frozen dataclass of settings, whose defaults are the published ones, and a function from a
`Subject` to a `Measured`. Its docstring has the source, licence and layout of the data. `openmofi.evaluation.run` lists
the protocols and runs them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from openmofi.bootstrap import Interval, bootstrap_interval
from openmofi.dataset.report.examples import thumbnail
from openmofi.encoders import Encoder
from openmofi.engine import Progress, Quiet
from openmofi.errors import UsageError
from openmofi.evaluation.result import items_table
from openmofi.features.images import EmbeddedImages, ImageSource, embed_images, shard_source
from openmofi.storage import Shard, fingerprint

NEIGHBOURS_SHOWN = 8
"""Answers that the page of failures shows of a query."""
CHOICES = ("auto", "joint", "backbone")
ImageId = tuple[str, str]
"""Name of an image's source, and its key there."""


@dataclass
class Features:
    """Embeds images for protocols.

    Attributes:
        encoder: see `Encoder`.
        cache: folder that keeps backbone features; may be deleted at any time.
        progress: receives the progress of each source.
        choice: `joint`: the encoder's joint space of images and texts; `backbone`: the features before the projection;
            `auto`: the joint space, or the backbone where the encoder has no joint space.
        half: keep features as float16.
        seconds: spent on embedding so far.
    """

    encoder: Encoder
    cache: Path
    progress: Progress
    choice: str = "auto"
    half: bool = False
    seconds: float = 0.0
    _sources: dict[str, ImageSource] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.choice not in CHOICES:
            raise UsageError(f"Unknown value {self.choice!r} for features.", f"Use {', '.join(CHOICES)}.")
        if self.choice == "auto":
            self.choice = "joint" if self.encoder.has_joint_space else "backbone"

    def embed(self, sources: Sequence[Shard | ImageSource]) -> EmbeddedImages:
        """All usable images, L2-normalised; see `embed_images`."""
        opened = [source if isinstance(source, ImageSource) else shard_source(source) for source in sources]
        self._sources.update({source.name: source for source in opened})
        return self._embed(opened, self.progress)

    def stream(self, sources: Sequence[ImageSource]) -> Iterator[EmbeddedImages]:
        """As `embed`, one source at a time, for images whose embeddings do not fit into memory together."""
        self.progress.begin("embed", len(sources))
        for source in sources:
            images = self._embed([source], Quiet())
            self.progress.advance({"rows": len(images.keys) + len(images.refused)})
            yield images

    def _embed(self, sources: Sequence[ImageSource], progress: Progress) -> EmbeddedImages:
        started = time.perf_counter()
        images = embed_images(
            sources, self.encoder, self.cache, progress, backbone=self.choice == "backbone", half=self.half
        )
        self.seconds += time.perf_counter() - started
        return images

    def describe(self) -> dict[str, Any]:
        """Return the value of `Result.features`."""
        return {
            "choice": self.choice,
            "normalisation": "l2",
            "dtype": "float16" if self.half else "float32",
            "dim": self.encoder.dim if self.choice == "joint" else self.encoder.feature_dim,
            "preprocessing": asdict(self.encoder.preprocessing),
        }

    def require_texts(self, protocol: str) -> None:
        """Check that images can be compared with texts.

        Raises:
            UsageError: the encoder has no text side, or backbone features were chosen.
        """
        if not self.encoder.has_texts:
            raise UsageError(
                f"{protocol} compares images with texts, and the encoder {self.encoder.spec!r} embeds no texts.",
                "Choose an image–text encoder.",
            )
        if self.choice != "joint":
            raise UsageError(
                f"{protocol} compares images with texts, which needs joint features.", "Leave --features out."
            )

    def thumbnails(self, ids: Iterable[ImageId]) -> dict[ImageId, str]:
        """Thumbnails as data URIs, of the images that can be shown."""
        remaining = set(ids)
        uris = {}
        for name in sorted({source for source, _ in remaining}):
            for key, load in self._sources[name].read():
                if (name, key) in remaining:
                    pair = load()
                    if pair.image and (uri := thumbnail(pair.image)):
                        uris[name, key] = uri
        return uris


def item_names(images: EmbeddedImages) -> list[str]:
    """(n,) keys, with their sources before them where keys repeat."""
    if len(set(images.keys)) == len(images.keys):
        return list(images.keys)
    return [f"{source}/{key}" for source, key in images.ids]


def data_fingerprint(images: Sequence[EmbeddedImages], labels: Sequence[Sequence[Any]]) -> str:
    """Identifies images by their content, in order, and their labels; paths play no part."""
    return fingerprint(
        [
            [
                list(zip(part.keys, part.contents, map(str, classes), strict=True)),
                [(key, status) for _, key, status in part.refused],
            ]
            for part, classes in zip(images, labels, strict=True)
        ]
    )


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


def nearest_failures(
    queries: tuple[Sequence[ImageId], Sequence[str], Any],
    order: Sequence[int],
    index: tuple[Sequence[ImageId], Sequence[str]],
    nearest: tuple[Any, Any, Any],
) -> list[Failure]:
    """The queries at `order`, the worst first.

    Args:
        queries: ids, names and scores of all queries.
        order: (n,) which of them are shown.
        index: ids and names of the images that answer.
        nearest: (n, k) rows of the answers in the index, their scores, and which are correct; the nearest first.
    """
    ids, names, values = queries
    return [
        Failure(
            ids[row], names[row], float(values[row]), nearest_answers(*index, *(each[:NEIGHBOURS_SHOWN] for each in of))
        )
        for row, *of in zip(order, *nearest, strict=True)
    ]


@dataclass(frozen=True)
class Measured:
    """What a protocol measured. Metrics are named without the protocol, which `run` puts before them.

    Attributes:
        metrics: name → value.
        intervals: name → 95 % interval, for the metrics that have one.
        interval_over: what intervals are over, e.g. `classes`.
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

    @classmethod
    def of_items(
        cls,
        items: list[str],
        groups: list[str],
        values: Mapping[str, Any],
        *,
        drawn: Any = None,
        **others: Any,
    ) -> Measured:
        """Return the means of the items' values, and their intervals.

        Args:
            items, groups, values: see `items_table`.
            drawn: (n,) what the bootstrap draws; the groups by default.
            others: attributes.
        """
        drawn = groups if drawn is None else drawn
        return cls(
            metrics={name: float(np.nanmean(numbers)) for name, numbers in values.items()},
            intervals={name: bootstrap_interval(numbers, drawn) for name, numbers in values.items()},
            items=items_table(items, groups, values),
            **others,
        )


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
