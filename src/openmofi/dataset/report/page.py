"""The page on which a person judges a sample of labels, and the precision of labels corrected by such verdicts.

The page is one file and loads nothing; what is judged stays in the browser until it is saved.
"""

import base64
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from markupsafe import Markup

from openmofi.arrays import Ints
from openmofi.config import settings_from
from openmofi.dataset.report.examples import template, thumbnails
from openmofi.dataset.report.planned import HINT, candidates_of, draw_planned, require_of
from openmofi.dataset.report.sample import (
    BY,
    OTHER,
    Cell,
    Content,
    Drawn,
    Kinds,
    LabelCandidates,
    LabelSample,
    cells,
    draw,
)
from openmofi.dataset.tables import Folder, describe, labels_kb
from openmofi.errors import OpenMofiError
from openmofi.knowledge import KnowledgeBase
from openmofi.pairs import ReadSettings
from openmofi.review.commands import audit_command, verdicts_name
from openmofi.review.guarantee import Guarantee, guaranteed
from openmofi.review.precision import Precision, precision_by, range_name
from openmofi.review.verdicts import KIND, Plan, Verdicts, probability_basis
from openmofi.storage import Shard, write_text

_SIDE = 480
_BEFORE, _TEXT = 300, 1200
"""Characters shown before the first mention of the entity, and in all."""

_NOT_HTML = {ord(character): f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}


def write_page(
    folder: Folder,
    out: str | Path,
    *,
    sample: int = 200,
    by: Sequence[str] = BY,
    seed: int = 0,
    kb: KnowledgeBase | None = None,
    plan: Plan | None = None,
) -> LabelSample:
    """Draw labels and write a page on which a person judges them; equal arguments give equal bytes.

    Args:
        folder: of labels.
        out: the page.
        sample: how many labels; all where there are fewer.
        by: strata of `probability`, `type` or both.
        seed: of the draw.
        kb: names, descriptions and types of entities; the labels' own where not given.
        plan: of a draw for a guarantee, whose strata are ranges of probability.

    Raises:
        UsageError: `sample` is not positive.
        OpenMofiError: there is nothing to look at, or a shard of pairs has moved or changed.
    """
    kb = kb or labels_kb(folder)
    if plan:
        by, drawn = ("probability",), draw_planned(folder, Kinds(kb), plan, sample, seed)
    else:
        drawn = draw(folder, Kinds(kb), sample, by, seed)
    saved = _judged_labels(folder) | {
        "by": list(by),
        "seed": seed,
        "sample": len(drawn.drawn),
        "strata": [asdict(stratum) for stratum in drawn.strata],
        **({"plan": asdict(plan)} if plan else {}),
    }
    saves = verdicts_name(plan.looks if plan else 0)
    data = {"file": saved, "saves": saves, "items": _items(folder, drawn.drawn, kb)}
    script = files(__package__).joinpath("page.js").read_text("utf-8")
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    # A script's text is no HTML: it may not hold what would end it.
    write_text(
        out,
        template(__package__, "page.html.j2").render(
            folder=Path(folder.path).name,
            count=len(drawn.drawn),
            plan=plan,
            saves=saves,
            command=audit_command(folder.path, verdicts=saves),
            allowed=allowed,
            script=Markup(script),
            data=Markup(json.dumps(data, ensure_ascii=False).translate(_NOT_HTML)),
        ),
    )
    return drawn


def _judged_labels(folder: Folder) -> dict[str, Any]:
    """Return what a file of verdicts says of the labels that were judged."""
    manifest = folder.manifest
    return {
        "kind": KIND,
        "version": 1,
        "labels": manifest.fingerprint,
        "folder": str(folder.path),
        "basis": probability_basis(manifest.settings, manifest.inputs),
        "encoder": manifest.inputs.get("/encoder", ""),
        "kb": manifest.inputs.get("/kb", ""),
    }


def _items(folder: Folder, drawn: Sequence[Drawn], kb: KnowledgeBase | None) -> list[dict[str, Any]]:
    read = settings_from(ReadSettings(), values=folder.manifest.settings.get("read"))
    items: dict[int, dict[str, Any]] = {}
    for position in sorted({entry.candidate.shard for entry in drawn}):
        shard = folder.shards[position]
        _require_unchanged(folder, shard)
        here = [number for number, entry in enumerate(drawn) if entry.candidate.shard == position]
        table = folder.read(shard, ["key", "text", "mentions", "entities"])
        rows = [table.slice(drawn[number].candidate.row, 1).to_pylist()[0] for number in here]
        images = thumbnails(shard, [row["key"] for row in rows], read, side=_SIDE, form="WebP")
        for number, row in zip(here, rows, strict=True):
            items[number] = {"shard": shard.name, "image": images.get(row["key"], ""), **_item(row, drawn[number], kb)}
    return [items[number] for number in range(len(drawn))]


def _require_unchanged(folder: Folder, shard: Shard) -> None:
    again = "Put it back where it was, or label the pairs again."
    try:
        fingerprint = shard.fingerprint
    except OpenMofiError as error:
        raise OpenMofiError(f"The images of {folder.path} are not there: {error.message}", again) from error
    if folder.manifest.inputs.get(shard.name, fingerprint) != fingerprint:
        raise OpenMofiError(f"{shard.path} has changed since it was labelled.", again)


def _item(row: Mapping[str, Any], drawn: Drawn, kb: KnowledgeBase | None) -> dict[str, Any]:
    candidate = drawn.candidate
    claimed = {entity["mention"] for entity in row["entities"] if entity["entity"] == candidate.entity}
    surface = row["mentions"][min(claimed)]["surface"]
    entity = describe([candidate.entity], kb, {candidate.entity: surface})[0]
    return {
        "key": row["key"],
        "entity": candidate.entity,
        "name": entity.name,
        "description": entity.description,
        "probability": candidate.probability,
        "stratum": drawn.stratum,
        "text": _pieces(row["text"], row["mentions"], claimed),
    }


def _pieces(text: str, mentions: Sequence[Mapping[str, Any]], claimed: set[int]) -> list[tuple[str, str]]:
    """The text in order, as (piece, class): `claimed` for mentions of the entity, `other` for others, or empty."""
    begin = max(0, min(mentions[number]["start"] for number in claimed) - _BEFORE)
    position, end = begin, min(len(text), begin + _TEXT)
    pieces = [("…", "")] if begin else []
    ordered = sorted(enumerate(mentions), key=lambda entry: (entry[1]["start"], entry[0] not in claimed))
    for number, mention in ordered:
        if position <= mention["start"] < mention["end"] <= end:
            pieces.append((text[position : mention["start"]], ""))
            pieces.append((text[mention["start"] : mention["end"]], "claimed" if number in claimed else "other"))
            position = mention["end"]
    pieces += [(text[position:end], ""), ("…" if end < len(text) else "", "")]
    return [piece for piece in pieces if piece[0]]


@dataclass(frozen=True)
class Corrected:
    """Labels beside what a person said of some.

    Attributes:
        labels: all accepted ones.
        probability, type: the accepted ones by range of probability and by type.
        below: candidates below the threshold by range of probability: those of probability ≥ .1 that are the best of
            their mention.
        unsure: verdicts that could not say, of the whole sample.
        unjudged: labels of the sample without a verdict yet.
        least: all of these are of the labels of this probability or more, since no others were drawn from.
        guarantee: what the verdicts guarantee, if they were drawn for that and are complete.
    """

    labels: Precision
    probability: Mapping[str, Precision]
    type: Mapping[str, Precision]
    below: Mapping[str, Precision]
    unsure: int
    unjudged: int
    least: float = 0.0
    guarantee: Guarantee | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        said = asdict(self)
        if self.guarantee:
            said["guarantee"]["sentences"] = self.guarantee.sentences()
        return said


def correct(folder: Folder, verdicts: Verdicts, *, kb: KnowledgeBase | None = None) -> Corrected:
    """Correct the expected precision of labels by verdicts.

    Args:
        folder: of the labels.
        verdicts: of these labels. Those of candidates that are not the best of their mention, which an index takes
            too, are left out.
        kb: types of entities; the labels' own where not given.

    Raises:
        OpenMofiError: they are of other labels.
    """
    require_of(folder, verdicts)
    kinds, wanted = Kinds(kb or labels_kb(folder)), _by_shard(verdicts)
    judged: dict[tuple[str, str, str], tuple[Cell, float]] = {}
    candidate: set[tuple[str, str, str]] = set()

    def look(shard: Shard, table: pa.Table, candidates: LabelCandidates, kind: Ints) -> None:
        keys = wanted.get(shard.name, {})
        for row in table.filter(pc.is_in(table["key"], pa.array(sorted(keys), pa.string()))).to_pylist():
            candidate.update((shard.name, row["key"], each["entity"]) for each in row["entities"] or ())
        key = table["key"].take(pa.array(candidates.row))
        rows = np.flatnonzero(pc.is_in(key, pa.array(sorted(keys), pa.string())).to_numpy())
        for row in rows.tolist():
            name, entity = key[row].as_py(), candidates.entity[row].as_py()
            if entity in keys[name]:
                cell = (bool(candidates.accepted[row]), int(candidates.ranges[row]), kinds.names.values[kind[row]])
                judged[shard.name, name, entity] = cell, float(candidates.probability[row])

    plan = verdicts.plan
    parts = cells(folder, kinds, seen=look, choose=candidates_of(folder, plan, unseen=False) if plan else None)
    if odd := next((verdict for verdict in verdicts.verdicts if verdict.label not in candidate), None):
        raise OpenMofiError(
            f"{verdicts.path} judges a label that {folder.path} has not: the entity {odd.entity!r} of "
            f"the key {odd.key!r} in the shard {odd.shard!r}.",
            HINT,
        )
    # The labels' own probabilities, not the file's.
    counted = tuple(
        replace(each, probability=judged[each.label][1]) for each in verdicts.verdicts if each.label in judged
    )
    common = {kind for _, _, kind in parts}
    corrected = _by_groups(
        parts,
        replace(verdicts, verdicts=counted),
        [(*cell[:2], cell[2] if cell[2] in common else OTHER) for cell in (judged[each.label][0] for each in counted)],
    )
    if plan is None:
        return corrected
    said = None if verdicts.unjudged else guaranteed(verdicts, plan.target, plan.confidence)
    return replace(corrected, least=plan.least, guarantee=said)


def _by_shard(verdicts: Verdicts) -> dict[str, dict[str, set[str]]]:
    """Shard → key → entities."""
    wanted: dict[str, dict[str, set[str]]] = {}
    for verdict in verdicts.verdicts:
        wanted.setdefault(verdict.shard, {}).setdefault(verdict.key, set()).add(verdict.entity)
    return wanted


def _by_groups(parts: Mapping[Cell, Content], verdicts: Verdicts, cell_of: Sequence[Cell]) -> Corrected:
    """Return the precision of all labels and of groups; `cell_of` has each verdict's cell."""

    def precision(which: Callable[[Cell], bool]) -> Precision:
        chosen = [content for cell, content in parts.items() if which(cell)]
        labels, total = sum(content.labels for content in chosen), sum(content.expected for content in chosen)
        return precision_by(verdicts, labels, total / labels if labels else None, [which(cell) for cell in cell_of])

    def of_range(accepted: bool, position: int) -> Precision:
        return precision(lambda cell: cell[:2] == (accepted, position))

    def of_kind(kind: str) -> Precision:
        return precision(lambda cell: cell[0] and cell[2] == kind)

    def by_range(accepted: bool) -> dict[str, Precision]:
        positions = sorted({cell[1] for cell in parts if cell[0] is accepted})
        return {range_name(each): of_range(accepted, each) for each in positions}

    kinds = sorted({kind for accepted, _, kind in parts if accepted}, key=lambda kind: (kind == OTHER, kind))
    return Corrected(
        precision(lambda cell: cell[0]),
        by_range(True),
        {kind: of_kind(kind) for kind in kinds},
        by_range(False),
        verdicts.unsure,
        verdicts.unjudged,
    )
