"""Mentions with different numbers of candidates as one flat list of sequences: nothing is padded to the largest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence


@dataclass(frozen=True)
class Packed:
    """The sequences of a batch of mentions, one a candidate.

    Attributes:
        tokens: (N, L) int64; padded at the end.
        lengths: (N,) int64.
        context: (N,) int64, how many tokens of a sequence are the marked context; the candidate's index token follows.
        mention: (N,) int64, the mention that a sequence belongs to; 0, 0, 0, 1, 1 …, each at least once.
        mentions: their number.
    """

    tokens: Tensor
    lengths: Tensor
    context: Tensor
    mention: Tensor
    mentions: int

    def to(self, device: torch.device) -> Packed:
        """The same on `device`."""
        tokens, lengths, context, mention = (
            value.to(device, non_blocking=True) for value in (self.tokens, self.lengths, self.context, self.mention)
        )
        return Packed(tokens, lengths, context, mention, self.mentions)


def pack(contexts: Sequence[Sequence[int]], candidates: Sequence[Sequence[Sequence[int]]], pad: int) -> Packed:
    """Pack mentions.

    Args:
        contexts: tokens of each mention's marked context.
        candidates: for each mention the tokens of its candidates; at least one.
        pad: the padding token.
    """
    rows = [
        (number, context, candidate)
        for number, (context, of_mention) in enumerate(zip(contexts, candidates, strict=True))
        for candidate in of_mention
    ]
    sequences = [torch.tensor([*context, *candidate]) for _, context, candidate in rows]
    return Packed(
        pad_sequence(sequences, batch_first=True, padding_value=pad),
        torch.tensor(list(map(len, sequences))),
        torch.tensor([len(context) for _, context, _ in rows]),
        torch.tensor([number for number, _, _ in rows]),
        len(contexts),
    )


def token_positions(lengths: Tensor) -> tuple[Tensor, Tensor]:
    """(N,) lengths → for the tokens of all rows, concatenated: (T,) int64 row, (T,) int64 position in the row."""
    row = torch.repeat_interleave(torch.arange(len(lengths), device=lengths.device), lengths)
    starts = lengths.cumsum(0) - lengths
    return row, torch.arange(len(row), device=lengths.device) - starts[row]


def segment_log_softmax(scores: Tensor, segment: Tensor, count: int) -> Tensor:
    """log-softmax of flat float32 scores (S,) within the segments that `segment` (S,) names, 0 to `count` − 1."""
    highest = scores.new_full((count,), -torch.inf).scatter_reduce(0, segment, scores.detach(), "amax")
    shifted = scores - highest[segment]
    total = scores.new_zeros(count).index_add(0, segment, shifted.exp())
    return shifted - total.log()[segment]
