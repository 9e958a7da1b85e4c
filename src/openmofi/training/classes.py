"""What a class head has learned of each class: accuracy by frequency, collapsed classes, neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.nn.functional import normalize

from openmofi.evaluation.bands import BANDS
from openmofi.objectives.class_head.margin_softmax import MarginSoftmax, thirds_by_count
from openmofi.training.state import RunState

BELOW = 0.05
"""A class whose images are recognised more rarely has collapsed."""
COSINE = 0.95
"""A class whose vector is as near to another's has collapsed."""

_HEAD = "margin_softmax"
_MOST_WEIGHTS = 2**28
_COMPARED = 20_000
_NEAREST = 5
_BLOCK = 1024
_SHOWN = 30


def class_report(state: RunState, counts: NDArray[np.int64], names: Sequence[str]) -> dict[str, Any] | None:
    """What `classes.json` holds, where the recipe has a class head. Every rank calls it.

    Args:
        state: of the run.
        counts: (classes,) images of each class that are trained on.
        names: (classes,) of the classes.
    """
    if _HEAD not in state.terms:
        return None
    head = cast("MarginSoftmax", state.terms[_HEAD].objective)
    vectors = None
    if head.classes * head.weight.shape[1] <= _MOST_WEIGHTS:
        weight = state.tensors()[f"objective.{_HEAD}.weight"]
        whole = weight.full_tensor() if isinstance(weight, DTensor) else weight
        vectors = class_vectors(whole.detach().float().cpu(), head.dim)
    assert head.recent is not None
    sampled = head.settings.implementation == "sampled"
    return {"sampled": sampled, **described(vectors, head.recent.cpu().numpy(), counts, names)}


def class_vectors(weight: Tensor, dim: int) -> Tensor:
    """(classes, dim) of length 1 of the head's rows; of several sub-centres their mean direction."""
    return normalize(normalize(weight.view(len(weight), -1, dim), dim=2).mean(1), dim=1)


def described(
    vectors: Tensor | None, accuracy: NDArray[np.float32], counts: NDArray[np.int64], names: Sequence[str]
) -> dict[str, Any]:
    """Bands, collapsed classes and neighbours.

    Args:
        vectors: (classes, dim) of length 1; `None` where there are too many to compare.
        accuracy: (classes,) moving mean over a class's images, NaN where none was seen.
        counts: (classes,) images; classes without any are left out.
        names: (classes,).
    """
    used = np.flatnonzero(counts > 0)
    used = used[np.argsort(-counts[used], kind="stable")]
    band = thirds_by_count(torch.from_numpy(counts[used])).numpy()
    # Evenly over the frequencies where all would be too many.
    asked = _evenly(len(used), _COMPARED)
    near, cosines = _nearest(vectors, used, used[asked]) if vectors is not None else (None, None)
    collapsed = accuracy[used] < BELOW
    if cosines is not None and cosines.shape[1]:
        collapsed[asked] |= cosines[:, 0] >= COSINE
    place = {int(number): at for at, number in enumerate(asked)}

    def row(number: int) -> dict[str, Any]:
        at, value = place.get(number), float(accuracy[used[number]])
        nearest = (
            []
            if near is None or cosines is None or at is None
            else [
                {"name": names[other], "cosine": round(float(cosine), 4)}
                for other, cosine in zip(near[at], cosines[at], strict=True)
            ]
        )
        return {
            "class": int(used[number]),
            "name": names[used[number]],
            "images": int(counts[used[number]]),
            "accuracy": None if np.isnan(value) else round(value, 4),
            "nearest": nearest,
        }

    shown = asked[_evenly(len(asked), _SHOWN)]
    return {
        "collapsed_below": BELOW,
        "collapsed_cosine": COSINE,
        "bands": {
            name: _band(counts[used][band == number], accuracy[used][band == number], collapsed[band == number])
            for number, name in enumerate(BANDS)
        },
        "collapsed_classes": int(collapsed.sum()),
        "compared": 0 if near is None else len(asked),
        "collapsed": [row(int(number)) for number in np.flatnonzero(collapsed)[:_SHOWN]],
        "neighbours": [row(int(number)) for number in shown] if near is not None else [],
    }


def _evenly(count: int, most: int) -> NDArray[np.int64]:
    """At most so many numbers below `count`, the first and the last among them."""
    return np.unique(np.linspace(0, max(0, count - 1), min(count, most)).astype(np.int64))


def _band(counts: NDArray[np.int64], accuracy: NDArray[np.float32], collapsed: NDArray[np.bool_]) -> dict[str, Any]:
    seen = accuracy[~np.isnan(accuracy)]
    return {
        "classes": len(counts),
        "images": int(counts.sum()),
        "collapsed": int(collapsed.sum()),
        "accuracy": round(float(seen.mean()), 4) if len(seen) else None,
    }


def _nearest(
    vectors: Tensor, used: NDArray[np.int64], asked: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """(asked, k) nearest other classes of `used`, and their cosines, descending."""
    among, count = vectors[torch.from_numpy(used)], min(_NEAREST, len(used) - 1)
    rows, values = [], []
    for start in range(0, len(asked), _BLOCK):
        block = torch.from_numpy(asked[start : start + _BLOCK])
        cosines = vectors[block] @ among.T
        cosines[block[:, None] == torch.from_numpy(used)[None]] = -torch.inf
        best = cosines.topk(count)
        rows.append(used[best.indices.numpy()])
        values.append(best.values.numpy())
    return np.concatenate(rows), np.concatenate(values)
