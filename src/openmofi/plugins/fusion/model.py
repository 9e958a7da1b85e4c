"""FusionED: every candidate is encoded with the marked context, and a decoder attends to all of them at once.

"Entity Disambiguation via Fusion Entity Decoding" (arXiv 2404.01626, section 3), after Fusion-in-Decoder (2007.01282).
The decoder is transformers' T5 stack, called with one row that holds every mention's positions one after another, and
masks that let a position see its own mention alone. T5 knows positions only relative to each other, so this is the same
as decoding each mention by itself, without a padded candidate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from openmofi.plugins.fusion.fusion_settings import FusionSettings


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
        """Return the same batch on `device`."""
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
    """Return (T,) int64 row, and (T,) int64 position in it, of each token of concatenated rows of (N,) lengths."""
    row = torch.repeat_interleave(torch.arange(len(lengths), device=lengths.device), lengths)
    starts = lengths.cumsum(0) - lengths
    return row, torch.arange(len(row), device=lengths.device) - starts[row]


def segment_log_softmax(scores: Tensor, segment: Tensor, count: int) -> Tensor:
    """Compute log-softmax of float32 scores (S,) within segments, which `segment` (S,) numbers 0 to `count` − 1."""
    highest = scores.new_full((count,), -torch.inf).scatter_reduce(0, segment, scores.detach(), "amax")
    shifted = scores - highest[segment]
    total = scores.new_zeros(count).index_add(0, segment, shifted.exp())
    return shifted - total.log()[segment]


# Sequences of similar lengths in one pass of the encoder: on a CPU padding costs more than many small passes.
_AT_ONCE, _AT_ONCE_CPU = 128, 16


class FusionModel(nn.Module):
    """Encoder, fused decoder, and both heads.

    Args:
        encoder: token ids and mask → an object with `last_hidden_state`.
        decoder: a T5 stack that is a decoder, of the encoder's width.
        embedding: (V, D), of what the decoder reads.
        output: (D) → (V) logits of titles.
        settings: see there.
        output_scale: factor of the states before `output` (T5 with tied embeddings has D^-0.5).
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        embedding: nn.Embedding,
        output: nn.Linear,
        settings: FusionSettings,
        *,
        output_scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.encoder, self.decoder, self.embedding, self.output = encoder, decoder, embedding, output
        self.settings, self.output_scale = settings, output_scale
        width = embedding.embedding_dim
        self.key = nn.Linear(width, width, bias=False)
        self.nil_memory = nn.Parameter(torch.randn(width) * 0.02)
        self.nil_key = nn.Parameter(torch.zeros(width))
        self.nil_score = nn.Parameter(torch.zeros(()))
        self.log_scale = nn.Parameter(torch.tensor(3.0))  # factor 20 on a cosine, as bi-encoders have

    def forward(self, packed: Packed, start: int) -> Tensor:
        """`select`'s (N + M,) float32 scores: of the N candidates in their order, then NIL's of each of the M mentions.

        Args:
            packed: the candidates.
            start: the token that the decoder starts with.
        """
        states = self.encode(packed)
        row, position = token_positions(packed.lengths)
        index_state = states[packed.lengths.cumsum(0) - packed.lengths + packed.context]
        memory, owner, groups = self._memory(states, packed, row)
        first = torch.full((groups,), start, dtype=torch.int64, device=states.device)
        query = self._decode(first, torch.arange(groups, device=states.device), memory, owner).float()
        keys = self.key(index_state).float()
        queries = query[packed.mention] if self.settings.fusion else query
        scores = (queries * keys).sum(1) / keys.shape[1] ** 0.5
        nil = self.nil_score.float().expand(packed.mentions)
        if self.settings.fusion:
            nil = nil + (query @ self.nil_key.float()) / keys.shape[1] ** 0.5
        if self.settings.similarity:
            scores = scores + self.log_scale.exp() * self._similarity(states.float(), packed, row, position)
        return torch.cat([scores, nil])

    def encode(self, packed: Packed) -> Tensor:
        """Return (T, D) states of the sequences' tokens, one sequence after another, without padding.

        Sequences of similar lengths go through the encoder together, so that little is padded.
        """
        order = packed.lengths.argsort(stable=True)
        pieces = []
        for chunk in order.split(_AT_ONCE_CPU if order.device.type == "cpu" else _AT_ONCE):
            lengths = packed.lengths[chunk]
            tokens = packed.tokens[chunk, : int(lengths.max())]
            mask = torch.arange(tokens.shape[1], device=tokens.device) < lengths[:, None]
            states = self.encoder(input_ids=tokens, attention_mask=mask.long()).last_hidden_state
            pieces.append(states[mask])
        # Undo the sort by length.
        starts = torch.empty_like(order)
        starts[order] = packed.lengths[order].cumsum(0) - packed.lengths[order]
        row, position = token_positions(packed.lengths)
        return torch.cat(pieces)[starts[row] + position]

    def titles(
        self,
        packed: Packed,
        prefixes: Tensor,
        owner: Tensor,
        states: Tensor | None = None,
        *,
        mention_of: Tensor | None = None,
    ) -> Tensor:
        """Return (P, V) float32 logits of the next tokens.

        Args:
            packed: the candidates.
            prefixes: (P,) int64 tokens that the decoder reads: the titles so far, one after another, each opened by
                the start token.
            owner: (P,) int64, the title of each, in blocks.
            states: of `encode`, if already computed.
            mention_of: (titles,) int64, the mention of each title; by default title i is of mention i.
        """
        states = self.encode(packed) if states is None else states
        row, _ = token_positions(packed.lengths)
        memory, held, _ = self._memory(states, packed, row, fused=True)
        seen = None if mention_of is None else mention_of[owner]
        decoded = self._decode(prefixes, owner, memory, held, seen)
        return self.output(decoded * self.output_scale).float()

    def _memory(
        self, states: Tensor, packed: Packed, row: Tensor, *, fused: bool = False
    ) -> tuple[Tensor, Tensor, int]:
        """Return the states to attend to, the group that may see each, and the number of groups."""
        if not (self.settings.fusion or fused):
            return states, row, len(packed.mention)
        nil = self.nil_memory.to(states.dtype).expand(packed.mentions, -1)
        owner = torch.cat([packed.mention[row], torch.arange(packed.mentions, device=row.device)])
        return torch.cat([states, nil]), owner, packed.mentions

    def _decode(
        self, tokens: Tensor, owner: Tensor, memory: Tensor, held: Tensor, seen: Tensor | None = None
    ) -> Tensor:
        """(P,) tokens of several groups, in blocks → (P, D) states; a token sees its block's past, and the memory of
        the group `seen` (its block's own number by default).
        """
        order = torch.arange(len(tokens), device=tokens.device)
        itself = (owner[:, None] == owner[None]) & (order[:, None] >= order[None])
        groups = owner if seen is None else seen
        inputs = self.embedding(tokens)[None]
        decoder: Any = self.decoder
        return decoder(
            inputs_embeds=inputs,
            attention_mask=_additive(itself, memory.dtype),
            encoder_hidden_states=memory[None],
            encoder_attention_mask=_additive(groups[:, None] == held[None], memory.dtype),
            use_cache=False,
        ).last_hidden_state[0]

    @staticmethod
    def _similarity(states: Tensor, packed: Packed, row: Tensor, position: Tensor) -> Tensor:
        """Return (N,) cosines between the mean states of a sequence's context and of its candidate."""
        inside = (position < packed.context[row]).float()[:, None]
        shape = (len(packed.lengths), states.shape[1])
        context = states.new_zeros(shape).index_add(0, row, states * inside)
        candidate = states.new_zeros(shape).index_add(0, row, states * (1 - inside))
        return torch.cosine_similarity(context, candidate, dim=1)


def _additive(allowed: Tensor, dtype: torch.dtype) -> Tensor:
    """A mask of transformers: (1, 1, P, T), 0 where allowed and very low elsewhere."""
    dtype = dtype if dtype.is_floating_point else torch.float32
    return torch.zeros(allowed.shape, dtype=dtype, device=allowed.device).masked_fill(~allowed, torch.finfo(dtype).min)[
        None, None
    ]
