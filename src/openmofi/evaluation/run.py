"""Which protocols exist, how one is run, and the page of its worst queries. A protocol's module is imported to run."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pyarrow as pa

from openmofi.config import Settings, settings_from
from openmofi.dataset.report.examples import template
from openmofi.encoders import Encoder
from openmofi.encoders.devices import device_named
from openmofi.engine import Progress
from openmofi.errors import UsageError, did_you_mean
from openmofi.evaluation.bands import ClassCounts, require_classes, with_bands
from openmofi.evaluation.protocol import (
    ENCODER,
    LINKER,
    NEITHER,
    EvaluationProtocol,
    Failure,
    Features,
    Measured,
    Subject,
)
from openmofi.evaluation.result import Result, write_result
from openmofi.extensions import extension, extension_names
from openmofi.storage import package_versions, remove_leftovers, write_text, written_together
from openmofi.version import __version__


@cache
def protocols() -> Mapping[str, tuple[str, str]]:
    """Return name → (module whose `PROTOCOL` it is, description in one line), of all packages.

    A package adds a mapping of that form to the entry points `openmofi.protocols`; OpenMOFI's names keep their meaning.
    """
    added = [entry for package in extension_names("protocols") for entry in extension("protocols", package).items()]
    listed: dict[str, tuple[str, str]] = {}
    for name, protocol in sorted(added, key=lambda entry: not entry[1][0].startswith("openmofi.")):
        listed.setdefault(name, protocol)
    return listed


@dataclass(frozen=True)
class Evaluated:
    """The outcome of `evaluate`: the result, its items, the worst queries, and the provider of their images."""

    result: Result
    items: pa.Table | None
    failures: Sequence[Failure]
    features: Features | None


def check_protocol(name: str) -> None:
    """Check the name of a protocol.

    Raises:
        UsageError: it is unknown.
    """
    if name not in (names := protocols()):
        raise UsageError(f"Unknown protocol {name!r}.{did_you_mean(name, names)}", f"Use {', '.join(names)}.")


def protocol_named(name: str) -> EvaluationProtocol:
    """The protocol of this name.

    Raises:
        UsageError: it is unknown.
    """
    check_protocol(name)
    return import_module(protocols()[name][0]).PROTOCOL


def check_judged(protocol: EvaluationProtocol, *, encoder: bool, linker: bool) -> None:
    """Check that the protocol gets what it judges, and nothing else.

    Args:
        encoder, linker: whether one is given.

    Raises:
        UsageError: it gets too little or too much.
    """
    for kind, article, given in ((ENCODER, "an", encoder), (LINKER, "a", linker)):
        if given and kind != protocol.judges:
            hint = "Leave it out." if protocol.judges == NEITHER else f"Give --{protocol.judges} SPEC in its place."
            raise UsageError(f"The protocol {protocol.name} does not judge {article} {kind}.", hint)
        if kind == protocol.judges and not given:
            raise UsageError(f"The protocol {protocol.name} needs {article} {kind}.", f"Give one with --{kind} SPEC.")


def evaluate(
    name: str,
    encoder: Encoder | None,
    data: str | Path,
    cache: str | Path,
    progress: Progress,
    *,
    linker: str = "",
    device: str = "cpu",
    settings: Settings | None = None,
    overrides: Sequence[str] = (),
    choice: str = "auto",
    half: bool = False,
    failures: int = 0,
    bands: str | Path = "",
) -> Evaluated:
    """Run a protocol.

    Args:
        name: of the protocol.
        encoder: an open encoder; `None` for protocols that judge none.
        data: folder or file, in the protocol's layout.
        cache: folder that keeps features.
        progress: receives the progress.
        linker, device: see `Subject`; `auto` is CUDA where there is one.
        settings: of the protocol; its defaults where not given.
        overrides: changes to them, as `KEY=VALUE`.
        choice, half: see `Features`.
        failures: number of worst queries to return.
        bands: a label dataset, by whose counts of images the metrics are given too; see `openmofi.evaluation.bands`.

    Raises:
        UsageError: an unknown protocol or setting, an encoder or linker that it cannot judge, or no classes for bands.
        OpenMofiError: the data are not in the protocol's layout.
    """
    protocol = protocol_named(name)
    settings = settings_from(settings or protocol.settings(), overrides)
    check_judged(protocol, encoder=encoder is not None, linker=bool(linker))
    counts = None
    if bands:
        require_classes(protocol)
        counts = ClassCounts.open(bands)
    features = None
    if encoder is not None:
        prepared = protocol.prepare(encoder, settings) if protocol.prepare else encoder
        features = Features(prepared, Path(cache), progress, choice, half)
    started = time.perf_counter()
    judge = device_named(device) if linker else "cpu"
    measured = protocol.measure(Subject(Path(data), settings, progress, failures, features, linker, judge))
    if counts:
        measured = with_bands(measured, counts)
    seconds = time.perf_counter() - started
    return Evaluated(
        _result(protocol, settings, measured, features, str(data), seconds), measured.items, measured.failures, features
    )


def _result(
    protocol: EvaluationProtocol,
    settings: Any,
    measured: Measured,
    features: Features | None,
    data: str,
    seconds: float,
) -> Result:
    features_seconds = features.seconds if features else 0.0
    # Settings may leave the headline out, as k=5 of knn does.
    headline = protocol.headline if protocol.headline in measured.metrics else next(iter(measured.metrics))
    excluded = {key: status for images in measured.images for _, key, status in images.refused}
    return Result(
        protocol=protocol.name,
        version=protocol.version,
        metrics={f"{protocol.name}/{name}": float(value) for name, value in measured.metrics.items()},
        intervals={f"{protocol.name}/{name}": edges for name, edges in measured.intervals.items()},
        encoder=features.encoder.describe() if features else measured.encoder,
        features=features.describe() if features else {},
        data={"path": data, "fingerprint": measured.data_fingerprint, **measured.data},
        settings=asdict(settings),
        counts=measured.counts | {"excluded": sum(len(images.refused) for images in measured.images)},
        excluded=excluded,
        headline=f"{protocol.name}/{headline}",
        rule=protocol.rule,
        interval_over=measured.interval_over,
        facts=measured.facts,
        seconds={"features": round(features_seconds, 3), "protocol": round(seconds - features_seconds, 3)},
        versions=package_versions(),
    )


def write_failures(path: str | Path, evaluated: Evaluated) -> None:
    """Write the page. Names and keys are escaped, images are data URIs; the page loads nothing from the network."""
    cases = evaluated.failures
    ids = [case.image for case in cases] + [answer.image for case in cases for answer in case.answers if answer.image]
    images = evaluated.features.thumbnails(ids) if evaluated.features else {}
    write_text(
        path,
        template(__package__, "failures.html.j2").render(
            version=__version__,
            result=evaluated.result,
            cases=cases,
            images=images,
            score=protocol_named(evaluated.result.protocol).score,
        ),
    )


def write(out: str | Path, evaluated: Evaluated) -> Path:
    """Write a result, its items, and the page of its worst queries where it has any. Returns the JSON's path."""
    with written_together(out):
        remove_leftovers(out)
        path = write_result(out, evaluated.result, evaluated.items)
        if evaluated.failures:
            write_failures(path.with_suffix(".html"), evaluated)
    return path
