"""Titles as the paper's decoder writes them: greedily, within a prefix trie of the listed titles.

The linker itself scores every listed title (`openmofi.plugins.fusion.text.title_scores`); this is the comparison.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from openmofi.plugins.fusion.model import FusionModel, Packed


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
