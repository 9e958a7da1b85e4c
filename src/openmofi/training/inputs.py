"""What a model is fed: the contract between the model (which says it) and the data (which makes it)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from openmofi.encoders import Encoder, Preprocessing

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class ModelInputs:
    """How images and texts become the tensors of a batch (`objectives.protocol.Batch`).

    Attributes:
        preprocessing: of live images (`image`); `None` where the image side is locked.
        image_encoder: the locked image encoder, whose features are `image_features`; else `None`.
        text: `none`, `tokens` (`text_tokens`, by `tokenize`) or `features` (`text_features` of `text_encoder`).
        text_encoder: the locked text encoder (the image encoder itself where it is the same), else `None`.
        tokenize: n texts → (n, L) int64; it can be pickled, since workers call it.
    """

    preprocessing: Preprocessing | None
    image_encoder: Encoder | None = None
    text: str = "none"
    text_encoder: Encoder | None = None
    tokenize: Callable[[Sequence[str]], Tensor] | None = None
