"""The networks behind an encoder's arrays, as PyTorch modules: what an export traces."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from openmofi.encoders.heads import Head, apply_head
from openmofi.encoders.tokens import TOKENIZER_FILE, HuggingFaceTokens, WordPieceTokens, opened_tokenizer
from openmofi.encoders.towers import stored_tokens
from openmofi.errors import OpenMofiError


class TextTokens(Protocol):
    """Texts → their token ids: rows of a tensor (n, L) int64, or a list a text."""

    def __call__(self, texts: Sequence[str]) -> Any:
        """See the class."""

    def save(self, folder: Path) -> None:
        """Write its files, if it has any."""


@dataclass(frozen=True)
class Networks:
    """An encoder's networks, in evaluation mode.

    Attributes:
        image: (B, 3, size, size) float32 → (B, dim), not normalised.
        text: token ids (B, L) int64 → (B, dim); where `tokenizer["masked"]`, with a second input, the mask
            (B, L) int64. `None` of an encoder of images alone.
        tokens: what makes its input; L is the same for all texts unless it is masked.
        tokenizer: JSON values; `opened_tokens` makes `tokens` of them and of what `tokens.save` wrote.
    """

    image: nn.Module
    text: nn.Module | None = None
    tokens: TextTokens | None = None
    tokenizer: Mapping[str, Any] | None = None


def tower_tokenizer(architecture: Mapping[str, Any]) -> dict[str, Any]:
    """The tokenizer of a tower that `encoders.towers` rebuilds, as `Networks.tokenizer`."""
    return {"kind": "tower", "masked": False, "architecture": dict(architecture)}


def transformers_tokenizer(length: int, end: int | None) -> dict[str, Any]:
    """A `HuggingFaceTokens`, as `Networks.tokenizer`."""
    return {"kind": "transformers", "masked": False, "length": length, "end": end}


def wordpiece_tokenizer(length: int) -> dict[str, Any]:
    """A `WordPieceTokens`, as `Networks.tokenizer`."""
    return {"kind": "wordpiece", "masked": True, "length": length}


def opened_tokens(tokenizer: Mapping[str, Any], folder: Path) -> TextTokens:
    """The tokenizer that `tokenizer` describes, whose files, where it has any, are in `folder`.

    Raises:
        OpenMofiError: the description is not understood, or the files are missing or damaged.
    """
    opener = _TOKENIZERS.get(str(tokenizer.get("kind")))
    if opener is None:
        raise OpenMofiError(f"There is no kind of tokenizer {tokenizer.get('kind')!r}.",
                            "Use the version of OpenMOFI that wrote it.")
    return opener(tokenizer, folder)


_TOKENIZERS: dict[str, Callable[[Mapping[str, Any], Path], TextTokens]] = {
    "tower": lambda told, folder: stored_tokens(told["architecture"], folder),
    "transformers": lambda told, folder: HuggingFaceTokens(opened_tokenizer(folder), int(told["length"]), told["end"]),
    "wordpiece": lambda told, folder: WordPieceTokens.opened(folder / TOKENIZER_FILE, int(told["length"])),
}


class Called(nn.Module):
    """A method of a library's model as a network of one input."""

    def __init__(self, model: Any, method: str, argument: str) -> None:
        super().__init__()
        self.model, self.method, self.argument = model, method, argument

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """The embedding that the method gives of `inputs`, (B, dim)."""
        return pooled(getattr(self.model, self.method)(**{self.argument: inputs}))


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
    found: torch.Tensor = output if isinstance(output, torch.Tensor) else output.pooler_output
    return found
