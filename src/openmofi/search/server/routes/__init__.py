"""The addresses of the API, by what they are about."""

from fastapi import APIRouter

from openmofi.search.server.routes import entities, images, plane, review, search, session

ROUTERS: tuple[APIRouter, ...] = (
    search.router,
    session.router,
    images.router,
    entities.router,
    review.router,
    plane.router,
)
