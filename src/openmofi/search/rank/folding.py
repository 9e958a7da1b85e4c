"""Near-duplicates among ranked images, by perceptual hashes.

Two hashes of 64 bits that differ in at most 6 differ in at most one bit of one of their four quarters. So the pairs are
found by looking up each quarter, as it is and with each of its bits changed (Norouzi, Punjani and Fleet 2012, "Fast
search in Hamming space with multi-index hashing"), and what is compared grows hardly faster than the list.
"""

from collections.abc import Iterator

import numpy as np

from openmofi.arrays import Hashes, Ints

NEAR = 6
"""Bits in which the perceptual hashes of near-duplicates differ, at most, of 64."""
PLAIN = 8
"""Bits that a hash has set, or not set, at least, to say anything: that of a plain image is near to any other such."""
_FEW = 2048
_QUARTER = 16
_PAIRS = 1 << 22


def folded_into(hashes: Hashes) -> Ints:
    """(n,) the position of the first image that is shown and is a near-duplicate of each; its own where there is none.

    An image is folded into one that is shown, never into one that is folded itself: what differs by two steps is shown.

    Args:
        hashes: (n,) best first; 0 where an image has none.
    """
    unique, first, inverse = np.unique(hashes, return_index=True, return_inverse=True)
    bits = np.bitwise_count(unique)
    foldable = (bits >= PLAIN) & (bits <= 64 - PLAIN)
    into, shown_at = first.copy(), first.copy()
    left, right = near_pairs(unique)
    ends = np.searchsorted(left, np.arange(len(unique) + 1))
    near = np.flatnonzero(np.diff(ends) > 0)
    shown_at[near] = len(hashes)  # until it is known
    for each in near[np.argsort(first[near])].tolist():
        earliest = int(shown_at[right[ends[each] : ends[each + 1]]].min())
        if foldable[each] and earliest < first[each]:
            into[each] = earliest
        else:
            shown_at[each] = first[each]
    return np.where(foldable[inverse], into[inverse], np.arange(len(hashes)))


def near_pairs(hashes: Hashes) -> tuple[Ints, Ints]:
    """(p,) and (p,) positions of all ordered pairs of different hashes that are near, by the first."""
    if len(hashes) <= _FEW:
        near = np.flatnonzero(np.bitwise_count(hashes[:, None] ^ hashes) <= NEAR)
        left, right = np.divmod(near, max(len(hashes), 1))
        return left[left != right], right[left != right]
    pairs = np.concatenate(list(_compared(hashes)), axis=1)
    left, right = np.concatenate([pairs, pairs[::-1]], axis=1)
    order = np.argsort(left, kind="stable")
    return left[order], right[order]


def _compared(hashes: Hashes) -> Iterator[Ints]:
    """(2, p) near pairs, each of them once."""
    for quarter in range(64 // _QUARTER):
        keys = _of(hashes, quarter).astype(np.int64)
        order = np.argsort(keys, kind="stable")
        ends = np.concatenate([[0], np.cumsum(np.bincount(keys, minlength=1 << _QUARTER))])
        for change in (0, *(1 << bit for bit in range(_QUARTER))):
            some = np.flatnonzero(keys & change == 0)  # the others meet these
            start, end = ends[keys[some] ^ change], ends[(keys[some] ^ change) + 1]
            for first, last in _blocks(np.cumsum(end - start)):
                counts = (end - start)[first:last]
                offset = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
                pairs = np.stack(
                    [np.repeat(some[first:last], counts), order[np.repeat(start[first:last], counts) + offset]]
                )
                yield _near(hashes, pairs if change else pairs[:, pairs[0] < pairs[1]], quarter)


def _near(hashes: Hashes, pairs: Ints, quarter: int) -> Ints:
    """Those of (2, p) pairs that are near, and that no quarter before has found."""
    changed = hashes[pairs[0]] ^ hashes[pairs[1]]
    near = np.flatnonzero(np.bitwise_count(changed) <= NEAR)
    for before in range(quarter):
        near = near[np.bitwise_count(_of(changed[near], before)) > 1]
    return pairs[:, near]


def _of(hashes: Hashes, quarter: int) -> Hashes:
    return (hashes >> np.uint64(_QUARTER * quarter)) & np.uint64((1 << _QUARTER) - 1)


def _blocks(total: Ints) -> Iterator[tuple[int, int]]:
    """Ranges of positions, of not many more than `_PAIRS` pairs each."""
    first = 0
    while first < len(total):
        before = total[first - 1] if first else 0
        last = max(int(np.searchsorted(total, before + _PAIRS, side="right")), first + 1)
        yield first, last
        first = last
