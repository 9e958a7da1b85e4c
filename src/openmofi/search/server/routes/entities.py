"""Entities: by name, their images, what is like them."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Response

from openmofi.search.records import EntityImage, EntityRecord
from openmofi.search.server.answers import answer
from openmofi.search.server.routes.shared import EntityId, Few, Limit, Offset, Shared, Short

# An entity's id may have slashes, so that what is said of it is matched before the id alone.
router = APIRouter(prefix="/api/entities")


@router.get("", response_model=list[EntityRecord])
def listed(context: Shared, prefix: Short = "", type: Short = "", limit: Limit = 100, offset: Offset = 0) -> Response:
    """Entities whose names begin with `prefix`, those with most images first."""
    if not prefix:
        return answer(context.index.entities(type=type, limit=limit, offset=offset))
    named = context.index.complete(prefix, limit + offset)
    return answer([each for each in named if not type or type in each.types][offset:])


@router.get("/{entity:path}/images", response_model=list[EntityImage])
def images(
    entity: EntityId,
    context: Shared,
    order: Literal["sure", "doubt"] = "sure",
    accepted: bool | None = None,
    limit: Limit = 100,
    offset: Offset = 0,
) -> Response:
    """Images that were judged to show it."""
    context.index.entity(entity)
    return answer(context.index.entity_images(entity, order=order, accepted=accepted, limit=limit, offset=offset))


@router.get("/{entity:path}/similar", response_model=list[EntityRecord])
def similar(entity: EntityId, context: Shared, limit: Few = 10) -> Response:
    """Entities that it may be mistaken for."""
    return answer(context.index.similar_entities(entity, limit))


@router.get("/{entity:path}", response_model=EntityRecord)
def record(entity: EntityId, context: Shared) -> Response:
    """An entity."""
    return answer(context.index.entity(entity))
