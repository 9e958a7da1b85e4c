"""Tokenizers of exported encoders that run without PyTorch and transformers: CLIP's, and any `tokenizer.json`."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openmofi.errors import OpenMofiError

TOKENIZER_FILE = "tokenizer.json"
CLIP = "clip"


@dataclass(frozen=True)
class ClipTokens:
    """open_clip's `SimpleTokenizer` by the library `tokenizers`: the same ids, without PyTorch.

    Attributes:
        tokenizer: byte-pair encoding of cleaned text.
        length: of every row; shorter texts are filled up with zeros, longer ones cut.
        first, last: ids of the start and the end of a text.
    """

    tokenizer: Any
    length: int
    first: int
    last: int

    @classmethod
    def of(cls, simple: Any) -> ClipTokens:
        """Of open_clip's `SimpleTokenizer`, which lowers case and has no way of its own to shorten texts."""
        from tokenizers import Regex, Tokenizer, models, pre_tokenizers

        merges = sorted(simple.bpe_ranks, key=simple.bpe_ranks.__getitem__)
        made = Tokenizer(models.BPE(vocab=dict(simple.encoder), merges=merges, end_of_word_suffix="</w>"))
        made.add_special_tokens([simple.decoder[simple.sot_token_id], simple.decoder[simple.eot_token_id]])
        made.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(f"(?i:{simple.pat.pattern})"), behavior="removed", invert=True),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
        return cls(made, int(simple.context_length), int(simple.sot_token_id), int(simple.eot_token_id))

    @classmethod
    def opened(cls, described: Mapping[str, Any], folder: Path) -> ClipTokens:
        """What `described` and `save` left.

        Raises:
            OpenMofiError: the file is missing or damaged.
        """
        length, first, last = (int(described[name]) for name in ("length", "first", "last"))
        return cls(opened_file(folder / TOKENIZER_FILE), length, first, last)

    def described(self) -> dict[str, Any]:
        """JSON values for `opened`; see `networks.Networks.tokenizer`."""
        return {"kind": CLIP, "masked": False, "length": self.length, "first": self.first, "last": self.last}

    def __call__(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """See `tokens.Tokens`."""
        rows = np.zeros((len(texts), self.length), np.int64)
        encoded = self.tokenizer.encode_batch([_cleaned(text) for text in texts], add_special_tokens=False)
        for row, encoding in zip(rows, encoded, strict=True):
            ids = [self.first, *encoding.ids[: self.length - 2], self.last]
            row[: len(ids)] = ids
        return rows

    def save(self, folder: Path) -> None:
        """See `tokens.Tokens`."""
        folder.mkdir(parents=True, exist_ok=True)
        self.tokenizer.save(str(folder / TOKENIZER_FILE))


def _cleaned(text: str) -> str:
    import ftfy

    return " ".join(html.unescape(html.unescape(ftfy.fix_text(text))).split()).lower()


@dataclass(frozen=True)
class FileTokenizer:
    """A `tokenizer.json` with what `tokens.HuggingFaceTokens` needs of transformers' tokenizers."""

    tokenizer: Any
    pad_token_id: int | None
    eos_token_id: int | None

    @classmethod
    def opened(cls, folder: Path) -> FileTokenizer:
        """Of a folder that transformers' `save_pretrained` wrote.

        Raises:
            OpenMofiError: the files are missing or damaged.
        """
        tokenizer = opened_file(folder / TOKENIZER_FILE)
        try:
            raw = json.loads((folder / "tokenizer_config.json").read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise OpenMofiError(
                f"{folder / 'tokenizer_config.json'} cannot be read: {error}.", "Copy the encoder again."
            ) from error

        def token(name: str) -> int | None:
            value = raw.get(name)
            content = value.get("content") if isinstance(value, dict) else value
            return None if content is None else tokenizer.token_to_id(content)

        return cls(tokenizer, token("pad_token"), token("eos_token"))

    def __call__(self, texts: Sequence[str], *, truncation: bool, max_length: int) -> dict[str, list[list[int]]]:
        """Texts → `input_ids`, cut to `max_length`, unpadded."""
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(max_length) if truncation else self.tokenizer.no_truncation()
        return {"input_ids": [encoding.ids for encoding in self.tokenizer.encode_batch(list(texts))]}


def opened_file(path: Path) -> Any:
    """A `tokenizer.json`, by the library `tokenizers`.

    Raises:
        OpenMofiError: it is missing or damaged.
    """
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare exceptions
        raise OpenMofiError(f"The tokenizer {path} cannot be opened: {error}.", "Copy the encoder again.") from error
