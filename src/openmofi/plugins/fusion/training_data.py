"""Training examples of linkers: candidates and their order are drawn anew each epoch."""

from collections import defaultdict
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from openmofi.arrays import Ints
from openmofi.dataset.tables import Folder, Judged, labels_kb
from openmofi.errors import OpenMofiError
from openmofi.knowledge import KnowledgeBase, normalise
from openmofi.objectives.protocol import Batch
from openmofi.plugins.fusion.examples import NIL, LinkCandidate, LinkExample
from openmofi.plugins.fusion.fusion_settings import LinkData
from openmofi.plugins.fusion.model import Packed, pack
from openmofi.plugins.fusion.text import FusionTokens, title_tokens
from openmofi.storage import digits64

TRAIN, HELD_OUT = "train", "validation"
_ONE_IN = 5  # texts are held out

Place = tuple[str, int, int]
"""A text's hash, and a span of it."""


def labelled_examples(data: LinkData) -> list[LinkExample]:
    """Make an example of each ambiguous mention whose sense a label job is sure of.

    A fifth of the texts is held out, by their hashes. Of a name with more than `per_name` examples those stay whose
    texts have the lowest hashes. Where a text comes with several images, the surest speaks.

    Raises:
        OpenMofiError: the folder holds no finished labels, they were made with another knowledge base, or none of an
            ambiguous mention is sure enough.
    """
    folder = Folder.open(data.labels, "labels")
    kb = _kb_of(folder, data.kb)
    by_name: defaultdict[str, dict[Place, tuple[float, str, str, list[dict[str, Any]]]]] = defaultdict(dict)
    for shard in folder.shards:
        for text, mention, judged in _sure_mentions(folder.read(shard, ["text", "mentions", "entities"]), data.sure):
            best = max(judged, key=lambda candidate: (candidate["probability"], candidate["entity"]))
            of_name = by_name[normalise(mention["surface"])]
            position = (_hash(text), mention["start"], mention["end"])
            earlier = of_name.get(position)
            if earlier is None or (best["probability"], best["entity"]) > earlier[:2]:
                of_name[position] = (best["probability"], best["entity"], text, judged)
            if len(of_name) > data.per_name:
                del of_name[max(of_name)]
    if not by_name:
        raise OpenMofiError(
            f"{data.labels} has no ambiguous mention with a sense of probability {data.sure:g}.",
            "Label more pairs, or lower data.sure.",
        )
    return [
        _example(kb, name, position, *of_place)
        for name in sorted(by_name)
        for position, of_place in sorted(by_name[name].items())
    ]


def _kb_of(folder: Folder, path: str) -> KnowledgeBase:
    kb = KnowledgeBase.open(path) if path else labels_kb(folder)
    if kb is None:
        raise OpenMofiError(
            f"The knowledge base of {folder.path} is no longer where it was, or has changed.",
            "Give it with --kb, or label again.",
        )
    if kb.fingerprint != folder.manifest.inputs.get("/kb"):
        raise OpenMofiError(
            f"{folder.path} was made with another knowledge base than {path}.",
            f"Give that one ({folder.manifest.settings.get('kb')}), or label with this one.",
        )
    return kb


def _sure_mentions(table: pa.Table, sure: float) -> Iterator[tuple[str, dict[str, Any], list[dict[str, Any]]]]:
    """Yield text, mention and judged candidates where one of several candidates is sure."""
    judged = Judged.of(table)
    rows = np.unique(judged.row[judged.probability >= sure])
    for pair in table.take(pa.array(rows)).to_pylist():
        of_mentions: defaultdict[int, list[dict[str, Any]]] = defaultdict(list)
        for candidate in pair["entities"]:
            of_mentions[candidate["mention"]].append(candidate)
        for number, candidates in of_mentions.items():
            mention = pair["mentions"][number]
            surest = max(candidate["probability"] for candidate in candidates)
            if surest >= sure and len(candidates) > 1 and not mention["reason"]:
                yield pair["text"], mention, candidates


def _hash(text: str) -> str:
    return digits64(text.encode())


def _example(
    kb: KnowledgeBase,
    name: str,
    position: Place,
    probability: float,
    gold: str,
    text: str,
    judged: list[dict[str, Any]],
) -> LinkExample:
    digest, start, end = position
    judged = sorted(judged, key=lambda candidate: (-candidate["prior"], candidate["entity"]))
    entities = [kb.entity(row) for row in kb.rows([candidate["entity"] for candidate in judged]).tolist()]
    candidates = tuple(
        LinkCandidate(
            entity.id, entity.name, entity.description, entity.types[0] if entity.types else "", candidate["prior"]
        )
        for entity, candidate in zip(entities, judged, strict=True)
    )
    return LinkExample(text, start, end, candidates, gold, TRAIN if int(digest, 16) % _ONE_IN else HELD_OUT, name)


@dataclass(frozen=True)
class TrainingMention:
    """A mention as one epoch trains on it.

    Attributes:
        candidates: in a random order.
        target: the position of the right one; the number of candidates stands for NIL.
    """

    candidates: list[LinkCandidate]
    target: int


class LinkExamples:
    """Training examples; the step number alone decides a batch.

    Args:
        examples: those of the training splits.
        settings: see `LinkData`.
        tokens: of the model.
        seed: of the order and of what is drawn.

    Raises:
        OpenMofiError: there are fewer than a batch.
    """

    def __init__(self, examples: Sequence[LinkExample], settings: LinkData, tokens: FusionTokens, seed: int) -> None:
        # A choice needs at least one wrong candidate.
        usable = [
            example for example in examples if any(candidate.id != example.gold for candidate in example.candidates)
        ]
        drawn = np.random.default_rng([seed, 1]).permutation(len(usable))[: max(1, round(settings.share * len(usable)))]
        self.examples = [usable[index] for index in sorted(drawn)]
        if len(self.examples) < settings.batch_size:
            raise OpenMofiError(
                f"There are {len(self.examples)} usable training examples, fewer than a batch of "
                f"{settings.batch_size}.",
                "Lower data.batch_size, or name other splits in data.train.",
            )
        self._settings, self._tokens, self._seed = settings, tokens, seed
        self.nil = settings.nil > 0 or any(example.gold == NIL for example in self.examples)
        self._contexts = [tokens.context(example.text, example.start, example.end) for example in self.examples]
        self._alike = _by_type(self.examples) if settings.hard_negatives else {}

    def batches(self, start: int, stop: int) -> Generator[Batch]:
        """Yield the batches of steps `start` to `stop` − 1: `row` and `epoch`, both (B,) int64."""
        size, count = self._settings.batch_size, len(self.examples)
        orders: dict[int, Ints] = {}
        for step in range(start, stop):
            positions = np.arange(step * size, (step + 1) * size)
            epochs, inner = positions // count, positions % count
            orders = {
                epoch: orders[epoch] if epoch in orders else self._order(epoch) for epoch in np.unique(epochs).tolist()
            }
            rows = np.array([orders[epoch][index] for epoch, index in zip(epochs.tolist(), inner, strict=True)])
            yield {"row": torch.from_numpy(rows), "epoch": torch.from_numpy(epochs)}

    def _order(self, epoch: int) -> Ints:
        return np.random.default_rng([self._seed, 2, epoch]).permutation(len(self.examples))

    def mention(self, row: int, epoch: int) -> TrainingMention:
        """Return an example with the candidates that are drawn for an epoch."""
        settings, example = self._settings, self.examples[row]
        draw = np.random.default_rng([self._seed, 3, epoch, row])
        gold = next((candidate for candidate in example.candidates if candidate.id == example.gold), None)
        wrong = [candidate for candidate in example.candidates if candidate.id != example.gold]
        drawn = draw.random(len(wrong)) >= settings.candidate_dropout
        drawn[int(draw.integers(len(wrong)))] = True
        wrong = [candidate for candidate, keep in zip(wrong, drawn, strict=True) if keep]
        if gold is not None and settings.hard_negatives:
            wrong += self._drawn_alike(gold, example, draw)
        if gold is not None and settings.nil and draw.random() < settings.nil:
            gold = None
        room = settings.max_candidates - (gold is not None)
        listed = [wrong[index] for index in draw.permutation(len(wrong))[:room]] + ([gold] if gold else [])
        order = draw.permutation(len(listed)).tolist()
        target = order.index(len(listed) - 1) if gold is not None else len(listed)
        return TrainingMention([listed[index] for index in order], target)

    def _drawn_alike(self, gold: LinkCandidate, example: LinkExample, draw: np.random.Generator) -> list[LinkCandidate]:
        pool = self._alike.get(gold.type, [])
        example_ids = {candidate.id for candidate in example.candidates}
        count = min(self._settings.hard_negatives, len(pool))
        # Candidates of the example itself are not drawn.
        return [
            pool[index] for index in draw.choice(len(pool), count, replace=False) if pool[index].id not in example_ids
        ]

    def packed(self, batch: Batch) -> tuple[Packed, list[TrainingMention]]:
        """Return the model's input for a batch, and its mentions."""
        rows = batch["row"].tolist()
        mentions = [self.mention(row, epoch) for row, epoch in zip(rows, batch["epoch"].tolist(), strict=True)]
        candidates = [[self._tokens.candidate(candidate) for candidate in mention.candidates] for mention in mentions]
        return pack([self._contexts[row] for row in rows], candidates, self._tokens.markers.pad), mentions

    def titles(self, mentions: Sequence[TrainingMention]) -> list[list[int]]:
        """Return the tokens of each mention's right title."""
        return [title_tokens(self._tokens, mention.candidates)[mention.target] for mention in mentions]


def _by_type(examples: Sequence[LinkExample]) -> dict[str, list[LinkCandidate]]:
    candidates: dict[str, dict[str, LinkCandidate]] = defaultdict(dict)
    for example in examples:
        for candidate in example.candidates:
            candidates[candidate.type].setdefault(candidate.id, candidate)
    return {kind: list(by_id.values()) for kind, by_id in candidates.items()}
