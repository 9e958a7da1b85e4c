"""Retrieval over any folder of class folders: every image is a query, images of its class are its positives."""

from __future__ import annotations

from dataclasses import dataclass

from openmofi.config import PositiveInt, Settings
from openmofi.evaluation.data.folders import class_folders
from openmofi.evaluation.features import data_fingerprint
from openmofi.evaluation.protocol import EvaluationProtocol, Measured, Subject
from openmofi.evaluation.protocols.ranked import EXCL, rank
from openmofi.evaluation.result import items_table


@dataclass(frozen=True)
class ClassRetrievalSettings(Settings):
    """Settings of `retrieval`.

    Attributes:
        recall_at: the K of recall.
    """

    recall_at: tuple[PositiveInt, ...] = (1, 5, 10)



def measure(subject: Subject) -> Measured:
    """See this module's head."""
    folders = class_folders(subject.data)
    images = subject.features.embed(folders.sources())
    classes = [folders.classes[label] for label in folders.labels_of(images).tolist()]
    ranked = rank(images, classes, subject.settings.recall_at)
    return Measured(
        metrics=ranked.metrics(), intervals=ranked.intervals(), counts=ranked.counts(),
        data_fingerprint=data_fingerprint([images], [classes]), images=[images],
        items=items_table(ranked.items(), classes, ranked.values), failures=ranked.worst(subject.failures))


PROTOCOL = EvaluationProtocol(
    name="retrieval", version=1, headline=EXCL, settings=ClassRetrievalSettings, measure=measure,
    score="average precision without the query",
    rule="Images that cannot be read are neither queries nor in the index.",
    data="Your own. Layout: DIR/CLASS/PICTURE.")
