"""The text of a sample: the pair's own, or its entity's in a template."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from openmofi.arrays import Ints
from openmofi.errors import OpenMofiError, UsageError
from openmofi.knowledge import KnowledgeBase
from openmofi.knowledge.texts import filled
from openmofi.storage import hash64
from openmofi.training.recipe.schema import TextSource

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
