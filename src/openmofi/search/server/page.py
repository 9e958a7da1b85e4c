"""The files of the page, which are part of the package: read once, served by their names, and nothing else is."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".webp": "image/webp",
    ".ico": "image/x-icon",
    ".webmanifest": "application/manifest+json",
    ".txt": "text/plain; charset=utf-8",
    ".woff2": "font/woff2",
}
_NO_PAGE = b"<!doctype html><title>OpenMOFI</title><p>This build has no page; the API is at /api/openapi.json."


@dataclass(frozen=True)
class PageFile:
    """A file of the page.

    Attributes:
        data: its bytes.
        type: its content type.
        etag: of its bytes.
    """

    data: bytes
    type: str
    etag: str


def page_files() -> dict[str, PageFile]:
    """Address → file: `/` is `index.html`, the others are `/static/NAME`."""
    folder = files("openmofi.search") / "page"
    held = {"/": _file(_NO_PAGE, ".html")}
    if folder.is_dir():
        for name, file in _walk(folder, ""):
            suffix = "." + name.rpartition(".")[2]
            if suffix in TYPES:
                held["/" if name == "index.html" else f"/static/{name}"] = _file(file.read_bytes(), suffix)
    return held


def _walk(folder: Traversable, prefix: str) -> list[tuple[str, Traversable]]:
    found: list[tuple[str, Traversable]] = []
    for each in sorted(folder.iterdir(), key=lambda each: each.name):
        if each.name.startswith((".", "_")) or each.name == "node_modules":
            continue
        found += _walk(each, f"{prefix}{each.name}/") if each.is_dir() else [(prefix + each.name, each)]
    return found


def _file(data: bytes, suffix: str) -> PageFile:
    return PageFile(data, TYPES[suffix], f'"{hashlib.blake2b(data, digest_size=12).hexdigest()}"')
