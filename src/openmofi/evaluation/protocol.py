"""What a protocol is, which there are, and how one is run.

A protocol is one file: a frozen dataclass of settings, whose defaults are the published ones, and a function from a
`Subject` to what it measured. The registry knows names and one line each; a protocol's module is imported when it runs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import pyarrow as pa

from openmofi.config import did_you_mean, settings_from
from openmofi.encoders import Encoder, describe
from openmofi.engine import Progress
from openmofi.errors import UsageError
from openmofi.evaluation.embed import EmbeddedImages
from openmofi.evaluation.features import Features
from openmofi.evaluation.metrics.bootstrap import Interval
from openmofi.evaluation.result import Result
from openmofi.storage import package_versions

PROTOCOLS: Mapping[str, tuple[str, str]] = {
    "gpr1200": ("protocols.gpr1200", "general-purpose retrieval: 1,200 classes of 10 images in six domains; mAP"),
    "retrieval": ("protocols.class_retrieval", "retrieval over any folder of class folders; mAP and recall"),
    "knn": ("protocols.knn", "weighted nearest neighbours as for DINOv2; top-1 accuracy"),
    "linear": ("protocols.linear", "logistic regression on frozen features, full or few-shot; accuracy"),
    "zeroshot": ("protocols.zeroshot", "classification by class names; folders, tar shards or a table; accuracy"),
    "vtab": ("protocols.vtab", "VTAB-1k: a linear probe on 19 tasks of 1,000 examples; mean accuracy"),
    "revisited": ("protocols.revisited", "Revisited Oxford or Paris, easy, medium and hard; mAP and mean precision"),
    "image-text": ("protocols.image_text", "captions and images of Flickr30k or COCO, both directions; recall"),
    "entity": ("protocols.entity", "which entity an image shows, by labelled images and by texts; top-1 and top-5"),
    "sample-retrieval": ("protocols.sample_retrieval", "the sample world's held-out entities: retrieval and zero-shot"),
    "labels": ("protocols.labels", "labels where the truth is known; precision and recall; needs no encoder"),
    "disambiguation": ("linkers.disambiguation", "which entity a mention means, as ZELDA; accuracy; needs a linker"),
    "linking": ("linkers.linking", "texts to annotations with a knowledge base, as GERBIL; micro F1; needs a linker"),
}
"""Name → (module in `openmofi.evaluation`, one line)."""

ENCODER, LINKER, NEITHER = "encoder", "linker", "neither"
"""What a protocol judges: the option that names it."""


@dataclass(frozen=True)
class Failure:
    """A query that went wrong.

    Attributes:
        place: (source, key) of its image; `name` is what it is, e.g. its class.
        score: of the query, the worst first.
        answers: (place or `None`, name, similarity, whether it is right), the nearest first.
    """

    place: tuple[str, str]
    name: str
    score: float
    answers: list[tuple[tuple[str, str] | None, str, float, bool]]


@dataclass(frozen=True)
class Measured:
    """What a protocol found. Metrics here do without the protocol's name, which is put before them.

    Attributes:
        metrics: name → value.
        intervals: 95 %, of those that have one.
        interval_over: what the bootstrap draws, e.g. `classes`.
        counts: how many of what.
        data_fingerprint: see `features.data_fingerprint`.
        images: embedded images, whose refused ones are counted and named.
        items: see `result.items_table`; its metric columns are named as in `metrics`.
        data, facts: see `Result`.
        encoder: of a protocol without an encoder: what there is to say.
        failures: the worst queries, as many as were asked for.
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
        progress: told what happens.
        failures: how many of the worst queries to return.
        given: the features provider, with the encoder; `None` where the protocol needs none.
        linker: spec of the linker that is judged; empty where the protocol needs none.
        device: torch's name of where the linker works.
    """

    data: Path
    settings: Any
    progress: Progress
    failures: int = 0
    given: Features | None = None
    linker: str = ""
    device: str = "cpu"

    @property
    def features(self) -> Features:
        """The features provider."""
        assert self.given is not None, "this protocol was declared to need no encoder"
        return self.given

    @property
    def encoder(self) -> Encoder:
        """The encoder; images are embedded by `features`."""
        return self.features.encoder


@dataclass(frozen=True)
class EvaluationProtocol:
    """A way to judge an encoder or a linker.

    Attributes:
        name: as in the registry.
        version: counted up when its figures change.
        settings: frozen dataclass; the defaults are the published ones.
        measure: does the work.
        headline: the metric to look at first.
        score: what the score of a failure is, for people.
        rule: what becomes of images that cannot be read.
        data: where the data comes from, its licence, its layout.
        judges: `ENCODER`, `LINKER`, or `NEITHER`, e.g. the data alone.
        prepare: what the settings make of the encoder, e.g. another preprocessing.
    """

    name: str
    version: int
    settings: type[Any]
    measure: Callable[[Subject], Measured]
    headline: str
    rule: str
    data: str
    judges: str = ENCODER
    score: str = ""
    prepare: Callable[[Encoder, Any], Encoder] | None = None


@dataclass(frozen=True)
class Evaluated:
    """What `evaluate` gives: the result, its items, the worst queries, the provider that can show them."""

    result: Result
    items: pa.Table | None
    failures: Sequence[Failure]
    features: Features | None


def protocol_named(name: str) -> EvaluationProtocol:
    """The protocol of a name.

    Raises:
        UsageError: there is none.
    """
    check_protocol(name)
    found: EvaluationProtocol = import_module(f"openmofi.evaluation.{PROTOCOLS[name][0]}").PROTOCOL
    return found


def check_protocol(name: str) -> None:
    """Check a protocol's name.

    Raises:
        UsageError: there is no such protocol.
    """
    if name not in PROTOCOLS:
        raise UsageError(f"There is no protocol {name!r}.{did_you_mean(name, PROTOCOLS)}",
                         f"Protocols are: {', '.join(PROTOCOLS)}.")


def check_judged(protocol: EvaluationProtocol, *, encoder: bool, linker: bool) -> None:
    """Check that what is given is what the protocol judges.

    Raises:
        UsageError: it needs the other one, or one more.
    """
    for what, given in ((ENCODER, encoder), (LINKER, linker)):
        article = "an" if what == ENCODER else "a"
        if given and what != protocol.judges:
            told = "Leave it out." if protocol.judges == NEITHER else f"Give --{protocol.judges} SPEC in its place."
            raise UsageError(f"The protocol {protocol.name} does not judge {article} {what}.", told)
        if what == protocol.judges and not given:
            raise UsageError(f"The protocol {protocol.name} needs {article} {what}.", f"Give one with --{what} SPEC.")


def evaluate(name: str, encoder: Encoder | None, data: str | Path, cache: str | Path, progress: Progress, *,
             linker: str = "", device: str = "cpu", overrides: Sequence[str] = (), choice: str = "auto",
             half: bool = False, failures: int = 0) -> Evaluated:
    """Run a protocol.

    Args:
        encoder: open; `None` only for protocols that need none.
        data: folder or file, in the protocol's layout.
        cache: keeps features.
        linker, device: see `Subject`.
        overrides: `KEY=VALUE` of the protocol's settings.
        choice, half: see `Features`.
        failures: how many of the worst queries to keep.

    Raises:
        UsageError: no such protocol or setting, or an encoder or linker that it cannot judge.
        OpenMofiError: data that are not in the protocol's layout.
    """
    protocol = protocol_named(name)
    settings = settings_from(protocol.settings(), overrides)
    check_judged(protocol, encoder=encoder is not None, linker=bool(linker))
    features = None
    if encoder is not None:
        opened = protocol.prepare(encoder, settings) if protocol.prepare else encoder
        features = Features(opened, Path(cache), progress, choice, half)
    started = time.perf_counter()
    found = protocol.measure(Subject(Path(data), settings, progress, failures, features, linker, device))
    seconds = time.perf_counter() - started
    return Evaluated(_result(protocol, settings, found, features, str(data), seconds), found.items, found.failures,
                     features)


def _result(protocol: EvaluationProtocol, settings: Any, found: Measured, features: Features | None, data: str,
            seconds: float) -> Result:
    spent = features.seconds if features else 0.0
    # A setting may leave the usual one out, as k=5 of knn does.
    headline = protocol.headline if protocol.headline in found.metrics else next(iter(found.metrics))
    excluded = {key: status for images in found.images for _, key, status in images.refused}
    return Result(
        protocol=protocol.name, version=protocol.version,
        metrics={f"{protocol.name}/{name}": float(value) for name, value in found.metrics.items()},
        intervals={f"{protocol.name}/{name}": edges for name, edges in found.intervals.items()},
        encoder=describe(features.encoder) if features else found.encoder,
        features=features.describe() if features else {},
        data={"path": data, "fingerprint": found.data_fingerprint, **found.data}, settings=asdict(settings),
        counts=found.counts | {"excluded": sum(len(images.refused) for images in found.images)}, excluded=excluded,
        headline=f"{protocol.name}/{headline}", rule=protocol.rule, interval_over=found.interval_over,
        facts=found.facts, seconds={"features": round(spent, 3), "protocol": round(seconds - spent, 3)},
        versions=package_versions())
