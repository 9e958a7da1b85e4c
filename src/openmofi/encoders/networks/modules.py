"""The networks behind an encoder's arrays, as PyTorch modules: what an export traces."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from openmofi.arrays import Array
from openmofi.encoders.arrays import numpy_of, padded
from openmofi.encoders.devices import on_device
from openmofi.encoders.networks.heads import Head, apply_head
from openmofi.encoders.protocol import Tokens


@dataclass(frozen=True)
class Networks:
    """An encoder's networks, in evaluation mode.

    Attributes:
        image: (B, 3, size, size) float32 → (B, dim), not normalised.
        text: token ids (B, L) int64 → (B, dim); where `tokenizer["masked"]`, with a second input, the mask
            (B, L) int64. `None` of an encoder of images alone.
        tokens: what makes its input; L is the same for all texts unless it is masked.
        tokenizer: JSON values, of which, and of what `tokens.save` wrote, `tokens.opened_tokens` makes `tokens`:
            `kind`, `masked` and, of a `tower` that `encoders.towers` rebuilds, its `architecture`; of `transformers`, a
            `HuggingFaceTokens`, `length` and `end`; of `clip`, see `portable.ClipTokens`; of `wordpiece`,
            a `WordPieceTokens`, `length`.
    """

    image: nn.Module
    text: nn.Module | None = None
    tokens: Tokens | None = None
    tokenizer: Mapping[str, Any] | None = None


class Called(nn.Module):
    """A method of a library's model as a network of one input and, of texts, perhaps a mask."""

    def __init__(self, model: Any, method: str, argument: str) -> None:
        super().__init__()
        self.model, self.method, self.argument = model, method, argument

    def forward(self, inputs: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """The embedding that the method gives of `inputs`, (B, dim)."""
        options = {} if mask is None else {"attention_mask": mask}
        return pooled(getattr(self.model, self.method)(**{self.argument: inputs}, **options))


@dataclass(frozen=True, eq=False)
class OnArrays:
    """A network as a function of a batch: an array, a tensor, or a list of tensors of one shape → float32 (n, dim).

    Attributes:
        network: takes the batch.
        device: torch's name of it.
        channels_last: whether images lie in memory with their channels last.
        rows: that the network takes at a time; 0 stands for all.
    """

    network: Callable[..., torch.Tensor]
    device: str
    channels_last: bool = False
    rows: int = 0

    @torch.inference_mode()
    def __call__(self, batch: Any) -> Array:
        """(n, …) → float32 (n, dim)."""
        sent = on_device(torch.stack(batch) if isinstance(batch, list) else batch, self.device)
        if self.channels_last:
            sent = sent.to(memory_format=torch.channels_last)
        parts = [numpy_of(self.network(part)) for part in sent.split(self.rows or max(len(sent), 1))]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)


def on_tokens(
    network: Callable[..., torch.Tensor], device: str, *, filler: int = 0, masked: bool = True
) -> Callable[[list[Any]], Array]:
    """A network as a function of token sequences, padded with `filler` → float32 (n, dim).

    Args:
        network: takes ids and, where `masked`, the mask, (B, L) int64 each.
        device: torch's name of it.
        filler, masked: see `arrays.padded`.
    """

    @torch.inference_mode()
    def run(rows: list[Any]) -> Array:
        inputs = [on_device(values, device) for values in padded(rows, filler)]
        return numpy_of(network(*inputs[: 1 + masked]))

    return run


class Headed(nn.Module):
    """A network with a head of ours on top; see `heads.apply_head`.

    Args:
        network: (B, …) → features.
        head: of the features.
        adapter: the head's output is added to the normalised features; see `encoder.Heads`.
    """

    def __init__(self, network: nn.Module, head: Head, *, adapter: bool = False) -> None:
        super().__init__()
        self.network, self.adapter = network, adapter
        self.head = nn.ParameterDict(head.tensors()).requires_grad_(False)

    def forward(self, inputs: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """(B, …) → (B, dim), not normalised."""
        features = (self.network(inputs) if mask is None else self.network(inputs, mask)).float()
        if self.adapter:
            features = nn.functional.normalize(features, dim=1)
        out = apply_head(dict(self.head.items()), features)
        return features + out if self.adapter else out


def pooled(output: Any) -> torch.Tensor:
    """The embedding in what a tower returns, (n, dim)."""
    # transformers 5 returns the tower's output with the projected embedding in it, 4 the embedding itself.
    embedding: torch.Tensor = output if isinstance(output, torch.Tensor) else output.pooler_output
    return embedding
