"""The interface of linkers, and their settings."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from openmofi.config import Fraction, NonNegativeFloat, PositiveInt, Settings
from openmofi.schema import Link, Mention


@dataclass(frozen=True)
class LinkSettings(Settings):
    """How candidates are scored.

    Attributes:
        candidates: most candidates of a mention.
        nil_floor: least prior probability of NIL, so that every mention may mean nothing in the knowledge base.
    """

    candidates: PositiveInt = 30
    nil_floor: Fraction = 0.01


@dataclass(frozen=True)
class CoherenceSettings(LinkSettings):
    """Settings of context coherence: how much the rest of the text counts.

    Attributes:
        prior_weight: a, the exponent of the prior.
        coherence_weight: β, what a cosine of 1 between candidate and context adds to the log-odds.
        nil_cosine: the cosine at which a candidate is no better than NIL.
        damping: share of the last step's distribution that is kept.
        iterations: most steps.
        tolerance: a text is finished when no probability moved by more.
    """

    prior_weight: NonNegativeFloat = 1.0
    coherence_weight: NonNegativeFloat = 3.0
    nil_cosine: float = 0.0
    damping: Fraction = 0.3
    iterations: int = 10
    tolerance: float = 1e-3


class Linker(Protocol):
    """Decides which entity a mention means, from the text alone."""

    name: str

    def link(self, texts: Sequence[str], mentions: Sequence[Sequence[Mention]]) -> list[list[Link]]:
        """Return for each text the candidates of all its mentions, by mention and then by descending score.

        A mention whose name is not in the knowledge base has no link. The scores of a mention's candidates
        sum to at most 1; the rest to 1 is the probability of NIL (none of them).
        """
