"""OVEN: open-domain visual entity recognition (Hu et al., ICCV 2023, arXiv 2302.11154), entity and query split.

The answer to an image is the entity whose title is nearest, among Wikipedia's six million or the entities that the
authors' files name. By split: accuracy over seen and unseen entities and their harmonic mean; `harmonic_mean` is that
of both splits' (edchengg/oven_eval, oven_eval.py; there in percent, rounded). An accuracy of 0 counts as 1e-12 per
cent. Encoders read the image; the question plays no part unless `question_weight` adds its text embedding, as the
paper's dual encoders do.

Data: https://github.com/edchengg/oven_eval. Layout: DIR/oven_entity_val.jsonl, DIR/oven_query_val.jsonl (or _test),
DIR/oven_images/NN/oven_NNNNNNNN.EXT, DIR/Wiki6M_ver_1_0_title_only.jsonl; openmofi eval sources oven.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec
import numpy as np

from openmofi.arrays import Bools, Doubles, Floats
from openmofi.bootstrap import bootstrap_interval
from openmofi.config import Fraction, Settings
from openmofi.encoders.arrays import normalised
from openmofi.errors import OpenMofiError
from openmofi.evaluation.metrics.zero_shot import class_embeddings
from openmofi.evaluation.protocol import (
    NEIGHBOURS_SHOWN,
    Answer,
    EvaluationProtocol,
    Failure,
    Measured,
    Subject,
    data_fingerprint,
)
from openmofi.evaluation.result import items_table
from openmofi.features.images import SUFFIXES, file_sources
from openmofi.plugins.benchmarks.nearest import Nearest
from openmofi.plugins.protocols.class_names import require_folder, templates_named
from openmofi.storage import fingerprint, parse_json

SPLITS, PARTS = ("entity", "query"), ("seen", "unseen")
TITLES = "Wiki6M_ver_1_0_title_only.jsonl"
_ZERO = 1e-14
_AT_ONCE = 65_536


@dataclass(frozen=True)
class OvenSettings(Settings):
    """Settings of `oven`.

    Attributes:
        split: of the data; the authors keep the answers of `test`, whose file then lacks them.
        candidates: `wikipedia`: all titles of the authors' file; `known`: the entities that the split's files name,
            which is far easier and compares with nothing published.
        templates: for titles, see `zeroshot`.
        question_weight: share of the question's text embedding in the query.
    """

    split: Literal["val", "test"] = "val"
    candidates: Literal["wikipedia", "known"] = "wikipedia"
    templates: str = "name"
    question_weight: Fraction = 0.0


@dataclass(frozen=True)
class OvenQuestion:
    """A row of the authors' files: `part` is `seen` or `unseen`, `split` `entity` or `query`."""

    id: str
    image: str
    text: str
    entity: str
    title: str
    split: str
    part: str


class _Row(msgspec.Struct):
    data_id: str
    image_id: str
    question: str
    entity_id: str
    entity_text: str
    data_split: str


class _Title(msgspec.Struct):
    wikidata_id: str
    wikipedia_title: str


T = TypeVar("T")


def read_questions(path: Path, split: str) -> list[OvenQuestion]:
    """Read `oven_{entity,query}_{val,test}.jsonl`.

    Raises:
        OpenMofiError: it cannot be read, or a row lacks a field.
    """
    return [
        OvenQuestion(
            id=row.data_id,
            image=row.image_id,
            text=row.question,
            entity=row.entity_id,
            title=row.entity_text,
            split=split,
            part=_part(path, number, row.data_split),
        )
        for number, row in _rows(path, _Row, "The authors alone have the answers of the test split; use split=val.")
    ]


def _part(path: Path, number: int, name: str) -> str:
    # "_unseen" ends in "seen", too.
    for part in PARTS:
        if f"_{part}" in name:
            return part
    raise OpenMofiError(f"Line {number} of {path} has the data_split {name!r}.", "It ends in _seen or _unseen.")


def _rows(path: Path, kind: type[T], hint: str = "Download the authors' file again.") -> Iterator[tuple[int, T]]:
    try:
        with open(path, encoding="utf-8") as handle:
            for number, line in enumerate(handle, 1):
                if line.strip():
                    yield number, parse_json(line, kind, f"Line {number} of {path}", hint)
    except (OSError, ValueError) as error:
        raise OpenMofiError(f"{path} cannot be read: {error}.", "Download the authors' file again.") from error


def harmonic_mean(*shares: float) -> float:
    """Return the harmonic mean as the authors compute it: 0 counts as a very small number."""
    return len(shares) / sum(1 / (share or _ZERO) for share in shares)


def measure(subject: Subject) -> Measured:
    """Measure an encoder by the protocol of this module."""
    settings: OvenSettings = subject.settings
    subject.features.require_texts("oven")
    folder = require_folder(subject.data)
    files = {split: folder / f"oven_{split}_{settings.split}.jsonl" for split in SPLITS}
    questions = [question for split, file in files.items() for question in read_questions(file, split)]
    path_of = _images(folder / "oven_images", {question.image for question in questions})
    images = subject.features.embed(file_sources(folder / "oven_images", sorted(set(path_of.values())), "oven"))
    row_of = {key: row for row, key in enumerate(images.keys)}
    answerable = [question for question in questions if path_of.get(question.image) in row_of]
    rows = [row_of[path_of[question.image]] for question in answerable]
    vectors = _asked(images.embeddings[rows], answerable, subject)
    templates, templates_from = templates_named(settings.templates, folder)
    nearest, ids, titles = Nearest(vectors, NEIGHBOURS_SHOWN), [], []
    candidates = _candidates(folder, settings.candidates, questions)
    while block := list(islice(candidates, _AT_ONCE)):
        ids += [entity for entity, _ in block]
        titles += [title for _, title in block]
        nearest.add(class_embeddings([title for _, title in block], templates, subject.encoder.embed_texts))
    answers = np.array(ids, object)[nearest.rows]
    right = answers == np.array([question.entity for question in answerable], object)[:, None]
    hits = right[:, 0].astype(np.float64)
    image_ids = images.ids
    worst = np.argsort(right.any(axis=1) * 1.0 + hits, kind="stable")[: subject.failures].tolist()
    return Measured(
        **_metrics(hits, answerable),
        interval_over="entities",
        images=[images],
        data_fingerprint=fingerprint(
            [
                data_fingerprint([images], [images.keys]),
                ids and fingerprint(ids),
                [[question.id, question.image, question.entity] for question in answerable],
            ]
        ),
        counts={
            "questions": len(answerable),
            "questions_listed": len(questions),
            "images": len(images.keys),
            "candidates": len(ids),
            "entities_not_candidates": len({q.entity for q in answerable} - set(ids)),
        },
        facts={
            "as_published": settings.candidates == "wikipedia" and len(answerable) == len(questions),
            "templates": templates_from,
        },
        items=items_table(
            [question.id for question in answerable],
            [question.entity for question in answerable],
            {"accuracy": hits},
            [f"{question.split}_{question.part}" for question in answerable],
        ),
        failures=[
            Failure(
                image_ids[rows[row]], answerable[row].title, float(hits[row]), _answers(nearest, titles, right, row)
            )
            for row in worst
        ],
    )


def _asked(images: Floats, questions: Sequence[OvenQuestion], subject: Subject) -> Floats:
    """Return queries: embeddings of images, mixed with their questions' by the setting `question_weight`."""
    weight = subject.settings.question_weight
    if not weight:
        return images
    texts = np.asarray(subject.encoder.embed_texts([question.text for question in questions]), np.float32)
    return normalised((1 - weight) * images + weight * normalised(texts))


def _answers(nearest: Nearest, titles: Sequence[str], right: Bools, row: int) -> list[Answer]:
    return [
        Answer(None, titles[candidate], float(score), bool(correct))
        for candidate, score, correct in zip(nearest.rows[row].tolist(), nearest.scores[row], right[row], strict=True)
    ]


def _images(folder: Path, wanted: set[str]) -> dict[str, str]:
    """Map each image to its path below the folder: NN/oven_NNNNNNNN.EXT, NN the number's first two digits."""
    require_folder(folder)
    paths: dict[str, str] = {}
    for image in wanted:
        within = image.rsplit("_", 1)[-1][:2]
        names = (f"{within}/{image}{suffix}" for lower in SUFFIXES for suffix in (lower, lower.upper()))
        name = next((name for name in names if (folder / name).is_file()), None)
        if name is not None:
            paths[image] = name
    if not paths:
        raise OpenMofiError(f"{folder} has none of the {len(wanted):,} images.", "Unpack the authors' shards there.")
    return paths


def _candidates(folder: Path, candidates: str, questions: list[OvenQuestion]) -> Iterator[tuple[str, str]]:
    """Yield entities and their titles, streaming."""
    if candidates == "known":
        yield from dict(sorted((question.entity, question.title) for question in questions)).items()
        return
    for _, row in _rows(folder / TITLES, _Title):
        yield row.wikidata_id, row.wikipedia_title


def _metrics(hits: Doubles, questions: list[OvenQuestion]) -> dict[str, Any]:
    groups = np.array([question.entity for question in questions])
    names = np.array([f"{question.split}_{question.part}" for question in questions])
    metrics: dict[str, float] = {}
    intervals: dict[str, Any] = {}
    for name in (f"{split}_{part}" for split in SPLITS for part in PARTS):
        rows = names == name
        if rows.any():
            metrics[f"{name}/accuracy"] = float(hits[rows].mean())
            intervals[f"{name}/accuracy"] = bootstrap_interval(hits[rows], groups[rows])
    means: Mapping[str, float] = {
        f"{split}_harmonic_mean": harmonic_mean(*(metrics[f"{split}_{part}/accuracy"] for part in PARTS))
        for split in SPLITS
        if all(f"{split}_{part}/accuracy" in metrics for part in PARTS)
    }
    whole = {"harmonic_mean": harmonic_mean(*means.values())} if len(means) == len(SPLITS) else {}
    return {"metrics": whole | dict(means) | metrics, "intervals": intervals}


PROTOCOL = EvaluationProtocol(
    name="oven",
    version=1,
    headline="harmonic_mean",
    settings=OvenSettings,
    measure=measure,
    score="1 if the answer is right",
    by_class=True,
    rule="Questions whose image is missing or cannot be read are left out (facts.as_published is then false). A "
    "question whose entity is not among the candidates counts as wrong.",
)
