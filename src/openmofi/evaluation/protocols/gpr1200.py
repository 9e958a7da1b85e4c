"""GPR1200: general-purpose content-based image retrieval (Schall, Barthel, Hezel, Jung, MMM 2022, arXiv 2111.13122).

1,200 classes of 10 images, in six domains of 200 classes. Every image is a query against all 12,000, itself among
them; the published figure is `map_incl_query`. A domain's figure is the mean over the queries of that domain, still
against all images. See `openmofi.evaluation.metrics.retrieval` for both conventions.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from openmofi.config import PositiveInt, Settings
from openmofi.errors import OpenMofiError
from openmofi.evaluation.data.folders import pictures_in, require_folder
from openmofi.evaluation.data.images import file_sources
from openmofi.evaluation.features import data_fingerprint
from openmofi.evaluation.protocol import EvaluationProtocol, Measured, Subject
from openmofi.evaluation.protocols.ranked import INCL, rank
from openmofi.evaluation.result import items_table

DOMAINS = ("landmarks", "inat", "sketch", "instre", "sop", "faces")
"""In the order of the classes: Google Landmarks v2, iNaturalist, ImageNet-Sketch, INSTRE, Stanford Online Products,
IMDb faces."""

CLASSES_OF_DOMAIN, PICTURES_OF_CLASS = 200, 10
_PREFIX = re.compile(r"(\d+)_")


@dataclass(frozen=True)
class Gpr1200Settings(Settings):
    """Settings of `gpr1200`.

    Attributes:
        recall_at: the K of recall, which the paper does not report.
    """

    recall_at: tuple[PositiveInt, ...] = (1, 5)



def list_gpr1200(folder: str | Path) -> dict[str, int]:
    """Images in the official order (by the integer before the first underscore) → that integer.

    Raises:
        OpenMofiError: a name without a class, or other counts than 1,200 classes of 10.
    """
    place = require_folder(folder)
    names = [name for name in pictures_in(place) if "/" not in name]
    classes = {}
    for name in names:
        match = _PREFIX.match(name)
        if match is None:
            raise OpenMofiError(f"{place / name} has no class in its name.",
                                "GPR1200's images are called CLASS_NAME, as in 17_apple.jpg.")
        classes[name] = int(match[1])
    counts, wanted = Counter(classes.values()), len(DOMAINS) * CLASSES_OF_DOMAIN
    if len(counts) != wanted:
        raise OpenMofiError(f"{place} has {len(counts):,} classes in {len(names):,} images; GPR1200 has {wanted:,} "
                            f"classes of {PICTURES_OF_CLASS}.", "Give the folder of its 12,000 images.")
    wrong = [(name, count) for name, count in sorted(counts.items()) if count != PICTURES_OF_CLASS]
    if wrong:
        raise OpenMofiError(f"{len(wrong)} classes of {place} have not {PICTURES_OF_CLASS} images, class "
                            f"{wrong[0][0]} has {wrong[0][1]}.", "Unpack GPR1200 again.")
    return dict(sorted(classes.items(), key=lambda pair: (pair[1], pair[0])))


def measure(subject: Subject) -> Measured:
    """See this module's head."""
    root = subject.data / "images" if (subject.data / "images").is_dir() else subject.data
    classes = list_gpr1200(root)
    images = subject.features.embed(file_sources(root, list(classes), "gpr1200"))
    domain = {one: DOMAINS[number // CLASSES_OF_DOMAIN] for number, one in enumerate(sorted(set(classes.values())))}
    labels = [f"{classes[key]:04d}" for key in images.keys]
    parts = [domain[classes[key]] for key in images.keys]
    ranked = rank(images, labels, subject.settings.recall_at)
    metrics, intervals = ranked.of_parts(parts)
    return Measured(
        metrics=ranked.metrics() | metrics, intervals=ranked.intervals() | intervals, counts=ranked.counts(),
        data_fingerprint=data_fingerprint([images], [labels]), images=[images],
        items=items_table(ranked.items(), labels, ranked.values, parts), failures=ranked.worst(subject.failures),
        facts={"as_published": not images.refused})


PROTOCOL = EvaluationProtocol(
    name="gpr1200", version=1, headline=INCL, settings=Gpr1200Settings, measure=measure,
    score="average precision without the query",
    rule="Images that cannot be read are neither queries nor in the index; their class then has fewer positives. The "
         "figure does not compare with published ones then (facts.as_published).",
    data="https://github.com/Visual-Computing/GPR1200 (images under the licences of its six sources, for research). "
         "Layout: DIR/CLASS_NAME.jpg or DIR/images/CLASS_NAME.jpg, CLASS an integer; 12,000 images.")
