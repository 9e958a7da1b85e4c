"""Results as one HTML file, thumbnails inlined; it loads nothing and runs nothing."""

from __future__ import annotations

import base64
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import jinja2

from openmofi.errors import OpenMofiError
from openmofi.search.query import Query
from openmofi.search.records import Results
from openmofi.storage import write_text

if TYPE_CHECKING:
    from openmofi.search.index import Index


def write_contact_sheet(index: Index, query: Query, results: Results, out: str | Path) -> None:
    """Write the results of a query as a page.

    Raises:
        OpenMofiError: it cannot be written.
    """
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    page = environment.from_string(files(__package__).joinpath("contact_sheet.html.j2").read_text("utf-8"))
    asked = [
        f"“{query.text}”" if query.text else "",
        index.entity(query.entity).name if query.entity else "",
        f"{len(query.examples)} image{'s' * (len(query.examples) > 1)}" if query.examples else "",
    ]
    write_text(
        out,
        page.render(
            asked=", ".join(filter(None, asked)) or "all images",
            results=results,
            thumbnails=[_thumbnail(index, hit.image.id) for hit in results.hits],
        ),
    )


def _thumbnail(index: Index, image: int) -> str:
    """A data URI; empty where the image cannot be shown."""
    try:
        return "data:image/webp;base64," + base64.b64encode(index.thumbnail(image)).decode()
    except OpenMofiError:
        return ""
