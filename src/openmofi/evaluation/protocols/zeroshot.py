"""Zero-shot classification by class names; `openmofi.evaluation.metrics.zero_shot` has the formula, `labelled` the
layouts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from openmofi.config import Settings
from openmofi.errors import UsageError
from openmofi.evaluation.data.class_names import templates_named
from openmofi.evaluation.data.labelled import labelled_images
from openmofi.evaluation.features import data_fingerprint, require_texts
from openmofi.evaluation.metrics.bootstrap import bootstrap_interval
from openmofi.evaluation.metrics.ranking import Floats, Ints
from openmofi.evaluation.metrics.zero_shot import class_embeddings, evaluate_zero_shot
from openmofi.evaluation.protocol import EvaluationProtocol, Failure, Measured, Subject
from openmofi.evaluation.result import items_table
from openmofi.storage import fingerprint

_ANSWERS_SHOWN = 5


@dataclass(frozen=True)
class ZeroShotSettings(Settings):
    """Settings of `zeroshot`.

    Attributes:
        templates: a packaged list (imagenet, imagenet-7, cifar, photo, name) or a file; `auto`: the file beside the
            data, else imagenet.
    """

    templates: str = "auto"


def measure(subject: Subject) -> Measured:
    """See this module's head."""
    require_texts(subject.encoder, "zeroshot")
    if subject.features.choice != "joint":
        raise UsageError("zeroshot compares images with texts, which needs joint features.", "Leave --features out.")
    data = labelled_images(subject.data)
    templates, named = templates_named(subject.settings.templates, data.beside)
    texts = class_embeddings(data.names, templates, subject.encoder.embed_texts)
    images = subject.features.embed(data.sources)
    labels = data.labels_of(images)
    found = evaluate_zero_shot(images.embeddings, labels, texts)
    top5 = (found.rank <= 5).astype(np.float64)
    items = images.keys if len(set(images.keys)) == len(images.keys) else [
        f"{shard}/{key}" for shard, key in zip(images.shards, images.keys, strict=True)]
    right, groups = found.correct, [data.names[label] for label in labels.tolist()]
    return Measured(
        metrics={"accuracy": found.accuracy, "accuracy_top5": found.accuracy_top5,
                 "mean_class_accuracy": found.mean_class_accuracy},
        intervals={"accuracy": bootstrap_interval(right, labels), "accuracy_top5": found.accuracy_top5_interval},
        counts={"images": found.pictures, "classes": found.classes,
                "classes_with_images": int((~np.isnan(found.class_accuracy)).sum())},
        data_fingerprint=data_fingerprint([images], [groups]), images=[images],
        items=items_table(items, groups, {"accuracy": right, "accuracy_top5": top5}),
        facts={"templates": named, "templates_count": len(templates), "templates_fingerprint": fingerprint(templates),
               "class_names": data.names_from, "class_names_fingerprint": fingerprint(data.names)},
        failures=_worst(images.embeddings, list(zip(images.shards, images.keys, strict=True)), labels, texts,
                        data.names, subject.failures))


def _worst(embeddings: Floats, where: list[tuple[str, str]], labels: Ints, texts: Floats, names: list[str],
           count: int) -> list[Failure]:
    """The images whose own class is furthest behind the first."""
    if not count:
        return []
    own = np.einsum("nd,nd->n", embeddings, texts[labels])
    best = np.concatenate([(embeddings[start : start + 8192] @ texts.T).max(axis=1)
                           for start in range(0, len(embeddings), 8192)])
    rows = np.argsort(own - best, kind="stable")[:count]
    failures = []
    for row in rows.tolist():
        scores = texts @ embeddings[row]
        order = np.argsort(-scores, kind="stable")[:_ANSWERS_SHOWN]
        failures.append(Failure(where[row], names[labels[row]], float(own[row] - best[row]),
                                [(None, names[place], float(scores[place]), place == labels[row])
                                 for place in order.tolist()]))
    return failures


PROTOCOL = EvaluationProtocol(
    name="zeroshot", version=1, headline="accuracy", settings=ZeroShotSettings, measure=measure,
    score="cosine of its class less that of the first",
    rule="Images that cannot be read are left out; accuracy is over those that could be read.",
    data="Any classification data with class names. Layout: class folders, WebDataset tars with classnames.txt, or a "
         "CSV; see openmofi.evaluation.data.labelled.")
