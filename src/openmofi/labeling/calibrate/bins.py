"""Evidence in bins, and the decoys' distribution over them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr, ndtri

from openmofi.errors import OpenMofiError

Floats = NDArray[np.floating[Any]]
Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]

_CANDIDATES_A_BIN, _FEWEST_BINS, _MOST_BINS = 60, 20, 400
_FINER = 0.5 ** np.arange(1, 4)
_TAIL = 0.02
_PSEUDO = 20.0


@dataclass(frozen=True)
class Bins:
    """Bins of about equally many candidates and decoys, the more of them the more candidates there are.

    Attributes:
        edges: (bins + 1,) increasing.
        centres: (bins,) mean evidence in each.
        absent: (bins,) share of the decoys.
        score: (bins,) the centres in SD of the decoys: their normal scores, and beyond the outer hundredths linear.
    """

    edges: Doubles
    centres: Doubles
    absent: Doubles
    score: Doubles

    @classmethod
    def of(cls, evidence: Floats, decoys: Floats) -> Bins:
        """Of (n,) candidates' evidence and (m,) decoys'.

        Raises:
            OpenMofiError: all is equal.
        """
        pooled = np.sort(np.concatenate([evidence, decoys]).astype(np.float64))
        bins = int(np.clip(len(evidence) / _CANDIDATES_A_BIN, _FEWEST_BINS, _MOST_BINS))
        levels = np.concatenate([np.linspace(0, 1, bins + 1), 1 - _FINER / bins])
        edges = np.unique(np.quantile(pooled, np.sort(levels)))
        if len(edges) < 3:
            raise OpenMofiError(
                "The encoder scores every image and entity alike: nothing can be calibrated.",
                "Check the encoder's weights and preprocessing.",
            )
        number = np.clip(np.searchsorted(edges, pooled, "right") - 1, 0, len(edges) - 2)
        count = np.bincount(number, minlength=len(edges) - 1)
        centres = np.bincount(number, pooled, len(edges) - 1) / np.maximum(count, 1)
        centres = np.where(count > 0, centres, (edges[1:] + edges[:-1]) / 2)
        decoy = np.clip(np.searchsorted(edges, decoys, "right") - 1, 0, len(edges) - 2)
        ordered = np.sort(decoys).astype(np.float64)
        absent = _tail_shrunken(np.bincount(decoy, minlength=len(centres)), _normal_scores(edges[1:-1], ordered))
        return cls(edges, centres, absent, _normal_scores(centres, ordered))

    def number(self, evidence: Floats) -> Ints:
        """(n,) the bin of each."""
        return np.clip(np.searchsorted(self.edges, evidence, "right") - 1, 0, len(self.edges) - 2).astype(np.int64)


def _tail_shrunken(counts: Ints, inner: Doubles) -> Doubles:
    """(bins,) shares whose hazards (a bin's share of all from it on) are shrunk to those of a normal distribution.

    Where hundreds of decoys lie above they hardly change; where few do, the far tail falls as a normal one's does.

    Args:
        counts: (bins,) decoys.
        inner: (bins − 1,) scores of the edges between them.
    """
    left = np.cumsum(counts[::-1])[::-1]
    log_above = log_ndtr(-np.concatenate([[-np.inf], inner]))
    normal = -np.expm1(np.append(np.diff(log_above), -np.inf))
    hazard = (counts + _PSEUDO * normal) / (left + _PSEUDO)
    staying = np.concatenate([[1.0], np.cumprod(1 - hazard[:-1])])
    return np.maximum(staying * hazard, 1e-12)


def _normal_scores(centres: Doubles, decoys: Doubles) -> Doubles:
    below = (np.searchsorted(decoys, centres, "left") + np.searchsorted(decoys, centres, "right")) / (2 * len(decoys))
    low, middle, high = np.quantile(decoys, [_TAIL, 0.5, 1 - _TAIL])
    reach = float(ndtri(1 - _TAIL))
    linear = (
        np.where(
            centres > middle,
            (centres - middle) / max(high - middle, 1e-12),
            (centres - middle) / max(middle - low, 1e-12),
        )
        * reach
    )
    inside = (below > _TAIL) & (below < 1 - _TAIL)
    return np.asarray(np.where(inside, ndtri(np.clip(below, _TAIL, 1 - _TAIL)), linear))
