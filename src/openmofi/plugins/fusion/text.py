"""The texts of the fusion decoder, as tokens: `… <m> mention </m> … | title | description | type`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from openmofi.errors import OpenMofiError
from openmofi.plugins.fusion.corpora.examples import Candidate
from openmofi.plugins.fusion.fusion_settings import FusionSettings
from openmofi.storage.foreign import guarded
from openmofi.storage.foreign.transformers import require_own_files

# Spare tokens of a vocabulary: T5's sentinels, BERT's unused ones.
_SPARE = (tuple(f"<extra_id_{number}>" for number in range(4)), tuple(f"[unused{number}]" for number in range(4)))
_FIRST, _LAST, _PAD = ("[CLS]", "<s>"), ("[SEP]", "</s>"), ("[PAD]", "<pad>")
NIL_TITLE = "none of these"


@dataclass(frozen=True)
class Markers:
    """Tokens with a role.

    Attributes:
        begin, end: around the mention.
        split: between title, description and type.
        index: opens the candidate; `select` chooses among the states of these tokens.
        first, last: open and close a sequence, where the vocabulary has such tokens.
        pad: padding; a decoder starts with it too.
    """

    begin: int
    end: int
    split: int
    index: int
    first: tuple[int, ...]
    last: tuple[int, ...]
    pad: int


def load_tokenizer(folder: str | Path) -> Any:
    """The `tokenizers.Tokenizer` of a folder of transformers, without padding or truncation.

    Raises:
        OpenMofiError: the folder has none that can be read.
    """
    from tokenizers import Tokenizer
    from transformers import AutoTokenizer

    file = Path(folder) / "tokenizer.json"
    require_own_files(Path(folder))
    try:
        with guarded(f"The tokenizer of {folder}"):
            tokenizer = (
                Tokenizer.from_file(str(file))
                if file.is_file()
                else AutoTokenizer.from_pretrained(
                    str(folder), local_files_only=True, trust_remote_code=False
                ).backend_tokenizer
            )
    except OpenMofiError:
        raise
    except Exception as error:  # tokenizers raises bare Exceptions
        raise OpenMofiError(
            f"The tokenizer of {folder} cannot be read: {error}.",
            "Give a local folder of transformers with a tokenizer.json.",
        ) from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def find_markers(tokenizer: Any) -> Markers:
    """The markers of a vocabulary.

    Raises:
        OpenMofiError: it has no spare tokens, or none for padding.
    """
    spare = next((ids for names in _SPARE if None not in (ids := tuple(map(tokenizer.token_to_id, names)))), None)
    pad = _known(tokenizer, _PAD)
    if spare is None or not pad:
        raise OpenMofiError(
            "The tokenizer has no tokens for marking mentions.",
            "It needs <extra_id_0> to <extra_id_3>, or [unused0] to [unused3], and one for padding.",
        )
    begin, end, split, index = spare
    return Markers(begin, end, split, index, _known(tokenizer, _FIRST), _known(tokenizer, _LAST), pad[0])


def _known(tokenizer: Any, names: Sequence[str]) -> tuple[int, ...]:
    return tuple(number for name in names if (number := tokenizer.token_to_id(name)) is not None)[:1]


class FusionTokens:
    """Turns mentions and candidates into tokens.

    Args:
        tokenizer: a `tokenizers.Tokenizer`.
        settings: lengths, and the parts of a candidate's text.
    """

    def __init__(self, tokenizer: Any, settings: FusionSettings) -> None:
        self.tokenizer, self.settings = tokenizer, settings
        self.markers = find_markers(tokenizer)
        self._candidate = lru_cache(maxsize=200_000)(self._candidate_ids)

    def plain(self, text: str) -> list[int]:
        """Tokens of a text, without special ones."""
        return list(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def title(self, text: str) -> list[int]:
        """Tokens of a title as it is generated, with the closing token."""
        return [*self.plain(text)[: self.settings.candidate_tokens], *self.markers.last]

    def context(self, text: str, start: int, end: int) -> list[int]:
        """The marked mention with as much of the text on both sides as fits.

        A mention takes at most half of the room. What one side does not need, the other side gets.
        """
        room = self.settings.context_tokens
        mention = self.plain(text[start:end])[: max(1, room // 2)]
        # Text farther away than 16 characters a token is not encoded: it does not fit.
        reach = 16 * room
        left, right = self.plain(text[max(0, start - reach) : start]), self.plain(text[end : end + reach])
        room -= len(mention)
        before = min(len(left), max(room // 2, room - len(right)))
        after = min(len(right), room - before)
        mark = self.markers
        return [*mark.first, *left[len(left) - before :], mark.begin, *mention, mark.end, *right[:after]]

    def candidate(self, candidate: Candidate) -> tuple[int, ...]:
        """Index token, title, description and type, cut to fit; a long description leaves room for the type."""
        return self._candidate(candidate.title, candidate.description, candidate.type)

    def _candidate_ids(self, title: str, description: str, kind: str) -> tuple[int, ...]:
        room, mark = self.settings.candidate_tokens, self.markers
        name = self.plain(title)[:room]
        last = self.plain(kind)[: room - len(name)] if self.settings.type and kind else []
        middle = self.plain(description)[: room - len(name) - len(last)] if self.settings.description else []
        parts = [part for part in (name, middle, last) if part]
        joined = [token for part in parts for token in (mark.split, *part)][1:]
        return (mark.index, *joined, *mark.last)
