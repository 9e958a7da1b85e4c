"""The dataset's card, and `report.html`: one self-contained page that shows what the dataset contains and why.

Everything that comes from the data (texts, names, keys) is escaped by the template; images are data URIs,
plots are inline SVG, and the page has no scripts and loads nothing from the network.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
from markupsafe import Markup

from openmofi.config import settings_from
from openmofi.dataset.collect import Statistics, read_statistics
from openmofi.dataset.report import plots
from openmofi.dataset.report.examples import (
    Describe,
    ExamplePair,
    choose_shards,
    entity_rows,
    examples,
    template,
    thumbnails,
)
from openmofi.dataset.tables import Folder, describe
from openmofi.knowledge import KnowledgeBase
from openmofi.labeling.calibrate.calibration import blindness
from openmofi.pairs import ReadSettings
from openmofi.pairs.images.formats import shown_formats
from openmofi.storage import Manifest, Shard, as_type, fingerprint, write_text
from openmofi.version import __version__

_MARKUP = re.compile(r"[\\`*\[\]~|]|(?<![^\W_])_|_(?![^\W_])")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
# Renderers make links of plain addresses, too.
_ADDRESSES = (("://", "&#58;//"), ("www.", "www&#46;"))


def markdown_text(value: object) -> str:
    """A value as text on one line of Markdown, also in a cell of a table.

    HTML, emphasis, code, links and the bars of tables lose their meaning; line breaks and control characters become
    spaces. Plain words and names in snake_case stay as they are.
    """
    line = "".join(_ENTITIES.get(character, character) if character.isprintable() else " " for character in str(value))
    text = _MARKUP.sub(lambda match: f"\\{match[0]}", line)
    for plain, escaped in _ADDRESSES:
        text = text.replace(plain, escaped)
    return text


_SHARDS_SHOWN = 3
_NOT_HTML = {ord(character): f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029\x85"}


class _Guaranteed(msgspec.Struct):
    target: float
    confidence: float


class _Said(msgspec.Struct):
    judged: int
    unsure: int = 0
    corrected_precision: float | None = None
    interval: tuple[float, float] | None = None
    guarantee: _Guaranteed | None = None


class _Encoder(msgspec.Struct):
    blind: bool = False
    separation: float = 0.0
    information: float = 0.0


class _Counts(msgspec.Struct):
    """What a job's manifest, perhaps a stranger's, says of its labels."""

    expected_precision: float | None = None
    verdicts: _Said | None = None
    calibration: _Encoder = msgspec.field(default_factory=_Encoder)


def _said_by(counts: Mapping[str, Any]) -> _Counts:
    given = {name: counts[name] for name in _Counts.__struct_fields__ if counts.get(name)}
    return as_type(given, _Counts, "The manifest of the labels", "Label the pairs again.")


def claim(counts: Mapping[str, Any]) -> str:
    """Return how many labels are right by the job that made them, and what that rests on.

    Args:
        counts: of the job's manifest.

    Raises:
        OpenMofiError: they are damaged.
    """
    job = _said_by(counts)
    if (said := job.verdicts) and (guarantee := said.guarantee):
        return (
            f"At least {guarantee.target:g} of all labels of the job are right, with confidence "
            f"{guarantee.confidence:g}, by people's verdicts on {said.judged + said.unsure:,} of them."
        )
    if said and said.corrected_precision is not None and said.interval:
        low, high = said.interval
        return (
            f"By people's verdicts on {said.judged:,} labels {said.corrected_precision:.3f} of all labels of the "
            f"job are right (95 %: {low:.3f} to {high:.3f})."
        )
    if job.expected_precision is None:
        return ""
    return (
        f"The job expects {job.expected_precision:.3f} of its labels to be right: an estimate, since nobody has looked "
        "at them."
    )


def warning(counts: Mapping[str, Any]) -> str:
    """Return what is wrong with labels that nobody has looked at and whose encoder is blind; else empty.

    Args:
        counts: of the job's manifest.

    Raises:
        OpenMofiError: they are damaged.
    """
    job = _said_by(counts)
    blind = "" if job.verdicts else blindness(msgspec.structs.asdict(job.calibration))
    return f"{blind} Do not use these labels before people have looked at a hundred of them." if blind else ""


def write_card(dataset: Folder, labels: Manifest, statistics: Statistics, *, report: bool = True) -> None:
    """Write the card into the dataset folder; `report` says whether `report.html` is beside it."""
    write_text(
        f"{dataset.path}/DATASET_CARD.md",
        template(__package__, "card.md.j2", text=markdown_text).render(
            statistics=statistics,
            labels=labels,
            dataset=dataset.manifest,
            label_inputs=_inputs(labels),
            report=report,
            label_settings=_settings(labels),
            dataset_settings=_settings(dataset.manifest),
            claim=claim(labels.counts),
            warning=warning(labels.counts),
        ),
    )


def _inputs(manifest: Manifest) -> dict[str, str]:
    """What is not a shard by name; the shards, of which there may be thousands, as one."""
    shards = {shard["name"] for shard in manifest.settings.get("shards") or []}
    named = {name.lstrip("/"): mark for name, mark in sorted(manifest.inputs.items()) if name not in shards}
    used = {name: mark for name, mark in sorted(manifest.inputs.items()) if name in shards}
    return named | ({f"{len(used):,} shards of pairs": fingerprint(used)} if used else {})


def _settings(manifest: Manifest) -> str:
    settings: dict[str, Any] = dict(manifest.settings)
    shards = settings.get("shards") or []
    if len(shards) > _SHARDS_SHOWN:
        settings["shards"] = [*shards[:_SHARDS_SHOWN], f"… {len(shards)} in all"]
    # In a block of code: JSON has no line that begins with a fence, and no character that is read as HTML there.
    return json.dumps(settings, indent=2, sort_keys=True, ensure_ascii=False).translate(_NOT_HTML)


_FILTERS: dict[str, Callable[..., str]] = {
    "thousands": lambda value: f"{value:,}",
    "percent": lambda value: "–" if value is None else f"{value:.1%}",
    "interval": lambda value: "" if value is None else f"{value[0]:.1%} – {value[1]:.1%}",
}


@dataclass(frozen=True)
class ReportSection:
    """A section that a caller adds. `body` is shown as it is (trusted HTML or SVG); `title` and `text` are escaped."""

    title: str
    body: str
    text: str = ""


def write_report(
    dataset: str | Path | Folder,
    labels: str | Path | Folder,
    out: str | Path,
    *,
    audit: Mapping[str, Any] | None = None,
    kb: KnowledgeBase | None = None,
    sections: Sequence[ReportSection] = (),
    metrics: Mapping[str, str] | None = None,
) -> None:
    """Write the report of a finished dataset to the file `out`; equal inputs give equal bytes.

    Args:
        dataset, labels: the folders, or opened `Folder`s (whose manifest need not be finished); a few shards of
            pairs are read for images, from the paths in the manifest.
        audit: figures against the truth, if known, see `openmofi.plugins.audit.audit.Audit.view`.
        kb: gives names and descriptions.
        sections: further sections, in order, after the audit's.
        metrics: further figures for the head of the page, label → value as shown.
    """
    dataset = dataset if isinstance(dataset, Folder) else Folder.open(dataset, "dataset")
    labels = labels if isinstance(labels, Folder) else Folder.open(labels, "labels")
    statistics = read_statistics(dataset.path)
    shards, name_of = choose_shards(dataset), _naming(dataset.vocabulary, kb)
    rows = entity_rows(pa.concat_tables([dataset.read(shard) for shard in shards]), dataset.vocabulary, name_of)
    example_pairs = examples([(shard, labels.read(shard)) for shard in shards], name_of)
    write_text(
        out,
        template(__package__, "report.html.j2", **_FILTERS).render(
            version=__version__,
            statistics=statistics,
            fingerprint=dataset.manifest.fingerprint,
            boilerplate=labels.manifest.counts.get("boilerplate"),
            settings=_shown_settings(dataset),
            label_settings=_shown_settings(labels),
            audit=audit,
            metrics=dict(metrics or {}),
            plots={
                "funnel": plots.funnel(statistics.funnel),
                "long_tail": plots.long_tail(statistics.long_tail),
                "per_image": plots.entities_per_image(statistics.entities_per_image),
            },
            entity_rows=rows,
            examples=example_pairs,
            thumbnails=_thumbnails(shards, labels, rows, example_pairs),
            sections=[(section.title, section.text, Markup(section.body)) for section in sections],
            claim=claim(labels.manifest.counts),
            warning=warning(labels.manifest.counts),
            unread=shown_formats(labels.manifest.counts.get("unread_formats", {})),
        ),
    )


def _naming(vocabulary: pa.Table, kb: KnowledgeBase | None) -> Describe:
    """Return identifier → name and description of an entity."""
    names = dict(zip(vocabulary["id"].to_pylist(), vocabulary["name"].to_pylist(), strict=True))

    def name_of(identifier: str) -> tuple[str, str]:
        entity = describe([identifier], kb, names)[0]
        return entity.name, entity.description

    return name_of


def _shown_settings(folder: Folder) -> str:
    settings = {**folder.manifest.settings, "shards": len(folder.shards)}
    return json.dumps(settings, indent=2, sort_keys=True, ensure_ascii=False)


def _thumbnails(
    shards: Sequence[Shard],
    labels: Folder,
    rows: Mapping[str, Sequence[Any]],
    example_pairs: Mapping[str, Sequence[ExamplePair]],
) -> dict[tuple[str, str], str]:
    keys = [(image.shard, image.key) for part in rows.values() for row in part for image in row.examples]
    keys += [(example.shard, example.key) for kind in example_pairs.values() for example in kind]
    read = settings_from(ReadSettings(), values=labels.manifest.settings.get("read"))
    return {
        (shard.name, key): uri
        for shard in shards
        for key, uri in thumbnails(shard, [key for name, key in keys if name == shard.name], read).items()
    }
