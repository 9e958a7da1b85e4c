"""A stub encoder of set throughput, which behaves like a fast accelerator, and corpora that are long enough for it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np

from openmofi.arrays import Array
from openmofi.encoders import Companions, Encoder
from openmofi.pairs import read_pairs
from openmofi.pairs.writer import write_tar
from openmofi.schema import Pair
from openmofi.storage import Shard, expand_shards

_STEP = 16
_SHARD = 2000


def stub_encoder(encoder: Encoder, throughput: float) -> Encoder:
    """`encoder` with another image tower: it sleeps, without Python's lock or a core, for as long as images take.

    Features are a fixed projection of a few pixels; two images have the same if those are the same. Calibrations and
    folds of `encoder` are none of the stub's.

    Args:
        encoder: whose preprocessing, text side and heads it has.
        throughput: images a second.
    """
    size = len(range(0, encoder.preprocessing.size, _STEP))
    weights = np.random.default_rng(0).standard_normal((3 * size * size, encoder.feature_dim)).astype(np.float32)
    return replace(
        encoder,
        spec=f"stub:{throughput:g}",
        fingerprint=f"stub-{encoder.fingerprint}",
        feature_fingerprint=f"stub-{encoder.feature_fingerprint}",
        image_tower=_tower(weights, throughput),
        companions=Companions(),
        networks=None,
        heads=None,
        open_fold=None,
        reopen=None,
        calibrations={},
    )


def _tower(weights: Array, throughput: float) -> Callable[[Array], Array]:
    def run(pixels: Array) -> Array:
        start = time.perf_counter()
        features = pixels[:, :, ::_STEP, ::_STEP].reshape(len(pixels), -1) @ weights
        # What the projection takes is part of what the images take.
        time.sleep(max(start + len(pixels) / throughput - time.perf_counter(), 0.0))
        return np.asarray(features, np.float32)

    return run


def corpus(sources: Sequence[Shard], pairs: int, folder: Path) -> list[Shard]:
    """Tar shards of 2,000 pairs, `pairs` together, which are those of `sources` under new keys, again and again.

    They are kept in `folder`, which is made when it is not there.
    """
    if not folder.exists():
        making = folder.with_name(f"{folder.name}-making")
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir(parents=True)
        stream = islice(_again(sources), pairs)
        for number in range(-(-pairs // _SHARD)):
            write_tar(making / f"{number:05}.tar", islice(stream, _SHARD))
        making.rename(folder)
    return expand_shards([str(folder)])


def _again(sources: Sequence[Shard]) -> Iterator[Pair]:
    turn = 0
    while True:
        for shard in sources:
            yield from (replace(pair, key=f"{turn:03}-{pair.key}") for pair in read_pairs(shard))
        turn += 1
