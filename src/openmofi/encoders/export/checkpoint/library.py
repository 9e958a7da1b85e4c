"""What a checkpoint gives where it is opened by its library alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from openmofi.encoders.arrays import in_batches, normalised
from openmofi.encoders.networks.modules import pooled
from openmofi.encoders.protocol import Array

_BATCH = 32
Embed = Callable[[Sequence[Any]], Array]


@dataclass(frozen=True)
class Opened:
    """A checkpoint as its library opens it, with the library's own preprocessing and tokenizer.

    Attributes:
        images: RGB PIL images → float32 (n, dim), L2-normalised.
        texts: the same of texts; `None` without a text side.
    """

    images: Embed
    texts: Embed | None


def batched(embed: Callable[[list[Any]], Any]) -> Embed:
    """A function of a batch, whose output may hold the embedding, as one of any number, L2-normalised."""

    @torch.inference_mode()
    def run(items: Sequence[Any]) -> Array:
        return normalised(
            np.concatenate([np.asarray(pooled(embed(list(part))).float()) for part in in_batches(list(items), _BATCH)])
        )

    return run
