"""Small numerics that every encoder shares."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from openmofi.arrays import Array, Ints
from openmofi.errors import UsageError

if TYPE_CHECKING:
    import torch

_Item = TypeVar("_Item")
_Items = TypeVar("_Items", Array, list[str])


def normalised(values: Array) -> Array:
    """Rows divided by their L2 norm; a row of zeros stays zero."""
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    return np.asarray(values / np.maximum(lengths, 1e-12), np.float32)


def in_batches(items: _Items, size: int) -> Iterator[_Items]:
    """`items`, an array or a list, in consecutive slices of at most `size` rows."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def batched(items: Iterable[_Item], size: int) -> Iterator[list[_Item]]:
    """`items` in consecutive lists of at most `size`, taken as each list is asked for.

    Raises:
        UsageError: `size` below 1.
    """
    if size < 1:
        raise UsageError(f"batch_size is {size}, not at least 1.")
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def gathered(parts: Iterable[Array], dim: int) -> Array:
    """The parts below one another, float32 (n, dim); (0, dim) where there are none."""
    return np.concatenate([np.zeros((0, dim), np.float32), *parts]).astype(np.float32, copy=False)


def by_tokens(
    texts: Sequence[str],
    tokens: Callable[[list[str]], Sequence[Any]],
    encode: Callable[[list[Any]], Array],
    dim: int,
    batch: int,
) -> Array:
    """Tokenise and encode distinct texts in batches of similar length; rows come back in the order of `texts`.

    Each distinct text is encoded once, in an order that its length and content decide, so that neither repetition
    nor the callers' order changes how the batches are cut.
    """
    if not texts:
        return np.zeros((0, dim), np.float32)
    distinct = list(dict.fromkeys(texts))
    tokenised = dict(zip(distinct, tokens(distinct), strict=True))
    ordered = sorted(distinct, key=lambda text: (len(tokenised[text]), text))
    rows = {text: row for row, text in enumerate(ordered)}
    parts = (encode([tokenised[text] for text in part]) for part in in_batches(ordered, batch))
    return gathered(parts, dim)[[rows[text] for text in texts]]


def padded(rows: Sequence[Any], filler: int = 0, length: int = 0) -> tuple[Ints, Ints]:
    """Token sequences → ids and mask, int64 (n, L); L is `length`, or the greatest of them where that is 0.

    Shorter sequences are filled up with `filler`; the mask is 1 where there is a token and 0 where there is padding.
    """
    length = length or max(map(len, rows))
    ids, mask = np.full((len(rows), length), filler, np.int64), np.zeros((len(rows), length), np.int64)
    for number, row in enumerate(rows):
        ids[number, : len(row)], mask[number, : len(row)] = row, 1
    return ids, mask


def weights_fingerprint(state: Mapping[str, torch.Tensor]) -> str:
    """16 hexadecimal digits for names, shapes, types and every byte of a state dict."""
    import torch

    digest = hashlib.blake2b(digest_size=8)
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def numpy_of(tensor: Any) -> Array:
    """A tensor on any device, of any floating type → float32 array."""
    return np.asarray(tensor.detach().float().cpu().numpy(), np.float32)
