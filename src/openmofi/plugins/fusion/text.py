"""The texts of the fusion decoder as tokens: marked mentions, candidates, and distinct titles, which are scored."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import attrgetter
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from openmofi.errors import OpenMofiError
from openmofi.plugins.fusion.examples import LinkCandidate
from openmofi.plugins.fusion.fusion_settings import FusionSettings
from openmofi.plugins.fusion.model import FusionModel, Packed
from openmofi.storage.foreign import guarded, require_own_files

# Spare tokens of a vocabulary: T5's sentinels, BERT's unused ones.
_SPARE = (tuple(f"<extra_id_{number}>" for number in range(4)), tuple(f"[unused{number}]" for number in range(4)))
_FIRST, _LAST, _PAD = ("[CLS]", "<s>"), ("[SEP]", "</s>"), ("[PAD]", "<pad>")
NIL_TITLE = "none of these"


@dataclass(frozen=True)
class Markers:
    """The tokens of a vocabulary that have a role.

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
    """Load the `tokenizers.Tokenizer` of a folder of transformers, without padding or truncation.

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
    """Find the markers of a vocabulary.

    Raises:
        OpenMofiError: it has no spare tokens, or none for padding.
    """
    spare = next((ids for names in _SPARE if None not in (ids := tuple(map(tokenizer.token_to_id, names)))), None)
    pad = _first_id(tokenizer, _PAD)
    if spare is None or not pad:
        raise OpenMofiError(
            "The tokenizer has no tokens for marking mentions.",
            "It needs <extra_id_0> to <extra_id_3>, or [unused0] to [unused3], and one for padding.",
        )
    begin, end, split, index = spare
    return Markers(begin, end, split, index, _first_id(tokenizer, _FIRST), _first_id(tokenizer, _LAST), pad[0])


def _first_id(tokenizer: Any, names: Sequence[str]) -> tuple[int, ...]:
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
        """Return the tokens of a text, without special ones."""
        return list(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def title(self, text: str) -> list[int]:
        """Return the tokens of a title as it is generated, with the closing token."""
        return [*self.plain(text)[: self.settings.candidate_tokens], *self.markers.last]

    def context(self, text: str, start: int, end: int) -> list[int]:
        """Return the tokens of the marked mention with as much of the text on both sides as fits.

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

    def candidate(self, candidate: LinkCandidate) -> tuple[int, ...]:
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


def distinct_titles(candidates: Sequence[LinkCandidate]) -> list[str]:
    """Make titles distinct: namesakes get their type, else their description, else a number."""
    titles = [candidate.title for candidate in candidates]
    for more in (attrgetter("type"), attrgetter("description")):
        titles = [
            f"{title} ({more(candidate)})" if titles.count(title) > 1 and more(candidate) else title
            for title, candidate in zip(titles, candidates, strict=True)
        ]
    seen: dict[str, int] = {}
    distinct = []
    for title in titles:
        seen[title] = seen.get(title, 0) + 1
        distinct.append(title if seen[title] == 1 else f"{title} {seen[title]}")
    return distinct


def title_tokens(tokens: FusionTokens, candidates: Sequence[LinkCandidate]) -> list[list[int]]:
    """Return the tokens of each candidate's distinct title, then of NIL's; distinct even where titles are cut."""
    sequences: list[list[int]] = []
    for title in [*distinct_titles(candidates), NIL_TITLE]:
        sequence, number = tokens.title(title), 2
        while sequence in sequences:
            sequence, number = [*tokens.plain(str(number)), *sequence], number + 1
        sequences.append(sequence)
    return sequences


def title_losses(
    model: FusionModel,
    packed: Packed,
    titles: Sequence[Sequence[int]],
    start: int,
    *,
    mention_of: Sequence[int] | None = None,
) -> Tensor:
    """(titles,) float32 mean cross-entropy of each title's tokens, teacher-forced.

    Args:
        model, packed: see there.
        titles: tokens.
        start: the token that the decoder starts with.
        mention_of: the mention of each title; by default title i is of mention i.
    """
    device = packed.tokens.device
    lengths = torch.tensor([len(title) for title in titles], device=device)
    owner = torch.repeat_interleave(torch.arange(len(titles), device=device), lengths)
    prefixes = torch.tensor([token for title in titles for token in (start, *title[:-1])], device=device)
    targets = torch.tensor([token for title in titles for token in title], device=device)
    mentions = None if mention_of is None else torch.tensor(mention_of, device=device)
    logits = model.titles(packed, prefixes, owner, mention_of=mentions)
    losses = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
    return losses.new_zeros(len(titles)).index_add(0, owner, losses) / lengths


@torch.no_grad()
def title_scores(
    model: FusionModel, packed: Packed, titles: Sequence[Sequence[Sequence[int]]], start: int
) -> list[Tensor]:
    """For each mention the mean log-probability of each of its titles, teacher-forced: the confidence of `generate`."""
    losses = title_losses(
        model,
        packed,
        [title for of_mention in titles for title in of_mention],
        start,
        mention_of=[mention for mention, of_mention in enumerate(titles) for _ in of_mention],
    )
    return list((-losses).split([len(of_mention) for of_mention in titles]))
