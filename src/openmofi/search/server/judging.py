"""Which labels to judge next, and the precision that the verdicts so far show, by strata of probability."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Literal

from openmofi.search.index import Index
from openmofi.search.records import EntityRecord, ImageRecord
from openmofi.search.store.connection import Connection
from openmofi.search.verdicts import BOUNDS, STRATUM

_PRIME = 2**31 - 1
_WITHIN = "(:entity = '' OR labels.entity = :entity) AND (:accepted IS NULL OR labels.accepted = :accepted)"
_LAST = f"""
    SELECT labels.image, labels.entity, verdict, {STRATUM} AS stratum FROM verdicts
    CROSS JOIN images ON images.key = verdicts.key
    CROSS JOIN sources ON sources.id = images.source AND sources.shard = verdicts.shard
    CROSS JOIN labels ON labels.image = images.id AND labels.entity = verdicts.entity
    WHERE undone = 0 AND {_WITHIN} AND NOT EXISTS (
      SELECT 1 FROM verdicts AS later WHERE later.shard = verdicts.shard AND later.key = verdicts.key
      AND later.entity = verdicts.entity AND later.id > verdicts.id AND later.undone = 0)
"""
"""The last verdict of each label that has one. CROSS JOIN keeps SQLite from beginning with the many labels."""


@dataclass(frozen=True)
class Stratum:
    """Labels of alike probability.

    Attributes:
        low, high: bounds of their probability.
        labels: how many there are.
        expected: their mean probability.
        judged, right: verdicts that are not `u`, and those of them that are `y`.
        precision: right of judged; `None` while none is.
        lower, upper: Wilson's interval of 95 %; 0..1 while none is judged.
    """

    low: float
    high: float
    labels: int
    expected: float
    judged: int = 0
    right: int = 0
    precision: float | None = None
    lower: float = 0.0
    upper: float = 1.0


@dataclass(frozen=True)
class Precision:
    """What verdicts say of labels.

    Attributes:
        labels, expected, judged, right: see `Stratum`, of all.
        precision: of all labels: the strata's, weighted by their labels; where a stratum has no verdict, its expected
            one. `None` while nothing is judged.
        lower, upper: of 95 %, the strata's intervals put together by the method of variance estimates recovery (Zou
            and Donner 2008, https://doi.org/10.1002/sim.3095).
        strata: those that have labels.
    """

    labels: int
    expected: float
    judged: int
    right: int
    precision: float | None
    lower: float
    upper: float
    strata: tuple[Stratum, ...]


@dataclass(frozen=True)
class ToJudge:
    """A label that a person should look at.

    Attributes:
        image, entity: what it says.
        probability, accepted: see `openmofi.search.Label`.
        verdict: what was said of it last, or "".
    """

    image: ImageRecord
    entity: EntityRecord
    probability: float
    accepted: bool
    verdict: str = ""


def precision(index: Index, entity: str = "", accepted: bool | None = True) -> Precision:
    """The precision of labels, as far as verdicts show it.

    Args:
        index: whose.
        entity: of its labels alone.
        accepted: labels, or candidates below the threshold; both for `None`.
    """
    strata = [stratum for stratum in _strata(index.connection, entity, accepted) if stratum.labels]
    labels, judged = sum(each.labels for each in strata), sum(each.judged for each in strata)
    if not labels:
        return Precision(0, 0.0, 0, 0, None, 0.0, 1.0, ())
    weights = [each.labels / labels for each in strata]
    points = [each.expected if each.precision is None else each.precision for each in strata]
    point = math.fsum(weight * each for weight, each in zip(weights, points, strict=True))
    below = math.hypot(
        *(weight * (each - stratum.lower) for weight, each, stratum in zip(weights, points, strata, strict=True))
    )
    above = math.hypot(
        *(weight * (stratum.upper - each) for weight, each, stratum in zip(weights, points, strata, strict=True))
    )
    return Precision(
        labels,
        math.fsum(w * each.expected for w, each in zip(weights, strata, strict=True)),
        judged,
        sum(each.right for each in strata),
        point if judged else None,
        max(0.0, point - below) if judged else 0.0,
        min(1.0, point + above) if judged else 1.0,
        tuple(strata),
    )


def to_judge(
    index: Index,
    entity: str = "",
    *,
    order: Literal["active", "doubt", "sure"] = "active",
    accepted: bool | None = True,
    who: str = "",
    limit: int = 50,
) -> list[ToJudge]:
    """Labels that nobody has judged yet, those first that say most.

    Args:
        index: whose.
        entity: of its labels alone.
        order: `active` draws by chance from strata of probability, from each as many as narrow the interval of the
            precision most (see `allocation`); `doubt` begins with the least certain, `sure` with the surest.
        accepted: labels, or candidates below the threshold; both for `None`.
        who: the reviewer; each draws others.
        limit: how many.
    """
    connection, values = index.connection, {"entity": entity, "accepted": accepted}
    judged = set(connection.execute(f"SELECT image, entity FROM ({_LAST}) AS last", values))
    if order == "active":
        strata = _strata(connection, entity, accepted)
        drawn = [
            _unjudged(connection, values, _drawn(who), count, judged, each)
            for each, count in zip(strata, allocation(strata, limit), strict=True)
            if count
        ]
        rows = [row for part in itertools.zip_longest(*drawn) for row in part if row]
    else:
        by = "labels.probability DESC" if order == "sure" else "abs(labels.probability - 0.5)"
        rows = _unjudged(connection, values, by, limit, judged)
    images = {each.id: each for each in index.images([row[0] for row in rows])}
    entities = {of: index.entity(of) for of in dict.fromkeys(row[1] for row in rows) if _known(connection, of)}
    return [
        ToJudge(images[image], entities.get(of, EntityRecord(of, of)), probability, bool(label))
        for image, of, probability, label in rows
        if image in images
    ]


def allocation(strata: Sequence[Stratum], count: int) -> list[int]:
    """How many labels of each stratum to judge next, so that the variance of the whole becomes least.

    Each goes to the stratum where it lowers the variance most (Wright 2012, https://doi.org/10.1198/tas.2012.11208);
    the variance inside of one is that of its verdicts so far and of two more at its expected precision.
    """
    deviations = []
    for each in strata:
        share = (each.right + 2 * each.expected) / (each.judged + 2)
        deviations.append(each.labels * math.sqrt(max(share * (1 - share), 1e-4)))
    counts = [0] * len(strata)
    for _ in range(count):
        best, most = -1, 0.0
        for number, each in enumerate(strata):
            judged = each.judged + counts[number]
            if counts[number] >= each.labels - each.judged or not each.labels:
                continue
            gain = deviations[number] / math.sqrt(judged * (judged + 1)) if judged else math.inf
            if gain > most:
                best, most = number, gain
        if best < 0:
            break
        counts[best] += 1
    return counts


def _drawn(who: str) -> str:
    """A hash of labels in SQL, which draws as well as chance does, the same each time, for each reviewer others.

    Squares modulo a prime: what is linear in the images' ids would go along with any pattern that these have.
    """
    step, start = (
        int.from_bytes(blake2b(who.encode(), digest_size=4, salt=salt).digest(), "big") % _PRIME
        for salt in (b"step", b"start")
    )
    value = f"(labels.image % {_PRIME} * {step} + CAST(labels.probability * {_PRIME} AS INTEGER) + {start}) % {_PRIME}"
    for _ in range(2):
        value = f"(({value}) * ({value}) + {step}) % {_PRIME}"
    return value


def _strata(connection: Connection, entity: str, accepted: bool | None) -> list[Stratum]:
    from scipy.stats import binomtest  # takes half a second to import

    values = {"entity": entity, "accepted": accepted}
    ends = [*BOUNDS[1:], 1.0]
    strata = [Stratum(low, high, 0, 0.0) for low, high in zip(BOUNDS, ends, strict=True)]
    for number, labels, mean in connection.execute(
        f"SELECT {STRATUM} AS stratum, count(*), avg(probability) FROM labels WHERE {_WITHIN} GROUP BY stratum", values
    ):
        strata[number] = replace(strata[number], labels=labels, expected=mean)
    for number, judged, right in connection.execute(
        f"SELECT stratum, count(*), count(CASE WHEN verdict = 'y' THEN 1 END) FROM ({_LAST}) AS last "
        "WHERE verdict != 'u' GROUP BY stratum",
        values,
    ):
        interval = binomtest(right, judged).proportion_ci(0.95, "wilson")
        strata[number] = replace(
            strata[number],
            judged=judged,
            right=right,
            precision=right / judged,
            lower=float(interval.low),
            upper=float(interval.high),
        )
    return strata


def _unjudged(
    connection: Connection,
    values: Mapping[str, object],
    by: str,
    limit: int,
    judged: Set[tuple[int, str]],
    within: Stratum | None = None,
) -> list[tuple[int, str, float, int]]:
    """The first labels in an order that are not among those that were judged."""
    low, high = (within.low, within.high) if within else (0.0, 1.0)
    # The last stratum has its end in it.
    rows = connection.execute(
        f"SELECT labels.image, labels.entity, labels.probability, labels.accepted FROM labels WHERE {_WITHIN} "
        "AND labels.probability >= :low AND (labels.probability < :high OR :high = 1) "
        f"ORDER BY {by}, labels.image, labels.entity LIMIT :most",
        {**values, "low": low, "high": high, "most": limit + len(judged)},
    )
    return [row for row in rows if row[:2] not in judged][:limit]


def _known(connection: Connection, entity: str) -> bool:
    return connection.execute("SELECT 1 FROM entities WHERE id = ?", (entity,)).fetchone() is not None
