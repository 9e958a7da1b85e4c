"""Tiles of a map: a quadtree in which every image lies once, a sample of its part of the map at each level.

A tile of level 0 is the whole map, one of level L a part of 2^-L of its side. Each takes the first `CAP` images, in one
random order, of those in it that no tile above has; what is left goes on to the next level. So all tiles down to a
level are a sample of what is below them, and no tile has more than `CAP`, however many images share a place: from
`DEEPEST` on, tiles get no smaller. (As in deepscatter, https://github.com/nomic-ai/deepscatter.)
"""

import numpy as np

from openmofi.arrays import Doubles, Ints

CAP = 6000
DEEPEST = 12
_BITS = 20


def tiles_of(places: Doubles) -> Ints:
    """The tile of each place.

    Args:
        places: (n, 2) in their random order, −1 to 1, y upwards.

    Returns:
        (n,) keys of tiles, see `unpacked`.
    """
    cells = (whole_of(places) * 2**DEEPEST).astype(np.int64).clip(0, 2**DEEPEST - 1)
    keys = np.empty(len(cells), np.int64)
    left, level = np.arange(len(cells)), 0
    while len(left):
        at = cells[left] >> (DEEPEST - min(level, DEEPEST))
        tiles = (level << 2 * _BITS) + (at[:, 1] << _BITS) + at[:, 0]
        by_tile = np.argsort(tiles, kind="stable")
        first = np.flatnonzero(np.diff(tiles[by_tile], prepend=-1))
        sizes = np.diff(first, append=len(left))
        taken = by_tile[np.arange(len(left)) - np.repeat(first, sizes) < CAP]
        keys[left[taken]] = tiles[taken]
        left, level = np.delete(left, taken), level + 1
    return keys


def whole_of(places: Doubles) -> Doubles:
    """(n, 2) places of the map as fractions of its side, y downwards; what is no number lies in the middle."""
    return np.nan_to_num((places * [1, -1] + 1) / 2, nan=0.5).clip(0, 1)


def packed(level: int, x: int, y: int) -> int:
    """The key of a tile; tiles below `DEEPEST` are as large as those of it."""
    return (level << 2 * _BITS) + (y << _BITS) + x


def unpacked(key: int) -> tuple[int, int, int]:
    """Level, x, y of a tile."""
    return key >> 2 * _BITS, key & (1 << _BITS) - 1, key >> _BITS & (1 << _BITS) - 1
