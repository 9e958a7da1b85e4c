"""Exports an encoder as a checkpoint of a library, opened again by that library alone and compared before it counts."""

import importlib
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec

from openmofi.dataset.report.examples import template
from openmofi.encoders.encoder import Encoder
from openmofi.errors import OpenMofiError
from openmofi.plugins.export import ExportSettings
from openmofi.plugins.export.agreement import Agreement, Samples, check_loss, compared
from openmofi.plugins.export.job import move
from openmofi.plugins.hub.checkpoints import VOCABULARIES
from openmofi.storage import Outputs, claimed, finish_manifest, package_versions, read_json
from openmofi.storage.atomic import temporary_folder, write_error
from openmofi.storage.folders import written_folder

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
    """Facts for a model card that the encoder does not know.

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


def read_metrics(paths: Sequence[str | Path]) -> tuple[Metric, ...]:
    """Read the headline figures of results that `openmofi eval -o` wrote.

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
    (folder / CARD).write_text(
        template(__package__, "card.md.j2").render(
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


MOST_LOSS = 1e-3
"""Greatest 1 − mean cosine of a checkpoint: libraries resize images a little differently, and nothing else differs."""
_MODULES = {"open_clip": "openclip", "timm": "timm", "transformers": "transformers"}
_TOKENIZER = (
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "merges.txt",
    "*.jinja",
    *VOCABULARIES,
)
OUTPUTS = Outputs(
    (
        CARD,
        "config.json",
        "preprocessor_config.json",
        "generation_config.json",
        "open_clip_*",
        "*.safetensors",
        "*.safetensors.index.json",
        *_TOKENIZER,
    )
)


def export_checkpoint(
    encoder: Encoder,
    out: str | Path,
    settings: ExportSettings,
    samples: Samples,
    facts: CardFacts = CardFacts(),
    *,
    restart: bool = False,
) -> Agreement:
    """Write a folder that `settings.format` opens by itself, with preprocessing, tokenizer and card.

    Heads on a tower become part of its last projection; what they cannot be folded into is refused. The folder is
    written under a hidden name, opened by the library, and compared with the encoder on images and texts from file to
    embedding; only then it is moved. An export that is finished already is not made again.

    Args:
        encoder: opened again on the CPU, if it is elsewhere.
        out: where: a folder, or its address in a store.
        settings: see there; `max_loss` counts up to `MOST_LOSS`.
        samples: to compare on.
        facts: for the card.
        restart: remove what was made in `out` before, and begin anew.

    Raises:
        UsageError: the encoder's towers are not of this library, or its heads do not fold.
        OpenMofiError: the checkpoint embeds otherwise, `out` was made with other settings, holds something else, or
            cannot be written.
    """
    encoder = encoder.to("cpu")
    library: Any = importlib.import_module(f"{__package__}.{_MODULES[settings.format]}")
    described = {"encoder": encoder.spec, "format": settings.format, "card": asdict(facts)}
    inputs = {"/encoder": encoder.fingerprint, "/samples": samples.fingerprint}
    with claimed(out, "checkpoint", described, inputs, outputs=OUTPUTS, restart=restart, stores=True) as manifest:
        if manifest.finished:
            return Agreement.from_dict(manifest.counts)
        try:
            with written_folder(str(out), library.FILES[1]) as here, temporary_folder(here) as folder:
                library.write(encoder, folder)
                measured = _compare(encoder, library.opened(folder), samples)
                check_loss(measured, min(settings.max_loss, MOST_LOSS))
                write_card(folder, encoder, settings.format, facts, measured)
                move(folder, here, library.FILES[1])
        except OSError as error:
            raise write_error(error, out) from error
        finish_manifest(out, manifest, measured.as_dict())
        return measured


def _compare(encoder: Encoder, opened: Any, samples: Samples) -> Agreement:
    images = (encoder.embed_images(list(samples.images)), opened.images(samples.images))
    texts = None if opened.texts is None else (encoder.embed_texts(samples.texts), opened.texts(samples.texts))
    return compared(samples, images, texts)
