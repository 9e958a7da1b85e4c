"""Retrieval over any class folders: every image is a query, the other images of its class are its positives.

Data: Your own. Layout: DIR/CLASS/IMAGE.
"""

from __future__ import annotations

from openmofi.evaluation.data.class_names import class_folders
from openmofi.evaluation.protocol import EvaluationProtocol, Measured, Subject
from openmofi.evaluation.protocols.ranked import EXCL, SCORE, RetrievalSettings, measure_ranking


def measure(subject: Subject) -> Measured:
    """See the module."""
    folders = class_folders(subject.data)
    images = subject.features.embed(folders.sources())
    classes = [folders.classes[label] for label in folders.labels_of(images).tolist()]
    return measure_ranking(images, classes, subject.settings.recall_at, subject.failures)


PROTOCOL = EvaluationProtocol(
    name="retrieval",
    version=1,
    headline=EXCL,
    settings=RetrievalSettings,
    measure=measure,
    score=SCORE,
    by_class=True,
    rule="Images that cannot be read are neither queries nor in the index.",
)
