"""The model card of a checkpoint: YAML that the hub reads, and what a person asks first."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import msgspec

from openmofi.encoders.encoder import Encoder
from openmofi.encoders.export.agreement import Agreement
from openmofi.errors import OpenMofiError
from openmofi.storage import package_versions, read_json

CARD = "README.md"
_NAME = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True)
class Metric:
    """A figure of an evaluation: its protocol, the data, the metric's name and value, perhaps a 95 % interval."""

    protocol: str
    data: str
    name: str
    value: float
    interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class CardFacts:
    """What a card says that the encoder does not know.

    Attributes:
        name: of the model.
        licence: its identifier on the hub, such as `apache-2.0`.
        datasets: names of what it was trained on.
        labels: how their labels were made, a sentence each.
        metrics: what was measured.
        use: what it is for; the default says what embeddings are for.
    """

    name: str = ""
    licence: str = "unknown"
    datasets: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    metrics: tuple[Metric, ...] = ()
    use: str = ""

    def as_dict(self) -> dict[str, Any]:
        """JSON values, for a manifest."""
        return {
            "name": self.name,
            "licence": self.licence,
            "datasets": list(self.datasets),
            "labels": list(self.labels),
            "metrics": [vars(metric) for metric in self.metrics],
            "use": self.use,
        }


def read_metrics(paths: Sequence[str | Path]) -> tuple[Metric, ...]:
    """The headline figures of results that `openmofi eval -o` wrote.

    Raises:
        OpenMofiError: a file is missing, or no such result.
    """
    metrics = []
    for path in map(Path, paths):
        result = read_json(path, _Result, hint := "Give a JSON file that `openmofi eval -o` wrote.")
        name = result.headline
        if name not in result.metrics:
            raise OpenMofiError(f"{path} cannot be read: it has no metric {name!r}.", hint)
        interval = result.intervals.get(name)
        metrics.append(Metric(result.protocol, Path(result.data.path).name, name, result.metrics[name], interval))
    return tuple(metrics)


class _Data(msgspec.Struct):
    path: str


class _Result(msgspec.Struct):
    """What a card needs of a result; see `openmofi.evaluation.result`, which this room does not know."""

    protocol: str
    headline: str
    data: _Data
    metrics: dict[str, float]
    intervals: dict[str, tuple[float, float] | None] = {}


def write_card(folder: Path, encoder: Encoder, library: str, facts: CardFacts, agreement: Agreement) -> None:
    """Write `README.md` into a checkpoint's folder."""
    name = facts.name or _NAME.sub("-", encoder.spec).strip("-")
    environment = jinja2.Environment(autoescape=False, undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    template = environment.from_string(files(__package__).joinpath("card.md.j2").read_text("utf-8"))
    (folder / CARD).write_text(
        template.render(
            header=_header(name, library, facts, texts=encoder.has_texts),
            name=name,
            encoder=encoder,
            library=library,
            facts=facts,
            agreement=agreement,
            versions=package_versions(),
        ),
        "utf-8",
    )


def _header(name: str, library: str, facts: CardFacts, *, texts: bool) -> str:
    """The card's data as the hub's own library writes them."""
    from huggingface_hub import EvalResult, ModelCardData

    results = [
        EvalResult(
            task_type=metric.protocol,
            dataset_type=metric.data,
            dataset_name=metric.data,
            metric_type=metric.name.rpartition("/")[2],
            metric_name=metric.name,
            metric_value=metric.value,
        )
        for metric in facts.metrics
    ]
    data = ModelCardData(
        license=facts.licence,
        library_name=library,
        tags=["openmofi", "image-embeddings"],
        pipeline_tag="zero-shot-image-classification" if texts else "image-feature-extraction",
        datasets=list(facts.datasets) or None,
        model_name=name if results else None,
        eval_results=results or None,
        metrics=sorted({metric.name.rpartition("/")[2] for metric in facts.metrics}) or None,
    )
    return str(data.to_yaml()).strip()
