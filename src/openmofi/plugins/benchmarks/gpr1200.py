"""GPR1200: general-purpose content-based image retrieval (Schall, Barthel, Hezel, Jung, MMM 2022, arXiv 2111.13122).

1,200 classes of 10 images, in six domains of 200 classes. Every image is a query against all 12,000, which include it;
the published metric is `map_incl_query`. A domain's value is the mean over the queries of that domain, ranked against
all images. See `openmofi.evaluation.metrics.retrieval` for both conventions.

Data: https://github.com/Visual-Computing/GPR1200 (images under the licences of its six sources, for research). Layout:
DIR/CLASS_NAME.jpg or DIR/images/CLASS_NAME.jpg, CLASS an integer; 12,000 images.
"""

import re
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from openmofi.config import PositiveInt
from openmofi.errors import OpenMofiError
from openmofi.evaluation.protocol import EvaluationProtocol, Measured, Subject
from openmofi.features.images import file_sources, images_in
from openmofi.plugins.protocols.class_names import require_folder
from openmofi.plugins.protocols.retrieval import INCL, SCORE, RetrievalSettings, measure_ranking

DOMAINS = ("landmarks", "inat", "sketch", "instre", "sop", "faces")
"""In the order of the classes: Google Landmarks v2, iNaturalist, ImageNet-Sketch, INSTRE, Stanford Online Products,
IMDb faces."""

CLASSES_PER_DOMAIN, IMAGES_PER_CLASS = 200, 10
_PREFIX = re.compile(r"(\d+)_")


@dataclass(frozen=True)
class Gpr1200Settings(RetrievalSettings):
    """Settings of `gpr1200`; the paper does not report recall."""

    recall_at: tuple[PositiveInt, ...] = (1, 5)


def list_gpr1200(folder: str | Path) -> dict[str, int]:
    """Images in the official order (by the integer before the first underscore) → that integer.

    Raises:
        OpenMofiError: a name without a class, or other counts than 1,200 classes of 10.
    """
    root = require_folder(folder)
    names = [name for name in images_in(root) if "/" not in name]
    classes = {}
    for name in names:
        match = _PREFIX.match(name)
        if match is None:
            raise OpenMofiError(
                f"{root / name} has no class in its name.", "GPR1200's images are named CLASS_NAME, e.g. 17_apple.jpg."
            )
        classes[name] = int(match[1])
    counts, published = Counter(classes.values()), len(DOMAINS) * CLASSES_PER_DOMAIN
    if len(counts) != published:
        raise OpenMofiError(
            f"{root} has {len(counts):,} classes in {len(names):,} images; GPR1200 has {published:,} "
            f"classes of {IMAGES_PER_CLASS}.",
            "Give the folder of its 12,000 images.",
        )
    wrong = [(name, count) for name, count in sorted(counts.items()) if count != IMAGES_PER_CLASS]
    if wrong:
        raise OpenMofiError(
            f"{len(wrong)} classes of {root} do not have {IMAGES_PER_CLASS} images, e.g. class "
            f"{wrong[0][0]} has {wrong[0][1]}.",
            "Unpack GPR1200 again.",
        )
    return dict(sorted(classes.items(), key=lambda pair: (pair[1], pair[0])))


def measure(subject: Subject) -> Measured:
    """See the module."""
    root = subject.data / "images" if (subject.data / "images").is_dir() else subject.data
    classes = list_gpr1200(root)
    images = subject.features.embed(file_sources(root, list(classes), "gpr1200"))
    domains = {name: DOMAINS[number // CLASSES_PER_DOMAIN] for number, name in enumerate(sorted(set(classes.values())))}
    labels = [f"{classes[key]:04d}" for key in images.keys]
    measured = measure_ranking(
        images,
        labels,
        subject.settings.recall_at,
        subject.failures,
        parts=[domains[classes[key]] for key in images.keys],
    )
    return replace(measured, facts={"as_published": not images.refused})


PROTOCOL = EvaluationProtocol(
    name="gpr1200",
    version=1,
    headline=INCL,
    settings=Gpr1200Settings,
    measure=measure,
    score=SCORE,
    rule="Images that cannot be read are neither queries nor in the index; their class then has fewer positives, "
    "and the result does not compare with published ones (facts.as_published).",
)
