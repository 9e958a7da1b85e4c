"""Zero-shot classification by class names; see `openmofi.evaluation.metrics.zero_shot` for the formula and
`openmofi.evaluation.data.labelled` for the layouts.

Data: Any classification data with class names. Layout: class folders, WebDataset tars with classnames.txt, or a CSV;
see openmofi.evaluation.data.labelled.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from openmofi.config import Settings
from openmofi.encoders.arrays import in_batches
from openmofi.evaluation.data.class_names import templates_named
from openmofi.evaluation.data.labelled import labelled_images
from openmofi.evaluation.features import data_fingerprint, image_ids, item_names
from openmofi.evaluation.metrics.ranking import Floats, Ints, nearest_rows
from openmofi.evaluation.metrics.zero_shot import class_embeddings, evaluate_zero_shot
from openmofi.evaluation.protocol import Answer, EvaluationProtocol, Failure, Measured, Subject
from openmofi.evaluation.result import items_table
from openmofi.storage import fingerprint

_ANSWERS_SHOWN = 5


@dataclass(frozen=True)
class ZeroShotSettings(Settings):
    """Settings of `zeroshot`.

    Attributes:
        templates: a packaged list (imagenet, imagenet-7, cifar, photo, name) or a file; `auto`: the file in the folder
            of the data, else imagenet.
    """

    templates: str = "auto"


def measure(subject: Subject) -> Measured:
    """See the module."""
    subject.features.require_texts("zeroshot")
    data = labelled_images(subject.data)
    templates, templates_from = templates_named(subject.settings.templates, data.folder)
    texts = class_embeddings(data.names, templates, subject.encoder.embed_texts)
    images = subject.features.embed(data.sources)
    labels = data.labels_of(images)
    zero_shot = evaluate_zero_shot(images.embeddings, labels, texts)
    values = {"accuracy": zero_shot.correct, "accuracy_top5": (zero_shot.rank <= 5).astype(np.float64)}
    names = [data.names[label] for label in labels.tolist()]
    ids, (rows, scores) = image_ids(images), _worst(images.embeddings, texts, labels, subject.failures)
    return Measured(
        metrics={
            "accuracy": zero_shot.accuracy,
            "accuracy_top5": zero_shot.accuracy_top5,
            "mean_class_accuracy": zero_shot.mean_class_accuracy,
        },
        intervals={"accuracy": zero_shot.accuracy_interval, "accuracy_top5": zero_shot.accuracy_top5_interval},
        counts={
            "images": zero_shot.images,
            "classes": zero_shot.classes,
            "classes_with_images": int((~np.isnan(zero_shot.class_accuracy)).sum()),
        },
        data_fingerprint=data_fingerprint([images], [names]),
        images=[images],
        items=items_table(item_names(images), names, values),
        facts={
            "templates": templates_from,
            "templates_count": len(templates),
            "templates_fingerprint": fingerprint(templates),
            "class_names": data.names_from,
            "class_names_fingerprint": fingerprint(data.names),
        },
        failures=[
            Failure(ids[row], names[row], score, _answers(images.embeddings[row], texts, int(labels[row]), data.names))
            for row, score in zip(rows.tolist(), scores.tolist(), strict=True)
        ],
    )


def _worst(embeddings: Floats, texts: Floats, labels: Ints, count: int) -> tuple[Ints, Floats]:
    """(count,) rows of the images with the lowest cosine of their class less that of the first class; and it."""
    if not count:
        return np.zeros(0, np.int64), np.zeros(0, np.float32)
    own = np.einsum("nd,nd->n", embeddings, texts[labels])
    margin = own - np.concatenate([(block @ texts.T).max(axis=1) for block in in_batches(embeddings, 8192)])
    rows = np.argsort(margin, kind="stable")[:count]
    return rows, margin[rows]


def _answers(embedding: Floats, texts: Floats, label: int, names: list[str]) -> list[Answer]:
    classes, scores = nearest_rows((texts @ embedding)[None], _ANSWERS_SHOWN)
    return [
        Answer(None, names[code], score, code == label)
        for code, score in zip(classes[0].tolist(), scores[0].tolist(), strict=True)
    ]


PROTOCOL = EvaluationProtocol(
    name="zeroshot",
    version=1,
    headline="accuracy",
    settings=ZeroShotSettings,
    measure=measure,
    score="cosine of its class less that of the first",
    by_class=True,
    rule="Images that cannot be read are left out; accuracy is over those that could be read.",
)
