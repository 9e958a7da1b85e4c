"""Labels drawn for people to look at: by strata, seeded; in random order, so that half a look is fair, too.

All labels lie in cells of like ones: (accepted or not, a range of probability, a type of entity). Labels are accepted
candidates. Of the others, those of probability ≥ .1 count that are the best of their mention and miss the threshold
alone: they would be labels under a lower one, so looking at some of them says what the threshold costs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from openmofi.arrays import Bools, Floats, Ints
from openmofi.dataset.tables import Codebook, Folder, Judged, as_array, best_of_pairs
from openmofi.errors import OpenMofiError, UsageError
from openmofi.knowledge import KnowledgeBase
from openmofi.labeling.label_settings import SelectionSettings
from openmofi.review.precision import CONSIDERED, EDGES, allocation, ranges, stratum_name
from openmofi.review.verdicts import Plan, Stratum
from openmofi.schema import Reason
from openmofi.storage import Shard

BY = ("probability", "type")
OTHER = "other types"
_LARGEST = 6
_BELOW = 5
"""One label in five is a candidate below the threshold."""

Cell = tuple[bool, int, str]
"""Accepted, the range of probability (position of its lower edge), the type."""


@dataclass(frozen=True)
class LabelCandidate:
    """A label, or what would be one under a lower threshold: position of its shard, its row there, the entity."""

    shard: int
    row: int
    entity: str
    probability: float


@dataclass
class Content:
    """The labels of a cell, or of several.

    Attributes:
        labels: how many.
        expected: the sum of their probabilities.
        draws: random number → label, of those with the smallest numbers; the smallest of two parts together are the
            smallest of the whole, so that cells may be joined after drawing.
    """

    labels: int = 0
    expected: float = 0.0
    draws: list[tuple[float, LabelCandidate]] = field(default_factory=list)

    def add(self, other: Content, most: int) -> None:
        """Take in another one; keep the `most` smallest draws."""
        self.labels, self.expected = self.labels + other.labels, self.expected + other.expected
        self.draws = sorted([*self.draws, *other.draws], key=lambda draw: draw[0])[:most]


@dataclass(frozen=True)
class LabelCandidates:
    """The candidates of a label table as flat arrays of one length; each entity once a row."""

    row: Ints
    entity: pa.Array
    probability: Floats
    accepted: Bools

    @classmethod
    def of(cls, table: pa.Table) -> LabelCandidates:
        """From a table with the columns `mentions` and `entities` of `schema.LABELS`."""
        judged = Judged.of(table)
        reason = as_array(table["entities"]).flatten().field("reason")
        missed = pc.equal(reason, str(Reason.BELOW_THRESHOLD)).to_numpy(zero_copy_only=False)
        missed = missed & (judged.probability >= CONSIDERED)
        best = best_of_pairs(judged.mention, np.zeros_like(judged.mention), judged.probability)
        chosen = np.flatnonzero(judged.accepted | (missed & np.isin(np.arange(len(missed)), best)))
        codes = Codebook().encode(judged.entity.take(pa.array(chosen)))
        chosen = np.sort(chosen[best_of_pairs(judged.row[chosen], codes, judged.probability[chosen])])
        return cls._at(judged, chosen)

    @classmethod
    def eligible(cls, table: pa.Table, selection: SelectionSettings) -> LabelCandidates:
        """Those of a table that are labels where the threshold is low enough."""
        from openmofi.labeling.judge import eligible

        judged = Judged.of(table)
        codes = Codebook().encode(judged.entity).astype(np.int64)
        probability = judged.probability.astype(np.float64)
        chosen = np.flatnonzero(eligible(judged.row, codes, judged.mention, probability, selection))
        return cls._at(judged, chosen)

    @classmethod
    def _at(cls, judged: Judged, chosen: Ints) -> LabelCandidates:
        entity = judged.entity.take(pa.array(chosen))
        return cls(judged.row[chosen], entity, judged.probability[chosen], judged.accepted[chosen])

    def where(self, chosen: Bools) -> LabelCandidates:
        """Return some of them."""
        entity = self.entity.filter(pa.array(chosen))
        return LabelCandidates(self.row[chosen], entity, self.probability[chosen], self.accepted[chosen])

    def candidate(self, shard: int, position: int) -> LabelCandidate:
        """Return the candidate at a position of a shard."""
        entity, probability = self.entity[position].as_py(), float(self.probability[position])
        return LabelCandidate(shard, int(self.row[position]), entity, probability)

    @property
    def ranges(self) -> Ints:
        """Position of the range of each probability."""
        return ranges(self.probability)


class Kinds:
    """The first type of an entity, asked of the knowledge base once."""

    def __init__(self, kb: KnowledgeBase | None) -> None:
        self.kb = kb
        self._entities, self._known, self.names = Codebook(), np.empty(0, np.int64), Codebook()

    def codes(self, entities: pa.Array) -> Ints:
        """Each entity's position in `names.values`."""
        codes = self._entities.encode(entities)
        if len(self._entities) > len(self._known):
            new = self._entities.values[len(self._known) :]
            kinds = pa.array(self._kinds(new), pa.string())
            self._known = np.concatenate([self._known, self.names.encode(kinds)])
        return self._known[codes]

    def _kinds(self, entities: Sequence[str]) -> list[str]:
        rows = [-1] * len(entities) if self.kb is None else self.kb.rows(entities).tolist()
        types = [self.kb.entity(row).types if self.kb and row >= 0 else () for row in rows]
        return [kinds[0] if kinds else "no type" for kinds in types]


def cells(
    folder: Folder,
    kinds: Kinds,
    *,
    draws: int = 0,
    seed: Sequence[int] = (0,),
    seen: Callable[[Shard, pa.Table, LabelCandidates, Ints], None] | None = None,
    choose: Callable[[Shard, pa.Table], LabelCandidates] | None = None,
) -> dict[Cell, Content]:
    """Count all labels by cell, and draw from each; reads them once.

    Args:
        folder: of labels.
        kinds: types of entities; all but the six commonest among the labels become `OTHER`.
        draws: most labels to draw from a cell.
        seed: of the draws.
        seen: is given each shard's table, candidates, and their types as positions in `kinds.names.values`.
        choose: gives the candidates of a shard's table; `LabelCandidates.of` where not given.
    """
    parts: dict[Cell, Content] = {}
    for position, shard in enumerate(folder.shards):
        table = folder.read(shard, ["key", "mentions", "entities"])
        candidates = choose(shard, table) if choose else LabelCandidates.of(table)
        kind = kinds.codes(candidates.entity)
        if seen:
            seen(shard, table, candidates, kind)
        numbers = np.random.default_rng([*seed, position]).random(len(kind))
        for cell, rows in _groups(candidates, kind, kinds.names.values):
            drawn = [
                (float(numbers[row]), candidates.candidate(position, int(row)))
                for row in rows[np.argsort(numbers[rows])[:draws]]
            ]
            expected = float(candidates.probability[rows].sum(dtype=np.float64))
            parts.setdefault(cell, Content()).add(Content(len(rows), expected, drawn), draws)
    common = common_kinds(parts)
    return joined(parts, lambda cell: (cell[0], cell[1], cell[2] if cell[2] in common else OTHER), draws)


def _groups(candidates: LabelCandidates, kind: Ints, names: Sequence[str]) -> list[tuple[Cell, Ints]]:
    code = (kind * 2 + candidates.accepted) * len(EDGES) + candidates.ranges
    order = np.argsort(code, kind="stable")
    values, starts = np.unique(code[order], return_index=True)
    parts = np.split(order, starts)[1:]
    return [
        ((bool(value // len(EDGES) % 2), int(value % len(EDGES)), names[int(value) // len(EDGES) // 2]), rows)
        for value, rows in zip(values, parts, strict=True)
    ]


def common_kinds(cells: Mapping[Cell, Content]) -> Collection[str]:
    """The types of most labels."""
    labels: Counter[str] = Counter()
    for (accepted, _, kind), content in cells.items():
        labels[kind] += content.labels if accepted else 0
    ordered = sorted(labels, key=lambda kind: (-labels[kind], kind))
    return set(ordered[:_LARGEST] if len(ordered) > _LARGEST + 1 else ordered)


def joined(cells: Mapping[Cell, Content], name: Callable[[Cell], Cell], draws: int) -> dict[Cell, Content]:
    """Join the cells that have the same name; sorted, so that neighbours are alike."""
    parts: dict[Cell, Content] = {}
    for cell, content in cells.items():
        parts.setdefault(name(cell), Content()).add(content, draws)
    return dict(sorted(parts.items()))


@dataclass(frozen=True)
class Drawn:
    """A label to look at and the position of its stratum."""

    candidate: LabelCandidate
    stratum: int


@dataclass(frozen=True)
class LabelSample:
    """A sample of labels.

    Attributes:
        strata: what from.
        drawn: in random order.
        accepted: how many of them are accepted labels; the others are below the threshold.
        wanted: how many were to be drawn; there are no more where it is more.
        plan: of a draw for a guarantee.
    """

    strata: tuple[Stratum, ...]
    drawn: tuple[Drawn, ...]
    accepted: int
    wanted: int
    plan: Plan | None = None


def draw(folder: Folder, kinds: Kinds, size: int, by: Sequence[str], seed: int) -> LabelSample:
    """Draw labels; all of them where there are not more than `size`.

    Four fifths are accepted labels and one fifth candidates below the threshold, where there are such; all are
    candidates where nothing was accepted. How many of each stratum, see `openmofi.review.precision.allocation`.

    Args:
        folder: of labels.
        kinds: types of entities.
        size: how many.
        by: of `BY`.
        seed: equal ones draw equally.

    Raises:
        UsageError: `size` is not positive, or `by` has another value.
        OpenMofiError: there is no label and no candidate.
    """
    if size < 1:
        raise UsageError(f"A sample of {size} is none.", "Give --sample 200, say.")
    if odd := [part for part in by if part not in BY]:
        raise UsageError(f"Unknown strata {odd[0]!r}.", f"Use {','.join(BY)}, or one of them.")
    whole = cells(folder, kinds, draws=size, seed=(seed,))
    if not whole:
        raise OpenMofiError(
            f"{folder.path} has no label to look at, and no candidate of probability {CONSIDERED:g} or more.",
            "Label pairs whose texts name what their images show, or take another knowledge base or encoder.",
        )

    def name(cell: Cell) -> Cell:
        # Few are drawn below the threshold, so that types would leave strata without any.
        return cell[0], cell[1] if "probability" in by else -1, cell[2] if "type" in by and cell[0] else ""

    strata = joined(whole, name, size)
    accepted = np.array([cell[0] for cell in strata], bool)
    labels = np.array([content.labels for content in strata.values()], np.int64)
    mean = np.array([content.expected for content in strata.values()]) / labels
    few = min(size // _BELOW, int(labels[~accepted].sum()))
    above = allocation(labels * accepted, mean, size - few)
    # Places that the accepted labels cannot fill go to the others.
    sizes = above + allocation(labels * ~accepted, mean, size - int(above.sum()))
    drawn = [
        Drawn(candidate, position)
        for position, content in enumerate(strata.values())
        for _, candidate in content.draws[: sizes[position]]
    ]
    return LabelSample(
        tuple(Stratum(stratum_name(*cell), cell[0], content.labels) for cell, content in strata.items()),
        tuple(drawn[position] for position in np.random.default_rng(seed).permutation(len(drawn))),
        int(above.sum()),
        size,
    )
