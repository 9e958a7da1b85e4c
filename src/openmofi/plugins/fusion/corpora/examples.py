"""Examples of disambiguation: a mention in its text, its candidates and its entity; stored as Parquet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pyarrow as pa

from openmofi.errors import OpenMofiError
from openmofi.storage import read_parquet, write_table

NIL = ""
"""The answer "none of the candidates"."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """An entity that a mention may mean.

    Attributes:
        id: identifier of the entity, unique among an example's candidates.
        title: its name.
        description: one line that distinguishes it from its namesakes.
        type: its coarse type, or `""`.
        prior: commonness P(entity | name), 0..1.
        listed: whether the candidate list has it. A gold that the list lacks is kept unlisted, so that training can
            add it and an evaluation leaves it out.
    """

    id: str
    title: str
    description: str = ""
    type: str = ""
    prior: float = 0.0
    listed: bool = True


@dataclass(frozen=True, slots=True)
class Example:
    """A mention to be disambiguated.

    Attributes:
        text: of the mention.
        start, end: of the mention in characters (code points), end exclusive.
        candidates: listed ones by falling prior.
        gold: identifier of the right candidate; `NIL` for none.
        split: `train`, `validation`, or the name of a test split.
        group: the looked-up name, such as the lemma or the lower-cased mention; splits by lemma use it.
    """

    text: str
    start: int
    end: int
    candidates: tuple[Candidate, ...]
    gold: str
    split: str = "train"
    group: str = ""

    @property
    def mention(self) -> str:
        """The span's text."""
        return self.text[self.start : self.end]

    @property
    def listed(self) -> tuple[Candidate, ...]:
        """The candidates that a system is given."""
        return tuple(candidate for candidate in self.candidates if candidate.listed)

    @property
    def reachable(self) -> bool:
        """Whether the gold is among the listed candidates (or is NIL)."""
        return self.gold == NIL or any(candidate.id == self.gold for candidate in self.listed)

    @property
    def shadowed(self) -> bool:
        """Whether the gold is an entity that is not its name's commonest (Tsai and Roth's "hard" mentions)."""
        listed = self.listed
        return self.gold != NIL and bool(listed) and max(listed, key=lambda candidate: candidate.prior).id != self.gold


_CANDIDATE = pa.struct(
    [
        ("id", pa.string()),
        ("title", pa.string()),
        ("description", pa.string()),
        ("type", pa.string()),
        ("prior", pa.float32()),
        ("listed", pa.bool_()),
    ]
)
EXAMPLES = pa.schema(
    [
        ("text", pa.string()),
        ("start", pa.int32()),
        ("end", pa.int32()),
        ("candidates", pa.list_(_CANDIDATE)),
        ("gold", pa.string()),
        ("split", pa.string()),
        ("group", pa.string()),
    ]
)
"""Schema of a table of examples: one row a mention."""


def with_gold(candidates: Sequence[Candidate], gold: Candidate | None) -> tuple[Candidate, ...]:
    """The candidates, with the gold at the end and unlisted where the list does not have it."""
    if gold is None or any(candidate.id == gold.id for candidate in candidates):
        return tuple(candidates)
    return (*candidates, replace(gold, prior=0.0, listed=False))


def write_examples(path: str | Path, examples: Sequence[Example]) -> None:
    """Write examples as one Parquet file, atomically; equal examples give equal bytes."""
    write_table(path, pa.Table.from_pylist([asdict(example) for example in examples], EXAMPLES))


def read_examples(path: str | Path, splits: Sequence[str] | None = None) -> list[Example]:
    """Read what `write_examples` wrote, or any Parquet table with its columns.

    Args:
        path: the file.
        splits: only these; all by default.

    Raises:
        OpenMofiError: it cannot be read, lacks a column, or a row lacks a value or has a wrong span, prior or gold;
            names the row.
    """
    table = read_parquet(path, EXAMPLES, hint=f"A table of examples has the columns {', '.join(EXAMPLES.names)}.")
    examples = []
    for row, values in enumerate(table.to_pylist()):
        if splits is not None and values["split"] not in splits:
            continue
        try:
            candidates = tuple(Candidate(**candidate) for candidate in values.pop("candidates") or ())
            example = Example(candidates=candidates, **values)
        except TypeError as error:
            raise OpenMofiError(f"Row {row} of {path} is not an example: {error}.") from error
        _check(example, f"row {row} of {path}")
        examples.append(example)
    return examples


def _check(example: Example, where: str) -> None:
    values = {name: getattr(example, name) for name in ("text", "start", "end", "split")}
    values |= {
        f"candidates.{name}": None
        for candidate in example.candidates
        for name in ("id", "title", "prior")
        if getattr(candidate, name) is None
    }
    absent = next((name for name, value in values.items() if value is None), None)
    if absent:
        raise OpenMofiError(f"The {absent} of {where} is missing.", "Give each row a value.")
    if any(not 0 <= candidate.prior <= 1 for candidate in example.candidates):
        raise OpenMofiError(f"A candidate's prior of {where} is not between 0 and 1.", "Priors are P(entity | name).")
    if not 0 <= example.start < example.end <= len(example.text):
        raise OpenMofiError(
            f"The span {example.start}–{example.end} of {where} lies outside its text.",
            "start and end count characters; end is exclusive.",
        )
    ids = [candidate.id for candidate in example.candidates]
    if len(set(ids)) < len(ids):
        raise OpenMofiError(f"Two candidates of {where} have the same id.", "List each id once.")
    if example.gold != NIL and example.gold not in ids:
        raise OpenMofiError(
            f"The gold {example.gold!r} of {where} is not among its candidates.",
            "Add it with listed = false if the candidate list does not have it.",
        )
