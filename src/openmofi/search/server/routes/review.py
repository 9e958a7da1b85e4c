"""Verdicts of people on labels, what to judge next, and the precision that the verdicts show."""

from __future__ import annotations

import io
from typing import Annotated, Literal

import pyarrow.parquet as pq
from fastapi import APIRouter, Body, Query, Response
from pydantic import Field

from openmofi.search.records import Verdict
from openmofi.search.server.answers import Refused, answer
from openmofi.search.server.judging import ReviewedPrecision, ToJudge, precision, to_judge
from openmofi.search.server.requests import VerdictBody
from openmofi.search.server.routes.shared import Limit, Number, Shared, Short

router = APIRouter(prefix="/api")
Long = Annotated[str, Query(max_length=4096)]
Verdicts = Annotated[list[VerdictBody], Field(min_length=1, max_length=1000), Body()]


@router.post("/verdicts", response_model=list[Verdict], status_code=201)
def add(body: Verdicts, context: Shared) -> Response:
    """Keep verdicts, all of them or none; of several on one label the last counts."""
    return answer(
        context.index.add_verdicts(
            [Verdict(each.shard, each.key, each.entity, each.verdict, each.instead, each.who) for each in body]
        ),
        201,
    )


@router.get("/verdicts", response_model=list[Verdict])
def listed(context: Shared, entity: Short = "", limit: Limit = 1000) -> Response:
    """Verdicts that were not taken back, latest first."""
    return answer(context.index.verdicts(entity, limit))


@router.get("/verdicts.parquet", response_class=Response)
def exported(context: Shared, entity: Short = "", labels: Long = "") -> Response:
    """All verdicts that were not taken back, as the table that `openmofi label --verdicts` takes."""
    buffer = io.BytesIO()
    pq.write_table(context.index.verdict_table(labels, entity), buffer, compression="zstd")
    return Response(
        buffer.getvalue(),
        media_type="application/vnd.apache.parquet",
        headers={"Content-Disposition": 'attachment; filename="verdicts.parquet"'},
    )


@router.delete("/verdicts/{verdict}", status_code=204)
def undo(verdict: Number, context: Shared) -> Response:
    """Take a verdict back."""
    if not context.index.undo_verdict(verdict):
        raise Refused(404, f"There is no verdict {verdict}, or it was taken back before.")
    return Response(status_code=204)


@router.get("/review", response_model=list[ToJudge])
def proposed(
    context: Shared,
    entity: Short = "",
    order: Literal["active", "doubt", "sure"] = "active",
    accepted: bool | None = None,
    who: Short = "",
    limit: Limit = 50,
) -> Response:
    """Labels that nobody has judged yet, those first that say most."""
    return answer(to_judge(context.index, entity, order=order, accepted=accepted, who=who, limit=limit))


@router.get("/review/precision", response_model=ReviewedPrecision)
def shown_precision(context: Shared, entity: Short = "", accepted: bool | None = True) -> Response:
    """The precision that the verdicts so far show, by strata of probability, with intervals."""
    return answer(precision(context.index, entity, accepted))
