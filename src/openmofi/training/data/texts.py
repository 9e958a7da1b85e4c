"""The text of a sample: the pair's own, or its entity's in a template."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from string import Formatter

import numpy as np
import pyarrow as pa

from openmofi.errors import OpenMofiError, UsageError
from openmofi.knowledge import KnowledgeBase
from openmofi.training.data.plan import Ints
from openmofi.training.recipe.settings import TextSource

_TEXTS = 4  # sets these random numbers apart from those of `plan`


def text_id(text: str) -> int:
    """A signed 64-bit number, equal where the texts are equal."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little", signed=True)


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
        return [self.texts[number] if choice else text.as_py()
                for choice, number, text in zip(choices.tolist(), numbers.tolist(), own, strict=True)]


def plan_texts(source: TextSource, kb: str, class_ids: Sequence[str], names: Sequence[str], seed: int) -> TextPlan:
    """Write the texts of every class and check the settings.

    Without a knowledge base the names of the dataset's vocabulary are taken; descriptions need one.

    Raises:
        UsageError: probabilities or templates that do not work; descriptions are needed and `data.kb` is empty.
        OpenMofiError: the knowledge base does not have an entity of the dataset.
    """
    shares = _shares(source)
    named, described = shares[1] > 0, shares[2] > 0
    templates = [*(source.templates if named else ()), *(source.description_templates if described else ())]
    for template in templates:
        _check(template, with_kb=bool(kb))
    if described and not kb:
        raise UsageError("data.text.name_description needs descriptions, and data.kb is empty.",
                         "Set data.kb to the knowledge base's folder, or the probability to 0.")
    pairs = _described(kb, class_ids) if kb and templates else [(name, "") for name in names]
    # As the label job writes entities (`labeling.entities`): no punctuation is left over from an empty description.
    texts = tuple(template.format(name=name, description=description).strip(" :,.-–")
                  for name, description in pairs for template in templates)
    probabilities = [shares[0], *_even(shares[1], source.templates if named else ()),
                     *_even(shares[2], source.description_templates if described else ())]
    return TextPlan(texts, tuple(np.cumsum(probabilities).tolist()), seed)


def _shares(source: TextSource) -> tuple[float, float, float]:
    given = (source.alt_text, source.name, source.name_description)
    total = sum(given)
    if min(given) < 0 or not total > 0 or not math.isfinite(total):
        raise UsageError(f"The probabilities of data.text are {given}.", "Give at least one above 0, and none below.")
    if (source.name > 0 and not source.templates) or (source.name_description > 0 and not source.description_templates):
        raise UsageError("data.text draws from templates, and there are none.", "Give at least one.")
    return given[0] / total, given[1] / total, given[2] / total


def _even(share: float, templates: Sequence[str]) -> list[float]:
    return [share / len(templates)] * len(templates) if templates else []


def _check(template: str, *, with_kb: bool) -> None:
    try:
        fields = {name for _, name, _, _ in Formatter().parse(template) if name is not None}
    except ValueError as error:
        raise UsageError(f"The template {template!r} does not work: {error}.") from error
    if not fields or not fields <= {"name", "description"}:
        raise UsageError(f"The template {template!r} holds {sorted(fields)}.",
                         "It must hold {name} or {description}, and nothing else in braces.")
    if "description" in fields and not with_kb:
        raise UsageError(f"The template {template!r} needs descriptions, and data.kb is empty.",
                         "Set data.kb to the knowledge base's folder.")


def _described(folder: str, class_ids: Sequence[str]) -> list[tuple[str, str]]:
    kb = KnowledgeBase.open(folder)
    rows = kb.rows(class_ids)
    if (rows < 0).any():
        raise OpenMofiError(f"The knowledge base {folder} does not have the entity {class_ids[int(np.argmin(rows))]} "
                            "of the dataset.", "Set data.kb to the one that the pairs were labelled with.")
    entities = [kb.entity(row) for row in rows.tolist()]
    return [(entity.name, entity.description) for entity in entities]
