"""What the study of reinforced students shows: tables and samples of the store, on its page and on the terminal."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from PIL import Image

from openmofi.dataset.report.examples import thumbnail
from openmofi.dataset.report.plots import bars
from openmofi.pairs import read_pairs
from openmofi.plugins.reinforcement import Knowledge, augmented
from openmofi.schema import Pair
from openmofi.storage import Shard
from studies.report import Table, encoder_table, print_end, signed, study_page, verdict

STUDENT_ROWS: Mapping[str, str] = {
    "reinforced": "reinforced: entities and stored teachers",
    "reinforced_contrastive": "reinforced: alt-texts and stored teachers",
    "multi_task": "multi-task on entities (MOFI)",
    "contrastive": "contrastive on alt-texts (CLIP)",
}
TEACHER_ROWS: Mapping[str, str] = {
    "multi_task": "teacher: the demo's multi-task encoder",
    "partial-labels": "teacher: the label job's encoder",
}
GOAL_ROWS: Mapping[str, str] = {
    "over_contrastive": "reinforced over contrastive: relative gain in mAP, query excluded",
    "over_multi_task": "reinforced over multi-task: difference in mAP, query excluded",
}
_GOAL_FIGURES = {
    "over_contrastive": ("reinforced_over_contrastive", "gain_interval"),
    "over_multi_task": ("reinforced_over_multi_task", "difference_interval"),
}
_SHORT = {"multi_task": "multi-task", "reinforced_contrastive": "reinforced contrastive"}
_METRICS = {"map_excl_query": "mAP, query excluded", "zero_shot": "zero-shot"}
_STEPS: Mapping[str, str] = {
    "demo": "what of the demo was missing",
    "scales": "the teachers' scales",
    "store": "what the teachers know",
    "students": "all students, side by side",
    "evaluation": "retrieval and zero-shot of students and teachers",
}


@dataclass(frozen=True)
class ReplayedSample:
    """A page and what the store knows of it.

    Attributes:
        text: the page's own.
        texts: the synthetic ones.
        image: the page's, small, as a data URI.
        augmentations: replayed, as data URIs.
    """

    text: str
    texts: tuple[str, ...]
    image: str
    augmentations: tuple[str, ...]


def reinforced_report(metrics: Mapping[str, Any], samples: Sequence[ReplayedSample]) -> str:
    """The page as HTML; equal figures give equal bytes.

    Args:
        metrics: see `studies.reinforced.run_reinforced`.
        samples: of the store.
    """
    shown = _encoders(metrics)
    plot = bars({name: figures["map_excl_query"] for name, figures in shown.items()})
    sections = [
        (
            "Goals",
            _goal_table(metrics).html(),
            "Retrieval of other artists' images of the same entity; no encoder saw "
            "an image of these entities. Intervals are 95 %, by Student's t over entities.",
        ),
        (
            "Encoders",
            Markup("{}{}").format(encoder_table(shown).html(), plot),
            "Students are of one image tower from "
            "scratch, with the same first weights, pages and number of images seen. Teachers are heads over a backbone "
            "with ImageNet's weights, and see images at its size.",
        ),
        ("Differences", _differences(metrics).html(), "Paired: the same entities are drawn for both."),
        ("Training", _training(metrics).html(), "Rows known: share of the last interval's images that the store knew."),
        (
            "Teachers' scales",
            _scales(metrics).html(),
            "The factor on a teacher's cosines, tuned on the last shards of "
            "training pages, which the teachers were trained on too.",
        ),
        ("What storing does to the teachers' similarities", _fidelity(metrics).html(), _store_sentence(metrics)),
        ("Samples of the store", _samples(samples), "The page's image, then its augmentations as a student sees them."),
        ("Seconds", _seconds(metrics).html(), "A step that was stopped and went on counts whole."),
    ]
    return study_page(
        "OpenMOFI reinforced training", "Small encoders, with and without teachers' stored knowledge", sections
    )


def print_reinforced(out: object, metrics: Mapping[str, Any]) -> None:
    """Print the students beside their teachers, and the goals."""
    encoder_table(_encoders(metrics)).print("Retrieval and naming of held-out entities")
    _goal_table(metrics).print("Goals")
    print_end(out, metrics)


def _encoders(metrics: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Figures of students, then teachers, under the names that are shown."""
    return {
        **{shown: metrics[name] for name, shown in STUDENT_ROWS.items()},
        **{shown: metrics["teachers"][name] for name, shown in TEACHER_ROWS.items()},
    }


def goal_cells(metrics: Mapping[str, Any]) -> list[tuple[str, str, str, str, str]]:
    """A row a goal: what it is, its value, the interval, the goal, whether it is met."""
    rows = []
    for name, goal in metrics["goals"].items():
        pair, edges = _GOAL_FIGURES[name]
        relative = edges == "gain_interval"
        value, least, low, high = (
            signed(number, relative)
            for number in (goal["found"], goal["goal"], *metrics["differences"][pair]["map_excl_query"][edges])
        )
        rows.append(
            (GOAL_ROWS[name], value, f"{low} to {high}", f"≥ {least}" if relative else "above 0", verdict(goal["met"]))
        )
    return rows


def _goal_table(metrics: Mapping[str, Any]) -> Table:
    return Table(("figure", "value", "95 %", "goal", ""), goal_cells(metrics), numbers=(1, 2, 3))


def _differences(metrics: Mapping[str, Any]) -> Table:
    rows = []
    for pair, differences in metrics["differences"].items():
        names = " over ".join(_SHORT.get(name, name) for name in pair.split("_over_"))
        for metric, title in _METRICS.items():
            difference = differences[metric]
            low, high = map(signed, difference["difference_interval"])
            rows.append(
                (
                    names,
                    title,
                    signed(difference["difference"]),
                    f"{low} to {high}",
                    signed(difference["gain"], relative=True),
                )
            )
    return Table(("encoders", "figure", "difference", "95 %", "relative"), rows, numbers=(2, 3, 4))


def _training(metrics: Mapping[str, Any]) -> Table:
    rows = [
        (
            STUDENT_ROWS[name],
            f"{run['steps']:,}",
            f"{run['images_seen']:,}",
            f"{run['lr']:g}",
            f"{run['images_per_s']:,.0f}",
            "" if run["known"] is None else f"{run['known']:.1%}",
        )
        for name, run in metrics["training"].items()
    ]
    return Table(("student", "steps", "images seen", "rate", "images/s", "rows known"), rows)


def _scales(metrics: Mapping[str, Any]) -> Table:
    rows = [
        (
            TEACHER_ROWS[name],
            f"{teacher['scale']:.1f}",
            teacher["scale_from"],
            f"{teacher['own_scale']:.1f}",
            f"{teacher['tuned']['cross_entropy']:.3f}",
            f"{teacher['tuned']['accuracy']:.1%}",
            f"{teacher['tuned']['pairs']:,}",
        )
        for name, teacher in metrics["teachers"].items()
    ]
    return Table(
        ("teacher", "scale", "from", "in its own training", "cross-entropy", "right", "pairs"),
        rows,
        numbers=(1, 3, 4, 5, 6),
    )


def _fidelity(metrics: Mapping[str, Any]) -> Table:
    store = metrics["store"]
    rows = [
        (
            TEACHER_ROWS[teacher],
            f"{precision} (stored)" if precision == store["precision"] else precision,
            f"{errors['kl']:.2e}",
            f"{errors['absolute']:.2e}",
        )
        for teacher, precisions in store["fidelity"].items()
        for precision, errors in precisions.items()
    ]
    return Table(("teacher", "precision", "KL, nats", "mean |difference|"), rows, numbers=(2, 3))


def _store_sentence(metrics: Mapping[str, Any]) -> str:
    store = metrics["store"]
    settings = store["settings"]
    return (
        f"{store['status']['ok']:,} of {store['rows']:,} pages, {settings['augmentations']} augmentations of "
        f"{settings['size']} px and {settings['captions']} synthetic texts each, "
        f"{store['bytes_per_sample']:,} bytes a sample. "
        f"{store['own_texts']:,} pages have no accepted entity: their own text stands in. Measured over "
        f"{store['fidelity_samples']:,} samples."
    )


def _samples(samples: Sequence[ReplayedSample]) -> Markup:
    blocks = []
    for sample in samples:
        images = Markup("\n").join(
            Markup('<img src="{}" alt="" height="96">').format(uri) for uri in (sample.image, *sample.augmentations)
        )
        texts = Markup("").join(Markup("<li>{}</li>").format(text) for text in sample.texts)
        blocks.append(Markup("<div>{}<p>{}</p><ul>{}</ul></div>").format(images, sample.text, texts))
    return Markup("\n").join(blocks)


def _seconds(metrics: Mapping[str, Any]) -> Table:
    return Table(
        ("step", "seconds"),
        [(_STEPS.get(step, "all"), f"{seconds:,.0f}") for step, seconds in metrics["seconds"].items()],
    )


def replayed_samples(store: Path, shards: Sequence[Shard], count: int = 4) -> list[ReplayedSample]:
    """The first page with a synthetic text from each of `count` shards at most, evenly spaced; equal bytes for equal
    stores.

    Raises:
        OpenMofiError: the store cannot be opened, or a shard cannot be read.
    """
    knowledge = Knowledge.open(store)
    chosen = sorted({int(position) for position in np.linspace(0, len(shards) - 1, count)})
    samples = (
        next(filter(None, (_replayed(knowledge, shards[row], pair) for pair in read_pairs(shards[row]))), None)
        for row in chosen
    )
    return [sample for sample in samples if sample is not None]


def _replayed(knowledge: Knowledge, shard: Shard, pair: Pair) -> ReplayedSample | None:
    """`None` where the store does not know the page, or has no texts of it but its own."""
    numbers = np.arange(max(knowledge.augmentations, knowledge.captions))
    recalled = knowledge.take(
        [shard.name] * len(numbers),
        [pair.key] * len(numbers),
        numbers.clip(max=knowledge.augmentations - 1),
        numbers.clip(max=knowledge.captions - 1),
    )
    texts = tuple(dict.fromkeys(recalled.captions))
    if pair.image is None or not recalled.known.all() or texts == (pair.text,):
        return None
    replayed = [
        augmented(pair.image, drawn, knowledge.size, knowledge.interpolation)
        for drawn in recalled.augmentations[: knowledge.augmentations]
        if drawn is not None
    ]
    return ReplayedSample(pair.text, texts, thumbnail(pair.image) or "", tuple(_uri(pixels) for pixels in replayed))


def _uri(pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
