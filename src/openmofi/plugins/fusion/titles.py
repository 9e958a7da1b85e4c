"""Titles as answers: made distinct, kept in a prefix trie, generated greedily within the list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import attrgetter

import torch
from torch import Tensor

from openmofi.plugins.fusion.corpora.examples import Candidate
from openmofi.plugins.fusion.model import FusionModel
from openmofi.plugins.fusion.packing import Packed
from openmofi.plugins.fusion.text import NIL_TITLE, FusionTokens


@dataclass
class TitleTrie:
    """Token sequences → their numbers.

    Attributes:
        next: token → the node after it.
        answers: numbers of the sequences that end here.
    """

    next: dict[int, TitleTrie] = field(default_factory=dict)
    answers: list[int] = field(default_factory=list)

    @classmethod
    def of(cls, titles: Sequence[Sequence[int]]) -> TitleTrie:
        """The trie of token sequences, numbered in their order."""
        root = cls()
        for number, tokens in enumerate(titles):
            node = root
            for token in tokens:
                node = node.next.setdefault(token, cls())
            node.answers.append(number)
        return root

    def only(self) -> int | None:
        """The answer, where a single sequence remains; else `None`."""
        node = self
        while not node.answers and len(node.next) == 1:
            node = next(iter(node.next.values()))
        return node.answers[0] if node.answers and not node.next else None


def distinct_titles(candidates: Sequence[Candidate]) -> list[str]:
    """Distinct titles: namesakes get their type, else their description, else a number."""
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


def title_tokens(tokens: FusionTokens, candidates: Sequence[Candidate]) -> list[list[int]]:
    """Tokens of each candidate's distinct title, then of NIL's; distinct even where titles are cut."""
    sequences: list[list[int]] = []
    for title in [*distinct_titles(candidates), NIL_TITLE]:
        sequence, number = tokens.title(title), 2
        while sequence in sequences:
            sequence, number = [*tokens.plain(str(number)), *sequence], number + 1
        sequences.append(sequence)
    return sequences


@torch.no_grad()
def generate(model: FusionModel, packed: Packed, titles: Sequence[Sequence[Sequence[int]]], start: int) -> list[int]:
    """Greedy answers: for each mention the number of the title that is generated.

    Args:
        model: in evaluation mode.
        packed: the candidates.
        titles: for each mention the token sequences that it may be answered with, NIL's among them if it may be NIL.
        start: the token that the decoder starts with.
    """
    states = model.encode(packed)
    nodes = [TitleTrie.of(listed) for listed in titles]
    written: list[list[int]] = [[start] for _ in titles]
    answers: dict[int, int] = {}
    while True:
        for mention, node in enumerate(nodes):
            only = node.only()
            if mention not in answers and only is not None:
                answers[mention] = only
        open_mentions = [mention for mention in range(len(titles)) if mention not in answers]
        if not open_mentions:
            return [answers[mention] for mention in range(len(titles))]
        flat = torch.tensor([token for mention in open_mentions for token in written[mention]], device=states.device)
        owner = torch.tensor([mention for mention in open_mentions for _ in written[mention]], device=states.device)
        logits = model.titles(packed, flat, owner, states)
        ends = torch.tensor([len(written[mention]) for mention in open_mentions]).cumsum(0) - 1
        for mention, row in zip(open_mentions, logits[ends.to(logits.device)].cpu(), strict=True):
            _follow(mention, row, nodes, written, answers)


def _follow(
    mention: int, logits: Tensor, nodes: list[TitleTrie], written: list[list[int]], answers: dict[int, int]
) -> None:
    """Take the likeliest token that the trie allows; a title that is a prefix of another may end here."""
    node = nodes[mention]
    allowed = list(node.next)
    token = allowed[int(logits[allowed].argmax())]
    # Without a closing token nothing marks the end of the title: the longer one is taken where its probability among
    # all tokens is at least one half.
    if node.answers and float(torch.log_softmax(logits, 0)[allowed].exp().sum()) < 0.5:
        answers[mention] = node.answers[0]
        return
    written[mention].append(token)
    nodes[mention] = node.next[token]


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
