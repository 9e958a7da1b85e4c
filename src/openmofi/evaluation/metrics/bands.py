"""Bands of frequency: thirds of the classes by their number of images."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from openmofi.evaluation.metrics.ranking import Ints
from openmofi.objectives.class_head.margin_softmax import thirds_by_count

BANDS = ("head", "middle", "tail")
"""Thirds of the classes, by their number of images."""


def thirds_of(labels: Ints, counts: Ints) -> Ints:
    """(n,) 0 for images of the third of these classes with the most images, 2 for those of the rarest third.

    Args:
        labels: (n,) class of each image.
        counts: (classes,) images of each class where they are counted.
    """
    classes, codes = np.unique(labels, return_inverse=True)
    thirds: Ints = thirds_by_count(torch.from_numpy(counts[classes])).numpy()[codes]
    return thirds


def by_band(values: NDArray[Any], bands: Ints) -> dict[str, float]:
    """Band → mean of the values of its rows, as far as there are some; NaN does not count.

    Args:
        values: (n,) of the rows.
        bands: (n,) positions in `BANDS`.
    """
    known = ~np.isnan(values.astype(np.float64))
    return {
        name: float(values[known & (bands == number)].mean())
        for number, name in enumerate(BANDS)
        if (known & (bands == number)).any()
    }
