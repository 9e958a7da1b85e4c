"""A moving average of the weights."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class Ema:
    """Exponential moving average of a model's trained parameters; buffers are copied as they are.

    average ← d · average + (1 − d) · weights after each step, with d = min(decay, (1 + t) / (10 + t)) at the t-th
    update, from 0: the average follows closely while little has been seen, and it can be used from the first step
    (the schedule of TensorFlow's `ExponentialMovingAverage`; timm's ModelEmaV3 offers it as warm-up). Parameters may
    be DTensors: then the average is sharded as they are.

    Args:
        model: its current weights are the first average.
        decay: 0 to 1.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self._updates = torch.zeros((), dtype=torch.int64)
        with torch.no_grad():
            self._weights = {name: value.detach().clone() for name, value in _trained(model).items()}
            self._buffers = {name: value.detach().clone() for name, value in model.named_buffers()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take in the weights after a step."""
        count = int(self._updates)
        decay = min(self.decay, (1 + count) / (10 + count))
        current = _trained(model)
        if current:
            torch._foreach_lerp_(
                list(self._weights.values()), [current[name].detach() for name in self._weights], 1 - decay
            )
        for name, value in model.named_buffers():
            self._buffers[name].copy_(value)
        self._updates += 1

    def averaged(self) -> dict[str, Tensor]:
        """Name of a trained parameter or a buffer of the model → its average, sharing memory."""
        return self._weights | self._buffers

    def state_dict(self) -> dict[str, Tensor]:
        """Name → tensor, sharing memory: `updates`, `weights.…` and `buffers.…`."""
        return {
            "updates": self._updates,
            **{f"weights.{name}": value for name, value in self._weights.items()},
            **{f"buffers.{name}": value for name, value in self._buffers.items()},
        }

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take over a state, which must be of the same model.

        Raises:
            KeyError: a tensor is missing.
        """
        for name, value in self.state_dict().items():
            value.copy_(state[name])


def _trained(model: nn.Module) -> dict[str, Tensor]:
    return {name: value for name, value in model.named_parameters() if value.requires_grad}
