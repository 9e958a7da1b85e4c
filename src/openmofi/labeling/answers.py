"""A job's judge beyond the encoder, and its answers, where labels are made and explained.

A question is known by its image and by the entities that it was about, wherever they stand again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from openmofi.arrays import Doubles, Ints
from openmofi.errors import UsageError
from openmofi.extensions import extension, extension_names
from openmofi.labeling.tables import LinkArrays, renumbered
from openmofi.labeling.witness import NO_ANSWER, NONE, NOT_ASKED, OTHER, YES, Rates
from openmofi.schema import ANSWERS
from openmofi.storage import read_json, read_parquet

ANSWERS_FILE, JUDGE_FILE = "answers.parquet", "judge.json"
UNASKED = "unasked"
"""Folder of the labels as they would be without the answers."""
_HINT = "Add --restart to make the labels anew; what was answered is kept."
Options = tuple[str, ...]
Heard = Callable[[LinkArrays, Ints, Doubles], tuple[Doubles, Ints]]
"""`Answers.heard` of some images."""


@dataclass(frozen=True)
class JudgeReport:
    """What is known of a judge: its rates, or `None` where there are too few answers; and what the manifest says."""

    rates: Rates | None
    report: dict[str, Any]


def code_of(entity: str, said: str | None) -> int:
    """Return what an answer (`schema.ANSWERS`) says of one of its options."""
    if said is None:
        return NO_ANSWER
    return NONE if not said else YES if said == entity else OTHER


@dataclass(frozen=True)
class Answers:
    """What a judge said of a job's pairs.

    Attributes:
        judge: what is known of it.
        said: (content, sorted options) → see `schema.ANSWERS`.
    """

    judge: JudgeReport
    said: Mapping[tuple[str, Options], str | None]

    @classmethod
    def load(cls, folder: str) -> Answers:
        """Load those that a job left in the folder of its labels.

        Raises:
            OpenMofiError: they are missing or damaged.
        """
        rows = read_parquet(f"{folder}/{ANSWERS_FILE}", ANSWERS, hint=_HINT).to_pylist()
        said = {(row["content"], tuple(row["options"])): row["said"] for row in rows if not row["decoy"]}
        return cls(read_json(f"{folder}/{JUDGE_FILE}", JudgeReport, _HINT), said)

    @cached_property
    def _asked(self) -> frozenset[str]:
        return frozenset(content for content, _ in self.said)

    def heard(
        self, content: Sequence[str], links: LinkArrays, index: Ints, probability: Doubles
    ) -> tuple[Doubles, Ints]:
        """Return (n,) probabilities that include what was said, and (n,) that, see `openmofi.labeling.witness`.

        Args:
            content: (pairs,) digests of the images.
            links: of the pairs.
            index: (n,) positions of judged candidates, each entity once a pair.
            probability: (n,) without the answers.
        """
        said = np.full(len(index), NOT_ASKED)
        rows = [row for row, digits in enumerate(content) if digits in self._asked]
        asked, group = np.flatnonzero(np.isin(links.pair[index], rows)), renumbered(links.group[index])
        ids = links.entity_ids.to_pylist() if len(asked) else []
        for run in np.split(asked, np.flatnonzero(np.diff(group[asked])) + 1) if len(asked) else ():
            entities = [ids[entity] for entity in links.entity[index[run]].tolist()]
            question = content[links.pair[index[run[0]]]], tuple(sorted(entities))
            if question in self.said:
                said[run] = [code_of(entity, self.said[question]) for entity in entities]
        rates = self.judge.rates
        return (rates.weigh(probability, group, said) if rates else probability), said


_GROUP = "judges"


class ImageJudge(Protocol):
    """Answers questions about images; several threads ask at once.

    Attributes:
        model: names what answers: by it answers are kept.
    """

    model: str

    def ask(self, image: bytes, question: str, choices: Sequence[str]) -> str:
        """Return one of `choices`, or "" where the answer is none of them; `image` is a JPEG.

        Raises:
            OpenMofiError: there is no answer.
        """


def open_judge(address: str, model: str) -> ImageJudge:
    """Open the judge at an address by its scheme, such as `http`.

    Args:
        address: see `JudgeSettings`.
        model: asks for this one, or "".

    Raises:
        UsageError: no package answers for the scheme.
        OpenMofiError: nobody answers there.
    """
    opened = extension(_GROUP, address.partition("://")[0])
    if opened is None:
        raise UsageError(
            f"The judge {address} has no address that can be asked.",
            f"Give one that begins with {' or '.join(f'{name}://' for name in extension_names(_GROUP))}.",
        )
    return opened(address, model)
