"""Which pairs of a global batch are positives of each other: equal texts, shared entities."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from openmofi.objectives.collectives import gather, rank
from openmofi.objectives.protocol import Batch

POSITIVES: dict[str, tuple[str, ...]] = {
    "none": (),
    "text": ("text_id",),
    "entity": ("labels",),
    "entity-or-text": ("labels", "text_id"),
}
"""Name of a rule → the entries of the batch that make two pairs positives where they are equal."""


@dataclass(frozen=True)
class _Keys:
    """One key of a batch: this rank's, and the whole batch's in sorted order.

    Attributes:
        local: (B, K) int64.
        used: (B, K) bool; padding is no key.
        values: (n,) int64, sorted: every key in use of the whole batch.
        columns: (n,) int64: the pair of the whole batch that each belongs to.
    """

    local: Tensor
    used: Tensor
    values: Tensor
    columns: Tensor


def _keys(local: Tensor, *, padded: bool) -> _Keys:
    local = local.reshape(len(local), -1)
    everyone = gather(local)
    values, order = everyone.flatten().sort(stable=True)
    columns = order // max(everyone.shape[1], 1)
    if padded:
        inside = values >= 0
        values, columns = values[inside], columns[inside]
    return _Keys(local, local >= 0 if padded else torch.ones_like(local, dtype=torch.bool), values, columns)


def _mark_shared(mask: Tensor, keys: _Keys, start: int) -> None:
    """Set `mask` (rows from `start` on, all pairs) where a row and a pair have a key in common.

    A join of sorted keys: the work is that of the matches, where comparing all keys with all would take
    rows · pairs · K² comparisons.
    """
    stop = start + len(mask)
    rows, slots = keys.used[start:stop].nonzero(as_tuple=True)
    values = keys.local[start:stop][rows, slots]
    first = torch.searchsorted(keys.values, values)
    counts = torch.searchsorted(keys.values, values, right=True) - first
    ends = counts.cumsum(0)
    positions = torch.arange(int(counts.sum()), device=mask.device)
    within = positions - torch.repeat_interleave(ends - counts, counts)
    mask[torch.repeat_interleave(rows, counts), keys.columns[torch.repeat_interleave(first, counts) + within]] = True


class Positives:
    """The positives of this rank's rows among the pairs of all ranks.

    Args:
        rule: a key of `POSITIVES`; a pair is always a positive of itself.
        batch: has the entries that the rule names; `labels` below 0 are padding, `text_id` is any number.
        rows: B, this rank's rows.
    """

    def __init__(self, rule: str, batch: Batch, rows: int, device: torch.device) -> None:
        self._first = rank() * rows
        self._device = device
        self._keys = [_keys(batch[name].to(device), padded=name == "labels") for name in POSITIVES[rule]]

    def mask(self, start: int, stop: int, pairs: int) -> Tensor:
        """(stop − start, pairs) bool for this rank's rows from `start` on; the relation is symmetric."""
        mask = torch.zeros(stop - start, pairs, dtype=torch.bool, device=self._device)
        own = torch.arange(stop - start, device=self._device)
        mask[own, own + self._first + start] = True
        for keys in self._keys:
            _mark_shared(mask, keys, start)
        return mask
