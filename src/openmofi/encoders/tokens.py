"""Tokenizers of towers that are trained: texts become one tensor, and the files travel with the encoder."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from openmofi.arrays import Ints
from openmofi.encoders.arrays import padded
from openmofi.encoders.preprocess import Tokens
from openmofi.encoders.towers import stored_tokens
from openmofi.errors import OpenMofiError, first_line
from openmofi.quiet import quiet_transformers
from openmofi.storage import read_json
from openmofi.storage.foreign import require_own_files

if TYPE_CHECKING:
    import torch


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
    def opened(cls, described: Mapping[str, Any], folder: Path) -> ClipTokens:
        """Open what `described` and `save` left.

        Raises:
            OpenMofiError: the file is missing or damaged.
        """
        length, first, last = (int(described[name]) for name in ("length", "first", "last"))
        return cls(opened_file(folder / TOKENIZER_FILE), length, first, last)

    def described(self) -> dict[str, Any]:
        """JSON values for `opened`; see `networks.Networks.tokenizer`."""
        return {"kind": CLIP, "masked": False, "length": self.length, "first": self.first, "last": self.last}

    def __call__(self, texts: Sequence[str]) -> Ints:
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
        """Open a folder that transformers' `save_pretrained` wrote.

        Raises:
            OpenMofiError: the files are missing or damaged.
        """
        tokenizer = opened_file(folder / TOKENIZER_FILE)
        raw = read_json(folder / "tokenizer_config.json", dict[str, Any], "Copy the encoder again.")

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
    """Open a `tokenizer.json`, by the library `tokenizers`.

    Raises:
        OpenMofiError: it is missing or damaged.
    """
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare exceptions
        raise OpenMofiError(f"The tokenizer {path} cannot be opened: {error}.", "Copy the encoder again.") from error


@dataclass(frozen=True)
class OpenClipTokens:
    """A tokenizer of open_clip; `files` tells whether it is one of transformers', with files of its own."""

    tokenizer: Any
    files: bool

    def __call__(self, texts: Sequence[str]) -> torch.Tensor:
        """See `Tokens`."""
        ids: torch.Tensor = self.tokenizer(list(texts))
        return ids.long()

    def save(self, folder: Path) -> None:
        """See `Tokens`."""
        if self.files:
            self.tokenizer.save_pretrained(str(folder))


@dataclass(frozen=True)
class HuggingFaceTokens:
    """A tokenizer of transformers; texts are cut and padded to `length`; `end`, where given, ends each of them.

    Padding stands right of the end token, where a causal text tower does not see it, and SigLIP's was trained with it
    unmasked: the ids alone are enough.
    """

    tokenizer: Any
    length: int
    end: int | None = None

    @property
    def filler(self) -> int:
        """The token that pads."""
        pad = self.tokenizer.pad_token_id
        return int(pad if pad is not None else self.tokenizer.eos_token_id or 0)

    def rows(self, texts: Sequence[str]) -> list[list[int]]:
        """Texts → their tokens, unpadded."""
        ends = [] if self.end is None else [self.end]
        limit = self.length - len(ends)
        rows = self.tokenizer(list(texts), truncation=True, max_length=limit)["input_ids"] if texts else []
        return [[*row, *ends] for row in rows]

    def __call__(self, texts: Sequence[str]) -> torch.Tensor:
        """See `Tokens`."""
        import torch

        return torch.from_numpy(padded(self.rows(texts), self.filler, self.length)[0])

    def save(self, folder: Path) -> None:
        """See `Tokens`."""
        self.tokenizer.save_pretrained(str(folder))


@dataclass(frozen=True)
class WordPieceTokens:
    """A tokenizer of the library `tokenizers`, as BERT's: token sequences as long as their texts, unpadded."""

    tokenizer: Any

    @classmethod
    def opened(cls, file: Path, length: int) -> WordPieceTokens:
        """Open a `tokenizer.json`; texts are cut to `length` tokens.

        Raises:
            OpenMofiError: the file is missing or damaged.
        """
        tokenizer = opened_file(file)
        tokenizer.no_padding()
        tokenizer.enable_truncation(length)
        return cls(tokenizer)

    def __call__(self, texts: Sequence[str]) -> list[list[int]]:
        """Texts → their tokens."""
        return [row.ids for row in self.tokenizer.encode_batch(list(texts))]

    def save(self, folder: Path) -> None:
        """Write its one file."""
        folder.mkdir(parents=True, exist_ok=True)
        self.tokenizer.save(str(folder / TOKENIZER_FILE))


def opened_tokenizer(folder: Path) -> Any:
    """The tokenizer of transformers in a local folder.

    Raises:
        OpenMofiError: its files are missing or damaged.
    """
    if find_spec("transformers") is None:
        return FileTokenizer.opened(folder)
    from transformers import AutoTokenizer

    require_own_files(folder)
    try:
        with quiet_transformers():
            tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
            tokenizer("a")  # some damage shows only in use
    except Exception as error:  # the library raises bare exceptions
        raise OpenMofiError(
            f"The tokenizer in {folder} cannot be opened: {first_line(error)}.", "Train or copy the encoder again."
        ) from error
    tokenizer.padding_side = "right"
    return tokenizer


def opened_tokens(tokenizer: Mapping[str, Any], folder: Path) -> Tokens:
    """The tokenizer that `tokenizer` describes, whose files, where it has any, are in `folder`.

    Raises:
        OpenMofiError: the description cannot be parsed, or the files are missing or damaged.
    """
    opener = _TOKENIZERS.get(str(tokenizer.get("kind")))
    if opener is None:
        raise OpenMofiError(
            f"Unknown kind of tokenizer {tokenizer.get('kind')!r}.", "Use the version of OpenMOFI that wrote it."
        )
    return opener(tokenizer, folder)


_TOKENIZERS: dict[str, Callable[[Mapping[str, Any], Path], Tokens]] = {
    "tower": lambda raw, folder: stored_tokens(raw["architecture"], folder),
    CLIP: ClipTokens.opened,
    "transformers": lambda raw, folder: HuggingFaceTokens(opened_tokenizer(folder), int(raw["length"]), raw["end"]),
    "wordpiece": lambda raw, folder: WordPieceTokens.opened(folder / TOKENIZER_FILE, int(raw["length"])),
}
