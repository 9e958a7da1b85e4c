"""Features of a locked text encoder for every text that can occur, computed once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from openmofi.encoders import Encoder
from openmofi.engine import Progress
from openmofi.storage import fingerprint
from openmofi.training.data.plan import Ints
from openmofi.training.data.rows import Rows
from openmofi.training.data.stored import Part, StoredArray, stored_features
from openmofi.training.data.texts import TextPlan, text_id

_PART = 2048


@dataclass(frozen=True)
class TextFeatures:
    """Features by the number of their text.

    Attributes:
        ids: (n,) sorted `text_id`s.
        features: (n, dim).
    """

    ids: Ints
    features: StoredArray

    def take(self, ids: Ints) -> Tensor:
        """(m,) `text_id`s → (m, dim) float32."""
        return self.features.take(np.searchsorted(self.ids, ids))


def text_features(
    plan: TextPlan, rows: Rows, encoder: Encoder, cache: Path, progress: Progress, more: Iterable[str] = ()
) -> TextFeatures:
    """Embed the distinct texts that `plan` can draw, and `more`; kept in `CACHE/text_features` by encoder and texts.

    The texts are held in memory while they are embedded: alt-texts of very large datasets are better trained on with
    a text tower of their own.

    Raises:
        OpenMofiError: the encoder cannot be opened.
    """
    encoder = encoder.to("cuda" if torch.cuda.is_available() else "cpu")
    texts = {text_id(text): text for text in plan.texts}
    if plan.alt_text > 0:
        for shard in range(len(rows.starts) - 1):
            texts.update((text_id(text), text) for text in set(rows.batch(shard)["text"].to_pylist()))
    texts.update((text_id(text), text) for text in more)
    ids = np.sort(np.fromiter(texts, np.int64, len(texts)))
    key = fingerprint([encoder.feature_fingerprint, hashlib.blake2b(ids.tobytes(), digest_size=8).hexdigest()])
    sizes = [len(ids[start : start + _PART]) for start in range(0, len(ids), _PART)]

    def part(number: int) -> Part:
        return encoder.text_features([texts[i] for i in ids[number * _PART : (number + 1) * _PART].tolist()]), {}

    features = stored_features(
        cache / "text_features" / f"{key}.npy", sizes, encoder.text_feature_dim, part, "embed texts", progress
    )
    return TextFeatures(ids, features)
