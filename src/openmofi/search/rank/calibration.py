"""Features of hits and their probabilities, so that a search can end; for which kinds of query an index says them.

`fitting.py` fits them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

import numpy as np

from openmofi.arrays import Array, Doubles
from openmofi.search.query import Query
from openmofi.search.records import KindCalibration
from openmofi.storage import as_type

# A cosine alone says little: some queries are near to every image, and some images to every query. So a result of a
# query q has, for the image i,
#
# - z, its cosine in standard deviations of q's cosines with images at random;
# - the margin d = s(q, i) − log Σ_e exp s(e, i), where s is the logit scale × cosine and e are reference entities that
#   are not q itself: what else the image may show;
# - the agreement log Σ_e P(e | q) P(e | i), where P is the softmax over the reference: whether both show the same;
# - z and d of the query's best results, which say whether there is an answer at all;
# - how near the image is to its own nearest ones among images at random: where images lie close together, a high cosine
#   says less (Conneau et al. 2018, "Word translation without parallel data", CSLS).
#
# Queries by image are judged by the first three alone, which carry over to what no text names.

NAMES = ("z", "margin", "agreement", "best z", "best margin", "density")
OF_IMAGES = 3
SAME = 0.9
"""Cosine from which on a reference entity means what the query means."""
_BEST, _CLOSE = 3, 10
_FLOOR = -20.0
_LEAST = 1e-37


@dataclass(frozen=True)
class Surroundings:
    """The images and entities that results are compared with.

    Attributes:
        background: (b, dim) vectors of images at random.
        reference: (r, dim) vectors of entities; none where the index knows none.
        scale: the factor on cosines.
    """

    background: Array
    reference: Array
    scale: float

    def without(self, entity: Array) -> Surroundings:
        """Return a copy without the reference entities that mean what this one means, (dim,)."""
        return replace(self, reference=self.reference[self.reference @ entity < SAME])

    def features(self, query: Array, images: Array, cosines: Array) -> Doubles:
        """(n, 6) of a query's results, best first; see `NAMES`.

        Args:
            query: (dim,) L2-normalised.
            images: (n, dim) vectors of the results.
            cosines: (n,) of the two.
        """
        usual = self.background @ query if len(self.background) else np.zeros(1, np.float32)
        z = (cosines.astype(np.float64) - usual.mean()) / max(float(usual.std()), 1e-6)
        margin, agreement = self._among_entities(query, images, cosines.astype(np.float64))
        best = np.full(len(z), z[:_BEST].mean() if len(z) else 0.0)
        best_margin = np.full(len(z), margin[:_BEST].mean() if len(z) else 0.0)
        return np.stack([z, margin, agreement, best, best_margin, self._density(images)], axis=1)

    def _density(self, images: Array) -> Doubles:
        """(n,) mean cosine with the ten nearest images at random."""
        if len(self.background) <= _CLOSE:
            return np.zeros(len(images))
        near = np.partition(images @ self.background.T, -_CLOSE, axis=1)[:, -_CLOSE:]
        return near.mean(axis=1).astype(np.float64)

    def _among_entities(self, query: Array, images: Array, cosines: Doubles) -> tuple[Doubles, Doubles]:
        if not len(self.reference):
            return np.zeros(len(images)), np.zeros(len(images))
        of_query = self.scale * (self.reference @ query).astype(np.float64)
        theirs = images @ self.reference.T
        theirs *= np.float32(self.scale)
        peak = theirs.max(axis=1)
        theirs -= peak[:, None]
        # One exponential of each pair, whose sums over all, over the others and beside the query are products.
        likely = np.exp(theirs, out=theirs)
        others = of_query < self.scale * SAME
        beside = np.stack([np.ones(len(of_query)), others, np.exp(of_query - of_query.max())], axis=1)
        sums = np.log(np.maximum((likely @ beside.astype(np.float32)).astype(np.float64), _LEAST))
        margin = self.scale * cosines - (sums[:, 1] + peak if others.any() else 0.0)
        return margin, np.maximum(sums[:, 2] - sums[:, 0] - np.log(beside[:, 2].sum()), _FLOOR)


_VERSION = 3
MINIMUM = 200
"""Results that are known to be right, at least, by the sum of their probabilities; and as many that are wrong."""


@dataclass(frozen=True)
class Curve:
    """Features → probability.

    Attributes:
        mean, deviation: (f,) of the features that it was fitted on.
        weights: (f + 1,) of the logistic regression over standardised features, the constant last.
        scores, probabilities: (b,) both increasing; linear between.
    """

    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    weights: tuple[float, ...]
    scores: tuple[float, ...]
    probabilities: tuple[float, ...]

    def __call__(self, features: Doubles) -> Doubles:
        """Return the probabilities, (n,), of features, (n, f)."""
        score = design_of(features, np.array(self.mean), np.array(self.deviation)) @ np.array(self.weights)
        return np.interp(score, self.scores, self.probabilities)


@dataclass(frozen=True)
class Ending:
    """How probable results are.

    Attributes:
        text, image: of searches by text and by image; `None` where too little is known.
        entity: of the entities that an image may show, where labels name one that it shows; likewise.
        unnamed: of that no label names what an image shows, where as many images are so as not; likewise.
        evidence: kind of query (see `calibration_of`) → how many of the results that its curve is fitted to are known
            to be right, and how many to be wrong, by the sums of their probabilities.
        background: ids of images at random.
        reference: numbers of the entities that images are compared with.
        scale: the factor on cosines.
    """

    text: Curve | None
    image: Curve | None
    entity: Curve | None
    background: tuple[int, ...]
    reference: tuple[int, ...]
    scale: float
    unnamed: Curve | None = None
    evidence: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return it as JSON for the database."""
        return json.dumps(asdict(self) | {"version": _VERSION})

    @classmethod
    def of_json(cls, stored: str) -> Ending | None:
        """Read what `to_json` made; `None` where another version did, whose curves are of other features."""
        raw = json.loads(stored)
        if raw.pop("version", None) != _VERSION:
            return None
        return as_type(raw, cls, "The calibration of the index", _UP_TO_DATE)


def design_of(features: Doubles, mean: Doubles, deviation: Doubles) -> Doubles:
    """(n, f + 1) standardised features and a constant."""
    return np.column_stack([(features - mean) / deviation, np.ones(len(features))])


def with_share(even: Doubles, share: float) -> Doubles:
    """Probabilities where a share of all is so, of those where half of all is: by Bayes, the odds times those of the
    share.
    """
    return even * share / (even * share + (1 - even) * (1 - share))


def share_of(even: Doubles, rounds: int = 500) -> float:
    """The likeliest share of what is so among all, 0.001..0.999, of probabilities where half of all is: expectation and
    maximisation (Saerens, Latinne and Decaestecker 2002); 0.001 of none.
    """
    share = 0.5
    for _ in range(rounds if len(even) else 0):
        share = float(np.clip(with_share(np.clip(even, 1e-6, 1 - 1e-6), share).mean(), 1e-3, 1 - 1e-3))
    return share if len(even) else 1e-3


def expected_precision(probabilities: Sequence[float] | Doubles) -> Doubles:
    """(n,) of the results down to each: the mean of their probabilities."""
    values = np.asarray(probabilities, np.float64)
    return np.cumsum(values) / np.arange(1, len(values) + 1)


LIKELY = 0.5
"""From this probability on a result, or an entity, is likelier right than wrong."""


def end_of(probabilities: Doubles, until: float) -> int:
    """How many results are expected to be right with precision `until` together: the longest list that is and of which
    none by itself is likelier wrong than right, or below `until` where that is less.
    """
    likely = np.logical_and.accumulate(probabilities >= min(LIKELY, until))
    reached = np.flatnonzero(likely & (expected_precision(probabilities) >= until))
    return int(reached[-1]) + 1 if len(reached) else 0


def any_of(probabilities: Sequence[float]) -> float:
    """The probability that some of several labels of an image is right: 1 − Π(1 − p), as if they were independent.

    Never above 1 nor below the greatest. Senses of one mention exclude each other, for which it is too little; a thing
    that is named twice is shown twice or not at all, for which it is too much.
    """
    return 1.0 - math.prod(1.0 - probability for probability in probabilities)


_CURVES = {"text": "text", "image": "image", "recognition": "entity", "unnamed": "unnamed"}
"""Kind → its curve, see `Ending`."""
_ASKED = {
    "text": "searches by text",
    "image": "searches by image",
    "recognition": "recognition",
    "unnamed": "recognition of what no label names",
}
_UP_TO_DATE = "Bring the index up to date with the command that built it."
_MORE_LABELS = "Take in more labels: openmofi index build LABELS --encoder SPEC -o INDEX goes on with it."
_BY_LABELS = "Images that the label job judged for an entity have the probability that it gave, others none."


def calibration_of(ending: Ending | None, *, texts: bool) -> dict[str, KindCalibration]:
    """Kind of query (`text`, `entity`, `image`, `recognition`, `unnamed`) → whether the index is calibrated for it.

    Args:
        ending: the index's; `None` for that of another version.
        texts: whether the index has vectors of entities' texts.
    """
    kinds = {kind: _calibration(kind, ending, texts) for kind in _CURVES}
    text = kinds["text"]
    labelled = ending is not None and sum(ending.evidence.get("image", (0.0, 0.0))) > 0
    entity = text
    if text.source == "none" and texts and labelled:
        entity = KindCalibration("labels", text.right, text.wrong, f"{_BY_LABELS} {text.why}", text.hint)
    return {"text": text, "entity": entity} | kinds


def uncalibrated(calibration: Mapping[str, KindCalibration], query: Query, judged: bool) -> str:
    """Why results of a query have no probability and what to do, or why some have none where others were `judged`; ""
    where all have, or where nothing is ranked by similarity.
    """
    if not query.has_vector:
        return ""
    each = calibration["image" if query.examples or query.like else "text" if query.text else "entity"]
    if each.source == "fitted":
        return ""
    # Of an entity it says that already.
    return f"{_BY_LABELS} {each}" if judged and each.source == "none" else str(each)


def _calibration(kind: str, ending: Ending | None, texts: bool) -> KindCalibration:
    if ending is None:
        why = "This version of openmofi has not calibrated the index yet."
        return KindCalibration("none", why=why, hint=_UP_TO_DATE)
    curve: Curve | None = getattr(ending, _CURVES[kind])
    right, wrong = ending.evidence.get(kind, (None, None))
    if curve:
        return KindCalibration("fitted", right, wrong)
    if kind != "image" and not texts:
        why = "It has no entity's text: it knows no entity, or its encoder embeds images only."
        hint = "Build an index of labels, or with a knowledge base, and with an encoder that embeds texts."
        return KindCalibration("none", right, wrong, why, hint)
    if right is None or wrong is None:
        return KindCalibration("none", why="Its labels say too little.", hint=_MORE_LABELS)
    if not right + wrong:
        return KindCalibration(
            "none",
            right,
            wrong,
            "No label says what its images show.",
            "Label them with openmofi label, and build the index of the folder of labels.",
        )
    count, what = (right, "right") if right < MINIMUM else (wrong, "wrong")
    return KindCalibration(
        "none",
        right,
        wrong,
        f"Only {int(count)} results of {_ASKED[kind]} are known to be {what}, and {MINIMUM} are needed for "
        "probabilities.",
        _MORE_LABELS,
    )
