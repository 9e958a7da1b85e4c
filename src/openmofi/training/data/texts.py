"""The text of a sample: the pair's own, or its entity's in a template; texts that are easily taken for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from openmofi.arrays import Codes, Doubles, Ints
from openmofi.errors import OpenMofiError, UsageError
from openmofi.knowledge import KnowledgeBase
from openmofi.knowledge.relations import INSTANCE, SUBCLASS
from openmofi.knowledge.texts import filled
from openmofi.storage import hash64
from openmofi.training.data.plan import members_of_classes
from openmofi.training.recipe import TextSource

_TEXTS = 4  # sets these random numbers apart from those of `plan`


def text_id(text: str) -> int:
    """A signed 64-bit number, equal where the texts are equal."""
    return hash64(text.encode(), signed=True)


@dataclass(frozen=True)
class TextPlan:
    """The texts of a class by template, and how one is drawn.

    Attributes:
        texts: (classes × templates) texts, those of class c from `c × templates` on.
        edges: cumulative probabilities of: the alt-text, each template of the name, each template of name and
            description.
        seed: of the draws.
    """

    texts: tuple[str, ...]
    edges: tuple[float, ...]
    seed: int

    @property
    def templates(self) -> int:
        """Texts a class has."""
        return len(self.edges) - 1

    @property
    def alt_text(self) -> float:
        """Probability of the pair's own text."""
        return self.edges[0]

    def choices(self, step: int, size: int) -> Ints:
        """(size,) which text each sample of the global batch of `step` is given: 0 is the alt-text."""
        draws = np.random.default_rng([self.seed, _TEXTS, step]).random(size)
        return np.minimum(np.searchsorted(self.edges, draws, side="right"), self.templates).astype(np.int64)

    def pick(self, choices: Ints, classes: Ints, own: pa.ChunkedArray) -> list[str]:
        """The texts of samples.

        Args:
            choices: (n,) see `choices`.
            classes: (n,) each sample's best-scored class.
            own: (n,) the pairs' texts.
        """
        numbers = classes * self.templates + choices - 1
        return [
            self.texts[number] if choice else text.as_py()
            for choice, number, text in zip(choices.tolist(), numbers.tolist(), own, strict=True)
        ]


def plan_texts(source: TextSource, kb: str, class_ids: Sequence[str], names: Sequence[str], seed: int) -> TextPlan:
    """Write the texts of every class and check the settings.

    Without a knowledge base the names of the dataset's vocabulary are taken; descriptions need one.

    Raises:
        UsageError: probabilities or templates that do not work; descriptions are needed and `data.kb` is empty.
        OpenMofiError: the knowledge base does not have an entity of the dataset.
    """
    total = source.alt_text + source.name + source.name_description
    if not total:
        raise UsageError("Every probability of data.text is 0.", "Give at least one above 0.")
    templates: list[str] = []
    probabilities = [source.alt_text / total]
    for share, kind in ((source.name, source.templates), (source.name_description, source.description_templates)):
        if share:
            templates += kind
            probabilities += [share / total / len(kind)] * len(kind)
    if not kb and any("{description" in template for template in templates):
        raise UsageError(
            "data.text needs descriptions, and data.kb is empty.",
            "Set data.kb to the knowledge base's folder, or data.text.name_description to 0.",
        )
    pairs = described(kb, class_ids) if kb and templates else [(name, "") for name in names]
    texts = tuple(filled(template, name, description) for name, description in pairs for template in templates)
    return TextPlan(texts, tuple(np.cumsum(probabilities).tolist()), seed)


def described(folder: str, class_ids: Sequence[str]) -> list[tuple[str, str]]:
    """The name and description of each of these entities in a knowledge base.

    Raises:
        OpenMofiError: it does not have one of them.
    """
    kb = KnowledgeBase.open(folder)
    rows = kb.rows(class_ids)
    if (rows < 0).any():
        raise OpenMofiError(
            f"The knowledge base {folder} does not have the entity {class_ids[int(np.argmin(rows))]} of the dataset.",
            "Set data.kb to the one that the pairs were labelled with.",
        )
    entities = [kb.entity(row) for row in rows.tolist()]
    return [(entity.name, entity.description) for entity in entities]


# Forced negatives as in WikiCLIP (arXiv 2603.09921): in a batch at random hardly any text is of a thing that looks
# like,
# or is called like, what an image shows. A namesake shares a look-up name; a sibling is directly below the same class.

_HARD = 6  # sets these random numbers apart from those of `plan`, `texts` and `loader`
_BLOCK = 1 << 22


@dataclass(frozen=True)
class Groups:
    """Classes that have something in common.

    Attributes:
        class_offsets, groups: the groups of class c are `groups[class_offsets[c]:class_offsets[c + 1]]`.
        group_offsets, members: of group g, two or more: `members[group_offsets[g]:group_offsets[g + 1]]`.
    """

    class_offsets: Ints
    groups: Ints
    group_offsets: Ints
    members: Ints

    @classmethod
    def of(cls, classes: Ints, groups: Ints, count: int) -> Groups:
        """Make groups of (n,) pairs of a class and its group, for `count` classes; groups of one are left out."""
        pairs = np.unique(np.stack([groups, classes]), axis=1)
        _, number, sizes = np.unique(pairs[0], return_inverse=True, return_counts=True)
        shared = sizes[number] > 1
        number, classes = np.unique(number[shared], return_inverse=True)[1], pairs[1][shared]
        group_offsets, members = members_of_classes(classes, number, int(number.max(initial=-1)) + 1)
        return cls(*members_of_classes(number, classes, count), group_offsets, members)

    def draw(self, classes: Ints, random: Doubles) -> Ints:
        """Another class of one of each class's groups, −1 where it is in none.

        Args:
            classes: (n,).
            random: (n, 2) of [0, 1): which group, which member.
        """
        counts = np.diff(self.class_offsets)[classes]
        result = np.full(len(classes), -1, np.int64)
        some = counts > 0
        classes, random, counts = classes[some], random[some], counts[some]
        group = self.groups[self.class_offsets[classes] + (random[:, 0] * counts).astype(np.int64)]
        start, size = self.group_offsets[group], np.diff(self.group_offsets)[group]
        within = (random[:, 1] * size).astype(np.int64)
        chosen = self.members[start + within]
        # Itself becomes the next one, round the group's end.
        result[some] = np.where(chosen == classes, self.members[start + (within + 1) % size], chosen)
        return result


@dataclass(frozen=True)
class HardNegatives:
    """Namesakes and siblings of every class; half of the draws are of each, where a class has both.

    Attributes:
        namesakes, siblings: see there.
        seed: of the draws.
    """

    namesakes: Groups
    siblings: Groups
    seed: int

    @classmethod
    def of(cls, kb: KnowledgeBase, class_ids: Sequence[str], seed: int) -> HardNegatives:
        """Find namesakes and siblings among the classes; entities that the knowledge base lacks have none."""
        rows = kb.rows(class_ids)
        in_base = np.flatnonzero(rows >= 0)
        class_of = np.full(len(kb), -1, np.int64)
        class_of[rows[in_base]] = in_base
        table = kb.table
        names = np.concatenate(
            [
                np.zeros((2, 0), np.int64),
                *(
                    _named(class_of, table.rows[start : start + _BLOCK], table.offsets, start)
                    for start in range(0, len(table.rows), _BLOCK)
                ),
            ],
            axis=1,
        )
        above = np.zeros((2, 0), np.int64)
        if (relations := kb.beside.relations) is not None:
            kinds = np.flatnonzero([name in SUBCLASS + INSTANCE for name in relations.names])
            heads, of_kind, tails = relations.between(0, len(kb))
            wanted = np.isin(of_kind, kinds) & (class_of[heads] >= 0)
            above = np.stack([class_of[heads[wanted]], tails[wanted].astype(np.int64)])
        named, related = (Groups.of(pairs[0], pairs[1], len(class_ids)) for pairs in (names, above))
        return cls(named, related, seed)

    def draw(self, classes: Ints, step: int, size: int, share: slice) -> Ints:
        """(n,) a namesake or a sibling of each class, −1 for none.

        Args:
            classes: (n,) of a rank's share of a batch.
            step: of the run.
            size: of the global batch.
            share: which of its rows these are.
        """
        random = np.random.default_rng([self.seed, _HARD, step]).random((size, 3))[share]
        namesake, sibling = (groups.draw(classes, random[:, 1:]) for groups in (self.namesakes, self.siblings))
        first, second = np.where(random[:, :1].T[0] < 0.5, [namesake, sibling], [sibling, namesake])
        return np.where(first >= 0, first, second)


def _named(class_of: Ints, rows: Codes, offsets: Ints, start: int) -> Ints:
    """(2, n) class and look-up key of the candidates `rows`, which begin at place `start` of the table."""
    classes = class_of[rows]
    hits = np.flatnonzero(classes >= 0)
    return np.stack([classes[hits], np.searchsorted(offsets, hits + start, side="right") - 1])
