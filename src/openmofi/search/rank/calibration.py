"""Scores as probabilities, so that a search can end; `fitting.py` says how they are made."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
_VERSION = 3


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
        """(n, f) → (n,)."""
        score = design_of(features, np.array(self.mean), np.array(self.deviation)) @ np.array(self.weights)
        return np.interp(score, self.scores, self.probabilities)


@dataclass(frozen=True)
class Ending:
    """How probable results are.

    Attributes:
        text, image: of searches by text and by image; `None` where too little is known.
        entity: of the entities that an image may show, where labels name one that it shows; likewise.
        unnamed: of that no label names what an image shows, where as many images are so as not; likewise.
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

    def to_json(self) -> str:
        """For the database."""
        return json.dumps(asdict(self) | {"version": _VERSION})

    @classmethod
    def of_json(cls, stored: str) -> Ending | None:
        """What `to_json` made; `None` where another version did, whose curves are of other features."""
        raw: dict[str, Any] = json.loads(stored)
        if raw.get("version") != _VERSION:
            return None
        text, image, entity, unnamed = (
            Curve(**{name: tuple(values) for name, values in curve.items()}) if curve else None
            for curve in (raw[kind] for kind in ("text", "image", "entity", "unnamed"))
        )
        return cls(text, image, entity, tuple(raw["background"]), tuple(raw["reference"]), float(raw["scale"]), unnamed)


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


def end_of(probabilities: Doubles, until: float) -> int:
    """How many results are expected to be right with precision `until` together: the longest list that is."""
    reached = np.flatnonzero(expected_precision(probabilities) >= until)
    return int(reached[-1]) + 1 if len(reached) else 0
