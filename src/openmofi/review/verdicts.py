"""Verdicts of people on labels: `verdicts.json` of the page of `openmofi label audit`, or the table of an index."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from msgspec import Meta

from openmofi.arrays import Bools, Doubles, Ints
from openmofi.errors import OpenMofiError
from openmofi.schema import VERDICTS
from openmofi.storage import fingerprint, open_address

KIND: Final = "openmofi-verdicts"
AGENT: Final = "agent:"
"""What the name of a reviewer who is no person begins with."""
_PARQUET = b"PAR1"
_HEAD = b"openmofi-verdicts"
"""Key of a table's metadata: `Verdicts` as JSON, without the verdicts."""
_AGAIN = "Save it again from the page of `openmofi label audit`, or by `openmofi index verdicts`."
_LEAST = 2
"""Verdicts of a stratum: a variance takes two."""

_CHOOSES = ("threshold", "target_precision", "confidence", "trust_anyway", "top_k", "sibling_margin")
"""Settings of the selection that leave probabilities as they are."""


@dataclass(frozen=True)
class Stratum:
    """Labels that were drawn from together.

    Attributes:
        name: for people.
        accepted: whether they are labels, or candidates below the threshold.
        labels: how many there are.
    """

    name: str
    accepted: bool
    labels: Annotated[int, Meta(ge=1)]


@dataclass(frozen=True)
class Verdict:
    """A person's word on one label.

    Attributes:
        shard, key, entity: which label.
        verdict: the image shows the entity (`y`), does not (`n`), or who looked cannot say (`u`).
        probability: the label's.
        stratum: position of its stratum.
    """

    shard: str
    key: str
    entity: str
    verdict: Literal["y", "n", "u"]
    probability: Annotated[float, Meta(ge=0, le=1)]
    stratum: Annotated[int, Meta(ge=0)]

    @property
    def label(self) -> tuple[str, str, str]:
        """The label that the verdict is on: shard, key, entity."""
        return self.shard, self.key, self.entity


@dataclass(frozen=True)
class Tally:
    """What a look says of the labels that a threshold accepts: how many were judged, how many of these are right."""

    judged: Annotated[int, Meta(ge=0)] = 0
    right: Annotated[int, Meta(ge=0)] = 0


@dataclass(frozen=True)
class Step:
    """A threshold that is tested.

    Attributes:
        threshold: accepts candidates from this probability on.
        labels: how many it accepts.
        earlier: of each earlier look.
    """

    threshold: Annotated[float, Meta(gt=0, lt=1)]
    labels: Annotated[int, Meta(ge=1)]
    earlier: tuple[Tally, ...] = ()


@dataclass(frozen=True)
class Plan:
    """What was written down before a draw for a guarantee (`openmofi.review.guarantee`): verdicts are a uniform draw.

    Attributes:
        target, confidence: what it was drawn for.
        steps: thresholds, in the order in which they are tested.
        least: labels of this probability or more were drawn from.
        top_k, sibling_margin: of the label job; they decide what a threshold accepts.
        seen: labels that earlier looks judged; they are not drawn again.
    """

    target: Annotated[float, Meta(gt=0, lt=1)]
    confidence: Annotated[float, Meta(gt=0, lt=1)]
    steps: Annotated[tuple[Step, ...], Meta(min_length=1)]
    least: float
    top_k: int
    sibling_margin: float
    seen: tuple[tuple[str, str, str], ...] = ()

    @property
    def looks(self) -> int:
        """How many looks were before this one."""
        return len(self.steps[0].earlier)


@dataclass(frozen=True)
class Verdicts:
    """Verdicts and the sample that they judge; `verdicts.json` is this as JSON.

    Attributes:
        labels: fingerprint of the labels that were looked at.
        basis: what their probabilities are made of, see `probability_basis`.
        encoder, kb: fingerprints, to name what differs.
        by: what the strata are made of.
        seed, sample: of the draw.
        strata: in their order, neighbours are alike.
        verdicts: of the labels that were looked at so far, in no order; a label once.
        path: where they were read, for errors.
        plan: of a draw for a guarantee.
        folder: the labels that were looked at, as whoever drew them named the folder; empty where that is not known.
    """

    kind: Literal["openmofi-verdicts"]
    version: Literal[1]
    labels: str
    basis: str
    encoder: str
    kb: str
    by: tuple[str, ...]
    seed: int
    sample: int
    strata: tuple[Stratum, ...]
    verdicts: tuple[Verdict, ...]
    path: str = ""
    plan: Plan | None = None
    folder: str = ""

    @cached_property
    def said(self) -> tuple[Verdict, ...]:
        """The verdicts that decide: all but those that are unsure."""
        return tuple(verdict for verdict in self.verdicts if verdict.verdict != "u")

    @property
    def unjudged(self) -> int:
        """How many labels of the sample have no verdict yet."""
        return self.sample - len(self.verdicts)

    @property
    def unsure(self) -> int:
        """How many verdicts are unsure."""
        return len(self.verdicts) - len(self.said)

    @cached_property
    def right(self) -> Bools:
        """(said,) whether the label is right."""
        return np.array([verdict.verdict == "y" for verdict in self.said], bool)

    @cached_property
    def probability(self) -> Doubles:
        """(said,) probability of the label."""
        return np.array([verdict.probability for verdict in self.said], np.float64)

    @cached_property
    def strata_said(self) -> Ints:
        """(said,) the stratum of each; one with fewer than two verdicts is joined to its neighbour."""
        stratum = np.array([verdict.stratum for verdict in self.said], np.int64)
        return self._joined[stratum]

    @cached_property
    def weights(self) -> Doubles:
        """(said,) how many labels each verdict stands for."""
        stratum = self.strata_said
        labels = np.bincount(self._joined, [stratum.labels for stratum in self.strata])
        return np.asarray(labels[stratum] / np.bincount(stratum, minlength=len(labels))[stratum], np.float64)

    @cached_property
    def _joined(self) -> Ints:
        """(strata,) the number of the group that each is joined into; accepted labels and others stay apart."""
        said = np.bincount([verdict.stratum for verdict in self.said], minlength=len(self.strata))
        joined, group = np.zeros(len(self.strata), np.int64), 0
        for accepted in (False, True):
            first, inside = group, 0
            for position in [at for at, stratum in enumerate(self.strata) if stratum.accepted is accepted]:
                joined[position], inside = group, inside + said[position]
                if inside >= _LEAST:
                    group, inside = group + 1, 0
            # What is left at the end joins the group before it.
            if group > first:
                joined[joined == group] = group - 1
            else:
                group += 1
        return joined


def holds_verdicts(path: str | Path) -> bool:
    """Return whether a file, by its beginning or its columns, is one of verdicts."""
    try:
        with open_address(path) as file:
            start = file.read(200)
            return KIND.encode() in start if start[:4] != _PARQUET else "verdict" in pq.read_schema(file).names
    except (OSError, pa.ArrowException):
        return False


def read_verdicts(path: str | Path) -> Verdicts:
    """Read a file of verdicts: JSON as the page of `openmofi label audit` saves it, or Parquet as an index writes it.

    Raises:
        OpenMofiError: it is missing, cut off or no such file; a label comes twice; nobody said yes or no.
    """
    try:
        with open_address(path) as file:
            content = file.read()
        if content[:4] == _PARQUET:
            return verdicts_of_table(pq.read_table(pa.BufferReader(content)), path)
        verdicts = msgspec.json.decode(content, type=Verdicts)
    except (OSError, ValueError, RecursionError, pa.ArrowException) as error:
        raise OpenMofiError(f"{path} cannot be read as verdicts: {error}.", _AGAIN) from error
    return _checked(replace(verdicts, path=str(path)))


def verdicts_table(rows: Sequence[Mapping[str, Any]], head: Mapping[str, Any] | None) -> pa.Table:
    """Verdicts as a table, see `openmofi.schema.VERDICTS`.

    Args:
        rows: its rows, earliest first.
        head: what they are of: `labels`, `basis`, `encoder`, `kb` and `strata` of `Verdicts`; `None` where that is not
            known, so that the table says nothing of other labels.
    """
    table = pa.Table.from_pylist(list(rows), VERDICTS)
    if head is None:
        return table
    whole = {"kind": KIND, "version": 1, "by": ["probability"], "seed": 0, **head}
    return table.replace_schema_metadata({_HEAD: msgspec.json.encode(whole)})


def verdicts_of_table(table: pa.Table, path: str | Path) -> Verdicts:
    """The verdicts of `verdicts_table`: the last one of a person on each label that a stratum counts.

    An agent's are left out: claims and guarantees stand on what people saw.

    Args:
        table: as it was written.
        path: where it lies, for errors.

    Raises:
        OpenMofiError: it does not say what it is of, is damaged, or nobody said yes or no.
    """
    head = (table.schema.metadata or {}).get(_HEAD)
    if head is None:
        raise OpenMofiError(
            f"{path} does not say what labels its verdicts are of.",
            "Build the index of one folder of labels, or name one: openmofi index verdicts INDEX "
            "--labels LABELS -o FILE.parquet.",
        )
    columns = ["shard", "key", "entity", "verdict", "probability", "stratum"]
    try:
        people = table.filter(pc.invert(pc.starts_with(pc.fill_null(table["who"], ""), AGENT)))
        last = {(row["shard"], row["key"], row["entity"]): row for row in people.select(columns).to_pylist()}
        rows = [row for row in last.values() if row["stratum"] is not None]
        verdicts = msgspec.convert(
            {**msgspec.json.decode(head), "verdicts": rows, "sample": len(rows), "path": str(path)}, Verdicts
        )
    except (ValueError, TypeError, KeyError) as error:
        raise OpenMofiError(f"{path} cannot be read as verdicts: {error}.", _AGAIN) from error
    return _checked(verdicts)


def _checked(verdicts: Verdicts) -> Verdicts:
    path = verdicts.path
    if not verdicts.said:
        raise OpenMofiError(
            f"{path} has no verdict yes or no ({verdicts.unsure} unsure).",
            "Judge some labels with y and n, then save again; what agents said is not counted.",
        )
    if (last := max(verdict.stratum for verdict in verdicts.verdicts)) >= len(verdicts.strata):
        raise OpenMofiError(
            f"{path} is damaged: it has {len(verdicts.strata)} strata, and a verdict of the stratum {last}.", _AGAIN
        )
    said: dict[tuple[str, str, str], str] = {}
    for verdict in verdicts.verdicts:
        if (before := said.setdefault(verdict.label, verdict.verdict)) != verdict.verdict:
            raise OpenMofiError(
                f"{path} judges the entity {verdict.entity!r} of the key {verdict.key!r} in the shard "
                f"{verdict.shard!r} twice, {before!r} and {verdict.verdict!r}.",
                "Where people disagree, let them settle it, and leave one verdict; u where they cannot.",
            )
    if len(said) < len(verdicts.verdicts):
        raise OpenMofiError(f"{path} is damaged: a label is judged twice in it.", _AGAIN)
    steps = verdicts.plan.steps if verdicts.plan else ()
    if len({len(step.earlier) for step in steps}) > 1 or any(
        sum(tally.judged for tally in step.earlier) > step.labels
        or any(each.right > each.judged for each in step.earlier)
        for step in steps
    ):
        raise OpenMofiError(f"{path} is damaged: what earlier looks saw does not fit its thresholds.", _AGAIN)
    if (verdicts.weights < 1).any():
        raise OpenMofiError(f"{path} is damaged: a stratum has more verdicts than labels.", _AGAIN)
    return verdicts


def probability_basis(settings: Mapping[str, Any], inputs: Mapping[str, str]) -> str:
    """Fingerprint of all that decides labels' probabilities, from a label job's settings and inputs.

    Neither where things lie nor which probabilities become labels is part of it: labels of another threshold, or
    chosen by verdicts, have the same.
    """
    selection = {name: value for name, value in settings.get("selection", {}).items() if name not in _CHOOSES}
    elsewhere = {"shards", "kb", "encoder", "selection"}
    if not settings.get("asking", {}).get("judge"):
        elsewhere.add("asking")
    made = {name: value for name, value in settings.items() if name not in elsewhere}
    return fingerprint([made, selection, {name: mark for name, mark in inputs.items() if name != "/verdicts"}])


def require_same_basis(verdicts: Verdicts, settings: Mapping[str, Any], inputs: Mapping[str, str]) -> None:
    """Refuse verdicts whose labels have other probabilities than those that a label job makes.

    Args:
        verdicts: as they were read.
        settings, inputs: of the label job.

    Raises:
        OpenMofiError: they do.
    """
    if verdicts.basis == probability_basis(settings, inputs):
        return
    marks = (("encoder", verdicts.encoder, "/encoder"), ("knowledge base", verdicts.kb, "/kb"))
    others = [
        f"another {what} ({said}, here {inputs.get(name)})" for what, said, name in marks if said != inputs.get(name)
    ]
    where = f", {verdicts.folder}," if verdicts.folder else ""
    raise OpenMofiError(
        f"The verdicts of {verdicts.path} are of other labels: of "
        f"{' and '.join(others) or 'other pairs or other settings'}.",
        f"Label these pairs as the labels that were looked at{where} (thresholds may differ), or look at labels of "
        "this job: openmofi label audit LABELS -o PAGE.html.",
    )
