"""Image towers compiled by `torch.compile`: the same features within a bound, by kernels made for this machine."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from openmofi.arrays import Array
from openmofi.encoders.networks.modules import OnArrays
from openmofi.errors import UsageError

BOUND, LOW_BOUND = 1e-3, 5e-2
"""Greatest difference of a feature from the tower's own, by the greatest of them; the second in bf16 and fp16,
where the order of operations decides what is rounded."""


class CompiledTower:
    """A tower that is compiled at its first batch, which both make: what differs by more than the bound is refused.

    A second compilation comes with the first batch of another length; further lengths take none.

    Args:
        tower: the one that is compiled.
        spec: of its encoder, for messages.
    """

    def __init__(self, tower: OnArrays, spec: str) -> None:
        self._tower, self._spec, self._compared = tower, spec, False
        self._compiled = replace(tower, network=torch.compile(tower.network))

    def __call__(self, batch: Array) -> Array:
        """(n, 3, size, size) → float32 (n, dim).

        Raises:
            UsageError: with the first batch: it cannot be compiled here, or its features differ.
        """
        if self._compared:
            return self._compiled(batch)
        expected = self._tower(batch)
        try:
            features = self._compiled(batch)
        except Exception as error:
            # By its name, as in `devices.RowLimit`, which tries a shorter batch.
            if type(error).__name__ == "OutOfMemoryError":
                raise
            reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
            raise UsageError(
                f"The encoder {self._spec!r} cannot be compiled here: {reason.rstrip('.')}.",
                "Leave out --compile; torch.compile needs a C++ compiler, and on a GPU Triton.",
            ) from error
        self._require_equal(features, expected)
        self._compared = True
        return features

    def _require_equal(self, features: Array, expected: Array) -> None:
        bound = LOW_BOUND if torch.is_autocast_enabled(torch.device(self._tower.device).type) else BOUND
        difference = float(np.abs(features - expected).max(initial=0.0) / max(np.abs(expected).max(initial=0.0), 1e-30))
        if not difference <= bound:  # also where it is no number
            raise UsageError(
                f"The encoder {self._spec!r}, compiled, gives other features: they differ by "
                f"{difference:.2g} of the greatest, more than {bound:g}.",
                "Leave out --compile.",
            )
