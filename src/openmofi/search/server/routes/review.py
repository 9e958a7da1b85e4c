"""Verdicts of people on labels, what to judge next, and the precision that the verdicts show."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Response
from pydantic import Field

from openmofi.search.records import Verdict
from openmofi.search.server.answers import answer
from openmofi.search.server.errors import Refused
from openmofi.search.server.requests import VerdictBody
from openmofi.search.server.routes.shared import ImageId, Limit, Shared, Short

router = APIRouter(prefix="/api")
Verdicts = Annotated[list[VerdictBody], Field(min_length=1, max_length=1000), Body()]


@router.post("/verdicts", response_model=list[Verdict], status_code=201)
def add(body: Verdicts, context: Shared) -> Response:
    """Keep verdicts; of several on one label the last counts."""
    return answer([context.index.add_verdict(Verdict(each.shard, each.key, each.entity, each.verdict, each.instead,
                                                     each.who)) for each in body], 201)


@router.get("/verdicts", response_model=list[Verdict])
def listed(context: Shared, entity: Short = "", limit: Limit = 1000) -> Response:
    """Verdicts that were not taken back, latest first."""
    return answer(context.index.verdicts(entity, limit))


@router.delete("/verdicts/{image}", status_code=204)
def undo(image: ImageId, context: Shared) -> Response:
    """Take a verdict back."""
    if not context.index.undo_verdict(image):
        raise Refused(404, f"There is no verdict {image}, or it was taken back before.")
    return Response(status_code=204)
