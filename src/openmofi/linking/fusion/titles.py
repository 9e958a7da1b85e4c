"""Titles as answers: told apart, kept in a prefix trie, and generated greedily without ever leaving the list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from openmofi.linking.corpora.examples import Candidate
from openmofi.linking.fusion.model import FusionModel
from openmofi.linking.fusion.packing import Packed
from openmofi.linking.fusion.text import NIL_TITLE, FusionTokens


@dataclass
class TitleTrie:
    """Token sequences → their numbers; a node knows what may follow.

    Attributes:
        next: token → what follows it.
        answers: the sequences that end here.
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
        """The answer, where one sequence alone is left; else `None`."""
        node = self
        while not node.answers and len(node.next) == 1:
            node = next(iter(node.next.values()))
        return node.answers[0] if node.answers and not node.next else None


def distinct_titles(candidates: Sequence[Candidate]) -> list[str]:
    """A title each, no two alike: namesakes are told apart by type, then by description, then by a number."""
    titles = [candidate.title for candidate in candidates]
    for more in (lambda one: one.type, lambda one: one.description):
        titles = [f"{title} ({more(candidate)})" if titles.count(title) > 1 and more(candidate) else title
                  for title, candidate in zip(titles, candidates, strict=True)]
    seen: dict[str, int] = {}
    told = []
    for title in titles:
        seen[title] = seen.get(title, 0) + 1
        told.append(title if seen[title] == 1 else f"{title} {seen[title]}")
    return told


def title_tokens(tokens: FusionTokens, candidates: Sequence[Candidate]) -> list[list[int]]:
    """Tokens of each candidate's distinct title, then of NIL's; no two alike, though titles may be cut."""
    found: list[list[int]] = []
    for title in [*distinct_titles(candidates), NIL_TITLE]:
        sequence, number = tokens.title(title), 2
        while sequence in found:
            sequence, number = [*tokens.plain(str(number)), *sequence], number + 1
        found.append(sequence)
    return found


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
        asked = [mention for mention in range(len(titles)) if mention not in answers]
        if not asked:
            return [answers[mention] for mention in range(len(titles))]
        flat = torch.tensor([token for mention in asked for token in written[mention]], device=states.device)
        owner = torch.tensor([mention for mention in asked for _ in written[mention]], device=states.device)
        logits = model.titles(packed, flat, owner, states)
        ends = torch.tensor([len(written[mention]) for mention in asked]).cumsum(0) - 1
        for mention, row in zip(asked, logits[ends.to(logits.device)].cpu(), strict=True):
            _follow(mention, row, nodes, written, answers)


def _follow(mention: int, logits: Tensor, nodes: list[TitleTrie], written: list[list[int]],
            answers: dict[int, int]) -> None:
    """Take the likeliest token that the trie allows; a title that is the beginning of another one may end here."""
    node = nodes[mention]
    allowed = list(node.next)
    token = allowed[int(logits[allowed].argmax())]
    if node.answers:
        # Without a closing token nothing says that the title ends: the longer one is taken where it is likelier than
        # not among all tokens.
        share = torch.log_softmax(logits, 0)[allowed].exp().sum()
        if float(share) < 0.5:
            answers[mention] = node.answers[0]
            return
    written[mention].append(token)
    nodes[mention] = node.next[token]


def title_losses(model: FusionModel, packed: Packed, targets: Sequence[Sequence[int]], start: int) -> Tensor:
    """(M,) float32 mean cross-entropy of each mention's title, teacher-forced."""
    device = packed.tokens.device
    lengths = torch.tensor([len(target) for target in targets])
    owner = torch.repeat_interleave(torch.arange(len(targets)), lengths).to(device)
    shifted = [token for target in targets for token in (start, *target[:-1])]
    wanted = torch.tensor([token for target in targets for token in target], device=device)
    logits = model.titles(packed, torch.tensor(shifted, device=device), owner)
    found = torch.nn.functional.cross_entropy(logits, wanted, reduction="none")
    return found.new_zeros(len(targets)).index_add(0, owner, found) / lengths.to(device)


@torch.no_grad()
def title_scores(model: FusionModel, packed: Packed, titles: Sequence[Sequence[Sequence[int]]],
                 start: int) -> list[Tensor]:
    """For each mention the mean log-probability of every title, teacher-forced: what `generate` has of confidence."""
    states = model.encode(packed)
    flat: list[int] = []
    wanted: list[int] = []
    blocks: list[int] = []
    mention_of: list[int] = []
    for mention, listed in enumerate(titles):
        for title in listed:
            flat += [start, *title[:-1]]
            wanted += title
            blocks += [len(mention_of)] * len(title)
            mention_of.append(mention)
    block = torch.tensor(blocks, device=states.device)
    logits = model.titles(packed, torch.tensor(flat, device=states.device), block, states,
                          mention_of=torch.tensor(mention_of, device=states.device))
    found = -torch.nn.functional.cross_entropy(logits, torch.tensor(wanted, device=states.device), reduction="none")
    count = torch.bincount(block, minlength=len(mention_of))
    means = found.new_zeros(len(mention_of)).index_add(0, block, found) / count
    return list(means.split([len(listed) for listed in titles]))
