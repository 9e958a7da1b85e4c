"""The application: the routes, the files of the page, errors and the guard."""

import asyncio
import gzip
import hashlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import FastAPI, Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from openmofi.errors import MissingExtraError, OpenMofiError
from openmofi.plugins.server import judging
from openmofi.plugins.server.context import Context, with_session
from openmofi.plugins.server.guard import MCP, Guard
from openmofi.plugins.server.messages import KEPT, ErrorAnswer, Refused, logger, not_modified, register
from openmofi.plugins.server.routes import router
from openmofi.plugins.server.settings import ServeSettings
from openmofi.search.index import Index
from openmofi.version import __version__

if TYPE_CHECKING:
    from openmofi.plugins.server.agents import Endpoint

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
}


@dataclass(frozen=True)
class PageFile:
    """A file of the page.

    Attributes:
        data: its bytes.
        type: its content type.
        etag: of its bytes.
        packed: its bytes by gzip.
    """

    data: bytes
    type: str
    etag: str
    packed: bytes


def page_files() -> dict[str, PageFile]:
    """Address → file of what `tools/page/build.py` built: `/` is `index.html`, the others are `/static/NAME`."""
    folder = Path(str(files("openmofi.plugins.server") / "built"))
    held = {f"/static/{path.name}": _file(path) for path in sorted(folder.iterdir()) if path.suffix in TYPES}
    return {"/": held.pop("/static/index.html"), **held}


def _file(path: Path) -> PageFile:
    data = path.read_bytes()
    etag = f'"{hashlib.blake2b(data, digest_size=12).hexdigest()}"'
    return PageFile(data, TYPES[path.suffix], etag, gzip.compress(data, mtime=0))


_ERRORS: dict[int | str, dict[str, object]] = {
    status: {"model": ErrorAnswer, "description": text}
    for status, text in (
        (400, "What was sent is not JSON."),
        (401, "The token is missing or wrong."),
        (403, "Of another origin."),
        (404, "There is no such thing."),
        (408, "It did not arrive in time."),
        (409, "The index cannot answer this."),
        (413, "Too large."),
        (415, "Not a format that is read."),
        (422, "A value out of its range."),
        (429, "Too many requests."),
        (503, "Busy, or the index's database is not there; see Retry-After."),
    )
}


def create_app(index: Index, settings: ServeSettings | None = None) -> FastAPI:
    """An ASGI application that serves an index; `serve` runs it.

    Args:
        index: opened.
        settings: of the server; `ServeSettings()` where not given, whose token the caller then does not know.

    Raises:
        MissingExtraError: tools are to be offered, and the package `mcp` is not installed.
    """
    settings = settings or ServeSettings()
    context = Context.of(index, settings)
    tools = _tools(context) if settings.mcp else None

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        opening = asyncio.create_task(_open_encoder(context))
        async with tools.running() if tools else nullcontext():
            yield
        opening.cancel()
        context.encoder.close()
        context.searching.shutdown(wait=False, cancel_futures=True)

    app = FastAPI(
        title="OpenMOFI",
        version=__version__,
        summary="Search, recognition and review over an index.",
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        redirect_slashes=False,
        responses=_ERRORS,
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.context = context
    register(app)
    app.include_router(router)
    app.include_router(judging.router)
    _add_page(app, context)
    if tools:  # by POST alone: a GET would be a stream that stays open
        app.router.routes.append(Route(MCP, tools, methods=["POST"], include_in_schema=False))
    app.add_middleware(Guard, settings=settings, sessions=context.sessions, metrics=context.metrics)
    return app


def _tools(context: Context) -> "Endpoint":
    try:
        from openmofi.plugins.server.agents import Endpoint
    except ModuleNotFoundError as error:
        raise MissingExtraError.of(error.name or "mcp", "mcp") from error
    return Endpoint(context)


async def _open_encoder(context: Context) -> None:
    """Before the first query needs it."""
    try:
        await context.encoder.call(lambda: context.index.encoder)
    except OpenMofiError as error:
        logger.warning("queries by image and text are refused: %s", error)


def _add_page(app: FastAPI, context: Context) -> None:
    held = page_files()

    @app.get("/", include_in_schema=False)
    @app.get("/static/{name:path}", include_in_schema=False)
    def page(request: Request, token: str = "") -> Response:
        if token and request.url.path == "/":  # out of the address bar; where it is wrong, the page asks for it
            response = RedirectResponse(request.scope["root_path"] + "/", 303)
            if context.admits(token):
                return with_session(response, request, context)
            if context.settings.framed:
                raise Refused(
                    401, "This address opens the page once, within ten minutes.", "Run the cell again: index.show()."
                )
            return response
        file = held.get(request.url.path)
        if file is None:
            raise Refused(404, "There is nothing at this address.")
        keep = "no-cache" if request.url.path == "/" else KEPT  # the other names hold the digest of what is in them
        headers = {"ETag": file.etag, "Cache-Control": keep, "Vary": "Accept-Encoding"}
        packed = "gzip" in request.headers.get("accept-encoding", "")
        if packed:
            headers["Content-Encoding"] = "gzip"
        data = file.packed if packed else file.data
        return not_modified(request, headers) or Response(data, headers=headers, media_type=file.type)
